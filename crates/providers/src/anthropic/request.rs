//! A [`ChatRequest`] as the body of a Messages call, written straight to bytes.

use std::fmt::Display;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use craton_backend::{BackendError, Block, ChatRequest, Image, Reasoning, Role, ToolChoice};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Value, json};

use crate::fields::Fields;

/// The API has no default for `max_tokens`; this is the largest that its oldest models take.
const DEFAULT_MAX_TOKENS: u32 = 4096;

/// Fields that an extra one may not set. `anthropic_beta` is Bedrock's name for what is a header here, see [`betas`].
const OWN_FIELDS: [&str; 7] =
    ["model", "max_tokens", "messages", "stream", "system", "tools", "anthropic_beta"];

/// What the body is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Answer { stream: bool },
    Count,
}

/// Refuses what the format can't carry, then writes the body.
pub(super) fn body(request: &ChatRequest, purpose: Purpose) -> Result<Vec<u8>, BackendError> {
    check(request)?;
    let mut bytes = Vec::with_capacity(1024);
    serde_json::to_writer(&mut bytes, &Body { request, purpose })
        .map_err(|error| BackendError::Invalid(format!("the request can't be written as JSON: {error}")))?;
    Ok(bytes)
}

fn check(request: &ChatRequest) -> Result<(), BackendError> {
    let blocks = request.messages.iter().flat_map(|message| &message.content);
    let nested = blocks.clone().filter_map(|block| match block {
        Block::ToolResult(result) => Some(&result.content),
        _ => None,
    });
    if blocks.chain(nested.flatten()).any(|block| matches!(block, Block::Document(_))) {
        return Err(BackendError::Unsupported("this upstream is given documents only as text".to_owned()));
    }
    Ok(())
}

struct Body<'a> {
    request: &'a ChatRequest,
    purpose: Purpose,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.request;
        let mut map = Fields::new(serializer.serialize_map(None)?);
        map.always("model", &request.model)?;
        if request.system.iter().any(is_content) {
            map.always("system", &Content(&request.system))?;
        }
        map.always("messages", &Messages(request))?;
        if !request.tools.is_empty() {
            map.always("tools", &Tools(request))?;
            if let Some(choice) = choice(request) {
                map.own("tool_choice", &choice)?;
            }
        }
        if let Some(budget_tokens) = request.reasoning_budget_tokens {
            map.own("thinking", &Thinking { r#type: "enabled", budget_tokens })?;
        }
        if let Some(config) = output_config(request, self.purpose) {
            map.own("output_config", &config)?;
        }
        match self.purpose {
            // The counting endpoint refuses what has no part in the prompt.
            Purpose::Count => map.finish(&Map::new(), &OWN_FIELDS),
            Purpose::Answer { stream } => {
                self.answer_fields(&mut map, stream)?;
                map.finish(&request.extra, &OWN_FIELDS)
            }
        }
    }
}

impl Body<'_> {
    fn answer_fields<M: SerializeMap>(&self, map: &mut Fields<M>, stream: bool) -> Result<(), M::Error> {
        let sampling = &self.request.sampling;
        let thinking = self.request.reasoning_budget_tokens.unwrap_or(0);
        let max_tokens = sampling.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS.saturating_add(thinking));
        map.always("max_tokens", &max_tokens)?;
        map.some("temperature", sampling.temperature.as_ref())?;
        map.some("top_p", sampling.top_p.as_ref())?;
        map.some("top_k", sampling.top_k.as_ref())?;
        map.some("stop_sequences", Some(&sampling.stop_sequences).filter(|stops| !stops.is_empty()))?;
        if stream {
            map.always("stream", &true)?;
        }
        Ok(())
    }
}

#[derive(serde::Serialize)]
struct Choice<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    disable_parallel_tool_use: bool,
}

