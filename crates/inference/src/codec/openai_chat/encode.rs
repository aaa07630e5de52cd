//! A chat completion, whole and as chunks.

use craton_backend::{Block, BlockStart, ChatEvent, Delta, Finished, Reasoning, StopReason, Usage};
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::super::StreamEncoder;
use super::super::text::prompt_tokens;
use crate::answer::Answer;

/// Where a stream reports usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum UsageIn {
    Nowhere,
    /// In the chunk that has the finish reason.
    LastChoice,
    /// In a chunk of its own without choices, after the last; every other chunk then has a null.
    OwnChunk,
}

/// What goes around the choice.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Envelope {
    pub id: String,
    pub created_unix_s: i64,
    pub model: String,
    pub usage_in: UsageIn,
    /// Reasoning is written as `<reasoning>…</reasoning>` at the head of the content, not in `reasoning_content`.
    pub reasoning_in_content: bool,
    /// How urgent the answer was, where the format says it.
    pub service_tier: Option<&'static str>,
}

pub(in super::super) fn completion(envelope: &Envelope, answer: &Answer) -> Value {
    let mut body = json!({
        "id": envelope.id,
        "object": "chat.completion",
        "created": envelope.created_unix_s,
        "model": envelope.model,
        "choices": [{
            "index": 0,
            "message": message(envelope, answer),
            "logprobs": null,
            "finish_reason": finish_reason(answer.finished.reason),
        }],
        "usage": usage(answer.finished.usage),
    });
    if let Some(tier) = envelope.service_tier {
        body["service_tier"] = json!(tier);
    }
    body
}

fn message(envelope: &Envelope, answer: &Answer) -> Value {
    let (mut content, mut reasoning, mut calls) = (String::new(), String::new(), Vec::new());
    for block in &answer.content {
        match block {
            Block::Text(text) => content.push_str(text),
            Block::Reasoning(Reasoning::Text { text, .. }) if envelope.reasoning_in_content => {
                content.push_str(REASONING_OPEN);
                content.push_str(text);
                content.push_str(REASONING_CLOSE);
            }
            Block::Reasoning(Reasoning::Text { text, .. }) => reasoning.push_str(text),
            Block::ToolUse(tool) => calls.push(json!({
                "id": tool.id,
                "type": "function",
                "function": {"name": tool.name, "arguments": arguments(&tool.input)},
            })),
            _ => {}
        }
    }
    let mut message = Map::new();
    message.insert("role".to_owned(), json!("assistant"));
    let silent = content.is_empty() && !calls.is_empty();
    message.insert("content".to_owned(), if silent { Value::Null } else { json!(content) });
    message.insert("refusal".to_owned(), Value::Null);
    if !reasoning.is_empty() {
        message.insert("reasoning_content".to_owned(), json!(reasoning));
    }
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    Value::Object(message)
}

const REASONING_OPEN: &str = "<reasoning>";
const REASONING_CLOSE: &str = "</reasoning>";

/// A tool's input as JSON text; broken input is handed on as the model wrote it.
pub(in super::super) fn arguments(input: &Value) -> String {
    match input {
        Value::String(raw) => raw.clone(),
        other => other.to_string(),
    }
}

fn usage(usage: Usage) -> Value {
    let prompt_tokens = prompt_tokens(usage);
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": prompt_tokens.saturating_add(usage.output_tokens),
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
    })
}

pub(in super::super) fn finish_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::ToolUse => "tool_calls",
        StopReason::MaxTokens | StopReason::ContextWindowExceeded => "length",
        StopReason::ContentFiltered => "content_filter",
        _ => "stop",
    }
}

/// The stream's state: how many tool calls it has had, and whether a reasoning tag is open.
pub(in super::super) struct Stream {
    envelope: Envelope,
    tool_calls: u32,
    in_reasoning: bool,
}

impl Stream {
    pub(in super::super) fn new(envelope: Envelope) -> Self {
        Self { envelope, tool_calls: 0, in_reasoning: false }
    }

    fn chunk(&self, choices: Value) -> Map<String, Value> {
        let mut chunk = Map::new();
        chunk.insert("id".to_owned(), json!(self.envelope.id));
        chunk.insert("object".to_owned(), json!("chat.completion.chunk"));
        chunk.insert("created".to_owned(), json!(self.envelope.created_unix_s));
        chunk.insert("model".to_owned(), json!(self.envelope.model));
        chunk.insert("choices".to_owned(), choices);
        if let Some(tier) = self.envelope.service_tier {
            chunk.insert("service_tier".to_owned(), json!(tier));
        }
        if self.envelope.usage_in == UsageIn::OwnChunk {
            chunk.insert("usage".to_owned(), Value::Null);
        }
        chunk
    }

    fn delta(&self, delta: &Value) -> Value {
        let choice = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]);
        Value::Object(self.chunk(choice))
    }

    fn finish(&self, finished: &Finished) -> Vec<Value> {
        let reason = finish_reason(finished.reason);
        let mut last =
            self.chunk(json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": reason}]));
        match self.envelope.usage_in {
            UsageIn::Nowhere => vec![Value::Object(last)],
            UsageIn::LastChoice => {
                last.insert("usage".to_owned(), usage(finished.usage));
                vec![Value::Object(last)]
            }
            UsageIn::OwnChunk => {
                let mut own = self.chunk(json!([]));
                own.insert("usage".to_owned(), usage(finished.usage));
                vec![Value::Object(last), Value::Object(own)]
            }
        }
    }
}

impl StreamEncoder for Stream {
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        let delta = match event {
            ChatEvent::Started { .. } => json!({"role": "assistant", "content": ""}),
            ChatEvent::BlockStart { block: BlockStart::ToolUse { id, name }, .. } => {
                let index = self.tool_calls;
                self.tool_calls += 1;
                json!({"tool_calls": [{
                    "index": index,
                    "id": id,
                    "type": "function",
                    "function": {"name": name, "arguments": ""},
                }]})
            }
            ChatEvent::BlockStart { .. } => return Ok(Vec::new()),
            ChatEvent::BlockDelta { delta, .. } => match delta {
                Delta::Text(text) => json!({ "content": text }),
                Delta::ToolInput(json) => json!({"tool_calls": [{
                    "index": self.tool_calls.saturating_sub(1),
                    "function": {"arguments": json},
                }]}),
                Delta::Reasoning(text) if self.envelope.reasoning_in_content => {
                    let open = if self.in_reasoning { "" } else { REASONING_OPEN };
                    self.in_reasoning = true;
                    json!({"content": format!("{open}{text}")})
                }
                Delta::Reasoning(text) => json!({ "reasoning_content": text }),
                Delta::ReasoningSignature(_) | Delta::ReasoningRedacted(_) => return Ok(Vec::new()),
            },
            ChatEvent::BlockStop { .. } if std::mem::take(&mut self.in_reasoning) => {
                json!({ "content": REASONING_CLOSE })
            }
            ChatEvent::BlockStop { .. } => return Ok(Vec::new()),
            ChatEvent::Finished(finished) => return Ok(self.finish(finished)),
        };
        Ok(vec![self.delta(&delta)])
    }
}
