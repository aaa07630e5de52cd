//! What a text does, beside what it is about: whether it compares, and whether it asks for advice in a case of its own.
//!
//! Sentence vectors say little of that: "Should we switch from A to B?" is nearer to moving house than to "How does A compare
//! to B?". So a topic whose definition or examples compare takes a comparison of one of its names with another name as strong
//! evidence, and one that is about nothing else takes a sentence that compares nothing as evidence against. A topic that
//! is about advice takes a question that asks for a judgement ("am I allowed …") as evidence, with a weight that is fitted
//! like the others.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use regex::Regex;

use super::statics::{Statics, words};
use super::topics::{background, named_parts};
use crate::definition::Topic;
use crate::text::View;

/// Words before this place in the order of frequency are no names.
const FREQUENT: usize = 9000;
/// What a comparison of a name of the topic with another counts, one of another name with "us", and none at all where the
/// topic is about nothing else.
const NAMES_COMPARED: f32 = 6.0;
const OTHER_COMPARED: f32 = 1.5;
const NOT_COMPARED: f32 = -6.0;

const COMPARES: &str = concat!(
    r"\b(?:compar(?:e|es|ed|ing|isons?)|versus|vs|than|better|worse|cheaper|faster|differ(?:s|ing|ent|ences?)?|",
    r"(?:dis)?advantages?|alternatives?|rivals?|against|instead|rather|prefer(?:able)?|beats?|outperforms?|superior|",
    r"inferior|similar|rank(?:s|ing)?|lacks?|side by side|next to|pros and cons|stacks? up|measures? up|holds? up|",
    r"stand out|fall short)\b|",
    r"\b(?:should|why|worth)\b.*\b(?:switch(?:ing)?|migrat(?:e|ing)|mov(?:e|ing)|chang(?:e|ing)|leav(?:e|ing))\b|",
    r"\b(?:pick|choose|use|buy|take|go|fly|book)\b.*\bover\b|",
    r"\bthat\b.*(?:n't\b|\bcannot\b|\b(?:does|do|can|has|have) not\b)",
);
/// A definition that is about comparing.
const ON_COMPARING: &str = r"\b(?:compar|versus\b|vs\b|better\b|differ|alternativ|rival)";
/// A definition that is about advice.
const ON_ADVICE: &str = r"advi[cs]|recommend|counsel|diagnos|opinion|interpret|\bhelp with";
const ASKS: &str = concat!(
    r"\b(?:can|could|may|am|should|would|will|must) (?:i|we|my)\b|\bdo (?:i|we) (?:have|need|owe|get)\b|",
    r"\bis (?:it|this|that|my)\b.*\b(?:legal|lawful|allowed|valid|binding|ok|normal|safe|against)|\bmean for me\b|",
    r"\bhelp me\b|\b(?:read|review|check|interpret|draft)\b.*\b(?:my|this|me)\b|",
    r"\bmy\b.*\b(?:can|could|should|would|will|do)\b|\btell me (?:if|whether|what)\b|\bwhat (?:are|is) my\b|",
    r"\bwhich\b.*\bshould\b|\bi wonder",
);
const PROCEDURE: &str = r"\b(?:how|where) (?:do|can|could|should|would) (?:i|we|you)\b";

/// Words that stand before a thing rather than before a name.
const BEFORE_THINGS: [&str; 13] =
    ["the", "a", "an", "its", "your", "my", "our", "their", "this", "these", "those", "his", "s"];
const RIVALS: [&str; 5] = ["competitor", "competitors", "rival", "rivals", "competition"];
const OURS: [&str; 8] = ["we", "us", "our", "ours", "you", "your", "yours", "ourselves"];
const ENDINGS: [&str; 16] = [
    "ments", "ment", "ations", "ation", "ings", "ing", "ied", "ies", "edly", "ed", "er", "ers", "es", "ly",
    "s", "e",
];

/// A pattern of this file; one that finds nothing if it is not well formed, which a test excludes.
struct Pattern(Option<Regex>);

impl Pattern {
    fn new(pattern: &str) -> Self {
        Self(Regex::new(pattern).ok())
    }

