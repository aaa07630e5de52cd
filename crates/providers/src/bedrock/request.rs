//! A [`ChatRequest`] as the body of Converse, written straight to bytes.

use std::fmt::Display;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use craton_backend::{
    BackendError, Block, ChatRequest, Effort, Priority, Reasoning, ResponseSchema, Role, ToolChoice,
};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

/// What the body is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Answer,
    /// The part of it that CountTokens takes.
    Count,
}

pub(super) fn body(request: &ChatRequest, purpose: Purpose) -> Result<Vec<u8>, BackendError> {
    let mut bytes = Vec::with_capacity(1024);
    let converse = Converse { request, purpose, extra: extra(request) };
    let written = match purpose {
        Purpose::Answer => serde_json::to_writer(&mut bytes, &converse),
        Purpose::Count => serde_json::to_writer(&mut bytes, &Nested("input", Nested("converse", converse))),
    };
    written
        .map_err(|error| BackendError::Invalid(format!("the request can't be written as JSON: {error}")))?;
    Ok(bytes)
}

/// Whether Bedrock runs one of Anthropic's models under this id.
fn is_anthropic(model: &str) -> bool {
    model.contains("anthropic") || model.contains("claude")
}

/// The model's own fields: the caller's, and those of ours that Converse has no field for.
fn extra(request: &ChatRequest) -> Map<String, Value> {
    let mut extra = request.extra.clone();
    let mut add = |name: &str, value: Value| {
        extra.entry(name).or_insert(value);
    };
    if let Some(top_k) = request.sampling.top_k {
        add("top_k", json!(top_k));
    }
    if let Some(budget) = request.reasoning_budget_tokens
        && is_anthropic(&request.model)
    {
        add("thinking", json!({"type": "enabled", "budget_tokens": budget}));
    }
    if request.one_tool_call && !request.tools.is_empty() && is_anthropic(&request.model) {
        // Converse itself has no field for it; where its own tool choice is set, that one stands.
        if request.tool_choice == ToolChoice::Auto {
            add("tool_choice", json!({"type": "auto", "disable_parallel_tool_use": true}));
        }
    }
    extra
}

struct Nested<T>(&'static str, T);

impl<T: Serialize> Serialize for Nested<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

struct Converse<'a> {
    request: &'a ChatRequest,
    purpose: Purpose,
    extra: Map<String, Value>,
}

impl Serialize for Converse<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.request;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("messages", &Messages(request))?;
        if !request.system.is_empty() {
            map.serialize_entry("system", &Content(&request.system))?;
        }
        if !request.tools.is_empty() && !without_tools(request) {
            map.serialize_entry("toolConfig", &ToolConfig(request))?;
        }
        if !self.extra.is_empty() {
            map.serialize_entry("additionalModelRequestFields", &self.extra)?;
        }
        if self.purpose == Purpose::Answer {
            answer_fields(request, &mut map)?;
        }
        map.end()
    }
}

fn answer_fields<M: SerializeMap>(request: &ChatRequest, map: &mut M) -> Result<(), M::Error> {
    let sampling = &request.sampling;
    let inference = InferenceConfig {
        max_tokens: sampling.max_tokens,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        stop_sequences: &sampling.stop_sequences,
    };
    if inference != InferenceConfig::default() {
        map.serialize_entry("inferenceConfig", &inference)?;
    }
    // Which sequence it was, Converse tells only when asked.
    if !sampling.stop_sequences.is_empty() && is_anthropic(&request.model) {
        map.serialize_entry("additionalModelResponseFieldPaths", &["/stop_sequence"])?;
    }
    let output = OutputConfig {
        text_format: request.response_schema.as_ref().map(TextFormat),
        effort: request.effort.map(Effort::as_str),
    };
    if output.text_format.is_some() || output.effort.is_some() {
        map.serialize_entry("outputConfig", &output)?;
    }
    match request.priority {
        Priority::Default => Ok(()),
        Priority::Priority => map.serialize_entry("serviceTier", &Nested("type", "priority")),
        Priority::Flex => map.serialize_entry("serviceTier", &Nested("type", "flex")),
    }
}

