//! A Messages answer, whole and as its stream of events.

use craton_backend::{Block, BlockStart, ChatEvent, Delta, Finished, Reasoning, StopReason, Usage};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::super::{Decoded, StreamEncoder, media};
use super::Door;
use crate::answer::{Answer, is_usable, whole_members};

pub(super) fn message(decoded: &Decoded, door: Door, answer: &Answer) -> Value {
    // An answer that was cut off in a tool use ends with what is whole of it; other broken tool uses are left out.
    let cut_off = matches!(answer.finished.reason, StopReason::MaxTokens | StopReason::ContextWindowExceeded);
    let shown = answer.content.iter().filter(|block| cut_off || is_usable(block));
    let content: Vec<Value> = shown.filter_map(block).collect();
    json!({
        "id": message_id(decoded, door),
        "type": "message",
        "role": "assistant",
        "model": model_name(&decoded.model_id, door),
        "content": content,
        "stop_reason": stop_reason(answer.finished.reason),
        "stop_sequence": answer.finished.stop_sequence,
        "usage": usage(answer.finished.usage),
    })
}

fn block(block: &Block) -> Option<Value> {
    Some(match block {
        Block::Text(text) => json!({"type": "text", "text": text}),
        Block::ToolUse(tool) => {
            json!({"type": "tool_use", "id": tool.id, "name": tool.name, "input": whole_members(&tool.input)})
        }
        Block::Reasoning(Reasoning::Text { text, signature }) => {
            json!({"type": "thinking", "thinking": text, "signature": signature.as_deref().unwrap_or_default()})
        }
        Block::Reasoning(Reasoning::Redacted(data)) => {
            json!({"type": "redacted_thinking", "data": redacted_data(data)})
        }
        _ => return None,
    })
}

/// The provider's own characters, or base64 where a backend gave bytes that are no text.
fn redacted_data(data: &[u8]) -> String {
    std::str::from_utf8(data).map_or_else(|_| media::encode_base64(data), str::to_owned)
}

fn message_id(decoded: &Decoded, door: Door) -> String {
    let prefix = if door == Door::Bedrock { "msg_bdrk_01" } else { "msg_01" };
    format!("{prefix}{}", decoded.answer_id)
}

const LEGACY_NAMES: [(&str, &str); 3] =
    [("claude-v2", "claude-2.0"), ("claude-v2:1", "claude-2.1"), ("claude-instant-v1", "claude-instant-1.2")];

/// Bedrock answers with the model's Anthropic name (`claude-3-5-sonnet-20241022`), the direct door with the one asked
/// for.
pub(super) fn model_name(model_id: &str, door: Door) -> &str {
    if door != Door::Bedrock {
        return model_id;
    }
    let name = model_id.rsplit('/').next().unwrap_or(model_id);
    let name = name.split_once("anthropic.").map_or(name, |(_, name)| name);
    // The first ones' ids don't say it.
    if let Some((_, own)) = LEGACY_NAMES.iter().find(|(id, _)| *id == name) {
        return own;
    }
    let name = name.split(':').next().unwrap_or(name);
    match name.rsplit_once("-v") {
        Some((base, version)) if !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => name,
    }
}

fn usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    })
}

fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::ToolUse => "tool_use",
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::ContentFiltered => "refusal",
        StopReason::ContextWindowExceeded => "model_context_window_exceeded",
        StopReason::EndTurn
        | StopReason::MalformedToolUse
        | StopReason::MalformedOutput
        | StopReason::GuardrailIntervened => "end_turn",
    }
}

/// The stream's state: what was said of the input's size, and a reasoning block not yet known to be redacted or not.
pub(super) struct Stream {
    id: String,
    model: String,
    started: Usage,
    reasoning: Option<u32>,
    /// What has come of a redacted block, which has no increments of its own in this format.
    redacted: Vec<u8>,
}