/// None for what is the default anyway.
fn choice(request: &ChatRequest) -> Option<Choice<'_>> {
    let (r#type, name) = match &request.tool_choice {
        ToolChoice::Auto if !request.one_tool_call => return None,
        ToolChoice::Auto => ("auto", None),
        ToolChoice::Any => ("any", None),
        ToolChoice::None => ("none", None),
        ToolChoice::Tool(name) => ("tool", Some(name.as_str())),
    };
    let disable_parallel_tool_use = request.one_tool_call && request.tool_choice != ToolChoice::None;
    Some(Choice { r#type, name, disable_parallel_tool_use })
}

/// The value of the `anthropic-beta` header for the features that the caller named in `anthropic_beta`.
pub(super) fn betas(request: &ChatRequest) -> Option<String> {
    let names: Vec<&str> = match request.extra.get("anthropic_beta")? {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        Value::String(name) => vec![name],
        _ => return None,
    };
    (!names.is_empty()).then(|| names.join(","))
}

#[derive(serde::Serialize)]
struct Thinking {
    r#type: &'static str,
    budget_tokens: u32,
}

/// What the caller's own field says, and what this crate knows of it.
fn output_config(request: &ChatRequest, purpose: Purpose) -> Option<Map<String, Value>> {
    let answers = purpose != Purpose::Count;
    let mut config = match request.extra.get("output_config") {
        Some(Value::Object(config)) if answers => config.clone(),
        _ => Map::new(),
    };
    if let Some(schema) = &request.response_schema {
        let format = json!({"type": "json_schema", "schema": schema.schema});
        config.insert("format".to_owned(), format);
    }
    if let Some(effort) = request.effort.filter(|_| answers) {
        config.entry("effort").or_insert_with(|| effort.as_str().into());
    }
    (!config.is_empty()).then_some(config)
}

#[derive(serde::Serialize)]
struct CacheControl {
    r#type: &'static str,
}

const EPHEMERAL: CacheControl = CacheControl { r#type: "ephemeral" };

struct Tools<'a>(&'a ChatRequest);

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Entry<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            input_schema: &'a Value,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            strict: bool,
        }
        serializer.collect_seq(self.0.tools.iter().map(|tool| Entry {
            name: &tool.name,
            description: tool.description.as_deref(),
            input_schema: &tool.input_schema,
            strict: tool.strict,
        }))
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

/// The API refuses empty text, which carries nothing anyway.
fn is_content(block: &Block) -> bool {
    match block {
        Block::CachePoint | Block::Document(_) => false,
        Block::Text(text) => !text.is_empty(),
        _ => true,
    }
}

/// Blocks; a cache point marks the block before it.
struct Content<'a>(&'a [Block]);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        let mut blocks =
            self.0.iter().filter(|block| is_content(block) || **block == Block::CachePoint).peekable();
        while let Some(block) = blocks.next() {
            if *block == Block::CachePoint {
                continue;
            }
            let cached = blocks.peek().is_some_and(|next| **next == Block::CachePoint);
            seq.serialize_element(&Entry { block, cached })?;
        }
        seq.end()
    }
}

