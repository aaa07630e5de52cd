//! Converse answers, whole and streamed.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use craton_backend::{BackendError, BlockStart, ChatEvent, Delta, Finished, StopReason, Usage};
use craton_wire::eventstream::{self, Frame};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::errors::told;
use crate::pump::Decoder;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConverseAnswer {
    output: Output,
    stop_reason: String,
    #[serde(default)]
    usage: WireUsage,
    #[serde(default)]
    additional_model_response_fields: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Output {
    message: WireMessage,
}

#[derive(Debug, Deserialize)]
struct WireMessage {
    #[serde(default)]
    content: Vec<WireBlock>,
}

/// One of these is set; members that are not known here are passed over.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBlock {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    tool_use: Option<WireToolUse>,
    #[serde(default)]
    reasoning_content: Option<WireReasoning>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireToolUse {
    tool_use_id: String,
    name: String,
    #[serde(default)]
    input: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireReasoning {
    #[serde(default)]
    reasoning_text: Option<WireReasoningText>,
    #[serde(default)]
    redacted_content: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireReasoningText {
    #[serde(default)]
    text: String,
    #[serde(default)]
    signature: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireUsage {
    input_tokens: u32,
    output_tokens: u32,
    cache_read_input_tokens: u32,
    cache_write_input_tokens: u32,
}

impl WireUsage {
    fn to_usage(self) -> Usage {
        Usage {
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cache_read_tokens: self.cache_read_input_tokens,
            cache_write_tokens: self.cache_write_input_tokens,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartEvent {
    #[serde(default)]
    start: StartBlock,
    #[serde(default)]
    content_block_index: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartBlock {
    #[serde(default)]
    tool_use: Option<WireToolUse>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeltaEvent {
    delta: WireDelta,
    #[serde(default)]
    content_block_index: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDelta {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    tool_use: Option<ToolDelta>,
    #[serde(default)]
    reasoning_content: Option<ReasoningDelta>,
}

#[derive(Debug, Deserialize)]
struct ToolDelta {
    #[serde(default)]
    input: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReasoningDelta {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    signature: Option<String>,
    #[serde(default)]
    redacted_content: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopBlockEvent {
    #[serde(default)]
    content_block_index: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopEvent {
    stop_reason: String,
    #[serde(default)]
    additional_model_response_fields: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct MetadataEvent {
    #[serde(default)]
    usage: WireUsage,
}

fn redacted(base64: &str) -> Bytes {
    STANDARD.decode(base64).map_or_else(|_| Bytes::copy_from_slice(base64.as_bytes()), Bytes::from)
}

fn finished(stop_reason: &str, extra: Option<Value>, usage: WireUsage) -> ChatEvent {
    let reason = match stop_reason {
        "tool_use" => StopReason::ToolUse,
        "max_tokens" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "content_filtered" => StopReason::ContentFiltered,
        "malformed_tool_use" => StopReason::MalformedToolUse,
        "malformed_model_output" => StopReason::MalformedOutput,
        "guardrail_intervened" => StopReason::GuardrailIntervened,
        "model_context_window_exceeded" => StopReason::ContextWindowExceeded,
        _ => StopReason::EndTurn,
    };
    let extra = extra.unwrap_or_default();
    let stop_sequence = extra["stop_sequence"].as_str().map(str::to_owned);
    let stop_sequence = stop_sequence.filter(|_| reason == StopReason::StopSequence);
    ChatEvent::Finished(Finished { reason, stop_sequence, usage: usage.to_usage(), extra })
}

/// The events of a whole answer. Errors say what is wrong with it.
pub(super) fn whole(body: &[u8]) -> Result<Vec<ChatEvent>, String> {
    let answer: ConverseAnswer = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let usage = Usage { output_tokens: 0, ..answer.usage.to_usage() };
    let mut events = vec![ChatEvent::Started { usage }];
    for (index, (block, deltas)) in (0..).zip(answer.output.message.content.into_iter().filter_map(begin)) {
        events.push(ChatEvent::BlockStart { index, block });
        events.extend(deltas.into_iter().map(|delta| ChatEvent::BlockDelta { index, delta }));
        events.push(ChatEvent::BlockStop { index });
    }
    events.push(finished(&answer.stop_reason, answer.additional_model_response_fields, answer.usage));
    Ok(events)
}

fn begin(block: WireBlock) -> Option<(BlockStart, Vec<Delta>)> {
    if let Some(text) = block.text {
        return Some((BlockStart::Text, vec![Delta::Text(text)]));
    }
    if let Some(WireToolUse { tool_use_id: id, name, input }) = block.tool_use {
        let input = match input.as_object().is_none_or(Map::is_empty) {
            true => Vec::new(),
            false => vec![Delta::ToolInput(input.to_string())],
        };
        return Some((BlockStart::ToolUse { id, name }, input));
    }
    let reasoning = block.reasoning_content?;
    if let Some(content) = reasoning.redacted_content {
        return Some((BlockStart::Reasoning, vec![Delta::ReasoningRedacted(redacted(&content))]));
    }
    let WireReasoningText { text, signature } = reasoning.reasoning_text?;
    let deltas = [Delta::Reasoning(text)].into_iter().chain(signature.map(Delta::ReasoningSignature));
    Some((BlockStart::Reasoning, deltas.collect()))
}

/// State of one streamed answer.
pub(super) struct BedrockStream {
    upstream: String,
    frames: eventstream::Decoder,
    started: bool,
    /// The upstream's number of the open block, and whether it has been announced: text and reasoning blocks begin
    /// with their first delta.
    open: Option<(u32, bool)>,
    next_index: u32,
    stop: Option<StopEvent>,
    usage: Option<WireUsage>,
}

impl BedrockStream {
    pub(super) fn new(upstream: String) -> Self {
        Self {
            upstream,
            frames: eventstream::Decoder::new(),
            started: false,
            open: None,
            next_index: 0,
            stop: None,
            usage: None,
        }
    }

    fn broken(&self, what: impl std::fmt::Display) -> BackendError {
        BackendError::BrokenStream(told(&self.upstream, format!("the upstream: {what}")))
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, frame: &Frame) -> Result<T, BackendError> {
        serde_json::from_slice(&frame.payload)
            .map_err(|error| self.broken(format_args!("an event of the stream can't be read: {error}")))
    }

    fn take(&mut self, frame: &Frame, events: &mut VecDeque<ChatEvent>) -> Result<(), BackendError> {
        if let Some((code, message)) = frame.failure() {
            return Err(failure(&self.upstream, &code, &message));
        }
        if !self.started {
            self.started = true;
            events.push_back(ChatEvent::Started { usage: Usage::default() });
        }
        if self.stop.is_some() && frame.header(":event-type") != Some("metadata") {
            return Err(self.broken("the answer goes on after its end"));
        }
        match frame.header(":event-type") {
            Some("contentBlockStart") => {
                let event: StartEvent = self.read(frame)?;
                self.close(events);
                self.open = Some((event.content_block_index, false));
                if let Some(WireToolUse { tool_use_id: id, name, .. }) = event.start.tool_use {
                    self.announce(event.content_block_index, BlockStart::ToolUse { id, name }, events);
                }
            }
            Some("contentBlockDelta") => {
                let event: DeltaEvent = self.read(frame)?;
                self.delta(event, events)?;
            }
            Some("contentBlockStop") => {
                let event: StopBlockEvent = self.read(frame)?;
                if self.open.is_some_and(|(number, _)| number != event.content_block_index) {
                    return Err(self.broken("a block ends while another is open"));
                }
                self.close(events);
            }
            Some("messageStop") => {
                self.close(events);
                self.stop = Some(self.read(frame)?);
            }
            Some("metadata") => self.usage = Some(self.read::<MetadataEvent>(frame)?.usage),
            _ => {}
        }
        Ok(())
    }

    fn announce(&mut self, number: u32, block: BlockStart, events: &mut VecDeque<ChatEvent>) {
        self.open = Some((number, true));
        events.push_back(ChatEvent::BlockStart { index: self.next_index, block });
    }

    fn delta(&mut self, event: DeltaEvent, events: &mut VecDeque<ChatEvent>) -> Result<(), BackendError> {
        let number = event.content_block_index;
        let delta = match event.delta {
            WireDelta { text: Some(text), .. } => Delta::Text(text),
            WireDelta { tool_use: Some(tool), .. } => Delta::ToolInput(tool.input),
            WireDelta { reasoning_content: Some(reasoning), .. } => match reasoning {
                ReasoningDelta { text: Some(text), .. } => Delta::Reasoning(text),
                ReasoningDelta { signature: Some(signature), .. } => Delta::ReasoningSignature(signature),
                ReasoningDelta { redacted_content: Some(content), .. } => {
                    Delta::ReasoningRedacted(redacted(&content))
                }
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        if self.open != Some((number, true)) {
            let block = match delta {
                Delta::Text(_) => BlockStart::Text,
                Delta::ToolInput(_) => return Err(self.broken("a tool's input comes before its name")),
                _ => BlockStart::Reasoning,
            };
            if self.open.is_some_and(|(open, _)| open != number) {
                self.close(events);
            }
            self.announce(number, block, events);
        }
        events.push_back(ChatEvent::BlockDelta { index: self.next_index, delta });
        Ok(())
    }

    fn close(&mut self, events: &mut VecDeque<ChatEvent>) {
        if let Some((_, true)) = self.open.take() {
            events.push_back(ChatEvent::BlockStop { index: self.next_index });
            self.next_index += 1;
        }
    }
}

impl Decoder for BedrockStream {
    fn push(&mut self, piece: Bytes, events: &mut VecDeque<ChatEvent>) -> Result<bool, BackendError> {
        self.frames.push(&piece);
        while let Some(frame) = self.frames.next_frame().map_err(|error| self.broken(error))? {
            self.take(&frame, events)?;
            if let (Some(usage), true) = (self.usage, self.stop.is_some())
                && let Some(stop) = self.stop.take()
            {
                events.push_back(finished(&stop.stop_reason, stop.additional_model_response_fields, usage));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn end(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<(), BackendError> {
        self.frames.finish().map_err(|error| self.broken(error))?;
        let Some(stop) = self.stop.take() else {
            return Err(self.broken("the stream ended before the answer did"));
        };
        let usage = self.usage.unwrap_or_default();
        events.push_back(finished(&stop.stop_reason, stop.additional_model_response_fields, usage));
        Ok(())
    }
}

/// What an exception inside a stream means.
fn failure(upstream: &str, code: &str, message: &str) -> BackendError {
    told(upstream, format!("the upstream failed while answering: {code}: {message}"));
    let said = format!("the upstream failed while answering: {code}");
    match code.to_ascii_lowercase().trim_end_matches("exception") {
        "throttling" => BackendError::Overloaded { message: said, retry_after: None },
        "validation" => BackendError::Refused(message.to_owned()),
        "accessdenied" => BackendError::UpstreamDenied(said),
        "serviceunavailable" => BackendError::Upstream { status: 503, message: said },
        "internalserver" => BackendError::Upstream { status: 500, message: said },
        _ => BackendError::BrokenStream(said),
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
