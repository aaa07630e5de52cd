//! Calls through guardrails: what goes in is judged before a model sees it, what comes out before anybody does.
//!
//! * [`Guarding`]: what a call asks of its guardrail.
//! * `input`: what of a request is judged, and what is put in place of what is anonymised.
//! * `output`: an answer's events on their way through.
//! * [`GuardRecord`]: what happened, for traces and answers.
//! * [`tags`]: marks in the text of InvokeModel's bodies.

mod input;
mod output;
mod record;
pub(crate) mod tags;

use std::ops::Range;
use std::sync::Arc;

use craton_backend::{BlockStart, ChatEvent, ChatRequest, ChatStream, Delta, Finished, StopReason, Usage};
use craton_core::RequestContext;
use craton_guardrails::{Guard, GuardReference, Piece, Qualifier, Source};
use craton_models::Resolved;
use craton_wire::ApiError;
use futures::StreamExt as _;

use crate::chat::Inference;
pub use record::GuardRecord;

/// What a call asks of its guardrail.
#[derive(Debug, Clone, Default)]
pub struct Guarding {
    pub guardrail: Option<GuardReference>,
    pub trace: TraceLevel,
    /// Text leaves before it is judged, and the answer ends when it is found wanting. Nothing is anonymised then.
    pub asynchronous: bool,
    /// What is judged. Empty: every text of the messages.
    pub marked: Vec<Marked>,
}

/// How much a call wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TraceLevel {
    #[default]
    Disabled,
    /// What was detected.
    Enabled,
    /// Also what was looked for and not found.
    Full,
}

/// A text of the request that the client marked for its guardrail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    pub place: Place,
    /// Which bytes of the block's text; none is all of it.
    pub range: Option<Range<usize>>,
    pub qualifiers: Vec<Qualifier>,
}

/// Where a block is in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    System(usize),
    /// Which message, and which block of it.
    Message(usize, usize),
}

/// The guardrails of one call.
pub(crate) struct Guards {
    guards: Vec<Arc<Guard>>,
    marked: Vec<Marked>,
    asynchronous: bool,
    record: GuardRecord,
    /// Sources and query that answers are held against.
    context: Vec<Piece>,
}

impl Inference {
    /// The guardrail that a call asks for, and those that the account enforces.
    pub(crate) async fn guards(
        &self,
        context: &RequestContext,
        resolved: &Resolved,
        guarding: Guarding,
    ) -> Result<Guards, ApiError> {
        let mut guards = Vec::new();
        match (&self.guardrails, &guarding.guardrail) {
            (Some(guardrails), reference) => {
                if let Some(reference) = reference {
                    guards.push(guardrails.guard(context, reference).await?);
                }
                guards.extend(guardrails.enforced(context, &resolved.model.id).await?);
            }
            // A guardrail must never be passed over in silence.
            (None, Some(_)) => return Err(ApiError::validation("This server keeps no guardrails.")),
            (None, None) => {}
        }
        Ok(Guards {
            guards,
            marked: guarding.marked,
            asynchronous: guarding.asynchronous,
            record: GuardRecord::new(guarding.trace),
            context: Vec::new(),
        })
    }
}

impl Guards {
    pub(crate) fn record(&self) -> Option<GuardRecord> {
        (!self.guards.is_empty()).then(|| self.record.clone())
    }

    /// Judges what goes in, and puts placeholders in place of what is anonymised. Answers with what is said instead when
    /// it must not go in.
    pub(crate) async fn judge_input(
        &mut self,
        request: &mut ChatRequest,
    ) -> Result<Option<String>, ApiError> {
        self.context = input::grounding_context(&self.marked, request);
        for guard in &self.guards {
            let (places, pieces) = input::pieces(&self.marked, request);
            if pieces.is_empty() || !guard.looks_at(Source::Input) {
                continue;
            }
            let assessed = guard.assess(Source::Input, pieces).await?;
            let message = assessed.blocked.then(|| guard.blocked_message(Source::Input).to_owned());
            if assessed.masked && message.is_none() {
                input::mask(&places, &assessed.masks, &mut self.marked, request);
            }
            self.record.input(guard.id(), assessed);
            if message.is_some() {
                return Ok(message);
            }
        }
        Ok(None)
    }

    /// An answer's events, through every guardrail.
    pub(crate) fn watch(self, mut events: ChatStream, streamed: bool) -> ChatStream {
        for guard in self.guards {
            if !guard.looks_at(Source::Output) {
                continue;
            }
            let grounded = guard.needs_whole_answers() && !self.context.is_empty();
            let mode = match (streamed && !grounded, self.asynchronous) {
                (false, _) => output::Mode::Whole,
                (true, false) => output::Mode::Sync,
                (true, true) => output::Mode::Async,
            };
            events =
                output::Filter::new(events, guard, mode, self.context.clone(), self.record.clone()).stream();
        }
        events
    }
}

/// The answer in place of a model's when the input was refused.
pub(crate) fn refusal(message: String) -> ChatStream {
    let events = said(message, Usage::default());
    futures::stream::iter(events.into_iter().map(Ok)).boxed()
}

/// The events of an answer that a guardrail gives.
fn said(message: String, usage: Usage) -> Vec<ChatEvent> {
    vec![
        ChatEvent::Started { usage },
        ChatEvent::BlockStart { index: 0, block: BlockStart::Text },
        ChatEvent::BlockDelta { index: 0, delta: Delta::Text(message) },
        ChatEvent::BlockStop { index: 0 },
        ChatEvent::Finished(intervened(usage)),
    ]
}

fn intervened(usage: Usage) -> Finished {
    Finished {
        reason: StopReason::GuardrailIntervened,
        stop_sequence: None,
        usage,
        extra: serde_json::Value::Null,
    }
}