struct Entry<'a> {
    block: &'a Block,
    cached: bool,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let kind = match self.block {
            Block::Image(_) => "image",
            Block::ToolUse(_) => "tool_use",
            Block::ToolResult(_) => "tool_result",
            Block::Reasoning(Reasoning::Text { .. }) => "thinking",
            Block::Reasoning(Reasoning::Redacted(_)) => "redacted_thinking",
            Block::Text(_) | Block::Document(_) | Block::CachePoint => "text",
        };
        map.serialize_entry("type", kind)?;
        match self.block {
            Block::Text(text) => map.serialize_entry("text", text)?,
            Block::Image(image) => map.serialize_entry("source", &Source::new(image))?,
            Block::ToolUse(call) => {
                map.serialize_entry("id", &call.id)?;
                map.serialize_entry("name", &call.name)?;
                map.serialize_entry("input", &call.input)?;
            }
            Block::ToolResult(result) => {
                map.serialize_entry("tool_use_id", &result.tool_use_id)?;
                map.serialize_entry("content", &Content(&result.content))?;
                if result.is_error {
                    map.serialize_entry("is_error", &true)?;
                }
            }
            Block::Reasoning(Reasoning::Text { text, signature }) => {
                map.serialize_entry("thinking", text)?;
                map.serialize_entry("signature", signature.as_deref().unwrap_or_default())?;
            }
            Block::Reasoning(Reasoning::Redacted(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => map.serialize_entry("data", text)?,
                Err(_) => map.serialize_entry("data", &Written(Base64Display::new(bytes, &STANDARD)))?,
            },
            Block::Document(_) | Block::CachePoint => {}
        }
        if self.cached {
            map.serialize_entry("cache_control", &EPHEMERAL)?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Source<'a> {
    r#type: &'static str,
    media_type: Written<String>,
    data: Written<Base64Display<'a, 'static, base64::engine::GeneralPurpose>>,
}

impl<'a> Source<'a> {
    fn new(image: &'a Image) -> Self {
        Self {
            r#type: "base64",
            media_type: Written(format!("image/{}", image.format)),
            data: Written(Base64Display::new(&image.bytes, &STANDARD)),
        }
    }
}

struct Written<T>(T);

impl<T: Display> Serialize for Written<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use craton_backend::*;

    use super::*;

    fn written(request: &ChatRequest, purpose: Purpose) -> Value {
        serde_json::from_slice(&body(request, purpose).unwrap()).unwrap()
    }

    fn request() -> ChatRequest {
        let mut extra = serde_json::Map::new();
        extra.insert("anthropic_beta".into(), json!(["x"]));
        extra.insert("stream".into(), json!("no"));
        extra.insert("top_k".into(), json!(9));
        let text = |text: &str| Block::Text(text.into());
        let image = Image { format: "png".into(), bytes: Bytes::from_static(b"\x89PNG") };
        ChatRequest {
            model: "claude".into(),
            system: vec![text("Be brief."), Block::CachePoint],
            messages: vec![
                Message { role: Role::User, content: vec![text("Look"), text(""), Block::Image(image)] },
                Message {
                    role: Role::Assistant,
                    content: vec![
                        Block::Reasoning(Reasoning::Text { text: "hm".into(), signature: Some("s".into()) }),
                        Block::Reasoning(Reasoning::Redacted(Bytes::from_static(b"opaque"))),
                        Block::ToolUse(ToolUse {
                            id: "t".into(),
                            name: "look".into(),
                            input: json!({"a": 1}),
                        }),
                    ],
                },
                Message {
                    role: Role::User,
                    content: vec![
                        Block::ToolResult(ToolResult {
                            tool_use_id: "t".into(),
                            content: vec![text("dark")],
                            is_error: true,
                        }),
                        Block::CachePoint,
                    ],
                },
            ],
            sampling: Sampling {
                temperature: Some(0.5),
                stop_sequences: vec!["END".into()],
                ..Sampling::default()
            },
            tools: vec![Tool {
                name: "look".into(),
                description: None,
                input_schema: json!({"type": "object"}),
                strict: false,
            }],
            tool_choice: ToolChoice::Any,
            reasoning_budget_tokens: Some(1024),
            extra,
            ..ChatRequest::default()
        }
    }

    #[test]
    fn every_field_has_its_place() {
        let cache = json!({"type": "ephemeral"});
        assert_eq!(
            written(&request(), Purpose::Answer { stream: true }),
            json!({
                "model": "claude",
                "system": [{"type": "text", "text": "Be brief.", "cache_control": cache}],
                "messages": [
                    {"role": "user", "content": [
                        {"type": "text", "text": "Look"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}}]},
                    {"role": "assistant", "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "redacted_thinking", "data": "opaque"},
                        {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}}]},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "dark"}],
                         "is_error": true, "cache_control": cache}]},
                ],
                "tools": [{"name": "look", "input_schema": {"type": "object"}}],
                "tool_choice": {"type": "any"},
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "max_tokens": 5120,
                "temperature": 0.5,
                "stop_sequences": ["END"],
                "stream": true,
                "top_k": 9,
            })
        );
        assert_eq!(betas(&request()).as_deref(), Some("x"));
    }

    #[test]
    fn what_is_known_of_the_output_joins_the_callers_own() {
        let schema = ResponseSchema { name: None, schema: json!({"type": "object"}) };
        let mut request = ChatRequest {
            effort: Some(Effort::XHigh),
            response_schema: Some(schema),
            ..ChatRequest::default()
        };
        request.extra.insert("output_config".into(), json!({"task_budget": {"type": "tokens", "total": 9}}));
        let format = json!({"type": "json_schema", "schema": {"type": "object"}});
        assert_eq!(
            written(&request, Purpose::Answer { stream: false })["output_config"],
            json!({"format": format, "effort": "xhigh", "task_budget": {"type": "tokens", "total": 9}})
        );
    }

    #[test]
    fn one_tool_call_is_said_with_the_choice() {
        let choice = |tool_choice| {
            let request = ChatRequest { one_tool_call: true, tool_choice, ..request() };
            written(&request, Purpose::Answer { stream: true })["tool_choice"].clone()
        };
        assert_eq!(choice(ToolChoice::Auto), json!({"type": "auto", "disable_parallel_tool_use": true}));
        assert_eq!(choice(ToolChoice::None), json!({"type": "none"}));
    }

    #[test]
    fn a_count_has_only_what_is_in_the_prompt() {
        let value = written(&request(), Purpose::Count);
        let fields: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["model", "system", "messages", "tools", "tool_choice", "thinking"]);
    }
}
