use serde_json::json;

use super::*;

fn frame(kind: &'static str, payload: Value) -> Vec<u8> {
    Frame::json_event(kind, payload.to_string()).encode().unwrap().to_vec()
}

fn run(bytes: &[u8]) -> Result<Vec<ChatEvent>, BackendError> {
    let mut stream = BedrockStream::new("up".into());
    let mut events = VecDeque::new();
    for piece in bytes.chunks(5) {
        if stream.push(Bytes::copy_from_slice(piece), &mut events)? {
            return Ok(events.into());
        }
    }
    stream.end(&mut events)?;
    Ok(events.into())
}

fn example() -> Vec<Vec<u8>> {
    let delta =
        |index, delta: Value| frame("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}));
    let stop = |index| frame("contentBlockStop", json!({"contentBlockIndex": index}));
    vec![
        frame("messageStart", json!({"role": "assistant", "p": "abc"})),
        delta(0, json!({"reasoningContent": {"text": "hm"}})),
        delta(0, json!({"reasoningContent": {"signature": "sig"}})),
        stop(0),
        delta(1, json!({"text": "Hel"})),
        delta(1, json!({"text": "lo"})),
        stop(1),
        frame(
            "contentBlockStart",
            json!({"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t", "name": "look"}}}),
        ),
        delta(2, json!({"toolUse": {"input": "{\"a\":1}"}})),
        stop(2),
        frame("messageStop", json!({"stopReason": "tool_use"})),
        frame(
            "metadata",
            json!({"usage": {"inputTokens": 3, "outputTokens": 5, "totalTokens": 10, "cacheReadInputTokens": 2}, "metrics": {"latencyMs": 9}}),
        ),
    ]
}

#[test]
fn a_stream_becomes_blocks() {
    let events = run(&example().concat()).unwrap();
    let start = |index, block| ChatEvent::BlockStart { index, block };
    let delta = |index, delta| ChatEvent::BlockDelta { index, delta };
    let stop = |index| ChatEvent::BlockStop { index };
    assert_eq!(
        events,
        [
            ChatEvent::Started { usage: Usage::default() },
            start(0, BlockStart::Reasoning),
            delta(0, Delta::Reasoning("hm".into())),
            delta(0, Delta::ReasoningSignature("sig".into())),
            stop(0),
            start(1, BlockStart::Text),
            delta(1, Delta::Text("Hel".into())),
            delta(1, Delta::Text("lo".into())),
            stop(1),
            start(2, BlockStart::ToolUse { id: "t".into(), name: "look".into() }),
            delta(2, Delta::ToolInput("{\"a\":1}".into())),
            stop(2),
            ChatEvent::Finished(Finished {
                reason: StopReason::ToolUse,
                stop_sequence: None,
                usage: Usage {
                    input_tokens: 3,
                    output_tokens: 5,
                    cache_read_tokens: 2,
                    cache_write_tokens: 0
                },
                extra: Value::Null,
            }),
        ]
    );
}

#[test]
fn a_whole_answer_has_its_blocks() {
    let events = whole(
        json!({"output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"redactedContent": "iVBORw=="}},
            {"text": "Hello"},
            {"citationsContent": {}},
            {"toolUse": {"toolUseId": "t", "name": "look", "input": {"a": 1}}}]}},
            "stopReason": "stop_sequence", "additionalModelResponseFields": {"stop_sequence": "END"},
            "usage": {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}})
        .to_string()
        .as_bytes(),
    )
    .unwrap();
    assert_eq!(events.len(), 1 + 3 * 3 + 1);
    assert_eq!(
        events[2],
        ChatEvent::BlockDelta { index: 0, delta: Delta::ReasoningRedacted(Bytes::from_static(b"\x89PNG")) }
    );
    let Some(ChatEvent::Finished(finished)) = events.last() else { panic!() };
    assert_eq!(finished.stop_sequence.as_deref(), Some("END"));
    for bad in ["", "{}", r#"{"message": "x"}"#] {
        assert!(whole(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn half_a_stream_is_broken_wherever_it_is_cut() {
    let bytes = example().concat();
    let last = example().last().unwrap().len();
    for at in (0..bytes.len() - last).step_by(3) {
        let result = run(&bytes[..at]);
        assert!(matches!(result, Err(BackendError::BrokenStream(_))), "cut at {at}: {result:?}");
    }
    let no_metadata = run(&bytes[..bytes.len() - last]).unwrap();
    assert!(matches!(no_metadata.last(), Some(ChatEvent::Finished(_))));
}

#[test]
fn a_flipped_bit_is_noticed() {
    let mut bytes = example().concat();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    assert!(matches!(run(&bytes), Err(BackendError::BrokenStream(_))));
}

#[test]
fn exceptions_inside_the_stream_keep_their_meaning() {
    let map = |kind: &'static str| {
        let exception = Frame::exception(kind, Bytes::from_static(b"{\"message\": \"why\"}"));
        let bytes = [example()[0].clone(), exception.encode().unwrap().to_vec()].concat();
        run(&bytes).unwrap_err()
    };
    assert!(
        matches!(map("throttlingException"), BackendError::Overloaded { message, .. } if !message.contains("why"))
    );
    assert_eq!(map("validationException"), BackendError::Refused("why".into()));
    assert!(matches!(map("internalServerException"), BackendError::Upstream { status: 500, .. }));
    assert!(matches!(map("modelStreamErrorException"), BackendError::BrokenStream(_)));
}

#[test]
fn input_of_a_tool_without_a_start_is_refused() {
    let delta =
        frame("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}}));
    let bytes = [example()[0].clone(), delta].concat();
    assert!(matches!(run(&bytes), Err(BackendError::BrokenStream(_))));
}

proptest::proptest! {
    #[test]
    fn whatever_comes_the_events_are_in_order(
        picks in proptest::collection::vec(0usize..12, 0..24),
        whole_until in 0usize..12,
    ) {
        let mut frames = example()[..whole_until].to_vec();
        frames.extend(picks.iter().map(|pick| example()[*pick].clone()));
        crate::pump::check_order(BedrockStream::new("up".into()), &frames.concat());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        crate::pump::check_order(BedrockStream::new("up".into()), &bytes);
    }
}
