//! Calls through guardrails: what goes in is judged before a model sees it, what comes out before anybody does.
//!
//! * [`Guarding`]: what a call asks of its guardrail. It has a say over that one only: guardrails that the account enforces
//!   judge everything, before anything leaves, unless the account itself leaves some of that to callers.
//! * `applied`: the guardrails of a call, and how far each reaches.
//! * `input`: what of a request is judged, and what is put in place of what is anonymised.
//! * `strings`: what tools are called with, as text.
//! * `output`: an answer's events on their way through.
//! * [`GuardRecord`]: what happened, for traces and answers.
//! * [`BodyConfig`]: marks in the text of bodies in a model's own format.

mod applied;
mod input;
mod output;
mod record;
mod strings;
mod tags;

use std::ops::Range;

use craton_backend::{BlockStart, ChatEvent, ChatRequest, ChatStream, Delta, Finished, StopReason, Usage};
use craton_guardrails::{GuardReference, Piece, Qualifier, Source};
use craton_wire::ApiError;
use futures::StreamExt as _;

use applied::Applied;
pub use record::GuardRecord;
pub use tags::BodyConfig;

/// What a call asks of its guardrail.
#[derive(Debug, Clone, Default)]
pub struct Guarding {
    pub guardrail: Option<GuardReference>,
    pub trace: TraceLevel,
    /// Text leaves before it is judged, and the answer ends when something is found that is blocked. What would be anonymised
    /// is reported only.
    pub asynchronous: bool,
    /// What is judged. Empty: every text of the messages.
    pub marked: Vec<Marked>,
}

impl Guarding {
    /// What an identifier, a version and a trace level ask for, wherever a request has them. Empty ones are none.
    pub fn asked(
        identifier: Option<String>,
        version: Option<String>,
        trace: TraceLevel,
    ) -> Result<Self, ApiError> {
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        let guardrail = match (present(identifier), present(version)) {
            (Some(identifier), Some(version)) => Some(GuardReference { identifier, version: Some(version) }),
            (None, None) => None,
            _ => {
                return Err(ApiError::validation(
                    "A guardrail needs both its guardrailIdentifier and its guardrailVersion. Add what is missing and \
                     try again.",
                ));
            }
        };
        Ok(Self { guardrail, trace, ..Self::default() })
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    System(usize),
    /// Which message, and which block of it.
    Message(usize, usize),
    /// Which message, which tool's result in it, and which block of that.
    Part(usize, usize, usize),
}

/// The guardrails of one call.
pub(crate) struct Guards {
    guards: Vec<Applied>,
    marked: Vec<Marked>,
    asynchronous: bool,
    record: GuardRecord,
    /// Sources and query that answers are held against.
    context: Vec<Piece>,
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
        let looks_into = |it: &Applied| it.reach.whole_messages && it.guard.looks_at(Source::Input);
        let mut read = match self.guards.iter().any(looks_into) {
            true => input::read(request).await?,
            false => input::Read::new(),
        };
        for applied in &self.guards {
            let guard = &applied.guard;
            let (places, pieces) = input::pieces(applied.reach, &self.marked, (request, &read));
            if pieces.is_empty() || !guard.looks_at(Source::Input) {
                continue;
            }
            let assessed = guard.assess(Source::Input, pieces).await?;
            let message = assessed.blocked.then(|| guard.blocked_message(Source::Input).to_owned());
            if assessed.masked && message.is_none() {
                input::mask(&places, &assessed.masks, &mut self.marked, (request, &mut read));
            }
            self.record.input(applied, assessed);
            if message.is_some() {
                return Ok(message);
            }
        }
        Ok(None)
    }

    /// An answer's events, through every guardrail.
    pub(crate) fn watch(self, mut events: ChatStream, streamed: bool) -> ChatStream {
        for applied in self.guards {
            if !applied.guard.looks_at(Source::Output) {
                continue;
            }
            let grounded = applied.guard.needs_whole_answers() && !self.context.is_empty();
            let mode = match (streamed && !grounded, self.asynchronous && !applied.enforced) {
                (false, _) => output::Mode::Whole,
                (true, false) => output::Mode::Sync,
                (true, true) => output::Mode::Async,
            };
            events = output::Filter::new(events, applied, mode, self.context.clone(), self.record.clone())
                .stream();
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
