//! A [`ChatRequest`] as the body of a Chat Completions call, written straight to bytes.

use std::fmt;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use craton_backend::{
    BackendError, Block, ChatRequest, Effort, Image, Message, Role, Tool, ToolChoice, ToolResult,
};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::fields::Fields;
use crate::settings::MaxTokensField;

/// What to write besides the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) max_tokens_field: MaxTokensField,
    pub(super) stream: bool,
}

/// Fields of the body that belong to this crate: `extra` can't set them.
const OWN_FIELDS: [&str; 9] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "tools",
    "n",
    // Anthropic's, of no meaning to these upstreams; strict ones refuse what they don't know.
    "anthropic_beta",
    "context_management",
    "output_config",
];

/// Prefix of a tool result that reports a failure; Chat Completions has no field for it.
const TOOL_ERROR: &str = "Error: ";

/// Refuses what the format can't carry, then writes the body.
pub(super) fn body(request: &ChatRequest, style: Style) -> Result<Vec<u8>, BackendError> {
    check(request)?;
    let mut bytes = Vec::with_capacity(1024);
    serde_json::to_writer(&mut bytes, &Body { request, style })
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
        return Err(BackendError::Unsupported(
            "an OpenAI-compatible upstream reads documents only as text".to_owned(),
        ));
    }
    Ok(())
}

struct Body<'a> {
    request: &'a ChatRequest,
    style: Style,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let request = self.request;
        let mut map = Fields::new(serializer.serialize_map(None)?);
        map.always("model", &request.model)?;
        map.always("messages", &Messages(request))?;
        self.sampling(&mut map)?;
        if !request.tools.is_empty() {
            map.always("tools", &Tools(&request.tools))?;
            match &request.tool_choice {
                ToolChoice::Auto => {}
                ToolChoice::Any => map.own("tool_choice", &"required")?,
                ToolChoice::None => map.own("tool_choice", &"none")?,
                ToolChoice::Tool(name) => map.own("tool_choice", &ForcedTool(name))?,
            }
            if request.one_tool_call {
                map.own("parallel_tool_calls", &false)?;
            }
        }
        if let Some(schema) = &request.response_schema {
            map.own("response_format", &ResponseFormat(schema))?;
        }
        if let Some(effort) = reasoning_effort(request) {
            map.own("reasoning_effort", &effort)?;
        }
        if self.style.stream {
            map.always("stream", &true)?;
            map.always("stream_options", &StreamOptions { include_usage: true })?;
        }
        map.finish(&request.extra, &OWN_FIELDS)
    }
}

impl Body<'_> {
    fn sampling<M: SerializeMap>(&self, map: &mut Fields<M>) -> Result<(), M::Error> {
        let sampling = &self.request.sampling;
        let max_tokens = match self.style.max_tokens_field {
            MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
            MaxTokensField::MaxTokens | MaxTokensField::ByHost => "max_tokens",
        };
        map.some(max_tokens, sampling.max_tokens.as_ref())?;
        map.some("temperature", sampling.temperature.as_ref())?;
        map.some("top_p", sampling.top_p.as_ref())?;
        map.some("top_k", sampling.top_k.as_ref())?;
        map.some("seed", sampling.seed.as_ref())?;
        map.some("presence_penalty", sampling.presence_penalty.as_ref())?;
        map.some("frequency_penalty", sampling.frequency_penalty.as_ref())?;
        let stop = Some(&sampling.stop_sequences).filter(|stop| !stop.is_empty());
        map.some("stop", stop)
    }
}

#[derive(serde::Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// What the caller's own field does not say already. The highest effort has no word here, so the one before is sent;
/// the thresholds of budgets are those that common gateways use for the opposite direction.
fn reasoning_effort(request: &ChatRequest) -> Option<&'static str> {
    if request.extra.contains_key("reasoning_effort") {
        return None;
    }
    match (request.effort, request.reasoning_budget_tokens) {
        (Some(Effort::XHigh | Effort::Max), _) => Some("xhigh"),
        (Some(effort), _) => Some(effort.as_str()),
        (None, Some(0..=1024)) => Some("low"),
        (None, Some(1025..=2048)) => Some("medium"),
        (None, Some(_)) => Some("high"),
        (None, None) => None,
    }
}

/// System prompt and conversation as a flat list. A Converse message with tool results becomes several: one `tool`
/// message a result, then what else it says.
pub(super) struct Messages<'a>(pub(super) &'a ChatRequest);

impl Serialize for Messages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        if texts(&self.0.system).next().is_some() {
            seq.serialize_element(&Plain { role: "system", content: &JoinedText(&self.0.system) })?;
        }
        for message in &self.0.messages {
            match message.role {
                Role::User => user_message(&mut seq, message)?,
                Role::Assistant => seq.serialize_element(&AssistantMessage(message))?,
            }
        }
        seq.end()
    }
}

