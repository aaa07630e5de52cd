//! Cohere Command R's answers, whole and as events.

use craton_backend::{Block, BlockStart, ChatEvent, Delta, StopReason};
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::super::{Decoded, StreamEncoder};
use super::{finish_reason, uuid_like};
use crate::answer::{Answer, AnswerBuilder, is_usable};

pub(super) fn whole(decoded: &Decoded, answer: &Answer) -> Value {
    let calls: Vec<Value> = answer
        .content
        .iter()
        .filter(|block| is_usable(block))
        .filter_map(|block| match block {
            Block::ToolUse(tool) => Some(json!({"name": tool.name, "parameters": tool.input})),
            _ => None,
        })
        .collect();
    body(decoded, &answer.text(), calls, answer.finished.reason)
}

fn body(decoded: &Decoded, text: &str, calls: Vec<Value>, reason: StopReason) -> Value {
    let mut said = Map::new();
    said.insert("role".to_owned(), json!("CHATBOT"));
    said.insert("message".to_owned(), json!(text));
    if !calls.is_empty() {
        said.insert("tool_calls".to_owned(), json!(calls));
    }
    let mut history = decoded.options.chat_history.clone();
    history.push(Value::Object(said));
    let mut body = Map::new();
    body.insert("response_id".to_owned(), json!(uuid_like(&decoded.answer_id, "response")));
    body.insert("text".to_owned(), json!(text));
    body.insert("generation_id".to_owned(), json!(generation_id(decoded)));
    body.insert("chat_history".to_owned(), Value::Array(history));
    body.insert("finish_reason".to_owned(), json!(finish_reason(reason)));
    if !calls.is_empty() {
        body.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    Value::Object(body)
}

fn generation_id(decoded: &Decoded) -> String {
    uuid_like(&decoded.answer_id, "generation")
}

/// The last event repeats the whole answer, so it is collected on the way.
pub(super) struct Stream {
    decoded: Decoded,
    answer: AnswerBuilder,
    calls: u32,
}

impl Stream {
    pub(super) fn new(decoded: &Decoded) -> Self {
        Self { decoded: decoded.clone(), answer: AnswerBuilder::default(), calls: 0 }
    }

    fn end(&mut self) -> Vec<Value> {
        let Some(answer) = std::mem::take(&mut self.answer).build() else { return Vec::new() };
        let response = whole(&self.decoded, &answer);
        let mut events = Vec::new();
        if let Some(calls) = response.get("tool_calls") {
            events.push(event("tool-calls-generation", &json!({ "tool_calls": calls })));
        }
        events.push(json!({
            "is_finished": true,
            "event_type": "stream-end",
            "finish_reason": finish_reason(answer.finished.reason),
            "response": response,
        }));
        events
    }
}

fn event(kind: &str, fields: &Value) -> Value {
    let mut event = Map::new();
    event.insert("is_finished".to_owned(), json!(false));
    event.insert("event_type".to_owned(), json!(kind));
    if let Value::Object(fields) = fields {
        event.extend(fields.clone());
    }
    Value::Object(event)
}

impl StreamEncoder for Stream {
    fn push(&mut self, chat_event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        self.answer
            .push(chat_event.clone())
            .map_err(|error| ApiError::model_stream_error(error.to_string()))?;
        Ok(match chat_event {
            ChatEvent::Started { .. } => {
                vec![event("stream-start", &json!({"generation_id": generation_id(&self.decoded)}))]
            }
            ChatEvent::BlockDelta { delta: Delta::Text(text), .. } => {
                vec![event("text-generation", &json!({ "text": text }))]
            }
            ChatEvent::BlockStart { block: BlockStart::ToolUse { name, .. }, .. } => {
                let index = self.calls;
                self.calls += 1;
                vec![event("tool-calls-chunk", &json!({"tool_call_delta": {"index": index, "name": name}}))]
            }
            ChatEvent::BlockDelta { delta: Delta::ToolInput(json), .. } => {
                let index = self.calls.saturating_sub(1);
                vec![event(
                    "tool-calls-chunk",
                    &json!({"tool_call_delta": {"index": index, "parameters": json}}),
                )]
            }
            ChatEvent::Finished(_) => self.end(),
            _ => Vec::new(),
        })
    }
}