    fn is_in(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|it| it.is_match(text))
    }
}

static PATTERNS: LazyLock<[Pattern; 5]> =
    LazyLock::new(|| [COMPARES, ON_COMPARING, ON_ADVICE, ASKS, PROCEDURE].map(Pattern::new));

fn compares(text: &str) -> bool {
    PATTERNS[0].is_in(text)
}

/// What a topic is about doing.
pub(super) struct Acts {
    compares: Comparing,
    advises: bool,
    /// Rare words of the definition and the examples, such as a product's.
    names: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparing {
    No,
    /// The definition or half of the examples compare.
    Also,
    /// All that the definition names, and all examples, compare.
    Only,
}

/// What a sentence does towards a topic.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Done {
    /// What its comparing, or not comparing, counts.
    pub compared: f32,
    /// It asks for a judgement; the topic is about advice; it asks how something is done.
    pub asks: bool,
    pub advice: bool,
    pub procedure: bool,
}

impl Acts {
    pub(super) fn of(topic: &Topic) -> Self {
        let definition = View::folded(&topic.definition);
        let examples: Vec<View> = topic.examples.iter().map(|it| View::folded(it)).collect();
        let comparing = examples.iter().filter(|it| compares(it.text())).count();
        let on_comparing = |text: &str| PATTERNS[1].is_in(text) || compares(text);
        let named = named_parts(definition.text());
        let said = named.iter().any(|it| on_comparing(it));
        let nothing_else = said && named.iter().all(|it| on_comparing(it));
        let compares = if nothing_else && comparing > 0 && comparing == examples.len() {
            Comparing::Only
        } else if said || comparing > 0 && 2 * comparing >= examples.len() {
            Comparing::Also
        } else {
            Comparing::No
        };
        let texts = examples.iter().chain([&definition]);
        let names = texts.flat_map(|it| words(it.text())).filter(|it| is_rare(it));
        Self {
            compares,
            advises: [definition.text(), &topic.name.to_lowercase()].iter().any(|it| PATTERNS[2].is_in(it)),
            names: names.filter(|it| !RIVALS.contains(it)).map(str::to_owned).collect(),
        }
    }

    /// What a folded sentence does.
    pub(super) fn done(&self, text: &str) -> Done {
        let procedure = PATTERNS[4].is_in(text);
        let asks = !procedure && PATTERNS[3].is_in(text);
        Done { compared: self.compared(text), asks, advice: asks && self.advises, procedure }
    }

    fn compared(&self, text: &str) -> f32 {
        if self.compares == Comparing::No {
            return 0.0;
        }
        let said: Vec<&str> = words(text).collect();
        let is_ours = |at: usize| said.get(at).is_some_and(|it| self.names.contains(*it));
        let named: BTreeSet<&str> = said.iter().copied().filter(|it| self.names.contains(*it)).collect();
        let choice = said
            .iter()
            .enumerate()
            .any(|(at, word)| *word == "or" && (is_ours(at + 1) || at.checked_sub(1).is_some_and(is_ours)));
        if !choice && !compares(text) {
            return if self.compares == Comparing::Only { NOT_COMPARED } else { 0.0 };
        }
        let other = said.iter().enumerate().any(|(at, word)| {
            let before = at.checked_sub(1).map(|at| said[at]);
            let is_thing = before.is_some_and(|it| BEFORE_THINGS.contains(&it) || self.names.contains(it));
            RIVALS.contains(word) || is_rare(word) && !self.names.contains(*word) && !is_thing
        });
        if named.len() > 1 || !named.is_empty() && other {
            return NAMES_COMPARED;
        }
        let with_us = self.compares == Comparing::Only && said.iter().any(|it| OURS.contains(it));
        if other && with_us { OTHER_COMPARED } else { 0.0 }
    }
}

