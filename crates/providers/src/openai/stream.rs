//! Streamed Chat Completions answers.
//!
//! The format has no blocks: deltas of reasoning, text and tool calls just follow one another, and those of parallel
//! calls may even alternate. Here they become blocks, one open at a time. A call that starts while another's JSON is
//! unfinished waits, buffered, until that one is complete.

use std::collections::VecDeque;

use bytes::Bytes;
use craton_backend::{BackendError, BlockStart, ChatEvent, Delta, Finished, Usage};
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Arguments, Asked, WireUsage, estimated_usage, extra, new_call_id, stop_reason};
use crate::errors;
use crate::errors::told;
use crate::json_end::JsonEnd;
use crate::pump::Decoder;
use crate::sse::SseParser;

/// Longest event; a chunk is a few hundred bytes, unless a server sends a whole tool call in one.
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;
/// Most tool calls in one answer.
const MAX_CALLS: usize = 128;
/// Most bytes buffered for calls that wait.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, Deserialize)]
struct Chunk {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    system_fingerprint: Option<String>,
    #[serde(default)]
    choices: Vec<ChunkChoice>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct ChunkChoice {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    delta: ChunkDelta,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    stop_reason: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
struct ChunkDelta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Debug, Deserialize)]
struct CallDelta {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionDelta>,
}

#[derive(Debug, Deserialize)]
struct FunctionDelta {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<Arguments>,
}

/// The block that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Reasoning,
    /// The call at this place of `calls`.
    Call(usize),
}

#[derive(Debug)]
struct Call {
    /// The upstream's own number for it.
    number: Option<u32>,
    id: String,
    name: String,
    waiting: String,
    end: JsonEnd,
    state: CallState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CallState {
    Waiting,
    Open,
    Closed,
}

/// State of one streamed answer.
pub(super) struct OpenAiStream {
    upstream: String,
    asked: Asked,
    parser: SseParser,
    started: bool,
    done: bool,
    open: Open,
    next_index: u32,
    calls: Vec<Call>,
    waiting_bytes: usize,
    output_bytes: usize,
    finish_reason: Option<String>,
    stopped_by: Option<Value>,
    usage: Option<WireUsage>,
    id: Option<String>,
    model: Option<String>,
    fingerprint: Option<String>,
}

impl OpenAiStream {
    pub(super) fn new(upstream: String, asked: Asked) -> Self {
        Self {
            upstream,
            asked,
            parser: SseParser::new(MAX_EVENT_BYTES),
            started: false,
            done: false,
            open: Open::Nothing,
            next_index: 0,
            calls: Vec::new(),
            waiting_bytes: 0,
            output_bytes: 0,
            finish_reason: None,
            stopped_by: None,
            usage: None,
            id: None,
            model: None,
            fingerprint: None,
        }
    }

    fn broken(&self, what: impl std::fmt::Display) -> BackendError {
        BackendError::BrokenStream(told(&self.upstream, format!("the upstream: {what}")))
    }

    /// One `data:` line. True: the answer is complete.
    fn take(&mut self, data: &[u8], events: &mut VecDeque<ChatEvent>) -> Result<bool, BackendError> {
        if data.trim_ascii() == b"[DONE]" {
            self.finish(events);
            return Ok(true);
        }
        let chunk: Chunk = serde_json::from_slice(data)
            .map_err(|error| self.broken(format_args!("an event of the stream is not a chunk: {error}")))?;
        if let Some(error @ (Value::Object(_) | Value::String(_))) = &chunk.error {
            return Err(errors::from_event(&self.upstream, &serde_json::json!({ "error": error })));
        }
        if !self.started {
            self.started = true;
            let usage = chunk.usage.map(|usage| Usage { output_tokens: 0, ..usage.to_usage(self.asked) });
            events.push_back(ChatEvent::Started { usage: usage.unwrap_or_default() });
            self.id = chunk.id;
            self.model = chunk.model;
            self.fingerprint = chunk.system_fingerprint;
        }
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        for choice in chunk.choices {
            if choice.index == 0 {
                self.choice(choice, events)?;
            }
        }
        Ok(false)
    }

    fn choice(&mut self, choice: ChunkChoice, events: &mut VecDeque<ChatEvent>) -> Result<(), BackendError> {
        let delta = choice.delta;
        self.text(Open::Reasoning, delta.reasoning_content.or(delta.reasoning), events);
        for text in [delta.content, delta.refusal] {
            self.text(Open::Text, text, events);
        }
        for call in delta.tool_calls.unwrap_or_default() {
            self.call(call, events)?;
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            self.finish_reason = Some(reason);
            self.stopped_by = choice.stop_reason;
        }
        Ok(())
    }

