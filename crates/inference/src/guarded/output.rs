//! An answer's events on their way through one guardrail.

use std::collections::VecDeque;
use std::sync::Arc;

use craton_backend::{BackendError, BlockStart, ChatEvent, ChatStream, Delta, Finished, StopReason, Usage};
use craton_guardrails::stream::{StreamText, Verdict};
use craton_guardrails::{Piece, Source};
use craton_wire::ApiError;
use futures::StreamExt as _;

use super::applied::Applied;
use super::{GuardRecord, intervened, said};

/// When text leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// When the whole answer has been judged.
    Whole,
    /// When its sentence and the next have been judged.
    Sync,
    /// At once.
    Async,
}

pub(super) struct Filter {
    events: ChatStream,
    applied: Applied,
    mode: Mode,
    /// What answers are held against.
    context: Vec<Piece>,
    record: GuardRecord,
    /// The open text block.
    text: Option<StreamText>,
    /// Text that has left and is yet to be judged, and the block it is in.
    unjudged: Option<(u32, String)>,
    held: Vec<ChatEvent>,
    ready: VecDeque<ChatEvent>,
    usage: Usage,
    masked: bool,
    over: bool,
}

impl Filter {
    pub(super) fn new(
        events: ChatStream,
        applied: Applied,
        mode: Mode,
        context: Vec<Piece>,
        record: GuardRecord,
    ) -> Self {
        Self {
            events,
            applied,
            mode,
            context,
            record,
            text: None,
            unjudged: None,
            held: Vec::new(),
            ready: VecDeque::new(),
            usage: Usage::default(),
            masked: false,
            over: false,
        }
    }

