//! The response object and its output items.

use craton_backend::{Block, Finished, Reasoning, StopReason, Usage};
use serde_json::{Map, Value, json};

use super::super::media;
use super::super::openai_chat::{self, arguments};
use super::super::text::prompt_tokens;
use super::ResponsesCall;
use crate::answer::Answer;

pub(super) fn response(call: &ResponsesCall, answer: &Answer) -> Value {
    let items = answer.content.iter().enumerate();
    let output = items.filter_map(|(index, block)| item(call, index, block)).collect();
    finished(call, output, &answer.finished)
}

/// How a response stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Completed,
    /// Why it is incomplete.
    Incomplete(&'static str),
}

impl Status {
    pub(super) fn of(reason: StopReason) -> Self {
        match reason {
            StopReason::MaxTokens | StopReason::ContextWindowExceeded => {
                Self::Incomplete("max_output_tokens")
            }
            StopReason::ContentFiltered => Self::Incomplete("content_filter"),
            _ => Self::Completed,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Incomplete(_) => "incomplete",
        }
    }
}

/// The response object of an answer that has ended. What cut it short cut its last item short.
pub(super) fn finished(call: &ResponsesCall, mut output: Vec<Value>, finished: &Finished) -> Value {
    let status = Status::of(finished.reason);
    if let Some(last) = output.last_mut() {
        last["status"] = json!(status.word());
    }
    let mut response = object(call, status.word(), output);
    if let Status::Incomplete(reason) = status {
        response.insert("incomplete_details".to_owned(), json!({ "reason": reason }));
    }
    response.insert("usage".to_owned(), usage(finished.usage));
    Value::Object(response)
}

/// The response object; `incomplete_details`, `error` and `usage` are null.
pub(super) fn object(call: &ResponsesCall, status: &str, output: Vec<Value>) -> Map<String, Value> {
    let head = json!({
        "id": format!("resp_{}", call.answer_id),
        "object": "response",
        "created_at": call.created_unix_s,
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": null,
        "model": call.model_id,
        "output": output,
        "previous_response_id": null,
        "service_tier": openai_chat::tier(call.request.priority),
        "store": false,
        "top_logprobs": 0,
        "usage": null,
    });
    let Value::Object(mut object) = head else { return Map::new() };
    object.extend(call.echo.clone());
    object
}

fn usage(usage: Usage) -> Value {
    let input_tokens = prompt_tokens(usage);
    json!({
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input_tokens.saturating_add(usage.output_tokens),
    })
}

/// One block as an output item; None for what a model does not say.
fn item(call: &ResponsesCall, index: usize, block: &Block) -> Option<Value> {
    let status = "completed";
    Some(match block {
        Block::Text(text) => message(&item_id(call, "msg", index), status, &[text_part(text)]),
        Block::ToolUse(tool) => function_call(
            &item_id(call, "fc", index),
            status,
            (&tool.id, &tool.name),
            &arguments(&tool.input),
        ),
        Block::Reasoning(Reasoning::Text { text, signature }) => {
            reasoning(&item_id(call, "rs", index), status, text, signature.as_deref())
        }
        Block::Reasoning(Reasoning::Redacted(bytes)) => {
            reasoning(&item_id(call, "rs", index), status, "", Some(&media::encode_base64(bytes)))
        }
        _ => return None,
    })
}

pub(super) fn item_id(call: &ResponsesCall, kind: &str, index: usize) -> String {
    format!("{kind}_{}{index:04}", call.answer_id)
}

pub(super) fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

pub(super) fn reasoning_part(text: &str) -> Value {
    json!({"type": "reasoning_text", "text": text})
}

pub(super) fn message(id: &str, status: &str, content: &[Value]) -> Value {
    json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": content})
}

/// `call`: its id and the tool's name.
pub(super) fn function_call(id: &str, status: &str, call: (&str, &str), arguments: &str) -> Value {
    let (call_id, name) = call;
    json!({
        "id": id, "type": "function_call", "status": status,
        "call_id": call_id, "name": name, "arguments": arguments,
    })
}

pub(super) fn reasoning(id: &str, status: &str, text: &str, sealed: Option<&str>) -> Value {
    let content = if text.is_empty() { Vec::new() } else { vec![reasoning_part(text)] };
    json!({
        "id": id, "type": "reasoning", "status": status, "summary": [],
        "content": content, "encrypted_content": sealed,
    })
}
