//! Text that arrives in increments, let through a sentence behind.
//!
//! A [`StreamText`] collects one text and says what of it may leave. When a sentence is complete it is judged together
//! with what came before it. Then all of it may leave but as many letters as the longest thing that the guardrail's
//! detectors may see begin there; where they read meaning, which may take two sentences, also no more than the sentence
//! before it: so whatever there is to be recognised is recognised before its first character is gone. Where sentences end
//! depends on the text alone, so it makes no difference how the text was cut into increments. What is held back is
//! bounded: a sentence without an end is cut after some hundred bytes.
//!
//! A custom regex may match more than what is held back: a key of many lines, a whole document. Where one of a guardrail's
//! can, which its syntax tells (`MOST_HELD` characters are safe), nothing leaves before the text is complete and judged as a
//! whole, exactly as it would be without a stream. What grows beyond `WHOLE` meanwhile is blocked: it can't be held, and
//! nobody knows what it would turn out to be.

use std::ops::Range;
use std::sync::Arc;

use craton_api_bedrock_runtime as api;
use craton_backend::EmbeddingModel;
use craton_wire::ApiError;

use crate::guard::{Guard, MOST_HELD, Piece, Source};
use crate::text::{View, first_sentences, is_telling};

/// Text before a sentence that is judged together with it, in bytes.
const CONTEXT: usize = 800;
/// The longest text that is held until it is complete, in bytes.
const WHOLE: usize = 1 << 20;

/// What may be done with a part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This may leave now (placeholders in place of what is anonymised).
    Pass(String),
    /// Nothing more may leave.
    Blocked,
}

/// One text on its way through a guardrail.
pub struct StreamText {
    guard: Arc<Guard>,
    encoder: Option<Arc<dyn EmbeddingModel>>,
    /// Everything so far, as the model wrote it.
    text: String,
    /// How much of it has left.
    released: usize,
    /// How much of it has been judged.
    judged: usize,
    masks: Vec<(Range<usize>, String)>,
    assessments: Vec<api::GuardrailAssessment>,
    masked: bool,
    blocked: bool,
    /// Nothing leaves before everything is there.
    whole: bool,
}

impl StreamText {
    /// A text of which nothing leaves but what [`Self::push`] and [`Self::finish`] let pass.
    pub fn new(guard: Arc<Guard>) -> Self {
        let whole = guard.may_hide_more_than(MOST_HELD);
        Self { whole, ..Self::leaving(guard) }
    }

    /// A text that leaves as it comes, whatever is said of it: it is judged on the way, to be stopped as soon as can be.
    pub fn leaving(guard: Arc<Guard>) -> Self {
        Self {
            encoder: guard.remembering(),
            guard,
            text: String::new(),
            released: 0,
            judged: 0,
            masks: Vec::new(),
            assessments: Vec::new(),
            masked: false,
            blocked: false,
            whole: false,
        }
    }

    /// Takes more text and returns what may leave; nothing for text that ends within a sentence.
    pub async fn push(&mut self, more: &str) -> Result<Verdict, ApiError> {
        if self.blocked {
            return Ok(Verdict::Blocked);
        }
        if self.whole {
            return Ok(self.hold(more));
        }
        self.text.push_str(more);
        let mut out = String::new();
        while let Some((end, before)) = self.next_sentence() {
            if self.judge(end).await? {
                return Ok(Verdict::Blocked);
            }
            let held = self.held_from(end);
            let limit = if self.guard.reads_on() { before.min(held) } else { held };
            self.release(limit, &mut out);
        }
        Ok(Verdict::Pass(out))
    }

    /// Judges what is left and returns it.
    pub async fn finish(&mut self) -> Result<Verdict, ApiError> {
        if self.blocked {
            return Ok(Verdict::Blocked);
        }
        let mut out = String::new();
        if self.released < self.text.len() {
            if self.judge(self.text.len()).await? {
                return Ok(Verdict::Blocked);
            }
            self.release(self.text.len(), &mut out);
        }
        Ok(Verdict::Pass(out))
    }