    pub(super) fn stream(self) -> ChatStream {
        futures::stream::unfold(self, |mut filter| async move {
            let event = filter.next().await?;
            Some((event, filter))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<ChatEvent, BackendError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.step().await {
                self.over = true;
                self.ready.clear();
                return Some(Err(error));
            }
        }
    }

    /// Judges what is due, or takes one more event.
    async fn step(&mut self) -> Result<(), BackendError> {
        if let Some((index, text)) = self.unjudged.take() {
            return self.judge_late(index, &text).await;
        }
        match self.events.next().await {
            Some(Ok(event)) => self.take(event).await,
            Some(Err(error)) => Err(error),
            None => {
                self.over = true;
                Ok(())
            }
        }
    }

    async fn take(&mut self, event: ChatEvent) -> Result<(), BackendError> {
        if let ChatEvent::Started { usage } = &event {
            self.usage = *usage;
        }
        if self.mode == Mode::Whole {
            let last = matches!(event, ChatEvent::Finished(_));
            self.held.push(event);
            return if last { self.judge_whole().await } else { Ok(()) };
        }
        match event {
            ChatEvent::BlockStart { block: BlockStart::Text, .. } => {
                let guard = Arc::clone(&self.applied.guard);
                self.text = Some(match self.mode {
                    Mode::Async => StreamText::leaving(guard),
                    _ => StreamText::new(guard),
                });
                self.ready.push_back(event);
            }
            ChatEvent::BlockDelta { index, delta: Delta::Text(more) } if self.text.is_some() => {
                self.usage.output_tokens = self.usage.output_tokens.saturating_add(1);
                if self.mode == Mode::Async {
                    self.unjudged = Some((index, more.clone()));
                    self.ready.push_back(ChatEvent::BlockDelta { index, delta: Delta::Text(more) });
                } else if let Some(text) = &mut self.text {
                    let verdict = text.push(&more).await.map_err(failed)?;
                    self.pass(index, verdict);
                }
            }
            ChatEvent::BlockStop { index } => {
                if let Some(mut text) = self.text.take() {
                    let verdict = text.finish().await.map_err(failed)?;
                    let verdict = match (verdict, self.mode) {
                        // It has left already.
                        (Verdict::Pass(_), Mode::Async) => Verdict::Pass(String::new()),
                        (verdict, _) => verdict,
                    };
                    self.text = Some(text);
                    self.pass(index, verdict);
                    if self.over {
                        return Ok(());
                    }
                    self.close_text();
                }
                self.ready.push_back(ChatEvent::BlockStop { index });
            }
            ChatEvent::Finished(mut finished) => {
                self.stamp(&mut finished);
                self.ready.push_back(ChatEvent::Finished(finished));
                self.over = true;
            }
            other => self.ready.push_back(other),
        }
        Ok(())
    }

    /// Judges text that has left: what follows it may yet be stopped.
    async fn judge_late(&mut self, index: u32, more: &str) -> Result<(), BackendError> {
        if let Some(text) = &mut self.text
            && text.push(more).await.map_err(failed)? == Verdict::Blocked
        {
            self.pass(index, Verdict::Blocked);
        }
        Ok(())
    }

    /// Lets text through, or ends the answer with the guardrail's words.
    fn pass(&mut self, index: u32, verdict: Verdict) {
        match verdict {
            Verdict::Pass(text) if text.is_empty() => {}
            Verdict::Pass(text) => {
                self.ready.push_back(ChatEvent::BlockDelta { index, delta: Delta::Text(text) });
            }
            Verdict::Blocked => {
                if let Some(mut text) = self.text.take() {
                    self.record.model_output(text.original());
                    self.record.output(&self.applied, text.assessments(), (true, "Guardrail blocked."));
                }
                let message = self.applied.guard.blocked_message(Source::Output).to_owned();
                self.ready.push_back(ChatEvent::BlockDelta { index, delta: Delta::Text(message) });
                self.ready.push_back(ChatEvent::BlockStop { index });
                self.ready.push_back(ChatEvent::Finished(intervened(self.usage)));
                self.over = true;
                // Dropping the events cancels the work behind them.
                self.events = futures::stream::empty().boxed();
            }
        }
    }

    fn close_text(&mut self) {
        let Some(mut text) = self.text.take() else { return };
        let masked = text.masked() && self.mode == Mode::Sync;
        if masked {
            self.record.model_output(text.original());
        }
        self.masked |= masked;
        self.record.output(&self.applied, text.assessments(), (masked, "Guardrail masked."));
    }

    /// A stop reason says when words of the answer are not the model's.
    fn stamp(&self, finished: &mut Finished) {
        if self.masked && finished.reason != StopReason::ToolUse {
            finished.reason = StopReason::GuardrailIntervened;
        }
    }

    async fn judge_whole(&mut self) -> Result<(), BackendError> {
        let held = std::mem::take(&mut self.held);
        self.over = true;
        let mut texts: Vec<String> = Vec::new();
        let mut is_text = false;
        for event in &held {
            match event {
                ChatEvent::BlockStart { block, .. } => {
                    is_text = matches!(block, BlockStart::Text);
                    if is_text {
                        texts.push(String::new());
                    }
                }
                ChatEvent::BlockDelta { delta: Delta::Text(more), .. } if is_text => {
                    if let Some(text) = texts.last_mut() {
                        text.push_str(more);
                    }
                }
                _ => {}
            }
        }
        if texts.iter().all(String::is_empty) {
            self.ready.extend(held);
            return Ok(());
        }
        let mut pieces = self.context.clone();
        let before = pieces.len();
        pieces.extend(texts.iter().map(Piece::new));
        let assessed = self.applied.guard.assess(Source::Output, pieces).await.map_err(failed)?;
        if assessed.intervened() {
            texts.iter().for_each(|text| self.record.model_output(text));
        }
        let happened = (assessed.intervened(), assessed.reason());
        self.record.output(&self.applied, vec![assessed.assessment], happened);
        if assessed.blocked {
            let usage = held.iter().find_map(|event| match event {
                ChatEvent::Finished(finished) => Some(finished.usage),
                _ => None,
            });
            let message = self.applied.guard.blocked_message(Source::Output).to_owned();
            self.ready.extend(said(message, usage.unwrap_or(self.usage)));
            return Ok(());
        }
        if assessed.masked {
            self.masked = true;
            self.ready.extend(replaced(held, assessed.texts.into_iter().skip(before)));
            if let Some(ChatEvent::Finished(finished)) = self.ready.back_mut()
                && finished.reason != StopReason::ToolUse
            {
                finished.reason = StopReason::GuardrailIntervened;
            }
        } else {
            self.ready.extend(held);
        }
        Ok(())
    }
}

/// Events with the text of each text block replaced.
fn replaced(events: Vec<ChatEvent>, mut texts: impl Iterator<Item = String>) -> Vec<ChatEvent> {
    let mut out = Vec::with_capacity(events.len());
    let mut is_text = false;
    for event in events {
        match event {
            ChatEvent::BlockStart { index, block } => {
                is_text = matches!(block, BlockStart::Text);
                out.push(ChatEvent::BlockStart { index, block });
                if is_text && let Some(text) = texts.next() {
                    out.push(ChatEvent::BlockDelta { index, delta: Delta::Text(text) });
                }
            }
            ChatEvent::BlockDelta { delta: Delta::Text(_), .. } if is_text => {}
            other => out.push(other),
        }
    }
    out
}

/// When an answer can't be judged it does not leave.
fn failed(error: ApiError) -> BackendError {
    tracing::error!(%error.message, "a guardrail could not judge an answer");
    BackendError::Upstream { status: 503, message: "the guardrail could not judge the answer".into() }
}
