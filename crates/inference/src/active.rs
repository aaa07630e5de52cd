use std::pin::Pin;
use std::task::{Context, Poll, ready};

use craton_backend::{BackendError, BlockStart, ChatEvent, ChatStream, Delta, Finished, StopReason, Usage};
use craton_metering::{CallMeter, Tokens};
use craton_models::Resolved;
use craton_wire::ApiError;
use futures::{Stream, StreamExt};

use crate::answer::{self, Answer, AnswerBuilder};
use crate::error;
use crate::guarded::GuardRecord;
use crate::schema_check::SchemaChecks;

/// An answer under way: the backend's events, metered. Dropping it cancels the work behind it.
///
/// The stream ends after [`ChatEvent::Finished`] or after the first error. Its usage is recorded exactly once, when it
/// ends or is dropped.
pub struct ActiveChat {
    resolved: Resolved,
    /// None once the answer is over, which frees whatever the backend held for it.
    events: Option<ChatStream>,
    meter: CallMeter,
    checks: SchemaChecks,
    /// The tool that is being called, and the JSON text of its input so far.
    call: Option<(String, String)>,
    tool_inputs_ok: bool,
    /// The answer's text, where it has a schema.
    text: String,
    latency_ms: Option<u64>,
    guards: Option<GuardRecord>,
}

impl ActiveChat {
    pub(crate) fn new(
        resolved: Resolved,
        events: ChatStream,
        meter: CallMeter,
        checks: SchemaChecks,
    ) -> Self {
        Self {
            resolved,
            events: Some(events),
            meter,
            checks,
            call: None,
            tool_inputs_ok: true,
            text: String::new(),
            latency_ms: None,
            guards: None,
        }
    }

    pub(crate) fn with_guards(mut self, guards: Option<GuardRecord>) -> Self {
        self.guards = guards;
        self
    }

    /// What guardrails did with this call, complete once the answer is over; none when none looked at it.
    pub fn guards(&self) -> Option<&GuardRecord> {
        self.guards.as_ref()
    }

    /// Which model this is and what serves it.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    /// Milliseconds from sending the request to the end of the answer, or until now.
    pub fn latency_ms(&self) -> u64 {
        self.latency_ms.unwrap_or_else(|| self.meter.elapsed_ms())
    }

    /// Milliseconds from sending the request to the first increment.
    pub fn first_token_ms(&self) -> Option<u64> {
        self.meter.first_token_ms()
    }

    /// The whole answer.
    pub async fn collect(&mut self) -> Result<Answer, ApiError> {
        let mut builder = AnswerBuilder::default();
        while let Some(event) = self.next().await {
            let pushed = event.map(|event| builder.push(event)).map_err(error::unstreamed)?;
            if let Err(disorder) = pushed {
                return Err(error::unstreamed(self.fail(BackendError::BrokenStream(disorder.to_string()))));
            }
        }
        builder.build().ok_or_else(|| error::unstreamed(self.fail(cut_short())))
    }

    fn fail(&mut self, error: BackendError) -> ApiError {
        self.events = None;
        let error = error::from_backend(error, &self.resolved.model.id);
        self.meter.fail(error.code.clone());
        error
    }

    /// Takes note of an event on its way to the client.
    fn observe(&mut self, event: &mut ChatEvent) {
        match event {
            ChatEvent::Started { usage } => self.meter.prompt(tokens(usage)),
            ChatEvent::BlockStart { block: BlockStart::ToolUse { name, .. }, .. } => {
                self.call = Some((name.clone(), String::new()));
            }
            ChatEvent::BlockStart { .. } => {}
            ChatEvent::BlockDelta { delta, .. } => {
                self.meter.increment();
                match (delta, &mut self.call) {
                    (Delta::ToolInput(more), Some((_, json))) => json.push_str(more),
                    (Delta::Text(more), _) if self.checks.wants_text() => self.text.push_str(more),
                    _ => {}
                }
            }
            ChatEvent::BlockStop { .. } => {
                let fits = |(tool, json): (String, String)| {
                    answer::is_tool_input(&json) && self.checks.is_call(&tool, &json)
                };
                self.tool_inputs_ok &= self.call.take().is_none_or(fits);
            }
            ChatEvent::Finished(finished) => self.finish(finished),
        }
    }

    fn finish(&mut self, finished: &mut Finished) {
        finished.reason = answer::stop_reason(finished.reason, self.tool_inputs_ok);
        if finished.reason == StopReason::EndTurn && !self.checks.is_response(&self.text) {
            finished.reason = StopReason::MalformedOutput;
        }
        if finished.reason == StopReason::EndTurn && self.checks.must_call() {
            let (model_id, served_by) = (&self.resolved.model.id, &self.resolved.served_by);
            tracing::warn!(model_id, %served_by, "the model had to call a tool and answered without");
        }
        self.latency_ms = Some(self.meter.elapsed_ms());
        self.meter.complete(stop_reason_name(finished.reason), tokens(&finished.usage));
        self.events = None;
    }
}

impl Stream for ActiveChat {
    type Item = Result<ChatEvent, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(events) = &mut self.events else { return Poll::Ready(None) };
        let event = match ready!(events.as_mut().poll_next(context)) {
            Some(Ok(mut event)) => {
                self.observe(&mut event);
                Ok(event)
            }
            Some(Err(error)) => Err(self.fail(error)),
            None => Err(self.fail(cut_short())),
        };
        Poll::Ready(Some(event))
    }
}

fn cut_short() -> BackendError {
    BackendError::BrokenStream("it ended before it was complete".into())
}

fn tokens(usage: &Usage) -> Tokens {
    Tokens {
        input: usage.input_tokens,
        output: usage.output_tokens,
        cache_read: usage.cache_read_tokens,
        cache_write: usage.cache_write_tokens,
        estimated: false,
    }
}

/// The name Converse has for a stop reason.
pub(crate) fn stop_reason_name(reason: StopReason) -> &'static str {
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