/// Converse has no way to forbid tools but to leave them out, which it allows while no message speaks of one.
fn without_tools(request: &ChatRequest) -> bool {
    request.tool_choice == ToolChoice::None
        && !request
            .messages
            .iter()
            .flat_map(|message| &message.content)
            .any(|block| matches!(block, Block::ToolUse(_) | Block::ToolResult(_)))
}

#[derive(Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct InferenceConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text_format: Option<TextFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
}

struct TextFormat<'a>(&'a ResponseSchema);

impl Serialize for TextFormat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Schema<'a> {
            schema: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
        }
        let schema = Schema { schema: self.0.schema.to_string(), name: self.0.name.as_deref() };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", "json_schema")?;
        map.serialize_entry("structure", &Nested("jsonSchema", schema))?;
        map.end()
    }
}

struct ToolConfig<'a>(&'a ChatRequest);

impl Serialize for ToolConfig<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            input_schema: Nested<&'a Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            strict: Option<bool>,
        }
        let tools = self.0.tools.iter().map(|tool| {
            Nested(
                "toolSpec",
                Spec {
                    name: &tool.name,
                    description: tool.description.as_deref(),
                    input_schema: Nested("json", &tool.input_schema),
                    strict: tool.strict.then_some(true),
                },
            )
        });
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("tools", &tools.collect::<Vec<_>>())?;
        match &self.0.tool_choice {
            ToolChoice::Auto | ToolChoice::None => {}
            ToolChoice::Any => map.serialize_entry("toolChoice", &json!({"any": {}}))?,
            ToolChoice::Tool(name) => {
                map.serialize_entry("toolChoice", &Nested("tool", Nested("name", name)))?;
            }
        }
        map.end()
    }
}

struct Messages<'a>(&'a ChatRequest);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Entry<'a> {
            role: &'static str,
            content: Content<'a>,
        }
        serializer.collect_seq(self.0.messages.iter().map(|message| Entry {
            role: match message.role {
                Role::User => "user",
                Role::Assistant => "assistant",
            },
            content: Content(&message.content),
        }))
    }
}

struct Content<'a>(&'a [Block]);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Entry))
    }
}

struct Entry<'a>(&'a Block);

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self.0 {
            Block::Text(text) => map.serialize_entry("text", text)?,
            Block::Image(image) => {
                let source = Nested("bytes", base64(&image.bytes));
                map.serialize_entry("image", &Media { name: None, format: &image.format, source })?;
            }
            Block::Document(document) => {
                let source = Nested("bytes", base64(&document.bytes));
                let media = Media { name: Some(&document.name), format: &document.format, source };
                map.serialize_entry("document", &media)?;
            }
            Block::ToolUse(call) => {
                let call = ToolUse { tool_use_id: &call.id, name: &call.name, input: &call.input };
                map.serialize_entry("toolUse", &call)?;
            }
            Block::ToolResult(result) => {
                let result = ToolResult {
                    tool_use_id: &result.tool_use_id,
                    content: Content(&result.content),
                    status: result.is_error.then_some("error"),
                };
                map.serialize_entry("toolResult", &result)?;
            }
            Block::Reasoning(Reasoning::Text { text, signature }) => {
                let text = ReasoningText { text, signature: signature.as_deref() };
                map.serialize_entry("reasoningContent", &Nested("reasoningText", text))?;
            }
            Block::Reasoning(Reasoning::Redacted(bytes)) => {
                map.serialize_entry("reasoningContent", &Nested("redactedContent", base64(bytes)))?;
            }
            Block::CachePoint => map.serialize_entry("cachePoint", &Nested("type", "default"))?,
        }
        map.end()
    }
}

fn base64(bytes: &[u8]) -> Written<Base64Display<'_, 'static, base64::engine::GeneralPurpose>> {
    Written(Base64Display::new(bytes, &STANDARD))
}

struct Written<T>(T);

