//! One request being answered: its tokens, its choices and where its events go.

use std::borrow::Cow;
use std::time::Instant;

use craton_backend::{BackendError, ChatEvent, Finished, Priority, StopReason, Usage};
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::vocab::LlamaVocab;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::draft::Drafter;
use crate::guide::Guide;
use crate::guided::{Guided, MaskPool};
use crate::output::{OutputAssembler, Progress};
use crate::sampler::Sampler;

pub(crate) type EventSender = UnboundedSender<Result<ChatEvent, BackendError>>;

/// How often a token that breaks a tool call's form is drawn again before the answer is given up.
const MAX_REDRAWS: usize = 16;

/// What constrains the answer.
#[derive(Debug)]
pub(crate) enum Constraint {
    Free,
    Active(Box<Guided>),
    /// Text until the model writes the marker of a tool call; this guide from there on.
    AfterMarker(Guide),
    /// `token` completes the marker; whether what it says beyond that can begin a call is being found out.
    Opening {
        guide: Guide,
        begun: Box<Guided>,
        token: LlamaToken,
    },
}

/// What a sequence needs from outside to choose tokens.
pub(crate) struct Turn<'a> {
    pub(crate) vocabulary: &'a LlamaVocab<'a>,
    /// Spells bytes in tokens; the guide's tokenizer.
    pub(crate) spell: &'a dyn Fn(&[u8]) -> Vec<u32>,
    pub(crate) masks: &'a MaskPool,
    /// A guide that is not done by then is waited for beside the next steps.
    pub(crate) until: Instant,
}

/// A choice that waits for its guide: the scores, and tokens that may not be chosen.
#[derive(Debug)]
pub(crate) struct PendingChoice {
    scores: Vec<f32>,
    banned: Vec<i32>,
}

/// A request, from the queue to its last event.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) priority: Priority,
    /// Prompt, then what was generated.
    pub(crate) tokens: Vec<LlamaToken>,
    pub(crate) prompt_tokens: usize,
    /// Tokens whose keys and values are in the KV cache.
    pub(crate) computed: usize,
    /// Prompt tokens before the last cache point.
    pub(crate) cache_tokens: usize,
    pub(crate) max_new_tokens: usize,
    pub(crate) context_tokens: usize,
    pub(crate) sampler: Sampler,
    pub(crate) constraint: Constraint,
    pub(crate) output: OutputAssembler,
    pub(crate) events: EventSender,
    /// Tokens already turned into output.
    pub(crate) emitted: usize,
    /// Its sequence number in the KV cache while it has one.
    pub(crate) id: i32,
    pub(crate) usage: Option<Usage>,
    /// Sits out the steps until its guide is done.
    pub(crate) waiting: bool,
    pub(crate) choosing: Option<PendingChoice>,
    /// The guide is finding out what follows from the last token.
    pub(crate) following: bool,
    pub(crate) drafter: Drafter,
}

/// Whether to go on after a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Continue,
    /// For its guide; [`Sequence::resume`] goes on.
    Waiting,
    Done {
        reason: StopReason,
        stop_sequence: Option<String>,
    },
    Failed(BackendError),
}

impl Outcome {
    fn done(reason: StopReason) -> Self {
        Self::Done { reason, stop_sequence: None }
    }
}

impl Sequence {
    /// The client has gone away.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// Up to `most` tokens that may follow, to be computed along with the last one. Empty where a guide has a say.
    pub(crate) fn draft(&self, most: usize) -> &[LlamaToken] {
        let is_free = matches!(self.constraint, Constraint::Free | Constraint::AfterMarker(_));
        if !is_free || self.pending() != 1 || self.generated() == 0 {
            return &[];
        }
        // What would lie beyond the end of the answer need not be computed.
        let left = self.max_new_tokens.saturating_sub(self.generated() + 1);
        let room = self.context_tokens.saturating_sub(self.tokens.len() + 1);
        self.drafter.draft(&self.tokens, most.min(left).min(room))
    }

    /// Whether `token` was chosen, and nothing else with it.
    pub(crate) fn has_chosen(&self, token: LlamaToken) -> bool {
        self.pending() == 1 && self.tokens.last() == Some(&token)
    }

    /// Tokens still to be computed before the next can be chosen.
    pub(crate) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    pub(crate) fn generated(&self) -> usize {
        self.emitted - self.prompt_tokens
    }

