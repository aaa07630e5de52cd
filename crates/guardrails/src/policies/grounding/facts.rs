//! What a sentence says, as far as it can be compared.

use std::collections::HashSet;

use super::forms::word_at;
use super::quantities::{Lexeme, Quantity, lexemes, measure, quantities};
use super::relations::{Relations, Said, Written, act_at};
use super::words::{denied_word, denies_within, is_denial, is_light, root};
use crate::policies::lexical::is_common;
use crate::policies::pii::tagger::{Tagger, flags};
use crate::policies::statics::Statics;
use crate::text::{View, sentences};

/// What a sentence says.
pub(super) struct Facts {
    /// Roots of its content words, names among them.
    pub(super) content: HashSet<String>,
    pub(super) quantities: Vec<Quantity>,
    /// Capitalised words that are names, in lower case, those side by side together.
    pub(super) names: Vec<Vec<String>>,
    /// The word that begins it, where it has a capital letter that may be a name's.
    first: Option<String>,
    /// Whether it has a word that denies, and one that denies and says what: both together say it again.
    denials: (bool, bool),
    /// Roots of the words after "without", "instead of" and ", not".
    pub(super) lacks: HashSet<String>,
    pub(super) relations: Relations,
    /// Whether it speaks of somebody or something that was named before: "She …", "Its …".
    pub(super) refers_back: bool,
    pub(super) vector: Vec<f32>,
    /// The words around each quantity.
    around: Vec<Around>,
}

/// The words around a quantity, up to the next ones.
#[derive(Default)]
struct Around {
    /// Those before it, the nearest first.
    before: Vec<String>,
    behind: Vec<String>,
}

enum Part {
    Word(String),
    Quantity,
    /// What is before it belongs together, and so does what is behind it.
    Break,
}

pub(super) fn facts_of(text: &str, most: usize) -> Vec<Facts> {
    let clauses = sentences(text).into_iter().flat_map(|range| clauses(&text[range]));
    clauses.take(most).map(facts).collect()
}

/// The parts of a sentence that say and deny for themselves.
fn clauses(sentence: &str) -> impl Iterator<Item = &str> {
    sentence.split(';').flat_map(|part| part.split(" but ")).filter(|part| !part.trim().is_empty())
}

pub(super) fn facts(sentence: &str) -> Facts {
    let view = View::plain(sentence);
    let plain = view.text();
    let lexemes = lexemes(plain);
    let mut facts = Facts {
        content: HashSet::new(),
        quantities: quantities(&lexemes),
        names: Vec::new(),
        first: first_of(&lexemes),
        denials: (false, false),
        lacks: HashSet::new(),
        relations: Relations::default(),
        refers_back: false,
        vector: Statics::shipped().embed(&plain.to_lowercase()),
        around: Vec::new(),
    };
    let mut order = Vec::new();
    let mut at = 0;
    let mut next = 0;
    let mut named_at = None;
    let mut said = Vec::new();
    while at < lexemes.len() {
        if let Some(quantity) = facts.quantities.get(next).filter(|it| it.from <= at) {
            at = quantity.to.max(at + 1);
            order.push(Part::Quantity);
            said.push(Said::Break);
            next += 1;
            continue;
        }
        if let Lexeme::Word(word) = lexemes[at] {
            let names = is_name(&lexemes, at);
            match word {
                "and" => {
                    order.push(Part::Break);
                    said.push(Said::Break);
                }
                "while" | "whereas" | "when" | "because" | "although" | "though" | "if" | "unless" => {
                    said.push(Said::Break);
                }
                "by" => said.push(Said::By),
                "than" => said.push(Said::Than),
                _ => {}
            }
            if let Some(root) = facts.add_word(word, &lexemes, at) {
                let name = names || at == 0 && first_of(&lexemes).is_some();
                said.push(Said::Word(Written { root: root.clone(), name, act: act_at(&lexemes, at) }));
                order.push(Part::Word(root));
            }
            if names {
                facts.add_name(word, named_at == Some(at));
                named_at = Some(at + 1);
            }
        }
        if lexemes[at] == Lexeme::Mark(',') {
            order.push(Part::Break);
            said.push(Said::Break);
        }
        at += 1;
    }
    facts.around = around(&order);
    facts.relations = Relations::of(&lexemes, said);
    facts
}

