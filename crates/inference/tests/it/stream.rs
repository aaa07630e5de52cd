//! ConverseStream: its events, and that they add up to what Converse answers.

use craton_backend::{
    BackendError, Block, BlockStart, ChatEvent, Delta, Finished, Reasoning, StopReason, ToolUse, Usage,
};
use craton_inference::Answer;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::scripted::{Step, World, finished, frames, input, said, sent, user, world};

async fn streamed(world: &World, fields: Value) -> Vec<(String, Value)> {
    frames(world.inference.converse_stream(&world.context, input(fields)).await.unwrap()).await
}

fn names(frames: &[(String, Value)]) -> Vec<&str> {
    frames.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn text_has_no_start_event() {
    let world = world().await;
    world.model.answer(said("Hello there.", 5));
    let frames = streamed(&world, json!({"messages": user("hi")})).await;
    insta::assert_json_snapshot!(frames);
    assert!(world.model.asked().stream);
}

#[tokio::test]
async fn a_stream_with_everything() {
    let world = world().await;
    let content = vec![
        Block::Reasoning(Reasoning::Text { text: "Let me see.".into(), signature: Some("c2ln".into()) }),
        Block::Text("I'll look.".into()),
        Block::Text(String::new()),
        Block::ToolUse(ToolUse { id: "t1".into(), name: "weather".into(), input: json!({"city": "Ghent"}) }),
    ];
    let usage = Usage { input_tokens: 7, output_tokens: 21, cache_read_tokens: 100, cache_write_tokens: 20 };
    world.model.answer(Answer {
        content,
        finished: Finished { reason: StopReason::ToolUse, stop_sequence: None, usage, extra: Value::Null },
    });
    let frames = streamed(
        &world,
        json!({
            "messages": [{"role": "user", "content": [{"text": "weather?"}, {"cachePoint": {"type": "default"}}]}],
            "toolConfig": {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]},
            "additionalModelResponseFieldPaths": ["/delta/stop_sequence"],
            "serviceTier": {"type": "default"},
            "performanceConfig": {"latency": "optimized"},
        }),
    )
    .await;
    insta::assert_json_snapshot!(frames);
}

#[tokio::test]
async fn an_error_after_the_start_is_an_exception_of_the_stream() {
    let world = world().await;
    let begun = || {
        let start = ChatEvent::BlockStart { index: 0, block: BlockStart::Text };
        let delta = ChatEvent::BlockDelta { index: 0, delta: Delta::Text("Hel".into()) };
        let started = ChatEvent::Started { usage: Usage { input_tokens: 4, ..Usage::default() } };
        vec![Step::Event(started), Step::Event(start), Step::Event(delta)]
    };
    let cases = [
        (Some(BackendError::BrokenStream("reset".into())), "ModelStreamErrorException"),
        (Some(BackendError::Timeout(std::time::Duration::from_secs(1))), "ModelStreamErrorException"),
        (Some(BackendError::Internal("bug".into())), "InternalServerException"),
        // The backend's stream ends before the answer does.
        (None, "ModelStreamErrorException"),
    ];
    for (error, code) in cases {
        world.model.steps(begun().into_iter().chain(error.clone().map(Step::Error)).collect());
        let frames = streamed(&world, json!({"messages": user("hi")})).await;
        assert_eq!(names(&frames), ["messageStart", "contentBlockDelta", code]);
        world.model.steps(begun().into_iter().chain(error.map(Step::Error)).collect());
        let answer = world.inference.converse(&world.context, input(json!({"messages": user("hi")}))).await;
        let expected = if code == "InternalServerException" { code } else { "Model" };
        let unstreamed = answer.map(|_| ()).unwrap_err().code;
        assert!(
            unstreamed.starts_with(expected) && unstreamed != "ModelStreamErrorException",
            "{unstreamed}"
        );
    }
}

