//! Nothing a client can send makes a codec panic, and what is refused is refused as a ValidationException.

use craton_models::{Family, Task};
use craton_wire::ApiError;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{anthropic, chat_codec, embedding, openai_chat, rerank};
use super::{arbitrary, write};
use crate::codec::ChatCodec;

/// Keys and words that mean something to some family.
const WORDS: &[&str] = &[
    "messages",
    "role",
    "user",
    "assistant",
    "content",
    "type",
    "text",
    "tool_use",
    "tool_result",
    "image",
    "source",
    "base64",
    "data",
    "media_type",
    "image/png",
    "tools",
    "tool_choice",
    "name",
    "input_schema",
    "id",
    "input",
    "prompt",
    "max_tokens",
    "anthropic_version",
    "bedrock-2023-05-31",
    "inputText",
    "textGenerationConfig",
    "system",
    "toolUse",
    "toolSpec",
    "toolConfig",
    "inferenceConfig",
    "message",
    "chat_history",
    "USER",
    "CHATBOT",
    "documents",
    "function",
    "arguments",
    "tool_calls",
    "response_format",
    "json_schema",
    "stop",
    "n",
    "thinking",
    "enabled",
    "budget_tokens",
    "texts",
    "input_type",
    "search_query",
    "query",
    "api_version",
    "taskType",
    "",
];

fn json_value() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(WORDS).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        word.clone().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((word.clone(), inner), 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn read_everywhere(body: &[u8]) -> Vec<Result<(), ApiError>> {
    let mut results: Vec<Result<(), ApiError>> =
        Family::of(Task::Chat).map(|family| chat_codec(family).unwrap().decode(body).map(drop)).collect();
    let doors: [&dyn ChatCodec; 3] = [&anthropic::DIRECT, &anthropic::DIRECT_COUNT, &openai_chat::DIRECT];
    results.extend(doors.iter().map(|door| door.decode(body).map(drop)));
    let embedders = [
        Family::TitanEmbedV1,
        Family::TitanEmbedV2,
        Family::TitanEmbedImage,
        Family::CohereEmbed,
        Family::NovaEmbed,
    ];
    results.extend(embedders.map(|family| embedding::decode(family, "cohere.embed-v4:0", body).map(drop)));
    results.extend(
        [Family::CohereRerank, Family::AmazonRerank].map(|family| rerank::decode(family, body).map(drop)),
    );
    results
}

/// Replaces the `at`th value of the tree, counted from the root.
fn replace(value: &mut Value, at: &mut usize, with: &Value) {
    if *at == 0 {
        *value = with.clone();
        *at = usize::MAX;
        return;
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, at, with)),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, item)| replace(item, at, with)),
        _ => {}
    }
}

fn checked(results: Vec<Result<(), ApiError>>) {
    for error in results.into_iter().filter_map(Result::err) {
        assert_eq!(error.code, "ValidationException");
        assert!(!error.message.is_empty());
    }
}

proptest! {
    #[test]
    fn any_bytes(body in vec(any::<u8>(), 0..200)) {
        checked(read_everywhere(&body));
    }

    #[test]
    fn any_json(body in json_value()) {
        checked(read_everywhere(body.to_string().as_bytes()));
    }

    #[test]
    fn nearly_right_bodies(
        (family, request) in prop::sample::select(Family::of(Task::Chat).collect::<Vec<_>>())
            .prop_flat_map(|family| (Just(family), arbitrary::request(family))),
        at in 0..60_usize,
        with in json_value(),
    ) {
        let mut body = write::body(family, &request);
        replace(&mut body, &mut { at }, &with);
        checked(vec![chat_codec(family).unwrap().decode(body.to_string().as_bytes()).map(drop)]);
    }
}

#[test]
fn deep_and_cut_off_bodies_are_refused() {
    let deep = format!("{{\"messages\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    for body in [deep.as_str(), "", "{\"prompt\": \"x", "[]", "null", "\u{feff}{}"] {
        let results = read_everywhere(body.as_bytes());
        assert!(results.iter().all(Result::is_err), "{}", &body[..body.len().min(40)]);
        checked(results);
    }
}

#[test]
fn replacing_reaches_every_value() {
    let mut seen = std::collections::HashSet::new();
    for at in 0..5 {
        let mut body = json!({"a": [1, {"b": 2}]});
        replace(&mut body, &mut { at }, &json!("!"));
        seen.insert(body.to_string());
    }
    assert_eq!(seen.len(), 5);
}
