//! Any bytes as the body of any family: read without a panic, and what was read can be answered.
#![no_main]

use craton_backend::{Block, ChatRequest, Finished, StopReason, Usage};
use craton_inference::Answer;
use craton_inference::codec::{
    ChatCodec, anthropic, chat_codec, embedding, openai_chat, openai_responses, prompt_template, rerank,
};
use craton_models::{Family, Task};
use libfuzzer_sys::fuzz_target;

/// Families whose bodies are read: pictures are not made here.
fn families() -> impl Iterator<Item = Family> {
    [Task::Chat, Task::Embedding, Task::Rerank].into_iter().flat_map(Family::of)
}

fuzz_target!(|input: &[u8]| {
    let Some((selector, body)) = input.split_first() else { return };
    let count = families().count();
    let selected = usize::from(*selector) % (count + 5);
    let Some(family) = families().nth(selected) else { return door(selected - count, body) };
    match chat_codec(family) {
        Some(codec) => chat(codec, body),
        None => {
            let _ = embedding::decode(family, "cohere.embed-v4:0", body);
            let _ = rerank::decode(family, body);
        }
    }
});

fn door(index: usize, body: &[u8]) {
    match index {
        0 => chat(&anthropic::DIRECT, body),
        1 => chat(&anthropic::DIRECT_COUNT, body),
        2 => chat(&openai_chat::DIRECT, body),
        3 => responses(body),
        _ => {
            let prompt = String::from_utf8_lossy(body);
            let parsed = prompt_template::parse(&prompt, prompt_template::Style::WITH_TITAN);
            assert!(!parsed.messages.is_empty());
        }
    }
}

fn responses(body: &[u8]) {
    let Ok(call) = openai_responses::ResponsesCall::decode(body) else { return };
    let whole = call.encode(&answer());
    let mut stream = call.stream();
    let events = craton_inference::answer::events(answer());
    let last = events.iter().flat_map(|event| stream.push(event)).last().expect("an answer has events");
    assert_eq!(last["response"], whole);
}

fn chat(codec: &dyn ChatCodec, body: &[u8]) {
    let Ok(decoded) = codec.decode(body) else { return };
    assert_ne!(decoded.request, ChatRequest::default());
    codec.encode(&decoded, &answer()).expect("an answer can always be written");
    let mut stream = codec.stream(&decoded);
    for event in craton_inference::answer::events(answer()) {
        stream.push(&event).expect("an event in order can always be written");
    }
}

fn answer() -> Answer {
    Answer {
        content: vec![Block::Text("hello".to_owned())],
        finished: Finished {
            reason: StopReason::EndTurn,
            stop_sequence: None,
            usage: Usage::default(),
            extra: serde_json::Value::Null,
        },
    }
}
