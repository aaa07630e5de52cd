//! Messages answers, whole and streamed. Anthropic's blocks are ours, so this is mostly names.

use std::collections::VecDeque;

use bytes::Bytes;
use craton_backend::{BackendError, BlockStart, ChatEvent, Delta, Finished, StopReason, Usage};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::errors;
use crate::errors::told;
use crate::pump::Decoder;
use crate::sse::SseParser;

const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, Deserialize)]
struct WireMessage {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    content: Vec<WireBlock>,
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    stop_sequence: Option<String>,
    #[serde(default)]
    usage: WireUsage,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireBlock {
    Text {
        #[serde(default)]
        text: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
        #[serde(default)]
        signature: String,
    },
    RedactedThinking {
        #[serde(default)]
        data: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    /// What the server's own tools did: of no use to a caller that did not ask for them.
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct WireUsage {
    #[serde(default)]
    input_tokens: Option<u32>,
    #[serde(default)]
    output_tokens: Option<u32>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u32>,
    #[serde(default)]
    cache_read_input_tokens: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireEvent {
    MessageStart {
        message: WireMessage,
    },
    ContentBlockStart {
        index: u32,
        content_block: WireBlock,
    },
    ContentBlockDelta {
        index: u32,
        delta: WireDelta,
    },
    ContentBlockStop {
        index: u32,
    },
    MessageDelta {
        delta: StopDelta,
        #[serde(default)]
        usage: WireUsage,
    },
    MessageStop,
    Error {
        error: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum WireDelta {
    TextDelta {
        text: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    SignatureDelta {
        signature: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct StopDelta {
    #[serde(default)]
    stop_reason: Option<String>,
    #[serde(default)]
    stop_sequence: Option<String>,
}

/// What has been said of an answer apart from its blocks.
#[derive(Debug, Default)]
struct Summary {
    id: Option<String>,
    model: Option<String>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    usage: WireUsage,
}

impl Summary {
    fn add_usage(&mut self, usage: WireUsage) {
        let known = &mut self.usage;
        // Each report is a total so far; a field that is left out has not changed.
        known.input_tokens = usage.input_tokens.or(known.input_tokens);
        known.output_tokens = usage.output_tokens.or(known.output_tokens);
        known.cache_creation_input_tokens =
            usage.cache_creation_input_tokens.or(known.cache_creation_input_tokens);
        known.cache_read_input_tokens = usage.cache_read_input_tokens.or(known.cache_read_input_tokens);
    }

    /// Cached tokens are told apart only for those who asked for a cache.
    fn usage(&self, cache_points: bool) -> Usage {
        let read = self.usage.cache_read_input_tokens.unwrap_or(0);
        let write = self.usage.cache_creation_input_tokens.unwrap_or(0);
        let input = self.usage.input_tokens.unwrap_or(0);
        let output_tokens = self.usage.output_tokens.unwrap_or(0);
        if cache_points {
            Usage { input_tokens: input, output_tokens, cache_read_tokens: read, cache_write_tokens: write }
        } else {
            let input_tokens = input.saturating_add(read).saturating_add(write);
            Usage { input_tokens, output_tokens, ..Usage::default() }
        }
    }

    fn finished(&mut self, cache_points: bool) -> ChatEvent {
        let usage = self.usage(cache_points);
        let reason = match self.stop_reason.as_deref() {
            Some("max_tokens") => StopReason::MaxTokens,
            Some("stop_sequence") => StopReason::StopSequence,
            Some("tool_use") => StopReason::ToolUse,
            Some("refusal") => StopReason::ContentFiltered,
            Some("model_context_window_exceeded") => StopReason::ContextWindowExceeded,
            _ => StopReason::EndTurn,
        };
        let texts = [("id", &self.id), ("model", &self.model), ("stop_sequence", &self.stop_sequence)];
        let extra: Map<String, Value> = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), Value::String(text.clone()?))))
            .collect();
        let stop_sequence = self.stop_sequence.take().filter(|_| reason == StopReason::StopSequence);
        ChatEvent::Finished(Finished { reason, stop_sequence, usage, extra: Value::Object(extra) })
    }
}

/// The start of a block and the deltas it brings along; None for blocks that are passed over.
fn begin(block: WireBlock) -> Option<(BlockStart, Vec<Delta>)> {
    Some(match block {
        WireBlock::Text { text } => (BlockStart::Text, vec![Delta::Text(text)]),
        WireBlock::Thinking { thinking, signature } => {
            (BlockStart::Reasoning, vec![Delta::Reasoning(thinking), Delta::ReasoningSignature(signature)])
        }
        WireBlock::RedactedThinking { data } => {
            (BlockStart::Reasoning, vec![Delta::ReasoningRedacted(Bytes::from(data))])
        }
        WireBlock::ToolUse { id, name, input } => {
            let empty = input.as_object().is_none_or(Map::is_empty);
            let input = if empty { String::new() } else { input.to_string() };
            (BlockStart::ToolUse { id, name }, vec![Delta::ToolInput(input)])
        }
        WireBlock::Other => return None,
    })
}

fn says_something(delta: &Delta) -> bool {
    match delta {
        Delta::Text(text)
        | Delta::ToolInput(text)
        | Delta::Reasoning(text)
        | Delta::ReasoningSignature(text) => !text.is_empty(),
        Delta::ReasoningRedacted(bytes) => !bytes.is_empty(),
    }
}

/// The events of a whole answer. Errors say what is wrong with it.
pub(super) fn whole(body: &[u8], cache_points: bool) -> Result<Vec<ChatEvent>, String> {
    let message: WireMessage = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if message.stop_reason.is_none() {
        return Err("the answer has no stop_reason".to_owned());
    }
    let mut summary = Summary {
        id: message.id,
        model: message.model,
        stop_reason: message.stop_reason,
        stop_sequence: message.stop_sequence,
        usage: message.usage,
    };
    let usage = Usage { output_tokens: 0, ..summary.usage(cache_points) };
    let mut events = vec![ChatEvent::Started { usage }];
    for (index, (block, deltas)) in (0..).zip(message.content.into_iter().filter_map(begin)) {
        events.push(ChatEvent::BlockStart { index, block });
        let deltas = deltas.into_iter().filter(says_something);
        events.extend(deltas.map(|delta| ChatEvent::BlockDelta { index, delta }));
        events.push(ChatEvent::BlockStop { index });
    }
    events.push(summary.finished(cache_points));
    Ok(events)
}

/// State of one streamed answer.
pub(super) struct AnthropicStream {
    upstream: String,
    cache_points: bool,
    parser: SseParser,
    started: bool,
    /// The upstream's number of the open block, and whether it is passed on.
    open: Option<(u32, bool)>,
    next_index: u32,
    summary: Summary,
}

impl AnthropicStream {
    pub(super) fn new(upstream: String, cache_points: bool) -> Self {
        Self {
            upstream,
            cache_points,
            parser: SseParser::new(MAX_EVENT_BYTES),
            started: false,
            open: None,
            next_index: 0,
            summary: Summary::default(),
        }
    }

    fn broken(&self, what: impl std::fmt::Display) -> BackendError {
        BackendError::BrokenStream(told(&self.upstream, format!("the upstream: {what}")))
    }

    /// True: the answer is complete.
    fn take(&mut self, data: &[u8], events: &mut VecDeque<ChatEvent>) -> Result<bool, BackendError> {
        let event: WireEvent = serde_json::from_slice(data)
            .map_err(|error| self.broken(format_args!("an event of the stream can't be read: {error}")))?;
        match event {
            WireEvent::MessageStart { message } if !self.started => self.start(message, events),
            WireEvent::Error { error } => {
                return Err(errors::from_event(&self.upstream, &serde_json::json!({ "error": error })));
            }
            WireEvent::Other => {}
            _ if !self.started => return Err(self.broken("the stream does not begin with message_start")),
            WireEvent::MessageStart { .. } => return Err(self.broken("the stream begins twice")),
            WireEvent::ContentBlockStart { index, content_block } => {
                if self.open.is_some() {
                    return Err(self.broken("a block starts while another is open"));
                }
                self.start_block(index, content_block, events);
            }
            WireEvent::ContentBlockDelta { index, delta } => self.delta(index, delta, events)?,
            WireEvent::ContentBlockStop { index } => self.stop_block(index, events)?,
            WireEvent::MessageDelta { delta, usage } => {
                self.summary.add_usage(usage);
                self.summary.stop_reason = delta.stop_reason.or(self.summary.stop_reason.take());
                self.summary.stop_sequence = delta.stop_sequence.or(self.summary.stop_sequence.take());
            }
            WireEvent::MessageStop => {
                self.finish(events)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn start(&mut self, message: WireMessage, events: &mut VecDeque<ChatEvent>) {
        self.started = true;
        self.summary.id = message.id;
        self.summary.model = message.model;
        self.summary.add_usage(message.usage);
        let usage = Usage { output_tokens: 0, ..self.summary.usage(self.cache_points) };
        events.push_back(ChatEvent::Started { usage });
    }

    fn start_block(&mut self, number: u32, block: WireBlock, events: &mut VecDeque<ChatEvent>) {
        let begun = begin(block);
        self.open = Some((number, begun.is_some()));
        if let Some((block, deltas)) = begun {
            let index = self.next_index;
            events.push_back(ChatEvent::BlockStart { index, block });
            let deltas = deltas.into_iter().filter(says_something);
            events.extend(deltas.map(|delta| ChatEvent::BlockDelta { index, delta }));
        }
    }

    /// Whether the block with this number, which must be open, is passed on.
    fn passed_on(&self, number: u32) -> Result<bool, BackendError> {
        match self.open {
            Some((open, passed_on)) if open == number => Ok(passed_on),
            _ => Err(self.broken(format_args!("an event for block {number}, which is not open"))),
        }
    }

    fn delta(
        &mut self,
        number: u32,
        delta: WireDelta,
        events: &mut VecDeque<ChatEvent>,
    ) -> Result<(), BackendError> {
        if !self.passed_on(number)? {
            return Ok(());
        }
        let delta = match delta {
            WireDelta::TextDelta { text } => Delta::Text(text),
            WireDelta::InputJsonDelta { partial_json } => Delta::ToolInput(partial_json),
            WireDelta::ThinkingDelta { thinking } => Delta::Reasoning(thinking),
            WireDelta::SignatureDelta { signature } => Delta::ReasoningSignature(signature),
            WireDelta::Other => return Ok(()),
        };
        if says_something(&delta) {
            events.push_back(ChatEvent::BlockDelta { index: self.next_index, delta });
        }
        Ok(())
    }

    fn stop_block(&mut self, number: u32, events: &mut VecDeque<ChatEvent>) -> Result<(), BackendError> {
        if self.passed_on(number)? {
            events.push_back(ChatEvent::BlockStop { index: self.next_index });
            self.next_index += 1;
        }
        self.open = None;
        Ok(())
    }

    fn finish(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<(), BackendError> {
        if self.open.is_some() || self.summary.stop_reason.is_none() {
            return Err(self.broken("the stream ended before the answer did"));
        }
        events.push_back(self.summary.finished(self.cache_points));
        Ok(())
    }
}

impl Decoder for AnthropicStream {
    fn push(&mut self, piece: Bytes, events: &mut VecDeque<ChatEvent>) -> Result<bool, BackendError> {
        self.parser.push(piece);
        while let Some(event) = self.parser.next().map_err(|error| self.broken(error))? {
            if self.take(&event.data, events)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn end(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<(), BackendError> {
        if let Some(event) = self.parser.finish().map_err(|error| self.broken(error))?
            && self.take(&event.data, events)?
        {
            return Ok(());
        }
        self.finish(events)
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
