use bytes::Bytes;
use craton_backend::*;
use serde_json::{Value, json};

use super::*;

fn written(request: &ChatRequest, stream: bool) -> Value {
    let style = Style { max_tokens_field: MaxTokensField::MaxTokens, stream };
    serde_json::from_slice(&body(request, style).unwrap()).unwrap()
}

fn user(content: Vec<Block>) -> Message {
    Message { role: Role::User, content }
}

fn assistant(content: Vec<Block>) -> Message {
    Message { role: Role::Assistant, content }
}

fn text(text: &str) -> Block {
    Block::Text(text.to_owned())
}

#[test]
fn a_plain_request_is_as_small_as_it_can_be() {
    let request =
        ChatRequest { model: "m".into(), messages: vec![user(vec![text("Hi")])], ..ChatRequest::default() };
    assert_eq!(
        written(&request, false),
        json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})
    );
    assert_eq!(
        written(&request, true),
        json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}],
               "stream": true, "stream_options": {"include_usage": true}})
    );
}

#[test]
fn every_field_has_its_place() {
    let schema = json!({"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}});
    let mut extra = serde_json::Map::new();
    extra.insert("temperature".into(), json!(9));
    extra.insert("stream".into(), json!(false));
    extra.insert("model".into(), json!("other"));
    extra.insert("logit_bias".into(), json!({"50256": -100}));
    let request = ChatRequest {
        model: "m".into(),
        system: vec![text("Be brief."), Block::CachePoint, text("Be kind.")],
        messages: vec![
            user(vec![text("What is this?"), image()]),
            assistant(vec![
                Block::Reasoning(Reasoning::Text { text: "hm".into(), signature: None }),
                text("Let me look."),
                call("c1", "look", json!({"at": "it"})),
                call("c2", "look", json!({})),
            ]),
            user(vec![result("c1", "a cat", false), result("c2", "no light", true), text("Well?")]),
            assistant(vec![call("c3", "look", json!({"at": "sky"}))]),
            user(vec![result("c3", "blue", false)]),
        ],
        sampling: Sampling {
            max_tokens: Some(20),
            temperature: Some(0.5),
            top_p: Some(0.25),
            top_k: Some(4),
            stop_sequences: vec!["END".into()],
            seed: Some(7),
            presence_penalty: Some(1.0),
            frequency_penalty: Some(-1.0),
        },
        tools: vec![Tool {
            name: "look".into(),
            description: Some("Looks.".into()),
            input_schema: schema.clone(),
            strict: true,
        }],
        tool_choice: ToolChoice::Tool("look".into()),
        response_schema: Some(ResponseSchema { name: None, schema: schema.clone() }),
        reasoning_budget_tokens: Some(2000),
        extra,
        ..ChatRequest::default()
    };
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "look", "arguments": arguments}});
    assert_eq!(
        written(&request, false),
        json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief.\nBe kind."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}]},
                {"role": "assistant", "content": "Let me look.",
                 "tool_calls": [call("c1", r#"{"at":"it"}"#), call("c2", "{}")]},
                {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
                {"role": "tool", "tool_call_id": "c2", "content": "Error: no light"},
                {"role": "user", "content": "Well?"},
                {"role": "assistant", "content": null, "tool_calls": [call("c3", r#"{"at":"sky"}"#)]},
                {"role": "tool", "tool_call_id": "c3", "content": "blue"},
            ],
            "max_tokens": 20, "temperature": 0.5, "top_p": 0.25, "top_k": 4, "seed": 7,
            "presence_penalty": 1.0, "frequency_penalty": -1.0, "stop": ["END"],
            "tools": [{"type": "function", "function": {
                "name": "look", "description": "Looks.", "parameters": schema, "strict": true}}],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "response_format": {"type": "json_schema", "json_schema": {
                "name": "answer", "schema": schema, "strict": true}},
            "reasoning_effort": "medium",
            "logit_bias": {"50256": -100},
        })
    );
}

#[test]
fn effort_is_said_in_the_words_of_the_format() {
    for (effort, said) in [(Effort::Low, "low"), (Effort::High, "high"), (Effort::Max, "xhigh")] {
        let mut request = ChatRequest { effort: Some(effort), ..ChatRequest::default() };
        request.reasoning_budget_tokens = Some(9);
        request.extra.insert("output_config".into(), json!({"task_budget": {}}));
        assert_eq!(written(&request, false), json!({"model": "", "messages": [], "reasoning_effort": said}));
        request.extra.insert("reasoning_effort".into(), json!("minimal"));
        assert_eq!(written(&request, false)["reasoning_effort"], "minimal");
    }
}

#[test]
fn a_tools_images_follow_its_message() {
    let result = ToolResult { tool_use_id: "c".into(), content: vec![text("see"), image()], is_error: false };
    let request =
        ChatRequest { messages: vec![user(vec![Block::ToolResult(result)])], ..ChatRequest::default() };
    assert_eq!(
        written(&request, false)["messages"],
        json!([{"role": "tool", "tool_call_id": "c", "content": "see"},
               {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}]}])
    );
}

#[test]
fn the_newer_name_of_max_tokens() {
    let mut request = ChatRequest::default();
    request.sampling.max_tokens = Some(3);
    let style = Style { max_tokens_field: MaxTokensField::MaxCompletionTokens, stream: false };
    let value: Value = serde_json::from_slice(&body(&request, style).unwrap()).unwrap();
    assert_eq!(value["max_completion_tokens"], 3);
    assert_eq!(value.get("max_tokens"), None);
}

#[test]
fn documents_are_refused() {
    let document = Document { name: "d".into(), format: "pdf".into(), bytes: Bytes::from_static(b"%PDF") };
    let request =
        ChatRequest { messages: vec![user(vec![Block::Document(document)])], ..ChatRequest::default() };
    let style = Style { max_tokens_field: MaxTokensField::MaxTokens, stream: false };
    assert!(matches!(body(&request, style), Err(BackendError::Unsupported(_))));
}

fn image() -> Block {
    Block::Image(Image { format: "png".into(), bytes: Bytes::from_static(b"\x89PNG") })
}

fn call(id: &str, name: &str, input: Value) -> Block {
    Block::ToolUse(ToolUse { id: id.into(), name: name.into(), input })
}

fn result(id: &str, says: &str, is_error: bool) -> Block {
    Block::ToolResult(ToolResult { tool_use_id: id.into(), content: vec![text(says)], is_error })
}
