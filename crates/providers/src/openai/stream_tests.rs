use craton_backend::StopReason;
use serde_json::json;

use super::*;

const ASKED: Asked = Asked { cache_points: false, estimated_input_tokens: 3 };

fn run(pieces: &[&[u8]]) -> Result<Vec<ChatEvent>, BackendError> {
    let mut stream = OpenAiStream::new("up".into(), ASKED);
    let mut events = VecDeque::new();
    for piece in pieces {
        if stream.push(Bytes::copy_from_slice(piece), &mut events)? {
            return Ok(events.into());
        }
    }
    stream.end(&mut events)?;
    Ok(events.into())
}

fn chunks(deltas: &[Value], finish: &str) -> String {
    let mut stream = String::new();
    for delta in deltas {
        let chunk = json!({"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
        stream.push_str(&format!("data: {chunk}\n\n"));
    }
    let last = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}});
    stream + &format!("data: {last}\n\ndata: {usage}\n\ndata: [DONE]\n\n")
}

/// Blocks as `kind:text`, in order, after checking that one is open at a time.
fn blocks(events: &[ChatEvent]) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut open = None;
    for event in events {
        match event {
            ChatEvent::BlockStart { index, block } => {
                assert_eq!((*index as usize, open), (blocks.len(), None));
                open = Some(*index);
                blocks.push(match block {
                    BlockStart::Text => "text:".into(),
                    BlockStart::Reasoning => "reasoning:".into(),
                    BlockStart::ToolUse { id, name } => format!("{name}#{id}:"),
                });
            }
            ChatEvent::BlockDelta { index, delta } => {
                assert_eq!(open, Some(*index));
                let (Delta::Text(text) | Delta::ToolInput(text) | Delta::Reasoning(text)) = delta else {
                    panic!("{delta:?}")
                };
                assert!(!text.is_empty());
                blocks[*index as usize].push_str(text);
            }
            ChatEvent::BlockStop { index } => assert_eq!(open.take(), Some(*index)),
            ChatEvent::Started { .. } | ChatEvent::Finished(_) => assert_eq!(open, None),
        }
    }
    blocks
}

fn finished(events: &[ChatEvent]) -> &Finished {
    match events.last() {
        Some(ChatEvent::Finished(finished)) => finished,
        other => panic!("{other:?}"),
    }
}

fn call(index: u32, id: &str, name: &str, arguments: &str) -> Value {
    json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]})
}

fn more(index: u32, arguments: &str) -> Value {
    json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})
}

#[test]
fn reasoning_text_and_calls_become_blocks_however_the_bytes_are_split() {
    let stream = chunks(
        &[
            json!({"role": "assistant", "content": ""}),
            json!({"reasoning_content": "h"}),
            json!({"reasoning": "m"}),
            json!({"content": "Grüße"}),
            json!({"content": "!"}),
            call(0, "c0", "f", ""),
            more(0, "{\"a\""),
            more(0, ":1}"),
            call(1, "c1", "g", ""),
            more(1, "{}"),
        ],
        "tool_calls",
    );
    let whole = run(&[stream.as_bytes()]).unwrap();
    assert_eq!(blocks(&whole), ["reasoning:hm", "text:Grüße!", "f#c0:{\"a\":1}", "g#c1:{}"]);
    assert_eq!(whole[0], ChatEvent::Started { usage: Usage::default() });
    assert_eq!(finished(&whole).reason, StopReason::ToolUse);
    assert_eq!(finished(&whole).usage, Usage { input_tokens: 9, output_tokens: 4, ..Usage::default() });
    let crlf = stream.replace('\n', "\r\n");
    for text in [&stream, &crlf] {
        for at in 0..text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            assert_eq!(run(&[head, tail]).unwrap(), whole, "split at {at}");
        }
    }
}

#[test]
fn interleaved_calls_are_put_in_order() {
    let stream = chunks(
        &[
            call(0, "c0", "f", ""),
            call(1, "c1", "g", ""),
            more(1, "{\"b\":"),
            more(0, "{\"a\":"),
            more(1, "2}"),
            more(0, "1}"),
        ],
        "tool_calls",
    );
    assert_eq!(blocks(&run(&[stream.as_bytes()]).unwrap()), ["f#c0:{\"a\":1}", "g#c1:{\"b\":2}"]);
}

#[test]
fn calls_without_arguments_do_not_hold_up_the_others_for_ever() {
    let stream = chunks(&[call(0, "c0", "f", ""), call(1, "c1", "g", "{}")], "tool_calls");
    assert_eq!(blocks(&run(&[stream.as_bytes()]).unwrap()), ["f#c0:", "g#c1:{}"]);
}

