//! Nova's answers, whole and as events.

use craton_backend::{Block, BlockStart, ChatEvent, Delta, Reasoning, StopReason, Usage};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::super::{StreamEncoder, media};
use crate::answer::{Answer, is_usable};

pub(super) fn whole(answer: &Answer) -> Value {
    let content: Vec<Value> =
        answer.content.iter().filter(|block| is_usable(block)).filter_map(block).collect();
    json!({
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": stop_reason(answer.finished.reason),
        "usage": usage(answer.finished.usage),
    })
}

fn block(block: &Block) -> Option<Value> {
    Some(match block {
        Block::Text(text) => json!({ "text": text }),
        Block::ToolUse(tool) => {
            json!({"toolUse": {"name": tool.name, "toolUseId": tool.id, "input": tool.input}})
        }
        Block::Reasoning(Reasoning::Text { text, signature: None }) => {
            json!({"reasoningContent": {"reasoningText": {"text": text}}})
        }
        Block::Reasoning(Reasoning::Text { text, signature: Some(signature) }) => {
            json!({"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}})
        }
        Block::Reasoning(Reasoning::Redacted(data)) => {
            json!({"reasoningContent": {"redactedContent": media::encode_base64(data)}})
        }
        _ => return None,
    })
}

fn usage(usage: Usage) -> Value {
    json!({
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.input_tokens
            .saturating_add(usage.output_tokens)
            .saturating_add(usage.cache_read_tokens)
            .saturating_add(usage.cache_write_tokens),
        "cacheReadInputTokenCount": usage.cache_read_tokens,
        "cacheWriteInputTokenCount": usage.cache_write_tokens,
    })
}

fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::EndTurn => "end_turn",
        StopReason::ToolUse => "tool_use",
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::ContentFiltered => "content_filtered",
        StopReason::ContextWindowExceeded => "model_context_window_exceeded",
        StopReason::MalformedToolUse => "malformed_tool_use",
        StopReason::MalformedOutput => "malformed_model_output",
        StopReason::GuardrailIntervened => "guardrail_intervened",
    }
}

pub(super) struct Stream;

impl StreamEncoder for Stream {
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        Ok(match event {
            ChatEvent::Started { .. } => vec![json!({"messageStart": {"role": "assistant"}})],
            ChatEvent::BlockStart { index, block: BlockStart::ToolUse { id, name } } => {
                let start = json!({"toolUse": {"toolUseId": id, "name": name}});
                vec![json!({"contentBlockStart": {"start": start, "contentBlockIndex": index}})]
            }
            ChatEvent::BlockStart { .. } => Vec::new(),
            ChatEvent::BlockDelta { index, delta } => {
                let delta = match delta {
                    Delta::Text(text) => json!({ "text": text }),
                    Delta::ToolInput(json) => json!({"toolUse": {"input": json}}),
                    Delta::Reasoning(text) => json!({"reasoningContent": {"text": text}}),
                    Delta::ReasoningSignature(text) => json!({"reasoningContent": {"signature": text}}),
                    Delta::ReasoningRedacted(data) => {
                        json!({"reasoningContent": {"redactedContent": media::encode_base64(data)}})
                    }
                };
                vec![json!({"contentBlockDelta": {"delta": delta, "contentBlockIndex": index}})]
            }
            ChatEvent::BlockStop { index } => vec![json!({"contentBlockStop": {"contentBlockIndex": index}})],
            ChatEvent::Finished(finished) => vec![
                json!({"messageStop": {"stopReason": stop_reason(finished.reason)}}),
                json!({"metadata": {"usage": usage(finished.usage), "metrics": {}, "trace": {}}}),
            ],
        })
    }
}
