//! The answer's text on its way to the user: thoughts taken out, and through the guardrail where there is one.
//!
//! Whether what a model says is the answer is known when it calls no tool. So text of a step that may still end with a
//! call is held back until the step's end, unless the model marks it as final by `<answer>`: from there on it goes out as
//! it comes, and the step is the last one, whatever else it has. [`parts`] reads a whole text by the same rules, so that
//! an answer is the same whether it is streamed or not.

use std::sync::Arc;

use craton_guardrails::stream::{StreamText, Verdict};
use craton_guardrails::{Guard, Source};
use craton_wire::ApiError;

use super::events::{Feed, RunEvent};

/// What stands around thoughts.
const OPEN: &str = "<thinking>";
const CLOSE: &str = "</thinking>";
/// What stands around answers: the beginnings say that no call follows.
const FINAL: &[&str] = &["<answer>", "<final_response>"];
const ENDS: &[&str] = &["</answer>", "</final_response>"];

/// Parts thoughts from what is meant for the user, increment by increment.
#[derive(Debug, Default)]
pub(super) struct Parted {
    pending: String,
    hidden: bool,
    begun: bool,
    pub thoughts: String,
    /// What may turn out to stand before a call; none once it is known that it does not.
    held: Option<String>,
    /// The model said that this is its answer.
    marked: bool,
}

fn tags() -> impl Iterator<Item = &'static str> {
    [OPEN, CLOSE].into_iter().chain(FINAL.iter().copied()).chain(ENDS.iter().copied())
}

impl Parted {
    /// Of a step that may end with a call, or can't.
    pub(super) fn of_step(may_call: bool) -> Self {
        Self { held: may_call.then(String::new), ..Self::default() }
    }

    /// Takes more text in; what of it the user may see.
    pub(super) fn push(&mut self, more: &str) -> String {
        self.pending.push_str(more);
        let mut shown = String::new();
        while self.step(&mut shown) {}
        let shown = self.trimmed(shown);
        match &mut self.held {
            Some(held) => {
                held.push_str(&shown);
                String::new()
            }
            None => shown,
        }
    }

    /// The end: what was held back.
    pub(super) fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.pending);
        let rest = if self.hidden {
            self.thoughts.push_str(&rest);
            String::new()
        } else {
            self.trimmed(rest)
        };
        let held = self.held.take().unwrap_or_default();
        (held + &rest).trim_end().to_owned()
    }

    /// Takes one piece off what is pending; false when more text must come first.
    fn step(&mut self, shown: &mut String) -> bool {
        if self.hidden {
            let Some(end) = self.pending.find(CLOSE) else {
                let keep = suffix_of(&self.pending, CLOSE);
                let out: String = self.pending.drain(..self.pending.len() - keep).collect();
                self.thoughts.push_str(&out);
                return false;
            };
            self.thoughts.push_str(&self.pending[..end]);
            self.pending.drain(..end + CLOSE.len());
            self.hidden = false;
            return true;
        }
        let Some(at) = self.pending.find('<') else {
            // Space at the end may be the answer's own end.
            let solid = self.pending.trim_end().len();
            shown.extend(self.pending.drain(..solid));
            return false;
        };
        let (before, tag) = self.pending.split_at(at);
        let solid = before.trim_end().len();
        if let Some(found) = tags().find(|name| tag.starts_with(*name)) {
            shown.push_str(&before[..solid]);
            self.hidden = found == OPEN;
            if self.hidden {
                self.pending.drain(..at + found.len());
            } else {
                // Space before another tag may stand between words.
                self.pending.drain(at..at + found.len());
                self.pending.drain(..solid);
            }
            if FINAL.contains(&found) {
                self.answers(shown);
            }
            return true;
        }
        if tags().any(|name| name.starts_with(tag)) {
            shown.extend(self.pending.drain(..solid));
            return false;
        }
        shown.extend(self.pending.drain(..=at));
        true
    }

    /// The answer begins here; what stood before it was on the way to it.
    fn answers(&mut self, shown: &mut String) {
        self.marked = true;
        if let Some(before) = self.held.take() {
            let before = before + shown;
            if !before.trim().is_empty() {
                if !self.thoughts.is_empty() {
                    self.thoughts.push_str("\n\n");
                }
                self.thoughts.push_str(before.trim());
            }
            shown.clear();
            self.begun = false;
        }
    }

    /// An answer does not begin with space.
    fn trimmed(&mut self, text: String) -> String {
        if self.begun {
            return text;
        }
        let text = text.trim_start().to_owned();
        self.begun = !text.is_empty();
        text
    }
}

/// How much of the end of `text` may be the beginning of `tag`.
fn suffix_of(text: &str, tag: &str) -> usize {
    (1..tag.len()).rev().find(|length| text.ends_with(&tag[..*length])).unwrap_or(0)
}

/// A whole text, read.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub thoughts: String,
    pub answer: String,
    /// The model said that this is its answer: no call that comes with it counts.
    pub is_final: bool,
}

/// Reads the whole text of a step that might have ended with a call, or could not.
pub(super) fn parts(text: &str, may_call: bool) -> Parts {
    let mut parted = Parted::of_step(may_call);
    let mut answer = parted.push(text);
    answer.push_str(&parted.finish());
    let answer = answer.trim().to_owned();
    let is_final = parted.marked && may_call && !answer.is_empty();
    Parts { thoughts: parted.thoughts.trim().to_owned(), answer, is_final }
}

/// A whole text's thoughts, and the rest.
pub(super) fn part(text: &str) -> (String, String) {
    let Parts { thoughts, answer, .. } = parts(text, false);
    (thoughts, answer)
}

