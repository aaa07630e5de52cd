//! From answers and their events to Converse's types.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use craton_api_bedrock_runtime as api;
use craton_backend::{Block, BlockStart, ChatEvent, Delta, Finished, Reasoning, StopReason, Usage};
use craton_wire::ApiError;
use craton_wire::types::Blob;
use futures::Stream;

use super::fields::ResponsePaths;
use super::guard;
use crate::active::ActiveChat;
use crate::answer::{Answer, is_usable};
use crate::error::{self, CONVERSE_STREAM_ERRORS};

/// What of the request shapes the response.
#[derive(Debug, Default)]
pub(super) struct Echo {
    pub paths: ResponsePaths,
    pub performance_config: Option<api::PerformanceConfiguration>,
    pub service_tier: Option<api::ServiceTier>,
    /// Cache tokens are reported to those who set cache points.
    pub cached: bool,
}

pub(super) fn response(answer: Answer, latency_ms: u64, echo: Echo) -> api::ConverseResponse {
    let Answer { content, finished } = answer;
    let mut content: Vec<_> = content.into_iter().filter(is_usable).filter_map(content_block).collect();
    if content.is_empty() {
        // Clients read `content[0]`: an answer that came to nothing is a text that came to nothing.
        content.push(api::ContentBlock::Text(String::new()));
    }
    api::ConverseResponse {
        output: api::ConverseOutput::Message(api::Message {
            role: api::ConversationRole::Assistant,
            content,
        }),
        stop_reason: stop_reason(finished.reason),
        usage: usage(&finished.usage, echo.cached),
        metrics: api::ConverseMetrics { latency_ms: clamp(latency_ms) },
        additional_model_response_fields: echo.paths.select(&finished),
        trace: None,
        performance_config: echo.performance_config,
        service_tier: echo.service_tier,
    }
}

/// A block of an answer. Text that came to nothing is left out, as it is in a stream.
fn content_block(block: Block) -> Option<api::ContentBlock> {
    Some(match block {
        Block::Text(text) if text.is_empty() => return None,
        Block::Text(text) => api::ContentBlock::Text(text),
        Block::ToolUse(tool_use) => api::ContentBlock::ToolUse(api::ToolUseBlock {
            tool_use_id: tool_use.id,
            name: tool_use.name,
            input: tool_use.input,
            r#type: None,
        }),
        Block::Reasoning(Reasoning::Text { text, signature }) => api::ContentBlock::ReasoningContent(
            api::ReasoningContentBlock::ReasoningText(api::ReasoningTextBlock { text, signature }),
        ),
        Block::Reasoning(Reasoning::Redacted(bytes)) => {
            api::ContentBlock::ReasoningContent(api::ReasoningContentBlock::RedactedContent(Blob(bytes)))
        }
        // An answer is made of text, tool uses and reasoning.
        Block::Image(_) | Block::Document(_) | Block::ToolResult(_) | Block::CachePoint => return None,
    })
}

fn stop_reason(reason: StopReason) -> api::StopReason {
    match reason {
        StopReason::EndTurn => api::StopReason::EndTurn,
        StopReason::ToolUse => api::StopReason::ToolUse,
        StopReason::MaxTokens => api::StopReason::MaxTokens,
        StopReason::StopSequence => api::StopReason::StopSequence,
        StopReason::ContentFiltered => api::StopReason::ContentFiltered,
        StopReason::ContextWindowExceeded => api::StopReason::ModelContextWindowExceeded,
        StopReason::MalformedToolUse => api::StopReason::MalformedToolUse,
        StopReason::MalformedOutput => api::StopReason::MalformedModelOutput,
        StopReason::GuardrailIntervened => api::StopReason::GuardrailIntervened,
    }
}

fn usage(usage: &Usage, cached: bool) -> api::TokenUsage {
    let total = [usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens];
    let total: u64 = total.into_iter().map(u64::from).sum();
    let number = |tokens: u32| i32::try_from(tokens).unwrap_or(i32::MAX);
    api::TokenUsage {
        input_tokens: number(usage.input_tokens),
        output_tokens: number(usage.output_tokens),
        total_tokens: i32::try_from(total).unwrap_or(i32::MAX),
        cache_read_input_tokens: cached.then(|| number(usage.cache_read_tokens)),
        cache_write_input_tokens: cached.then(|| number(usage.cache_write_tokens)),
        cache_details: None,
    }
}

