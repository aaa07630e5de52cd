//! One request being answered: its tokens, its choices and where its events go.

use craton_backend::{BackendError, ChatEvent, Finished, Priority, StopReason, Usage};
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::vocab::LlamaVocab;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::guide::Guide;
use crate::output::{OutputAssembler, Progress};
use crate::sampler::Sampler;

pub(crate) type EventSender = UnboundedSender<Result<ChatEvent, BackendError>>;

/// How often a token that breaks a tool call's form is drawn again before the answer is given up.
const MAX_REDRAWS: usize = 16;

/// What constrains the answer.
#[derive(Debug)]
pub(crate) enum Constraint {
    Free,
    Active(Guide),
    /// Text until the model writes the marker of a tool call; this guide from there on.
    AfterMarker(Guide),
}

/// Spells bytes in tokens; the guide's tokenizer.
pub(crate) type Spell<'a> = &'a dyn Fn(&[u8]) -> Vec<u32>;

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
}

/// Whether to go on after a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Continue,
    Done { reason: StopReason, stop_sequence: Option<String> },
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
    pub(crate) fn advance(
        &mut self,
        logits: &[f32],
        vocabulary: &LlamaVocab<'_>,
        spell: Spell<'_>,
    ) -> Outcome {
        match self.choose(logits, vocabulary, spell) {
            Ok(token) => self.tokens.push(token),
            Err(outcome) => return outcome,
        }
        if let Constraint::Active(guide) = &mut self.constraint {
            self.tokens.append(&mut guide.take_forced());
        }
        self.emit(vocabulary)
    }

    fn choose(
        &mut self,
        logits: &[f32],
        vocabulary: &LlamaVocab<'_>,
        spell: Spell<'_>,
    ) -> Result<LlamaToken, Outcome> {
        let internal = |reason: String| Outcome::Failed(BackendError::Internal(reason));
        // Schemas come from callers: one that nothing satisfies, or that costs too much to follow, is their mistake.
        let unmet = |reason: String| {
            let reason: String = reason.lines().next().unwrap_or_default().chars().take(200).collect();
            Outcome::Failed(BackendError::Invalid(format!(
                "the answer can't be held to its JSON schema: {reason}"
            )))
        };
        let mut banned = Vec::new();
        for _ in 0..MAX_REDRAWS {
            let allowed = match &mut self.constraint {
                Constraint::Active(guide) => Some(guide.allowed().map_err(unmet)?),
                _ => None,
            };
            let Some(token) = self.sampler.pick(logits, allowed.as_ref(), &banned) else {
                return Err(internal("the model gave no usable scores".to_owned()));
            };
            match &mut self.constraint {
                Constraint::Active(guide) => {
                    if !vocabulary.is_eog(LlamaToken(token)) {
                        guide.accept(token).map_err(unmet)?;
                    }
                    return Ok(LlamaToken(token));
                }
                Constraint::AfterMarker(guide) => {
                    let piece = vocabulary.token_to_piece(LlamaToken(token), false, None);
                    let Some(rest) = self.output.after_marker(&piece) else { return Ok(LlamaToken(token)) };
                    let mut begun = guide.clone();
                    if rest.is_empty() || begun.accept_all(&spell(&rest)) {
                        self.constraint = Constraint::Active(begun);
                        return Ok(LlamaToken(token));
                    }
                    // What the token says after the marker can't begin a call: draw again without it.
                    banned.push(token);
                }
                Constraint::Free => return Ok(LlamaToken(token)),
            }
        }
        Err(Outcome::done(StopReason::MalformedToolUse))
    }

    /// Turns tokens not yet shown into events, up to the end of the answer.
    fn emit(&mut self, vocabulary: &LlamaVocab<'_>) -> Outcome {
        while let Some(&token) = self.tokens.get(self.emitted) {
            if vocabulary.is_eog(token) {
                return Outcome::done(self.natural_end());
            }
            self.emitted += 1;
            self.sampler.accept(token.0);
            let piece = vocabulary.token_to_piece(token, false, None);
            if let Progress::Stopped(stop) = self.output.push(&piece) {
                return Outcome::Done { reason: StopReason::StopSequence, stop_sequence: Some(stop) };
            }
            self.flush();
            let complete = matches!(&self.constraint, Constraint::Active(guide) if guide.is_complete());
            if complete && self.emitted == self.tokens.len() {
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
        if self.output.has_calls() { StopReason::ToolUse } else { StopReason::EndTurn }
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