    fn text(&mut self, kind: Open, text: Option<String>, events: &mut VecDeque<ChatEvent>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        if self.open != kind {
            self.close(events);
            let block = if kind == Open::Text { BlockStart::Text } else { BlockStart::Reasoning };
            events.push_back(ChatEvent::BlockStart { index: self.next_index, block });
            self.open = kind;
        }
        self.output_bytes += text.len();
        let delta = if kind == Open::Text { Delta::Text(text) } else { Delta::Reasoning(text) };
        events.push_back(ChatEvent::BlockDelta { index: self.next_index, delta });
    }

    fn call(&mut self, delta: CallDelta, events: &mut VecDeque<ChatEvent>) -> Result<(), BackendError> {
        let (name, arguments) = match delta.function {
            Some(function) => (function.name, function.arguments),
            None => (None, None),
        };
        let place = self.place(delta.index, delta.id.filter(|id| !id.is_empty()), name)?;
        let piece = arguments.map(Arguments::into_text).unwrap_or_default();
        self.output_bytes += piece.len();
        let call = &mut self.calls[place];
        match call.state {
            CallState::Closed if piece.is_empty() => return Ok(()),
            CallState::Closed => return Err(self.broken("a tool call went on after it had ended")),
            CallState::Waiting => {
                self.waiting_bytes += piece.len();
                call.waiting.push_str(&piece);
                if self.waiting_bytes > MAX_WAITING_BYTES {
                    return Err(self.broken("too much of tool calls is unfinished"));
                }
            }
            CallState::Open => {
                call.end.push(&piece);
                if !piece.is_empty() {
                    let delta = Delta::ToolInput(piece);
                    events.push_back(ChatEvent::BlockDelta { index: self.next_index, delta });
                }
            }
        }
        self.advance(false, events);
        Ok(())
    }

    /// Which call a delta belongs to; a new one if none fits. Some servers give every call the number 0 and tell them
    /// apart by id, some give no number, and some repeat the id in every delta.
    fn place(
        &mut self,
        number: Option<u32>,
        id: Option<String>,
        name: Option<String>,
    ) -> Result<usize, BackendError> {
        let same_number = |call: &Call| number.is_none() || call.number == number;
        let known = match &id {
            Some(id) => self.calls.iter().rposition(|call| same_number(call) && call.id == *id),
            None => self.calls.iter().rposition(same_number),
        };
        if let Some(place) = known {
            return Ok(place);
        }
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Err(self.broken("a tool call has no name"));
        };
        if self.calls.len() >= MAX_CALLS {
            return Err(self.broken("too many tool calls"));
        }
        self.calls.push(Call {
            number,
            id: id.unwrap_or_else(new_call_id),
            name,
            waiting: String::new(),
            end: JsonEnd::default(),
            state: CallState::Waiting,
        });
        Ok(self.calls.len() - 1)
    }

    /// Opens waiting calls in order. Stops at the first that is incomplete, unless it is `all` that is left.
    fn advance(&mut self, all: bool, events: &mut VecDeque<ChatEvent>) {
        while let Some(place) = self.calls.iter().position(|call| call.state == CallState::Waiting) {
            if let Open::Call(open) = self.open
                && !all
                && !self.calls[open].end.complete()
            {
                return;
            }
            self.close(events);
            let call = &mut self.calls[place];
            call.state = CallState::Open;
            let waiting = std::mem::take(&mut call.waiting);
            self.waiting_bytes -= waiting.len();
            call.end.push(&waiting);
            let block = BlockStart::ToolUse { id: call.id.clone(), name: call.name.clone() };
            let index = self.next_index;
            events.push_back(ChatEvent::BlockStart { index, block });
            if !waiting.is_empty() {
                events.push_back(ChatEvent::BlockDelta { index, delta: Delta::ToolInput(waiting) });
            }
            self.open = Open::Call(place);
        }
    }

    fn close(&mut self, events: &mut VecDeque<ChatEvent>) {
        if self.open == Open::Nothing {
            return;
        }
        if let Open::Call(place) = self.open {
            self.calls[place].state = CallState::Closed;
        }
        events.push_back(ChatEvent::BlockStop { index: self.next_index });
        self.next_index += 1;
        self.open = Open::Nothing;
    }

    fn finish(&mut self, events: &mut VecDeque<ChatEvent>) {
        if self.done {
            return;
        }
        self.done = true;
        if !self.started {
            events.push_back(ChatEvent::Started { usage: Usage::default() });
        }
        self.advance(true, events);
        self.close(events);
        let usage = match self.usage {
            Some(usage) => usage.to_usage(self.asked),
            None => estimated_usage(self.asked, self.output_bytes),
        };
        let (reason, stop_sequence) =
            stop_reason(self.finish_reason.as_deref(), self.stopped_by.as_ref(), !self.calls.is_empty());
        let extra = extra(self.id.take(), self.model.take(), self.fingerprint.take(), None);
        events.push_back(ChatEvent::Finished(Finished { reason, stop_sequence, usage, extra }));
    }
}

impl Decoder for OpenAiStream {
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
        if self.finish_reason.is_none() {
            return Err(self.broken("the stream ended before the answer did"));
        }
        self.finish(events);
        Ok(())
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