fn user_message<S: SerializeSeq>(seq: &mut S, message: &Message) -> Result<(), S::Error> {
    let mut images = Vec::new();
    let mut only_results = true;
    for block in &message.content {
        match block {
            Block::ToolResult(result) => {
                seq.serialize_element(&ToolMessage(result))?;
                images.extend(result.content.iter().filter(|block| matches!(block, Block::Image(_))));
            }
            Block::CachePoint => {}
            _ => only_results = false,
        }
    }
    if !only_results || message.content.is_empty() {
        seq.serialize_element(&Plain { role: "user", content: &Content(&message.content) })?;
    }
    // A tool message holds text only, so a tool's images follow as the user's.
    if !images.is_empty() {
        seq.serialize_element(&Plain {
            role: "user",
            content: &images.into_iter().map(Part).collect::<Vec<_>>(),
        })?;
    }
    Ok(())
}

#[derive(serde::Serialize)]
struct Plain<'a, C: ?Sized> {
    role: &'static str,
    content: &'a C,
}

fn texts(blocks: &[Block]) -> impl Iterator<Item = &str> {
    blocks.iter().filter_map(|block| match block {
        Block::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The text blocks as one string, a line break between two: every server takes a string, not all take parts.
struct JoinedText<'a>(&'a [Block]);

impl Serialize for JoinedText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = texts(self.0);
        match (all.next(), all.next()) {
            (None, _) => serializer.serialize_str(""),
            (Some(only), None) => serializer.serialize_str(only),
            _ => serializer.serialize_str(&texts(self.0).collect::<Vec<_>>().join("\n")),
        }
    }
}

/// What the user says: a string, or parts if there are images.
struct Content<'a>(&'a [Block]);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.0.iter().any(|block| matches!(block, Block::Image(_))) {
            return JoinedText(self.0).serialize(serializer);
        }
        let parts = self.0.iter().filter(|block| matches!(block, Block::Text(_) | Block::Image(_)));
        serializer.collect_seq(parts.map(Part))
    }
}

struct Part<'a>(&'a Block);

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        match self.0 {
            Block::Image(image) => {
                map.serialize_entry("type", "image_url")?;
                map.serialize_entry("image_url", &ImageUrl { url: DataUrl(image) })?;
            }
            Block::Text(text) => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
            }
            _ => {}
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct ImageUrl<'a> {
    url: DataUrl<'a>,
}

struct DataUrl<'a>(&'a Image);

impl fmt::Display for DataUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data:image/{};base64,{}", self.0.format, Base64Display::new(&self.0.bytes, &STANDARD))
    }
}

impl Serialize for DataUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reasoning is left out: the servers that think put nothing of it back into the prompt, and the strict ones refuse
/// the field.
struct AssistantMessage<'a>(&'a Message);

impl Serialize for AssistantMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let calls = self.0.content.iter().filter_map(|block| match block {
            Block::ToolUse(call) => Some(ToolCall(call)),
            _ => None,
        });
        let calls: Vec<ToolCall<'_>> = calls.collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", "assistant")?;
        if texts(&self.0.content).next().is_none() && !calls.is_empty() {
            map.serialize_entry("content", &())?;
        } else {
            map.serialize_entry("content", &JoinedText(&self.0.content))?;
        }
        if !calls.is_empty() {
            map.serialize_entry("tool_calls", &calls)?;
        }
        map.end()
    }
}

struct ToolCall<'a>(&'a craton_backend::ToolUse);

impl Serialize for ToolCall<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Function<'a> {
            name: &'a str,
            arguments: String,
        }
        let arguments = serde_json::to_string(&self.0.input).map_err(serde::ser::Error::custom)?;
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("id", &self.0.id)?;
        map.serialize_entry("type", "function")?;
        map.serialize_entry("function", &Function { name: &self.0.name, arguments })?;
        map.end()
    }
}

struct ToolMessage<'a>(&'a ToolResult);

impl Serialize for ToolMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("role", "tool")?;
        map.serialize_entry("tool_call_id", &self.0.tool_use_id)?;
        if self.0.is_error {
            let text = texts(&self.0.content).collect::<Vec<_>>().join("\n");
            map.serialize_entry("content", &format!("{TOOL_ERROR}{text}"))?;
        } else {
            map.serialize_entry("content", &JoinedText(&self.0.content))?;
        }
        map.end()
    }
}

pub(super) struct Tools<'a>(pub(super) &'a [Tool]);

impl Serialize for Tools<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Entry<'a> {
            r#type: &'static str,
            function: Function<'a>,
        }
        #[derive(serde::Serialize)]
        struct Function<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            description: Option<&'a str>,
            parameters: &'a serde_json::Value,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            strict: bool,
        }
        serializer.collect_seq(self.0.iter().map(|tool| Entry {
            r#type: "function",
            function: Function {
                name: &tool.name,
                description: tool.description.as_deref(),
                parameters: &tool.input_schema,
                strict: tool.strict,
            },
        }))
    }
}

struct ForcedTool<'a>(&'a str);

impl Serialize for ForcedTool<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Function<'a> {
            name: &'a str,
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", "function")?;
        map.serialize_entry("function", &Function { name: self.0 })?;
        map.end()
    }
}

struct ResponseFormat<'a>(&'a craton_backend::ResponseSchema);

impl Serialize for ResponseFormat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct JsonSchema<'a> {
            name: &'a str,
            schema: &'a serde_json::Value,
            strict: bool,
        }
        let name = self.0.name.as_deref().unwrap_or("answer");
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", "json_schema")?;
        map.serialize_entry("json_schema", &JsonSchema { name, schema: &self.0.schema, strict: true })?;
        map.end()
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
