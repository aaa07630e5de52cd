//! The answer's text on its way to the user: thoughts taken out, and through the guardrail where there is one.

use std::sync::Arc;

use craton_guardrails::stream::{StreamText, Verdict};
use craton_guardrails::{Guard, Source};
use craton_wire::ApiError;

use super::events::{Feed, RunEvent};

/// What stands around thoughts; what stands around answers goes too.
const OPEN: &str = "<thinking>";
const CLOSE: &str = "</thinking>";
const DROPPED: &[&str] = &["<answer>", "</answer>", "<final_response>", "</final_response>"];

/// Parts thoughts from what is meant for the user, increment by increment.
#[derive(Debug, Default)]
pub(super) struct Parted {
    pending: String,
    hidden: bool,
    begun: bool,
    pub thoughts: String,
}

impl Parted {
    /// Takes more text in; what of it the user may see.
    pub(super) fn push(&mut self, more: &str) -> String {
        self.pending.push_str(more);
        let mut shown = String::new();
        while self.step(&mut shown) {}
        self.trimmed(shown)
    }

    /// The end: what was held back.
    pub(super) fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.pending);
        if self.hidden {
            self.thoughts.push_str(&rest);
            return String::new();
        }
        let rest = self.trimmed(rest);
        rest.trim_end().to_owned()
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
        if let Some(found) = [OPEN, CLOSE].iter().chain(DROPPED).find(|name| tag.starts_with(**name)) {
            self.hidden = *found == OPEN;
            shown.push_str(if self.hidden { before.trim_end() } else { before });
            self.pending.drain(..at + found.len());
            return true;
        }
        if [OPEN, CLOSE].iter().chain(DROPPED).any(|name| name.starts_with(tag)) {
            let solid = before.trim_end().len();
            shown.extend(self.pending.drain(..solid));
            return false;
        }
        shown.extend(self.pending.drain(..=at));
        true
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

/// A whole text's thoughts, and the rest.
pub(super) fn part(text: &str) -> (String, String) {
    let mut parted = Parted::default();
    let mut answer = parted.push(text);
    answer.push_str(&parted.finish());
    (parted.thoughts.trim().to_owned(), answer.trim().to_owned())
}

/// Sends an answer as it is made.
pub(super) struct Teller {
    feed: Feed,
    parted: Parted,
    guard: Option<(StreamText, String)>,
    told: String,
    blocked: bool,
}

impl Teller {
    pub(super) fn new(feed: Feed, guard: Option<Arc<Guard>>) -> Self {
        let guard = guard.filter(|guard| guard.looks_at(Source::Output)).map(|guard| {
            let message = guard.blocked_message(Source::Output).to_owned();
            (StreamText::new(guard), message)
        });
        Self { feed, parted: Parted::default(), guard, told: String::new(), blocked: false }
    }

    pub(super) async fn push(&mut self, more: &str) -> Result<(), ApiError> {
        let shown = self.parted.push(more);
        self.tell(shown).await
    }

    /// The end of a step's text; another step's may follow.
    pub(super) async fn pause(&mut self) -> Result<(), ApiError> {
        let rest = self.parted.finish();
        self.tell(rest).await?;
        self.parted = Parted { begun: false, ..Parted::default() };
        Ok(())
    }

    /// The end of the answer; everything that was told.
    pub(super) async fn finish(&mut self) -> Result<String, ApiError> {
        self.pause().await?;
        if let Some((guard, message)) = &mut self.guard
            && !self.blocked
        {
            let text = match guard.finish().await? {
                Verdict::Pass(text) => text,
                Verdict::Blocked => {
                    self.blocked = true;
                    message.clone()
                }
            };
            self.send(text);
        }
        Ok(std::mem::take(&mut self.told))
    }

    /// A line between what two steps said.
    pub(super) async fn separate(&mut self) -> Result<(), ApiError> {
        if self.told.is_empty() { Ok(()) } else { self.tell("\n\n".to_owned()).await }
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
        ];
        for (text, (thoughts, answer)) in cases {
            assert_eq!(part(text), (thoughts.to_owned(), answer.to_owned()), "{text}");
        }
    }

    #[test]
    fn cutting_makes_no_difference() {
        let text = " <thinking>a < b</thinking> One <x> two </answer>\n three <thinking>c</thinking>four ";
        let whole = part(text);
        for cut in 1..6 {
            let mut parted = Parted::default();
            let mut answer = String::new();
            let letters: Vec<char> = text.chars().collect();
            for piece in letters.chunks(cut) {
                answer.push_str(&parted.push(&piece.iter().collect::<String>()));
            }
            answer.push_str(&parted.finish());
            assert_eq!(
                (parted.thoughts.trim(), answer.trim()),
                (whole.0.as_str(), whole.1.as_str()),
                "{cut}"
            );
        }
    }
}