/// Sends an answer as it is made.
pub(super) struct Teller {
    feed: Feed,
    parted: Parted,
    guard: Option<(StreamText, String)>,
    /// What of this step's text has been passed on.
    passed: String,
    /// What has gone out, guarded.
    told: String,
    blocked: bool,
}

impl Teller {
    pub(super) fn new(feed: Feed, guard: Option<Arc<Guard>>) -> Self {
        let guard = guard.filter(|guard| guard.looks_at(Source::Output)).map(|guard| {
            let message = guard.blocked_message(Source::Output).to_owned();
            (StreamText::new(guard), message)
        });
        let parted = Parted::default();
        Self { feed, parted, guard, passed: String::new(), told: String::new(), blocked: false }
    }

    /// Another step begins. What the one before it held back was not the answer.
    pub(super) fn step(&mut self, may_call: bool) {
        self.parted = Parted::of_step(may_call);
        self.passed.clear();
    }

    pub(super) async fn push(&mut self, more: &str) -> Result<(), ApiError> {
        let shown = self.parted.push(more);
        self.passed.push_str(&shown);
        self.tell(shown).await
    }

    /// The last step has ended, and `answer` is what it said: what has not gone out of it does. Gives what the user has,
    /// or where the guardrail stopped it, the guardrail's words.
    pub(super) async fn finish(&mut self, answer: &str) -> Result<String, ApiError> {
        let rest = answer.strip_prefix(self.passed.as_str()).unwrap_or_default().to_owned();
        self.tell(rest).await?;
        let Some((guard, message)) = &mut self.guard else { return Ok(std::mem::take(&mut self.told)) };
        let message = message.clone();
        if !self.blocked {
            let text = match guard.finish().await? {
                Verdict::Pass(text) => text,
                Verdict::Blocked => {
                    self.blocked = true;
                    message.clone()
                }
            };
            self.send(text);
        }
        Ok(if self.blocked { message } else { std::mem::take(&mut self.told) })
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub(super) fn intervened(&self) -> bool {
        self.blocked || self.guard.as_ref().is_some_and(|(guard, _)| guard.masked())
    }

    pub(super) fn assessments(&mut self) -> Vec<craton_api_bedrock_runtime::GuardrailAssessment> {
        self.guard.as_mut().map(|(guard, _)| guard.assessments()).unwrap_or_default()
    }

    async fn tell(&mut self, text: String) -> Result<(), ApiError> {
        if self.blocked || text.is_empty() {
            return Ok(());
        }
        let text = match &mut self.guard {
            None => text,
            Some((guard, message)) => match guard.push(&text).await? {
                Verdict::Pass(text) => text,
                Verdict::Blocked => {
                    self.blocked = true;
                    message.clone()
                }
            },
        };
        self.send(text);
        Ok(())
    }

    fn send(&mut self, text: String) {
        if !text.is_empty() {
            self.told.push_str(&text);
            self.feed.send(RunEvent::Chunk { text, citations: Vec::new() });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thoughts_are_parted_from_the_answer() {
        let cases = [
            ("Plain.", ("", "Plain.")),
            ("<thinking>Hm.</thinking>\n\nYes, 1 < 2.", ("Hm.", "Yes, 1 < 2.")),
            ("<answer>It is <b>here</b>.</answer>", ("", "It is <b>here</b>.")),
            ("A <thinking>never closed", ("never closed", "A")),
            ("  spaced  ", ("", "spaced")),
            ("ends in <", ("", "ends in <")),
            ("First. <answer>Then.</answer>", ("", "First. Then.")),
        ];
        for (text, (thoughts, answer)) in cases {
            assert_eq!(part(text), (thoughts.to_owned(), answer.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_stands_before_a_marked_answer_is_no_part_of_it() {
        let cases = [
            ("I look. <answer> Here. </answer>", ("I look.", "Here.", true)),
            ("<thinking>Hm.</thinking>I look.\n<answer>Here.", ("Hm.\n\nI look.", "Here.", true)),
            ("I look.", ("", "I look.", false)),
            ("I look. <answer></answer>", ("I look.", "", false)),
            ("<thinking>never closed", ("never closed", "", false)),
        ];
        for (text, (thoughts, answer, is_final)) in cases {
            let read = parts(text, true);
            assert_eq!(
                (read.thoughts.as_str(), read.answer.as_str(), read.is_final),
                (thoughts, answer, is_final)
            );
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "<thinking>",
            "</thinking>",
            "<answer>",
            "</answer>",
            "</final_response>",
            " ",
            "\n",
            "a",
            "bc.",
            "<",
            "<x>",
            "é",
        ]);
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// However a text arrives, what has gone out of it is the beginning of the answer that the whole text has.
        #[test]
        fn cutting_makes_no_difference(text in text(), may_call: bool, cut in 1_usize..6) {
            let whole = parts(&text, may_call);
            let mut parted = Parted::of_step(may_call);
            let mut passed = String::new();
            let letters: Vec<char> = text.chars().collect();
            for piece in letters.chunks(cut) {
                passed.push_str(&parted.push(&piece.iter().collect::<String>()));
                prop_assert!(whole.answer.starts_with(&passed), "{passed:?} of {whole:?}");
                prop_assert!(passed.is_empty() || !may_call || whole.is_final);
            }
            passed.push_str(&parted.finish());
            prop_assert_eq!(passed.trim(), whole.answer);
            prop_assert_eq!(parted.thoughts.trim(), whole.thoughts);
        }
    }
}