    /// Keeps more of a text that must be complete before it is judged.
    fn hold(&mut self, more: &str) -> Verdict {
        if self.text.len() + more.len() > WHOLE {
            tracing::warn!(
                bytes = WHOLE,
                "an answer is too long to be held for a custom regex that may match all of it"
            );
            self.blocked = true;
            return Verdict::Blocked;
        }
        self.text.push_str(more);
        Verdict::Pass(String::new())
    }

    /// Where what stays back begins, when everything up to `end` has been judged. Space and signs don't count, as a phrase is
    /// one with any of them between its words and letters.
    fn held_from(&self, end: usize) -> usize {
        let Some(last) = self.guard.held_back().checked_sub(1) else { return end };
        let open = &self.text[self.released..end.max(self.released)];
        // A character that is written as several is one.
        let view = View::plain(open);
        let mut telling = view.text().char_indices().rev().filter(|(_, character)| is_telling(*character));
        telling.nth(last).map_or(self.released, |(at, _)| self.released + view.original(at..at + 1).start)
    }

    /// What was found on the way.
    pub fn assessments(&mut self) -> Vec<api::GuardrailAssessment> {
        std::mem::take(&mut self.assessments)
    }

    pub fn masked(&self) -> bool {
        self.masked
    }

    /// The text as the model wrote it.
    pub fn original(&self) -> &str {
        &self.text
    }

    /// The end of the first sentence that has not been judged and that is known to be complete, and the end of the one
    /// before it.
    fn next_sentence(&self) -> Option<(usize, usize)> {
        let from = self.judged;
        let mut rest = first_sentences(&self.text[from..], 2).into_iter();
        let first = rest.next()?;
        // Complete is what is followed by another sentence, or by more space than ends it.
        let follows = rest.next()?;
        let end = from + first.end;
        (follows.start > first.start).then_some((end, from))
    }

    /// Judges the text up to `end` with its context. True when it is blocked.
    async fn judge(&mut self, end: usize) -> Result<bool, ApiError> {
        let mut start = self.judged.min(self.released).min(end.saturating_sub(CONTEXT));
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        // Context begins with a word.
        if start > 0 {
            start = self.text[..start].rfind(char::is_whitespace).map_or(0, |at| at + 1);
        }
        let piece = Piece::new(&self.text[start..end]);
        let assessed = self.guard.assess_by(Source::Output, vec![piece], self.encoder.as_ref()).await?;
        self.judged = end;
        // Of sentences that nothing was found in, one stands for all.
        if assessed.intervened() || self.assessments.is_empty() {
            self.assessments.push(assessed.assessment);
        }
        if assessed.blocked {
            self.blocked = true;
            return Ok(true);
        }
        for (range, placeholder) in assessed.masks.into_iter().flatten() {
            self.mask(range.start + start..range.end + start, placeholder);
        }
        Ok(false)
    }

    fn mask(&mut self, range: Range<usize>, placeholder: String) {
        if range.end <= self.released {
            return;
        }
        self.masked = true;
        let range = range.start.max(self.released)..range.end;
        match self.masks.iter_mut().find(|(known, _)| known.start < range.end && range.start < known.end) {
            Some((known, _)) => *known = known.start.min(range.start)..known.end.max(range.end),
            None => self.masks.push((range, placeholder)),
        }
    }

    /// Moves what is before `limit` to `out`, but never a part of what is masked, or of a word.
    fn release(&mut self, limit: usize, out: &mut String) {
        self.masks.sort_by_key(|(range, _)| range.start);
        let mut limit = limit.min(self.text.len());
        if limit < self.text.len() {
            while !self.text.is_char_boundary(limit) {
                limit -= 1;
            }
            limit = self.text[..limit].rfind(char::is_whitespace).map_or(0, |at| at);
            if let Some((range, _)) =
                self.masks.iter().find(|(range, _)| range.start < limit && limit < range.end)
            {
                limit = range.start;
            }
        }
        if limit <= self.released {
            return;
        }
        let mut at = self.released;
        for (range, placeholder) in self.masks.iter().filter(|(range, _)| range.end <= limit) {
            if range.start >= at {
                out.push_str(&self.text[at..range.start]);
                out.push_str(placeholder);
                at = range.end;
            }
        }
        out.push_str(&self.text[at..limit]);
        self.masks.retain(|(range, _)| range.end > limit);
        self.released = limit;
    }
}