impl Stream {
    pub(super) fn new(decoded: &Decoded, door: Door) -> Self {
        Self {
            id: message_id(decoded, door),
            model: model_name(&decoded.model_id, door).to_owned(),
            started: Usage::default(),
            reasoning: None,
            redacted: Vec::new(),
        }
    }

    fn delta(&mut self, index: u32, delta: &Delta) -> Vec<Value> {
        let delta = match delta {
            Delta::Text(text) => json!({"type": "text_delta", "text": text}),
            Delta::ToolInput(json) => json!({"type": "input_json_delta", "partial_json": json}),
            Delta::Reasoning(text) => json!({"type": "thinking_delta", "thinking": text}),
            Delta::ReasoningSignature(text) => json!({"type": "signature_delta", "signature": text}),
            Delta::ReasoningRedacted(data) => {
                self.redacted.extend_from_slice(data);
                return Vec::new();
            }
        };
        let mut chunks = self.open_reasoning();
        chunks.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        chunks
    }

    fn open_reasoning(&mut self) -> Vec<Value> {
        let opened = self.reasoning.take();
        let redacted = std::mem::take(&mut self.redacted);
        let block = if redacted.is_empty() {
            json!({"type": "thinking", "thinking": "", "signature": ""})
        } else {
            json!({"type": "redacted_thinking", "data": redacted_data(&redacted)})
        };
        opened.map(|index| start(index, &block)).into_iter().collect()
    }

    fn finish(&self, finished: &Finished) -> Vec<Value> {
        // Upstreams that count only at the end have their input reported here, for want of an earlier place.
        let known =
            Usage { output_tokens: 0, ..self.started } == Usage { output_tokens: 0, ..finished.usage };
        let usage = if known {
            json!({"output_tokens": finished.usage.output_tokens})
        } else {
            usage(finished.usage)
        };
        vec![
            json!({
                "type": "message_delta",
                "delta": {
                    "stop_reason": stop_reason(finished.reason),
                    "stop_sequence": finished.stop_sequence,
                },
                "usage": usage,
            }),
            json!({"type": "message_stop"}),
        ]
    }
}

fn start(index: u32, block: &Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

impl StreamEncoder for Stream {
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        Ok(match event {
            ChatEvent::Started { usage: started } => {
                self.started = *started;
                vec![json!({
                    "type": "message_start",
                    "message": {
                        "id": self.id,
                        "type": "message",
                        "role": "assistant",
                        "model": self.model,
                        "content": [],
                        "stop_reason": null,
                        "stop_sequence": null,
                        "usage": usage(*started),
                    },
                })]
            }
            ChatEvent::BlockStart { index, block } => match block {
                BlockStart::Text => vec![start(*index, &json!({"type": "text", "text": ""}))],
                BlockStart::ToolUse { id, name } => {
                    vec![start(*index, &json!({"type": "tool_use", "id": id, "name": name, "input": {}}))]
                }
                BlockStart::Reasoning => {
                    self.reasoning = Some(*index);
                    Vec::new()
                }
            },
            ChatEvent::BlockDelta { index, delta } => self.delta(*index, delta),
            ChatEvent::BlockStop { index } => {
                let mut chunks = self.open_reasoning();
                chunks.push(json!({"type": "content_block_stop", "index": index}));
                chunks
            }
            ChatEvent::Finished(finished) => self.finish(finished),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bedrock_answers_with_anthropics_model_name() {
        for (id, name) in [
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet-20241022"),
            ("us.anthropic.claude-sonnet-4-6", "claude-sonnet-4-6"),
            (
                "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
                "claude-3-haiku-20240307",
            ),
            ("anthropic.claude-v2:1", "claude-2.1"),
            ("anthropic.claude-instant-v1", "claude-instant-1.2"),
        ] {
            assert_eq!(model_name(id, Door::Bedrock), name, "{id}");
        }
        assert_eq!(model_name("claude-x-v1:0", Door::Direct), "claude-x-v1:0");
    }
}