impl<T: Display> Serialize for Written<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(serde::Serialize)]
struct Media<'a, S> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    format: &'a str,
    source: S,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolUse<'a> {
    tool_use_id: &'a str,
    name: &'a str,
    input: &'a Value,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'a> {
    tool_use_id: &'a str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

#[derive(serde::Serialize)]
struct ReasoningText<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use craton_backend::*;

    use super::*;

    fn written(request: &ChatRequest, purpose: Purpose) -> Value {
        serde_json::from_slice(&body(request, purpose).unwrap()).unwrap()
    }

    #[test]
    fn every_field_has_its_place() {
        let text = |text: &str| Block::Text(text.into());
        let bytes = Bytes::from_static(b"\x89PNG");
        let schema = json!({"type": "object"});
        let call = craton_backend::ToolUse { id: "t".into(), name: "look".into(), input: json!({"a": 1}) };
        let result =
            craton_backend::ToolResult { tool_use_id: "t".into(), content: vec![text("no")], is_error: true };
        let request = ChatRequest {
            model: "anthropic.claude-x".into(),
            system: vec![text("Be brief."), Block::CachePoint],
            messages: vec![
                Message {
                    role: Role::User,
                    content: vec![
                        Block::Image(Image { format: "png".into(), bytes: bytes.clone() }),
                        Block::Document(Document {
                            name: "d".into(),
                            format: "pdf".into(),
                            bytes: bytes.clone(),
                        }),
                    ],
                },
                Message {
                    role: Role::Assistant,
                    content: vec![
                        Block::Reasoning(Reasoning::Text { text: "hm".into(), signature: None }),
                        Block::Reasoning(Reasoning::Redacted(bytes)),
                        Block::ToolUse(call),
                    ],
                },
                Message { role: Role::User, content: vec![Block::ToolResult(result)] },
            ],
            sampling: Sampling {
                max_tokens: Some(9),
                top_k: Some(3),
                stop_sequences: vec!["END".into()],
                ..Sampling::default()
            },
            tools: vec![Tool {
                name: "look".into(),
                description: None,
                input_schema: schema.clone(),
                strict: true,
            }],
            tool_choice: ToolChoice::Tool("look".into()),
            response_schema: Some(ResponseSchema { name: Some("n".into()), schema: schema.clone() }),
            reasoning_budget_tokens: Some(1024),
            priority: Priority::Flex,
            ..ChatRequest::default()
        };
        let source = json!({"bytes": "iVBORw=="});
        let prompt = json!({
            "messages": [
                {"role": "user", "content": [
                    {"image": {"format": "png", "source": source}},
                    {"document": {"name": "d", "format": "pdf", "source": source}}]},
                {"role": "assistant", "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm"}}},
                    {"reasoningContent": {"redactedContent": "iVBORw=="}},
                    {"toolUse": {"toolUseId": "t", "name": "look", "input": {"a": 1}}}]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": "t", "content": [{"text": "no"}], "status": "error"}}]},
            ],
            "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": schema}, "strict": true}}],
                "toolChoice": {"tool": {"name": "look"}}},
            "additionalModelRequestFields": {"top_k": 3, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        });
        assert_eq!(written(&request, Purpose::Count), json!({"input": {"converse": prompt}}));
        let mut whole = prompt;
        whole["inferenceConfig"] = json!({"maxTokens": 9, "stopSequences": ["END"]});
        whole["additionalModelResponseFieldPaths"] = json!(["/stop_sequence"]);
        whole["outputConfig"] = json!({"textFormat": {"type": "json_schema",
            "structure": {"jsonSchema": {"schema": "{\"type\":\"object\"}", "name": "n"}}}});
        whole["serviceTier"] = json!({"type": "flex"});
        assert_eq!(written(&request, Purpose::Answer), whole);
    }

    #[test]
    fn effort_has_a_field_of_its_own() {
        let request = ChatRequest { effort: Some(Effort::Max), ..ChatRequest::default() };
        let whole = json!({"messages": [], "outputConfig": {"effort": "max"}});
        assert_eq!(written(&request, Purpose::Answer), whole);
    }

    #[test]
    fn forbidden_tools_are_left_out_while_no_message_speaks_of_one() {
        let mut request = ChatRequest {
            tools: vec![Tool { name: "t".into(), description: None, input_schema: json!({}), strict: false }],
            tool_choice: ToolChoice::None,
            ..ChatRequest::default()
        };
        assert_eq!(written(&request, Purpose::Answer), json!({"messages": []}));
        let call = craton_backend::ToolUse { id: "t".into(), name: "t".into(), input: json!({}) };
        request.messages = vec![Message { role: Role::Assistant, content: vec![Block::ToolUse(call)] }];
        assert!(written(&request, Purpose::Answer).get("toolConfig").is_some());
    }
}