/// Whether a word in lower case looks like a name: it and what it may be a form of are rare, and it is not of ordinary
/// traffic unless it is no word that the tokenizer has.
fn is_rare(word: &str) -> bool {
    static ORDINARY: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let lines: Vec<View> = background().map(View::folded).collect();
        lines.iter().flat_map(|line| words(line.text())).map(str::to_owned).collect()
    });
    if word.len() < 3 || !word.chars().all(char::is_alphabetic) || compares(word) {
        return false;
    }
    let table = Statics::shipped();
    let frequent = |it: &str| table.rank(it).is_some_and(|rank| rank <= FREQUENT);
    let form = |ending: &str| {
        let base = word.strip_suffix(ending).filter(|it| it.len() >= 3);
        base.is_some_and(|it| frequent(it) || frequent(&format!("{it}e")) || frequent(&format!("{it}y")))
    };
    !frequent(word)
        && !ENDINGS.iter().any(|it| form(it))
        && (table.rank(word).is_none() || !ORDINARY.contains(word))
}

#[cfg(test)]
mod tests {
    use craton_api_bedrock::GuardrailTopicAction;

    use super::*;
    use crate::definition::Sides;

    fn acts(definition: &str, examples: &[&str]) -> Acts {
        Acts::of(&Topic {
            name: "topic".to_owned(),
            definition: definition.to_owned(),
            examples: examples.iter().map(|it| (*it).to_owned()).collect(),
            sides: Sides::new(GuardrailTopicAction::Block, (None, None), (None, None)),
        })
    }

    fn done(acts: &Acts, text: &str) -> Done {
        acts.done(View::folded(text).text())
    }

    #[test]
    fn every_pattern_is_well_formed() {
        assert!(PATTERNS.iter().all(|it| it.0.is_some()));
    }

    #[test]
    fn a_name_of_the_topic_compared_with_another_counts_in_every_usual_form() {
        let topic = acts("Comparing Techoral with named competitors", &["Is Techoral better than X?"]);
        for text in [
            "Should we leave Datadog for Techoral?",
            "Put Techoral and Splunk side by side.",
            "What has Techoral that Globex hasn't?",
            "Techoral or Datadog for a small team?",
            "Why would I choose Splunk over Techoral?",
            "Is Techoral ahead of or behind its rivals?",
        ] {
            assert_eq!(done(&topic, text).compared, NAMES_COMPARED, "{text}");
        }
        assert_eq!(done(&topic, "How do you differ from Splunk?").compared, OTHER_COMPARED);
        for text in ["Is Techoral's pro plan better than basic?", "Which is better, tea or coffee?"] {
            assert_eq!(done(&topic, text).compared, 0.0, "{text}");
        }
        for text in ["How do I export logs from Techoral to Splunk?", "Does Techoral work with Datadog?"] {
            assert_eq!(done(&topic, text).compared, NOT_COMPARED, "{text}");
        }
    }

    #[test]
    fn a_topic_that_does_not_compare_takes_nothing_from_comparisons() {
        let topic = acts("Anything about the project Kestrel", &["What is Kestrel?"]);
        for text in ["Is Kestrel better than Datadog?", "When does Kestrel start?"] {
            assert_eq!(done(&topic, text).compared, 0.0, "{text}");
        }
    }

    #[test]
    fn a_topic_that_also_compares_takes_nothing_from_what_does_not() {
        let topic =
            acts("Comparing Techoral with Splunk, or prices of Splunk", &["Is Techoral better than Splunk?"]);
        assert_eq!(done(&topic, "What does Splunk charge?").compared, 0.0);
        assert_eq!(done(&topic, "Techoral or Datadog?").compared, NAMES_COMPARED);
    }

    #[test]
    fn a_judgement_is_asked_for_where_a_procedure_is_not() {
        let topic = acts("Requests for legal advice", &[]);
        for text in ["Am I allowed to sublet?", "Is it legal to film them?", "Check my contract."] {
            assert!(done(&topic, text).advice, "{text}");
        }
        for text in ["How can I upload my contract?", "Where do I sign?", "The contract is signed."] {
            assert!(!done(&topic, text).advice, "{text}");
        }
        assert!(!done(&acts("Betting and casinos", &[]), "Should I bet on red?").advice);
    }
}