    /// Says that the request is admitted and how much of its prompt was already there. Once only: a sequence that
    /// was set aside and comes back has said so before.
    pub(crate) fn announce(&mut self, reused: usize) {
        if self.usage.is_some() {
            return;
        }
        let count = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        let read = reused.min(self.cache_tokens);
        let usage = Usage {
            input_tokens: count(self.prompt_tokens - self.cache_tokens),
            output_tokens: 0,
            cache_read_tokens: count(read),
            cache_write_tokens: count(self.cache_tokens - read),
        };
        self.usage = Some(usage);
        self.send(Ok(ChatEvent::Started { usage }));
    }

    pub(crate) fn send(&self, event: Result<ChatEvent, BackendError>) {
        // A client that went away is noticed at the next step.
        let _ = self.events.send(event);
    }

    /// Chooses the next token from the scores and turns what is settled into events.
    pub(crate) fn advance(&mut self, scores: &[f32], turn: &Turn<'_>) -> Outcome {
        let outcome = self.choose(Cow::Borrowed(scores), Vec::new(), turn);
        self.waiting = outcome == Outcome::Waiting;
        outcome
    }

    /// Goes on after [`Outcome::Waiting`].
    pub(crate) fn resume(&mut self, turn: &Turn<'_>) -> Outcome {
        let outcome = match self.choosing.take() {
            Some(PendingChoice { scores, banned }) => self.choose(Cow::Owned(scores), banned, turn),
            None => self.follow(turn.vocabulary, turn.until),
        };
        self.waiting = outcome == Outcome::Waiting;
        outcome
    }

    fn choose(&mut self, scores: Cow<'_, [f32]>, mut banned: Vec<i32>, turn: &Turn<'_>) -> Outcome {
        while banned.len() < MAX_REDRAWS {
            if let Constraint::Opening { begun, token, .. } = &mut self.constraint {
                let token = *token;
                match begun.advanced(turn.until) {
                    None => return self.wait_to_choose(scores, banned),
                    Some(opens) => self.open_call(opens.is_ok()),
                }
                if matches!(self.constraint, Constraint::Active(_)) {
                    self.tokens.push(token);
                    self.following = true;
                    return self.follow(turn.vocabulary, turn.until);
                }
                // What the token says after the marker can't begin a call: draw again without it.
                banned.push(token.0);
                continue;
            }
            let allowed = match &mut self.constraint {
                Constraint::Active(guided) => match guided.mask(turn.until) {
                    None => return self.wait_to_choose(scores, banned),
                    Some(Err(reason)) => return unmet(&reason),
                    Some(Ok(mask)) => Some(mask),
                },
                _ => None,
            };
            let Some(token) = self.sampler.pick(&scores, allowed, &banned) else {
                return Outcome::Failed(BackendError::Internal("the model gave no usable scores".to_owned()));
            };
            match self.take(LlamaToken(token), turn) {
                Some(outcome) => return outcome,
                None => continue,
            }
        }
        Outcome::done(StopReason::MalformedToolUse)
    }

    /// Books a chosen token; `None` when it completes a marker and it has to be seen whether it opens a call.
    fn take(&mut self, token: LlamaToken, turn: &Turn<'_>) -> Option<Outcome> {
        match &mut self.constraint {
            Constraint::Active(guided) if !turn.vocabulary.is_eog(token) => {
                guided.accept(u32::try_from(token.0).unwrap_or(u32::MAX), turn.masks);
                self.tokens.push(token);
                self.following = true;
                // What the guide makes of it is looked at when all sequences of this step have chosen.
                return Some(match self.emit(turn.vocabulary) {
                    Outcome::Continue => Outcome::Waiting,
                    ended => ended,
                });
            }
            Constraint::AfterMarker(guide) => {
                let piece = turn.vocabulary.token_to_piece(token, false, None);
                if let Some(rest) = self.output.after_marker(&piece) {
                    let guide = guide.clone();
                    let begun = Box::new(Guided::after(guide.clone(), (turn.spell)(&rest), turn.masks));
                    self.constraint = Constraint::Opening { guide, begun, token };
                    return None;
                }
            }
            _ => {}
        }
        self.tokens.push(token);
        Some(self.emit(turn.vocabulary))
    }