#[test]
fn calls_that_share_a_number_are_told_apart_by_id() {
    let stream = chunks(&[call(0, "c0", "f", "{}"), call(0, "c1", "f", "{\"x\":2}")], "stop");
    let events = run(&[stream.as_bytes()]).unwrap();
    assert_eq!(blocks(&events), ["f#c0:{}", "f#c1:{\"x\":2}"]);
    assert_eq!(finished(&events).reason, StopReason::ToolUse);
}

#[test]
fn an_id_repeated_in_every_delta_is_one_call() {
    let stream = chunks(&[call(0, "c0", "f", "{\"a\""), call(0, "c0", "f", ":1}")], "tool_calls");
    assert_eq!(blocks(&run(&[stream.as_bytes()]).unwrap()), ["f#c0:{\"a\":1}"]);
}

#[test]
fn a_stream_without_done_is_whole_once_it_has_a_finish_reason() {
    let stream = chunks(&[json!({"content": "Hi"})], "length").replace("data: [DONE]\n\n", "");
    let events = run(&[stream.as_bytes()]).unwrap();
    assert_eq!(finished(&events).reason, StopReason::MaxTokens);
    assert_eq!(finished(&events).usage.input_tokens, 9);
}

#[test]
fn half_a_stream_is_broken_wherever_it_is_cut() {
    let stream = chunks(&[json!({"content": "Hello"}), json!({"content": " you"})], "stop");
    let last = stream.find("\"stop\"").unwrap();
    for at in 0..last {
        let result = run(&[&stream.as_bytes()[..at]]);
        assert!(matches!(result, Err(BackendError::BrokenStream(_))), "cut at {at}: {result:?}");
    }
}

#[test]
fn malformed_events_break_the_stream() {
    for bad in ["data: {\n\n", "data: nonsense\n\n", "data: {\"choices\": 3}\n\n", "data: \"x\"\n\n"] {
        assert!(matches!(run(&[bad.as_bytes()]), Err(BackendError::BrokenStream(_))), "{bad}");
    }
}

#[test]
fn a_call_without_a_name_or_after_its_end_breaks_the_stream() {
    let nameless = chunks(&[more(0, "{}")], "tool_calls");
    assert!(matches!(run(&[nameless.as_bytes()]), Err(BackendError::BrokenStream(_))));
    let late = chunks(&[call(0, "c0", "f", "{}"), json!({"content": "x"}), more(0, "{}")], "tool_calls");
    assert!(matches!(run(&[late.as_bytes()]), Err(BackendError::BrokenStream(_))));
}

#[test]
fn an_error_event_ends_the_stream_with_its_meaning() {
    let stream = "data: {\"error\": {\"message\": \"busy\", \"code\": 429}}\n\n";
    assert!(matches!(run(&[stream.as_bytes()]), Err(BackendError::Overloaded { .. })));
}

/// Chunks in any order, some of them senseless.
fn pool() -> Vec<String> {
    let delta = |delta: Value| json!({"id": "x", "choices": [{"index": 0, "delta": delta}]});
    let mut chunks = vec![
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"content": "text"})),
        delta(json!({"reasoning_content": "thought"})),
        delta(json!({"content": "both", "reasoning": "at once", "tool_calls": []})),
        delta(call(0, "c0", "f", "")),
        delta(call(1, "c1", "g", "{}")),
        delta(call(0, "c2", "h", "{\"a\":")),
        delta(more(0, "{\"b\":")),
        delta(more(0, "1}")),
        delta(more(1, "")),
        delta(more(7, "{}")),
        json!({"choices": [{"index": 1, "delta": {"content": "another choice"}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}),
        json!({"error": {"message": "no"}}),
        json!({}),
    ];
    chunks.push(
        json!({"choices": [{"delta": {"tool_calls": [{"function": {"name": "n", "arguments": {"a": 1}}}]}}]}),
    );
    let mut written: Vec<String> = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    written.push("data: [DONE]\n\n".into());
    written
}

proptest::proptest! {
    #[test]
    fn whatever_comes_the_events_are_in_order(picks in proptest::collection::vec(0usize..18, 0..24)) {
        let stream: String = picks.iter().map(|pick| pool()[*pick].clone()).collect();
        crate::pump::check_order(OpenAiStream::new("up".into(), ASKED), stream.as_bytes());
    }

    #[test]
    fn no_bytes_make_it_panic(lines in proptest::collection::vec("(data: )?[\\[\\]{}\":,a-z0-9 ]{0,40}", 0..10)) {
        let _ = run(&[lines.join("\n\n").as_bytes()]);
    }
}