fn clamp(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

/// The events of ConverseStream.
///
/// As Bedrock does, it announces only tool uses with `contentBlockStart`: clients take the first delta as the start of
/// any other block. A text block without text is left out altogether.
pub(super) struct Events {
    chat: ActiveChat,
    echo: Option<Echo>,
    ready: VecDeque<api::ConverseStreamOutput>,
    /// Whether the open block has been seen by the client.
    shown: bool,
    /// The index of the open block, counting those that were seen.
    index: i32,
}

impl Events {
    pub(super) fn new(chat: ActiveChat, echo: Echo) -> Self {
        Self { chat, echo: Some(echo), ready: VecDeque::new(), shown: false, index: 0 }
    }

    fn take(&mut self, event: ChatEvent) {
        use api::ConverseStreamOutput as Output;
        match event {
            ChatEvent::Started { .. } => {
                let role = api::ConversationRole::Assistant;
                self.ready.push_back(Output::MessageStart(api::MessageStartEvent { role }));
            }
            ChatEvent::BlockStart { block, .. } => {
                self.shown = false;
                if let BlockStart::ToolUse { id, name } = block {
                    self.shown = true;
                    let start = api::ToolUseBlockStart { tool_use_id: id, name, r#type: None };
                    self.ready.push_back(Output::ContentBlockStart(api::ContentBlockStartEvent {
                        start: api::ContentBlockStart::ToolUse(start),
                        content_block_index: self.index,
                    }));
                }
            }
            ChatEvent::BlockDelta { delta, .. } => {
                if let Some(delta) = block_delta(delta) {
                    self.shown = true;
                    let content_block_index = self.index;
                    let event = api::ContentBlockDeltaEvent { delta, content_block_index };
                    self.ready.push_back(Output::ContentBlockDelta(event));
                }
            }
            ChatEvent::BlockStop { .. } if self.shown => {
                let event = api::ContentBlockStopEvent { content_block_index: self.index };
                self.index += 1;
                self.ready.push_back(Output::ContentBlockStop(event));
            }
            ChatEvent::BlockStop { .. } => {}
            ChatEvent::Finished(finished) => self.finish(&finished),
        }
    }

    fn finish(&mut self, finished: &Finished) {
        let echo = self.echo.take().unwrap_or_default();
        let stop = api::MessageStopEvent {
            stop_reason: stop_reason(finished.reason),
            additional_model_response_fields: echo.paths.select(finished),
        };
        let metadata = api::ConverseStreamMetadataEvent {
            usage: usage(&finished.usage, echo.cached),
            metrics: api::ConverseStreamMetrics { latency_ms: clamp(self.chat.latency_ms()) },
            trace: self.chat.guards().and_then(|guards| guards.trace()).map(guard::stream_trace),
            performance_config: echo.performance_config,
            service_tier: echo.service_tier,
        };
        self.ready.push_back(api::ConverseStreamOutput::MessageStop(stop));
        self.ready.push_back(api::ConverseStreamOutput::Metadata(metadata));
    }
}

/// A delta as Converse has it; none for text that adds nothing.
fn block_delta(delta: Delta) -> Option<api::ContentBlockDelta> {
    let reasoning = api::ContentBlockDelta::ReasoningContent;
    Some(match delta {
        Delta::Text(text) if text.is_empty() => return None,
        Delta::Text(text) => api::ContentBlockDelta::Text(text),
        Delta::ToolInput(input) => api::ContentBlockDelta::ToolUse(api::ToolUseBlockDelta { input }),
        Delta::Reasoning(text) => reasoning(api::ReasoningContentBlockDelta::Text(text)),
        Delta::ReasoningSignature(signature) => {
            reasoning(api::ReasoningContentBlockDelta::Signature(signature))
        }
        Delta::ReasoningRedacted(bytes) => {
            reasoning(api::ReasoningContentBlockDelta::RedactedContent(Blob(bytes)))
        }
    })
}

impl Stream for Events {
    type Item = Result<api::ConverseStreamOutput, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            match ready!(Pin::new(&mut self.chat).poll_next(context)) {
                Some(Ok(event)) => self.take(event),
                Some(Err(error)) => {
                    return Poll::Ready(Some(Err(error::in_stream(error, CONVERSE_STREAM_ERRORS))));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}
