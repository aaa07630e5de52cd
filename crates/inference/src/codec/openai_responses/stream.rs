//! A response as server-sent events, `response.created` to `response.completed`.

use craton_backend::{BlockStart, ChatEvent, Delta, Finished};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::super::media;
use super::ResponsesCall;
use super::encode;

/// Writes one streamed response. Every event is a JSON object whose `type` is also its SSE event name.
pub struct ResponsesStream {
    call: ResponsesCall,
    sequence_number: u64,
    /// The items that are complete.
    output: Vec<Value>,
    open: Option<Item>,
}

/// The output item under way. Whether its last word was cut off is known when the next one begins, or with the response's
/// end.
struct Item {
    id: String,
    start: BlockStart,
    text: String,
    sealed: Option<String>,
}

impl ResponsesStream {
    pub(super) fn new(call: ResponsesCall) -> Self {
        Self { call, sequence_number: 0, output: Vec::new(), open: None }
    }

    /// The events that this one of the backend gives rise to.
    pub fn push(&mut self, event: &ChatEvent) -> Vec<Value> {
        match event {
            ChatEvent::Started { .. } => {
                let response = Value::Object(encode::object(&self.call, "in_progress", Vec::new()));
                vec![
                    self.event("response.created", json!({ "response": response })),
                    self.event("response.in_progress", json!({ "response": response })),
                ]
            }
            ChatEvent::BlockStart { block, .. } => {
                let mut events = self.stop("completed");
                events.extend(self.start(block.clone()));
                events
            }
            ChatEvent::BlockDelta { delta, .. } => self.delta(delta).into_iter().collect(),
            ChatEvent::BlockStop { .. } => Vec::new(),
            ChatEvent::Finished(finished) => self.finish(finished),
        }
    }

    /// The last event of a response that broke off.
    pub fn fail(&mut self, error: &ApiError) -> Value {
        let code = match error.code.as_ref() {
            "ThrottlingException" | "ServiceQuotaExceededException" => "rate_limit_exceeded",
            "ValidationException" => "invalid_prompt",
            _ => "server_error",
        };
        let mut output = std::mem::take(&mut self.output);
        // What had been said of the item under way stays said.
        output.extend(self.open.take().map(|item| item.written("incomplete")));
        let mut response = encode::object(&self.call, "failed", output);
        response.insert("error".to_owned(), json!({"code": code, "message": error.message}));
        self.event("response.failed", json!({ "response": response }))
    }

    fn event(&mut self, kind: &str, fields: Value) -> Value {
        let mut event = json!({"type": kind, "sequence_number": self.sequence_number});
        self.sequence_number += 1;
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        event
    }

    fn start(&mut self, start: BlockStart) -> Vec<Value> {
        let index = self.output.len();
        let (kind, part) = match &start {
            BlockStart::Text => ("msg", Some(encode::text_part(""))),
            BlockStart::Reasoning => ("rs", Some(encode::reasoning_part(""))),
            BlockStart::ToolUse { .. } => ("fc", None),
        };
        let id = encode::item_id(&self.call, kind, index);
        let item = Item { id: id.clone(), start, text: String::new(), sealed: None };
        let added = json!({"output_index": index, "item": item.written("in_progress")});
        self.open = Some(item);
        let mut events = vec![self.event("response.output_item.added", added)];
        if let Some(part) = part {
            let added = json!({"item_id": id, "output_index": index, "content_index": 0, "part": part});
            events.push(self.event("response.content_part.added", added));
        }
        events
    }

    fn delta(&mut self, delta: &Delta) -> Option<Value> {
        let index = self.output.len();
        let item = self.open.as_mut()?;
        let place = json!({"item_id": item.id, "output_index": index});
        let (kind, text) = match delta {
            Delta::Text(text) => ("response.output_text.delta", text),
            Delta::ToolInput(text) => ("response.function_call_arguments.delta", text),
            Delta::Reasoning(text) => ("response.reasoning_text.delta", text),
            Delta::ReasoningSignature(signature) => {
                item.sealed.get_or_insert_default().push_str(signature);
                return None;
            }
            Delta::ReasoningRedacted(bytes) => {
                item.sealed = Some(media::encode_base64(bytes));
                return None;
            }
        };
        item.text.push_str(text);
        let mut fields = place;
        match delta {
            Delta::Text(_) => {
                fields["content_index"] = json!(0);
                fields["logprobs"] = json!([]);
            }
            Delta::Reasoning(_) => fields["content_index"] = json!(0),
            _ => {}
        }
        fields["delta"] = json!(text);
        Some(self.event(kind, fields))
    }

    fn stop(&mut self, status: &str) -> Vec<Value> {
        let Some(mut item) = self.open.take() else { return Vec::new() };
        let index = self.output.len();
        if matches!(item.start, BlockStart::ToolUse { .. }) && item.text.is_empty() {
            item.text.push_str("{}");
        }
        let text = &item.text;
        let place = |more: Value| {
            let mut fields = json!({"item_id": item.id, "output_index": index});
            if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
                fields.extend(more);
            }
            fields
        };
        let mut events = Vec::with_capacity(3);
        match &item.start {
            BlockStart::Text => {
                let done = place(json!({"content_index": 0, "text": text, "logprobs": []}));
                events.push(self.event("response.output_text.done", done));
                let part = place(json!({"content_index": 0, "part": encode::text_part(text)}));
                events.push(self.event("response.content_part.done", part));
            }
            BlockStart::Reasoning => {
                let done = place(json!({"content_index": 0, "text": text}));
                events.push(self.event("response.reasoning_text.done", done));
                let part = place(json!({"content_index": 0, "part": encode::reasoning_part(text)}));
                events.push(self.event("response.content_part.done", part));
            }
            BlockStart::ToolUse { name, .. } => {
                let done = place(json!({"name": name, "arguments": text}));
                events.push(self.event("response.function_call_arguments.done", done));
            }
        }
        let written = item.written(status);
        let done = json!({"output_index": index, "item": written});
        events.push(self.event("response.output_item.done", done));
        self.output.push(written);
        events
    }

    fn finish(&mut self, finished: &Finished) -> Vec<Value> {
        let status = encode::Status::of(finished.reason);
        let mut events = self.stop(status.word());
        let output = std::mem::take(&mut self.output);
        let response = encode::finished(&self.call, output, finished);
        let kind = match status {
            encode::Status::Completed => "response.completed",
            encode::Status::Incomplete(_) => "response.incomplete",
        };
        events.push(self.event(kind, json!({ "response": response })));
        events
    }
}

impl Item {
    fn written(&self, status: &str) -> Value {
        let begun = status != "in_progress";
        match &self.start {
            BlockStart::Text if begun => encode::message(&self.id, status, &[encode::text_part(&self.text)]),
            BlockStart::Text => encode::message(&self.id, status, &[]),
            BlockStart::Reasoning => encode::reasoning(&self.id, status, &self.text, self.sealed.as_deref()),
            BlockStart::ToolUse { id, name } => {
                encode::function_call(&self.id, status, (id, name), &self.text)
            }
        }
    }
}