    fn wait_to_choose(&mut self, scores: Cow<'_, [f32]>, banned: Vec<i32>) -> Outcome {
        self.choosing = Some(PendingChoice { scores: scores.into_owned(), banned });
        Outcome::Waiting
    }

    /// The marker that the model wrote opens a call, or can't.
    fn open_call(&mut self, opens: bool) {
        let before = std::mem::replace(&mut self.constraint, Constraint::Free);
        self.constraint = match before {
            Constraint::Opening { begun, .. } if opens => Constraint::Active(begun),
            Constraint::Opening { guide, .. } => Constraint::AfterMarker(guide),
            other => other,
        };
    }

    /// Adds the tokens that follow from the last one without choice.
    fn follow(&mut self, vocabulary: &LlamaVocab<'_>, until: Instant) -> Outcome {
        let Constraint::Active(guided) = &mut self.constraint else { return Outcome::Continue };
        match guided.advanced(until) {
            None => return Outcome::Waiting,
            Some(Err(reason)) => return unmet(&reason),
            Some(Ok(())) => {}
        }
        self.following = false;
        self.tokens.append(&mut guided.take_forced());
        if guided.is_complete() && self.emitted == self.tokens.len() {
            return Outcome::done(self.natural_end());
        }
        self.emit(vocabulary)
    }

    /// Turns tokens not yet shown into events, up to the end of the answer.
    fn emit(&mut self, vocabulary: &LlamaVocab<'_>) -> Outcome {
        while let Some(&token) = self.tokens.get(self.emitted) {
            if vocabulary.is_eog(token) {
                return Outcome::done(self.natural_end());
            }
            self.emitted += 1;
            self.sampler.accept(token.0);
            let piece = vocabulary.token_to_piece(token, self.output.reads_special_tokens(), None);
            match self.output.push(&piece) {
                Progress::Continue => {}
                Progress::Stopped(stop) => {
                    return Outcome::Done { reason: StopReason::StopSequence, stop_sequence: Some(stop) };
                }
                Progress::Malformed => return Outcome::done(StopReason::MalformedToolUse),
                Progress::CallsDone => return Outcome::done(StopReason::ToolUse),
            }
            self.flush();
            let complete = matches!(&self.constraint, Constraint::Active(guided) if guided.is_complete());
            if complete && !self.following && self.emitted == self.tokens.len() {
                return Outcome::done(self.natural_end());
            }
            if self.generated() >= self.max_new_tokens {
                return Outcome::done(StopReason::MaxTokens);
            }
            if self.emitted >= self.context_tokens {
                return Outcome::done(StopReason::ContextWindowExceeded);
            }
        }
        Outcome::Continue
    }

    fn natural_end(&self) -> StopReason {
        if self.output.in_call() {
            StopReason::MalformedToolUse
        } else if self.output.has_calls() {
            StopReason::ToolUse
        } else {
            StopReason::EndTurn
        }
    }

    fn flush(&mut self) {
        for event in self.output.take_events() {
            self.send(Ok(event));
        }
    }

    /// Sends the last events.
    pub(crate) fn finish(&mut self, reason: StopReason, stop_sequence: Option<String>) {
        self.output.finish(stop_sequence.is_some());
        self.flush();
        let mut usage = self.usage.unwrap_or_default();
        usage.output_tokens = u32::try_from(self.generated()).unwrap_or(u32::MAX);
        self.send(Ok(ChatEvent::Finished(Finished { reason, stop_sequence, usage, extra: Value::Null })));
    }
}

/// Schemas come from callers: one that nothing satisfies, or that costs too much to follow, is their mistake.
fn unmet(reason: &str) -> Outcome {
    tracing::info!(reason, "an answer can't be held to its JSON schema");
    // The matcher's own names mean nothing to callers.
    let why: String = match reason {
        reason if reason.contains("NoExtension") => "nothing that satisfies it comes to an end".to_owned(),
        reason if ["TooComplex", "Too many", "too big"].iter().any(|name| reason.contains(name)) => {
            "it is too complex to be followed".to_owned()
        }
        reason => reason.lines().next().unwrap_or_default().chars().take(200).collect(),
    };
    Outcome::Failed(BackendError::Invalid(format!("the answer can't be held to its JSON schema: {why}")))
}
