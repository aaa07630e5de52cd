//! Chat Completions answers: what whole ones and streamed ones share, and the whole ones.

use craton_backend::{BlockStart, ChatEvent, Delta, Finished, StopReason, Usage};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What an answer needs to know of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// Cached tokens are reported only to those who asked for a cache.
    pub(super) cache_points: bool,
    /// For upstreams that report no usage: the prompt's estimated size in tokens.
    pub(super) estimated_input_tokens: u32,
}

#[derive(Debug, Deserialize)]
struct Completion {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    system_fingerprint: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    message: AnswerMessage,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    stop_reason: Option<Value>,
    #[serde(default)]
    logprobs: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct AnswerMessage {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<WholeCall>>,
}

#[derive(Debug, Deserialize)]
struct WholeCall {
    #[serde(default)]
    id: Option<String>,
    function: WholeFunction,
}

#[derive(Debug, Deserialize)]
struct WholeFunction {
    name: String,
    #[serde(default)]
    arguments: Arguments,
}

/// JSON text by the specification; some servers send the object itself.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Arguments {
    Text(String),
    Value(Value),
}

impl Default for Arguments {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Arguments {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Value(Value::Null) => String::new(),
            Self::Value(value) => value.to_string(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct WireUsage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
    #[serde(default)]
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct PromptTokens {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

impl WireUsage {
    pub(super) fn to_usage(self, asked: Asked) -> Usage {
        let cached = self.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
        let cached = if asked.cache_points { cached.min(self.prompt_tokens) } else { 0 };
        Usage {
            input_tokens: self.prompt_tokens - cached,
            output_tokens: self.completion_tokens,
            cache_read_tokens: cached,
            cache_write_tokens: 0,
        }
    }
}

/// Usage by estimate, for an upstream that reports none.
pub(super) fn estimated_usage(asked: Asked, output_bytes: usize) -> Usage {
    Usage {
        input_tokens: asked.estimated_input_tokens,
        output_tokens: crate::estimate::tokens_of(output_bytes),
        ..Usage::default()
    }
}

/// Why the answer ended and by which stop sequence. `stopped_by` is vLLM's `stop_reason`: the stop string, or the
/// number of a token.
pub(super) fn stop_reason(
    finish_reason: Option<&str>,
    stopped_by: Option<&Value>,
    called_tools: bool,
) -> (StopReason, Option<String>) {
    let stop_string = stopped_by.and_then(Value::as_str).filter(|stop| !stop.is_empty());
    match finish_reason {
        Some("length") => (StopReason::MaxTokens, None),
        Some("content_filter") => (StopReason::ContentFiltered, None),
        // A forced tool ends with `stop` in OpenAI's own API.
        _ if called_tools => (StopReason::ToolUse, None),
        _ => match stop_string {
            Some(stop) => (StopReason::StopSequence, Some(stop.to_owned())),
            None => (StopReason::EndTurn, None),
        },
    }
}

/// What the upstream said of itself, for response field paths.
pub(super) fn extra(
    id: Option<String>,
    model: Option<String>,
    fingerprint: Option<String>,
    logprobs: Option<Value>,
) -> Value {
    let texts = [("id", id), ("model", model), ("system_fingerprint", fingerprint)];
    let mut extra: Map<String, Value> =
        texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::String(text?)))).collect();
    if let Some(logprobs) = logprobs {
        extra.insert("logprobs".to_owned(), logprobs);
    }
    Value::Object(extra)
}

/// Why a whole answer could not be read.
pub(super) enum Unreadable {
    /// Not a completion.
    Malformed(String),
    /// An error object under a status of success.
    Error(Value),
}

/// The events of a whole answer. Errors say what is wrong with it.
pub(super) fn whole(body: &[u8], asked: Asked) -> Result<Vec<ChatEvent>, Unreadable> {
    let completion: Completion =
        serde_json::from_slice(body).map_err(|error| Unreadable::Malformed(error.to_string()))?;
    if let Some(error @ (Value::Object(_) | Value::String(_))) = completion.error {
        return Err(Unreadable::Error(error));
    }
    let mut choices = completion.choices.into_iter();
    let choice = choices
        .find(|choice| choice.index == 0)
        .ok_or_else(|| Unreadable::Malformed("the answer has no choices".to_owned()))?;
    let mut blocks = Blocks::default();
    let message = choice.message;
    blocks.text(BlockStart::Reasoning, message.reasoning_content.or(message.reasoning), Delta::Reasoning);
    blocks.text(BlockStart::Text, message.content, Delta::Text);
    blocks.text(BlockStart::Text, message.refusal, Delta::Text);
    let calls = message.tool_calls.unwrap_or_default();
    let called_tools = !calls.is_empty();
    for call in calls {
        let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(new_call_id);
        let start = BlockStart::ToolUse { id, name: call.function.name };
        blocks.block(start, call.function.arguments.into_text(), Delta::ToolInput);
    }
    let usage = match completion.usage {
        Some(usage) => usage.to_usage(asked),
        None => estimated_usage(asked, blocks.bytes),
    };
    let (reason, stop_sequence) =
        stop_reason(choice.finish_reason.as_deref(), choice.stop_reason.as_ref(), called_tools);
    let mut events = blocks.events;
    events[0] = ChatEvent::Started { usage: Usage { output_tokens: 0, ..usage } };
    let extra = extra(completion.id, completion.model, completion.system_fingerprint, choice.logprobs);
    events.push(ChatEvent::Finished(Finished { reason, stop_sequence, usage, extra }));
    Ok(events)
}

/// An id for a call that came without one.
pub(super) fn new_call_id() -> String {
    use craton_core::IdSource;
    let mut id = craton_core::RandomIds.short(20);
    id.make_ascii_lowercase();
    format!("call_{id}")
}

/// Builds the events of whole blocks.
struct Blocks {
    events: Vec<ChatEvent>,
    next_index: u32,
    bytes: usize,
}

impl Default for Blocks {
    fn default() -> Self {
        let mut events = Vec::with_capacity(5);
        events.push(ChatEvent::Started { usage: Usage::default() });
        Self { events, next_index: 0, bytes: 0 }
    }
}

impl Blocks {
    fn text(&mut self, start: BlockStart, text: Option<String>, delta: fn(String) -> Delta) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.block(start, text, delta);
        }
    }

    fn block(&mut self, block: BlockStart, text: String, delta: fn(String) -> Delta) {
        let index = self.next_index;
        self.next_index += 1;
        self.bytes += text.len();
        self.events.push(ChatEvent::BlockStart { index, block });
        if !text.is_empty() {
            self.events.push(ChatEvent::BlockDelta { index, delta: delta(text) });
        }
        self.events.push(ChatEvent::BlockStop { index });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ASKED: Asked = Asked { cache_points: true, estimated_input_tokens: 11 };

    fn read(body: &Value) -> Vec<ChatEvent> {
        match whole(body.to_string().as_bytes(), ASKED) {
            Ok(events) => events,
            Err(_) => panic!("unreadable"),
        }
    }

    #[test]
    fn a_whole_answer_with_everything() {
        let events = read(&json!({
            "id": "x", "model": "m", "choices": [{
                "index": 0, "finish_reason": "tool_calls",
                "message": {"role": "assistant", "reasoning_content": "hm", "content": "Let me look.",
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
                        {"type": "function", "function": {"name": "g", "arguments": {}}}]}}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
        }));
        let usage = Usage { input_tokens: 6, output_tokens: 5, cache_read_tokens: 4, cache_write_tokens: 0 };
        assert_eq!(events[0], ChatEvent::Started { usage: Usage { output_tokens: 0, ..usage } });
        assert_eq!(events[2], ChatEvent::BlockDelta { index: 0, delta: Delta::Reasoning("hm".into()) });
        assert_eq!(events[5], ChatEvent::BlockDelta { index: 1, delta: Delta::Text("Let me look.".into()) });
        assert_eq!(
            events[7],
            ChatEvent::BlockStart {
                index: 2,
                block: BlockStart::ToolUse { id: "c1".into(), name: "f".into() }
            }
        );
        assert_eq!(
            events[8],
            ChatEvent::BlockDelta { index: 2, delta: Delta::ToolInput("{\"a\":1}".into()) }
        );
        assert!(
            matches!(&events[10], ChatEvent::BlockStart { index: 3, block: BlockStart::ToolUse { id, name } }
                if id.starts_with("call_") && name == "g")
        );
        let Some(ChatEvent::Finished(finished)) = events.last() else { panic!() };
        assert_eq!(finished.reason, StopReason::ToolUse);
        assert_eq!(finished.usage, usage);
        assert_eq!(finished.extra, json!({"id": "x", "model": "m"}));
    }

    #[test]
    fn stop_reasons() {
        let read =
            |finish: &str, stopped_by: Value, tools| stop_reason(Some(finish), Some(&stopped_by), tools);
        assert_eq!(read("stop", json!("END"), false), (StopReason::StopSequence, Some("END".into())));
        assert_eq!(read("stop", json!(151_643), false), (StopReason::EndTurn, None));
        assert_eq!(read("stop", Value::Null, true), (StopReason::ToolUse, None));
        assert_eq!(read("length", Value::Null, true), (StopReason::MaxTokens, None));
        assert_eq!(read("content_filter", Value::Null, false), (StopReason::ContentFiltered, None));
    }

    #[test]
    fn without_usage_there_is_an_estimate() {
        let events =
            read(&json!({"choices": [{"message": {"content": "12345678"}, "finish_reason": "stop"}]}));
        let Some(ChatEvent::Finished(finished)) = events.last() else { panic!() };
        assert_eq!(finished.usage, Usage { input_tokens: 11, output_tokens: 2, ..Usage::default() });
    }

    #[test]
    fn what_is_no_completion_is_refused() {
        for body in ["", "[]", "{}", r#"{"choices":[{}]}"#, r#"{"choices":[]}"#] {
            assert!(matches!(whole(body.as_bytes(), ASKED), Err(Unreadable::Malformed(_))), "{body}");
        }
        assert!(matches!(whole(br#"{"error":{"message":"x"}}"#, ASKED), Err(Unreadable::Error(_))));
    }
}
