use serde_json::json;

use super::*;

fn run(bytes: &[u8]) -> Result<Vec<ChatEvent>, BackendError> {
    let mut stream = AnthropicStream::new("up".into(), true);
    let mut events = VecDeque::new();
    for piece in bytes.chunks(7) {
        if stream.push(Bytes::copy_from_slice(piece), &mut events)? {
            return Ok(events.into());
        }
    }
    stream.end(&mut events)?;
    Ok(events.into())
}

fn written(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
        .collect()
}

/// A stream with thinking, a server's tool, text and a call, as the API sends it.
fn example() -> Vec<Value> {
    let start =
        |index, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index| json!({"type": "content_block_stop", "index": index});
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "model": "claude", "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 2, "output_tokens": 1}}}),
        json!({"type": "ping"}),
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "hm"})),
        delta(0, json!({"type": "signature_delta", "signature": "sig"})),
        stop(0),
        start(1, json!({"type": "redacted_thinking", "data": "opaque"})),
        stop(1),
        start(2, json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{}"})),
        stop(2),
        start(3, json!({"type": "text", "text": ""})),
        delta(3, json!({"type": "text_delta", "text": "Hello"})),
        delta(3, json!({"type": "citations_delta", "citation": {}})),
        stop(3),
        start(4, json!({"type": "tool_use", "id": "t", "name": "look", "input": {}})),
        delta(4, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(4, json!({"type": "input_json_delta", "partial_json": "{\"a\":1}"})),
        stop(4),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 12}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn a_stream_keeps_its_blocks_without_those_of_the_servers_own_tools() {
    let events = run(written(&example()).as_bytes()).unwrap();
    let usage = Usage { input_tokens: 5, output_tokens: 0, cache_read_tokens: 7, cache_write_tokens: 2 };
    let start = |index, block| ChatEvent::BlockStart { index, block };
    let delta = |index, delta| ChatEvent::BlockDelta { index, delta };
    let stop = |index| ChatEvent::BlockStop { index };
    assert_eq!(
        events,
        [
            ChatEvent::Started { usage },
            start(0, BlockStart::Reasoning),
            delta(0, Delta::Reasoning("hm".into())),
            delta(0, Delta::ReasoningSignature("sig".into())),
            stop(0),
            start(1, BlockStart::Reasoning),
            delta(1, Delta::ReasoningRedacted(Bytes::from_static(b"opaque"))),
            stop(1),
            start(2, BlockStart::Text),
            delta(2, Delta::Text("Hello".into())),
            stop(2),
            start(3, BlockStart::ToolUse { id: "t".into(), name: "look".into() }),
            delta(3, Delta::ToolInput("{\"a\":1}".into())),
            stop(3),
            ChatEvent::Finished(Finished {
                reason: StopReason::ToolUse,
                stop_sequence: None,
                usage: Usage { output_tokens: 12, ..usage },
                extra: json!({"id": "msg_1", "model": "claude"}),
            }),
        ]
    );
}

#[test]
fn a_whole_answer_has_the_same_blocks() {
    let events = whole(
        json!({"id": "msg_1", "model": "claude", "role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}}],
            "stop_reason": "stop_sequence", "stop_sequence": "END",
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 12}})
        .to_string()
        .as_bytes(),
        false,
    )
    .unwrap();
    assert_eq!(events.len(), 1 + 4 + 3 + 3 + 1);
    let Some(ChatEvent::Finished(finished)) = events.last() else { panic!() };
    assert_eq!(finished.reason, StopReason::StopSequence);
    assert_eq!(finished.stop_sequence.as_deref(), Some("END"));
    assert_eq!(finished.usage, Usage { input_tokens: 12, output_tokens: 12, ..Usage::default() });
    for bad in ["", "{}", "[]", r#"{"content": 3, "stop_reason": "end_turn"}"#] {
        assert!(whole(bad.as_bytes(), false).is_err(), "{bad}");
    }
}

#[test]
fn half_a_stream_is_broken_wherever_it_is_cut() {
    let events = example();
    for count in 0..events.len() - 2 {
        let result = run(written(&events[..count]).as_bytes());
        assert!(matches!(result, Err(BackendError::BrokenStream(_))), "after {count}: {result:?}");
    }
    let stop_lost = run(written(&events[..events.len() - 1]).as_bytes());
    assert!(stop_lost.is_ok(), "a known stop reason is an end: {stop_lost:?}");
}

#[test]
fn events_out_of_order_are_refused() {
    for order in [vec![2], vec![0, 0], vec![0, 2, 11], vec![0, 3], vec![0, 5], vec![0, 2, 4, 5, 5]] {
        let events: Vec<Value> = order.iter().map(|at| example()[*at].clone()).collect();
        let result = run((written(&events) + &written(&example()[19..])).as_bytes());
        assert!(matches!(result, Err(BackendError::BrokenStream(_))), "{order:?}: {result:?}");
    }
}

#[test]
fn an_overloaded_event_says_so() {
    let events = [
        example()[0].clone(),
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    ];
    assert!(matches!(run(written(&events).as_bytes()), Err(BackendError::Overloaded { .. })));
}

proptest::proptest! {
    #[test]
    fn whatever_comes_the_events_are_in_order(
        picks in proptest::collection::vec(0usize..21, 0..24),
        whole_until in 0usize..21,
    ) {
        let mut events = example()[..whole_until].to_vec();
        events.extend(picks.iter().map(|pick| example()[*pick].clone()));
        crate::pump::check_order(AnthropicStream::new("up".into(), true), written(&events).as_bytes());
    }
}
