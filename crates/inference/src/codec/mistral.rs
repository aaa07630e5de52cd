//! Mistral AI: text completion (`prompt` in `[INST]` form) and chat completion (`messages`).

use craton_backend::{BlockStart, ChatEvent, Delta, Finished, Sampling, StopReason};
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::format::BodyFormat;
use super::openai_chat::{self, messages, tools};
use super::prompt_template::Style;
use super::reader::{Dialect, Node, Object};
use super::text::{Piece, TextCodec, TextFamily, prompt_request};
use super::{Decoded, StreamEncoder};
use crate::answer::Answer;
use crate::tool_turns;

/// `max_tokens` when the body has none.
const DEFAULT_TEXT_TOKENS: u32 = 512;
const DEFAULT_CHAT_TOKENS: u32 = 8192;
const MOST_TOKENS: u32 = 32_768;

/// How the text completion body samples.
pub(super) const TEXT_SAMPLING: &[&str] = &["max_tokens", "stop", "temperature", "top_k", "top_p"];
/// How the chat completion body samples.
pub(super) const CHAT_SAMPLING: &[&str] = &["max_tokens", "random_seed", "stop", "temperature", "top_p"];

pub(super) fn text_sampling(body: &Object<'_>) -> Result<Sampling, ApiError> {
    Ok(Sampling {
        max_tokens: body.count("max_tokens", 1..=MOST_TOKENS)?,
        temperature: body.number("temperature", 0.0..=1.0)?,
        top_p: body.number("top_p", 0.0..=1.0)?,
        top_k: body.count("top_k", 0..=200)?,
        stop_sequences: body.strings("stop", 0..=10)?,
        ..Sampling::default()
    })
}

pub(super) fn chat_sampling(body: &Object<'_>) -> Result<Sampling, ApiError> {
    let seed = body.get("random_seed").map(|node| node.integer(0..=i64::MAX)).transpose()?;
    Ok(Sampling {
        max_tokens: body.count("max_tokens", 1..=MOST_TOKENS)?,
        temperature: body.number("temperature", 0.0..=1.0)?,
        top_p: body.number("top_p", 0.0..=1.0)?,
        stop_sequences: openai_chat::stop(body)?,
        seed: seed.map(i64::cast_unsigned),
        ..Sampling::default()
    })
}

/// The text completion body.
#[derive(Debug, Clone, Copy)]
pub(super) struct MistralText;

impl TextFamily for MistralText {
    fn read(&self, body: &Node<'_>) -> Result<Decoded, ApiError> {
        let body = body.object(&["prompt"], TEXT_SAMPLING)?;
        let mut sampling = text_sampling(&body)?;
        sampling.max_tokens.get_or_insert(DEFAULT_TEXT_TOKENS);
        Ok(Decoded::new(prompt_request(body.require("prompt")?.filled_string()?, Style::ALL, sampling)))
    }

    fn whole(&self, _decoded: &Decoded, text: &str, finished: &Finished) -> Value {
        json!({"outputs": [{"text": text, "stop_reason": stop_reason(finished.reason)}]})
    }

    fn piece(&self, piece: &Piece<'_>) -> Value {
        let stop_reason = piece.finished.map(|finished| stop_reason(finished.reason));
        json!({"outputs": [{"text": piece.text, "stop_reason": stop_reason}]})
    }
}

/// The chat completion body; a body with a `prompt` is a text completion to these models too.
#[derive(Debug, Clone, Copy)]
pub(super) struct MistralChat;

const TEXT: TextCodec<MistralText> = TextCodec(MistralText);

impl BodyFormat for MistralChat {
    fn read(&self, body: &Value) -> Result<Decoded, ApiError> {
        if body.get("messages").is_none() && body.get("prompt").is_some() {
            return TEXT.read(body);
        }
        let other = ["response_format", "safe_prompt", "tool_choice", "tools"];
        let body =
            Node::root(body, Dialect::JsonSchema).object(&["messages"], &[CHAT_SAMPLING, &other].concat())?;
        let mut request = messages::read(&body.require("messages")?)?;
        tool_turns::check(&request.messages, tool_turns::Words::Mistral)?;
        request.sampling = chat_sampling(&body)?;
        request.sampling.max_tokens.get_or_insert(DEFAULT_CHAT_TOKENS);
        request.tools = tools::read(&body)?;
        request.tool_choice = tools::read_choice(&body, &request.tools)?;
        if let Some(node) = body.get("response_format") {
            request.response_schema = openai_chat::response_format(&node)?;
        }
        Ok(Decoded::new(request))
    }

    fn whole(&self, decoded: &Decoded, answer: &Answer) -> Value {
        if decoded.text_completion {
            return TEXT.whole(decoded, answer);
        }
        let calls: Vec<Value> = answer
            .content
            .iter()
            .filter_map(|block| match block {
                craton_backend::Block::ToolUse(tool) => {
                    Some(tool_call(&tool.id, &tool.name, &openai_chat::arguments(&tool.input)))
                }
                _ => None,
            })
            .collect();
        choice(answer.text(), calls, Some(answer.finished.reason))
    }

    fn stream(&self, decoded: &Decoded) -> Box<dyn StreamEncoder> {
        if decoded.text_completion {
            return TEXT.stream(decoded);
        }
        Box::new(Stream::default())
    }
}

fn tool_call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn choice(content: String, calls: Vec<Value>, stop: Option<StopReason>) -> Value {
    let mut message = Map::new();
    message.insert("role".to_owned(), json!("assistant"));
    message.insert("content".to_owned(), json!(content));
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    json!({"choices": [{"index": 0, "message": message, "stop_reason": stop.map(stop_reason)}]})
}

fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::MaxTokens | StopReason::ContextWindowExceeded => "length",
        StopReason::ToolUse => "tool_calls",
        _ => "stop",
    }
}

/// Text goes out as it comes; a tool call in one piece, as these models send it.
#[derive(Default)]
struct Stream {
    tool: Option<(String, String)>,
    arguments: String,
}

impl StreamEncoder for Stream {
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        Ok(match event {
            ChatEvent::BlockStart { block: BlockStart::ToolUse { id, name }, .. } => {
                self.tool = Some((id.clone(), name.clone()));
                Vec::new()
            }
            ChatEvent::BlockDelta { delta: Delta::Text(text), .. } => {
                vec![choice(text.clone(), Vec::new(), None)]
            }
            ChatEvent::BlockDelta { delta: Delta::ToolInput(json), .. } => {
                self.arguments.push_str(json);
                Vec::new()
            }
            ChatEvent::BlockStop { .. } => match self.tool.take() {
                Some((id, name)) => {
                    let mut arguments = std::mem::take(&mut self.arguments);
                    if arguments.trim().is_empty() {
                        arguments = "{}".to_owned();
                    }
                    vec![choice(String::new(), vec![tool_call(&id, &name, &arguments)], None)]
                }
                None => Vec::new(),
            },
            ChatEvent::Finished(finished) => vec![choice(String::new(), Vec::new(), Some(finished.reason))],
            _ => Vec::new(),
        })
    }
}