/// The words around each quantity of a sentence.
fn around(order: &[Part]) -> Vec<Around> {
    let words = |part: &Part| match part {
        Part::Word(word) => Some(word.clone()),
        Part::Quantity | Part::Break => None,
    };
    let quantities = order.iter().enumerate().filter(|(_, it)| matches!(it, Part::Quantity));
    let around = quantities.map(|(at, _)| Around {
        before: order[..at].iter().rev().map_while(words).collect(),
        behind: order[at + 1..].iter().map_while(words).collect(),
    });
    around.collect()
}

impl Facts {
    /// Takes a word in; its root where it is a content word.
    fn add_word(&mut self, word: &str, of: &[Lexeme<'_>], at: usize) -> Option<String> {
        let lower = word.to_lowercase();
        // "Switched on" and "switched off" are two things, though "on" and "off" say little elsewhere.
        if matches!(lower.as_str(), "on" | "off") && at > 0 && is_switching(&word_at(of, at - 1)) {
            self.content.insert(lower);
            return None;
        }
        // "isn't" comes as three, of which the last denies.
        let shortened = lower == "t" && at > 1 && of[at - 1] == Lexeme::Mark('\'') && ends_in_n(&of[at - 2]);
        if is_denial(&lower) || shortened {
            self.denials.0 |= !is_aside(of, at, &lower);
            if lower == "nothing" && is_aside(of, at, &lower) {
                self.content.insert(root("free"));
            }
            return None;
        }
        self.refers_back |= matches!(
            lower.as_str(),
            "he" | "she" | "it" | "they" | "his" | "her" | "its" | "their" | "this" | "these"
        );
        let ends = is_support(&word_at(of, at + 1)) && is_end(&lower);
        self.denials.1 |= denies_within(&lower);
        let measures = measure(&of[at]).is_some();
        if ends || !word.starts_with(char::is_alphabetic) || is_common(&lower) || is_light(&lower) || measures
        {
            return None;
        }
        let bare = lower.strip_prefix("non").filter(|rest| rest.len() > 5).unwrap_or(&lower);
        let root = root(denied_word(bare).unwrap_or(bare));
        if is_left_out(of, at) || at > 0 && is_support(&lower) && is_end(&word_at(of, at - 1)) {
            self.lacks.insert(root.clone());
        }
        self.content.insert(root.clone());
        Some(root)
    }

    fn add_name(&mut self, word: &str, continues: bool) {
        let name = root(&word.to_lowercase());
        match self.names.last_mut().filter(|_| continues) {
            Some(run) => run.push(name),
            None => self.names.push(vec![name]),
        }
    }

    /// Takes the word that begins the sentence for a name, as it is one elsewhere.
    pub(super) fn name_first(&mut self, known: &HashSet<String>) {
        if let Some(first) = self.first.take_if(|it| known.contains(it)) {
            self.names.push(vec![first]);
        }
    }

    /// The content word that it begins with: mostly what it is about.
    pub(super) fn subject(&self) -> Option<&String> {
        self.relations.said.iter().find_map(|it| match it {
            Said::Word(word) => Some(&word.root),
            _ => None,
        })
    }

    pub(super) fn is_denied(&self) -> bool {
        self.denials.0 != self.denials.1
    }

    /// Drops what there is too much of.
    pub(super) fn forget(&mut self, quantities: bool, names: bool) {
        if quantities {
            self.quantities.clear();
        }
        if names {
            self.names.clear();
            self.first = None;
        }
    }

    /// The words before a quantity and after the one before it, the nearest first; without any, those behind it.
    pub(super) fn before(&self, index: usize) -> impl Iterator<Item = &String> {
        let around = self.around.get(index);
        around.into_iter().flat_map(|it| if it.before.is_empty() { &it.behind } else { &it.before })
    }

    /// Whether a word is on one of both sides of a quantity.
    pub(super) fn is_beside(&self, index: usize, word: &String) -> bool {
        self.around.get(index).is_some_and(|it| it.before.contains(word) || it.behind.contains(word))
    }

    /// Whether a quantity without words before it follows one that has the word: "fell from 8 to 5", "fell to 5, from 8".
    pub(super) fn continues(&self, index: usize, word: &String) -> bool {
        let bare = self.around.get(index).is_some_and(|it| it.before.is_empty());
        let before = index.checked_sub(1).and_then(|before| self.around.get(before));
        bare && before.is_some_and(|it| it.before.contains(word))
    }

    /// Whether another sentence says all of this one.
    pub(super) fn is_part_of(&self, other: &Self) -> bool {
        self.content.is_subset(&other.content)
            && self.quantities.iter().all(|it| it.loose || other.quantities.iter().any(|known| it.is(known)))
    }
}

/// Whether a word that denies does not deny what the sentence says: in "not only", "no charge", "costs nothing", and where
/// it leaves out a part ([`is_left_out`]).
fn is_aside(of: &[Lexeme<'_>], at: usize, word: &str) -> bool {
    let before = at.checked_sub(1).map(|before| of[before]);
    let next = word_at(of, at + 1);
    match word {
        "without" => true,
        "not" => next == "only" || before == Some(Lexeme::Mark(',')),
        "no" => matches!(next.as_str(), "cost" | "charge" | "doubt"),
        "nothing" => matches!(before, Some(Lexeme::Word(it)) if root(&it.to_lowercase()) == root("cost")),
        _ => false,
    }
}

/// Words between "without" and what is left out, at most.
const MOST_BETWEEN: usize = 2;

/// Whether the word here is left out of what is said: "without sugar", "butter, not oil", "butter instead of oil".
fn is_left_out(of: &[Lexeme<'_>], at: usize) -> bool {
    let mut before = at;
    for _ in 0..=MOST_BETWEEN {
        let Some(place) = before.checked_sub(1) else { return false };
        let word = word_at(of, place);
        let contrast = place > 0 && of[place - 1] == Lexeme::Mark(',');
        let paired = |first: &str| place > 0 && word_at(of, place - 1) == first;
        match word.as_str() {
            "without" => return true,
            "not" => return contrast,
            "of" if paired("instead") => return true,
            "than" if paired("rather") => return true,
            _ if is_common(&word) => before = place,
            _ => return false,
        }
    }
    false
}

fn is_switching(word: &str) -> bool {
    ["switch", "turn", "power", "put", "log", "sign"].iter().any(|it| word.starts_with(it))
}

fn is_support(word: &str) -> bool {
    matches!(word, "support" | "supporting")
}

/// Whether the word says that something is no more; before "support" it leaves that out.
fn is_end(word: &str) -> bool {
    ["drop", "drops", "dropped", "dropping", "end", "ends", "ended", "stop", "stops", "stopped", "removes"]
        .contains(&word)
}

fn ends_in_n(of: &Lexeme<'_>) -> bool {
    matches!(of, Lexeme::Word(word) if word.ends_with('n'))
}

/// The first word of a sentence, where it is none of those that sentences usually begin with and no name for sure.
fn first_of(of: &[Lexeme<'_>]) -> Option<String> {
    let Some(Lexeme::Word(word)) = of.first() else { return None };
    let lower = word.to_lowercase();
    let may_be = word.starts_with(char::is_uppercase) && !is_common(&lower) && !is_name(of, 0);
    may_be.then(|| root(&lower))
}

/// Whether the word here is a name: a capital letter, where not every sentence has one.
fn is_name(of: &[Lexeme<'_>], at: usize) -> bool {
    let Lexeme::Word(word) = of[at] else { return false };
    let is_title = |word: &str| word.len() > 1 && word.starts_with(char::is_uppercase);
    let lower = word.to_lowercase();
    if !is_title(word) || is_common(&lower) || is_light(&lower) {
        return false;
    }
    if at > 0 {
        return true;
    }
    // The first word has a capital anyway.
    let followed = matches!(of.get(1), Some(Lexeme::Word(next)) if is_title(next) && next.chars().any(char::is_lowercase));
    let known = || Tagger::shipped().gazetteer.flags(&lower) & flags::FIRST != 0;
    let plain = || Statics::shipped().rank(&lower).is_some_and(|rank| rank < 2500);
    known() && !plain() || followed && (known() || !plain())
}