/// What a client puts together from the events, as Converse would have answered it.
fn put_together(frames: &[(String, Value)]) -> Value {
    let mut blocks: Vec<(i64, Map<String, Value>, String)> = Vec::new();
    let mut answer = Map::new();
    for (name, payload) in frames {
        let index = payload["contentBlockIndex"].as_i64().unwrap_or(-1);
        match name.as_str() {
            "contentBlockStart" => {
                let Value::Object(start) = payload["start"].clone() else { panic!("{payload}") };
                blocks.push((index, start, String::new()));
            }
            "contentBlockDelta" => {
                if blocks.last().is_none_or(|(open, ..)| *open != index) {
                    blocks.push((index, Map::new(), String::new()));
                }
                let (_, block, tool_input) = blocks.last_mut().unwrap();
                add_delta(block, tool_input, &payload["delta"]);
            }
            "contentBlockStop" => {
                let (open, block, tool_input) = blocks.last_mut().unwrap();
                assert_eq!(*open, index);
                if let Some(tool_use) = block.get_mut("toolUse") {
                    let text = if tool_input.is_empty() { "{}" } else { tool_input };
                    tool_use["input"] = serde_json::from_str(text).unwrap();
                }
            }
            "messageStop" => {
                answer.insert("stopReason".into(), payload["stopReason"].clone());
            }
            "metadata" => {
                answer.insert("usage".into(), payload["usage"].clone());
            }
            _ => assert_eq!(payload, &json!({"role": "assistant"})),
        }
    }
    let content: Vec<Value> = blocks.into_iter().map(|(_, block, _)| Value::Object(block)).collect();
    answer.insert("content".into(), json!(content));
    Value::Object(answer)
}

fn add_delta(block: &mut Map<String, Value>, tool_input: &mut String, delta: &Value) {
    let add = |place: &mut Value, more: &Value| {
        *place = json!(format!("{}{}", place.as_str().unwrap_or_default(), more.as_str().unwrap()));
    };
    if let Some(text) = delta.get("text") {
        add(block.entry("text").or_insert(Value::Null), text);
    } else if let Some(tool_use) = delta.get("toolUse") {
        tool_input.push_str(tool_use["input"].as_str().unwrap());
    } else {
        let reasoning = block.entry("reasoningContent").or_insert_with(|| json!({}));
        let delta = &delta["reasoningContent"];
        for name in ["text", "signature"] {
            if let Some(more) = delta.get(name) {
                add(&mut reasoning["reasoningText"][name], more);
            }
        }
        if let Some(redacted) = delta.get("redactedContent") {
            reasoning["redactedContent"] = redacted.clone();
        }
    }
}

fn block() -> impl Strategy<Value = Block> {
    prop_oneof![
        ".{0,40}".prop_map(Block::Text),
        ("[a-z]{1,8}", "[a-z]{1,8}", ".{0,12}").prop_map(|(id, name, text)| {
            Block::ToolUse(ToolUse { id, name, input: json!({ "text": text }) })
        }),
        (".{1,20}", proptest::option::of("[a-z]{1,9}"))
            .prop_map(|(text, signature)| Block::Reasoning(Reasoning::Text { text, signature })),
        proptest::collection::vec(any::<u8>(), 1..9)
            .prop_map(|bytes| Block::Reasoning(Reasoning::Redacted(bytes.into()))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_stream_adds_up_to_the_answer(content in proptest::collection::vec(block(), 0..5), input_tokens in 0..9u32) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = world().await;
            let answer = Answer { content, finished: finished(StopReason::EndTurn, input_tokens) };
            world.model.answer(answer.clone());
            world.model.answer(answer);
            let frames = streamed(&world, json!({"messages": user("hi")})).await;
            let whole = world.inference.converse(&world.context, input(json!({"messages": user("hi")}))).await.unwrap();
            let (whole, _) = sent(whole);
            let together = put_together(&frames);
            // A whole answer has a block even where nothing was said.
            let said_nothing = together["content"] == json!([]);
            let content = if said_nothing { json!([{"text": ""}]) } else { together["content"].clone() };
            assert_eq!(content, whole["output"]["message"]["content"]);
            assert_eq!(together["stopReason"], whole["stopReason"]);
            assert_eq!(together["usage"], whole["usage"]);
        });
    }
}
