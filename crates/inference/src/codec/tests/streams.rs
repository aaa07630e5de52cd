//! Streamed or not, the answer is the same.

use craton_backend::{Block, ChatEvent, Delta, Finished, Reasoning};
use craton_models::{Family, Task};
use proptest::prelude::*;
use serde_json::Value;

use super::super::{AnswerOptions, Decoded, chat_codec};
use super::{arbitrary, client};
use crate::answer::{Answer, events};

/// The answer's events, with texts and tool inputs in small pieces.
fn in_pieces(answer: &Answer) -> Vec<ChatEvent> {
    let mut pieces = Vec::new();
    for event in events(answer.clone()) {
        match event {
            ChatEvent::BlockDelta { index, delta: Delta::Text(text) } => {
                pieces.extend(
                    split(&text).map(|text| ChatEvent::BlockDelta { index, delta: Delta::Text(text) }),
                );
            }
            ChatEvent::BlockDelta { index, delta: Delta::ToolInput(text) } => {
                pieces.extend(
                    split(&text).map(|text| ChatEvent::BlockDelta { index, delta: Delta::ToolInput(text) }),
                );
            }
            ChatEvent::BlockDelta { index, delta: Delta::Reasoning(text) } => {
                pieces.extend(
                    split(&text).map(|text| ChatEvent::BlockDelta { index, delta: Delta::Reasoning(text) }),
                );
            }
            other => pieces.push(other),
        }
    }
    pieces
}

fn split(text: &str) -> impl Iterator<Item = String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(3).map(|chunk| chunk.iter().collect()).collect::<Vec<String>>().into_iter()
}

fn decoded(family: Family) -> Decoded {
    let mut decoded = Decoded::new(craton_backend::ChatRequest::default());
    decoded.model_id = "some.model-v1:0".to_owned();
    decoded.stream = true;
    decoded.text_completion = matches!(
        family,
        Family::AnthropicText
            | Family::TitanText
            | Family::Llama
            | Family::MistralText
            | Family::CohereCommand
    );
    decoded.options = AnswerOptions {
        include_usage: true,
        chat_history: vec![serde_json::json!({"role": "USER", "message": "hi"})],
        prompt: Some("hi".to_owned()),
    };
    decoded
}

fn streamed(family: Family, decoded: &Decoded, answer: &Answer) -> (Vec<Value>, Value) {
    let codec = chat_codec(family).unwrap();
    let whole: Value = serde_json::from_slice(&codec.encode(decoded, answer).unwrap()).unwrap();
    let mut encoder = codec.stream(decoded);
    let mut chunks = Vec::new();
    for event in in_pieces(answer) {
        let last = matches!(event, ChatEvent::Finished(_));
        let more = encoder.push(&event).unwrap();
        assert!(
            !last || more.last().is_some_and(Value::is_object),
            "the last event needs a chunk for the metrics"
        );
        chunks.extend(more);
    }
    (chunks, whole)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stream_put_together_is_the_whole_answer(answer in arbitrary::answer()) {
        for family in Family::of(Task::Chat) {
            let decoded = decoded(family);
            let (chunks, whole) = streamed(family, &decoded, &answer);
            let collected = client::collect(family, &chunks, &whole);
            prop_assert_eq!(collected, whole, "{:?}: {:?}", family, chunks);
        }
    }

    #[test]
    fn gpt_oss_reasons_inside_its_content(text in ".{1,12}", thought in ".{1,12}") {
        let mut decoded = decoded(Family::OpenAiChat);
        decoded.model_id = "openai.gpt-oss-20b-1:0".to_owned();
        let finished = Finished { reason: craton_backend::StopReason::EndTurn, stop_sequence: None,
            usage: craton_backend::Usage::default(), extra: Value::Null };
        let content = vec![
            Block::Reasoning(Reasoning::Text { text: thought.clone(), signature: None }),
            Block::Text(text.clone()),
        ];
        let (chunks, whole) = streamed(Family::OpenAiChat, &decoded, &Answer { content, finished });
        let expected = format!("<reasoning>{thought}</reasoning>{text}");
        prop_assert_eq!(whole["choices"][0]["message"]["content"].as_str(), Some(expected.as_str()));
        prop_assert_eq!(client::collect(Family::OpenAiChat, &chunks, &whole), whole);
    }
}

#[test]
fn an_unstreamed_command_comes_as_one_chunk() {
    let mut decoded = decoded(Family::CohereCommand);
    decoded.stream = false;
    let answer = Answer {
        content: vec![Block::Text("hello there".to_owned())],
        finished: Finished {
            reason: craton_backend::StopReason::EndTurn,
            stop_sequence: None,
            usage: craton_backend::Usage::default(),
            extra: Value::Null,
        },
    };
    let (chunks, whole) = streamed(Family::CohereCommand, &decoded, &answer);
    assert_eq!(chunks, [whole]);
}
