//! How the things of a sentence stand to each other: who does what to whom, what is more than what, all or some of them, and
//! how often.
//!
//! There is no grammar here, only the order of content words and a few words between them, so that each check asks for the
//! same words turned round and says nothing where others are used.

use std::collections::HashSet;

use super::forms::word_at;
use super::quantities::{Lexeme, Unit, measure};
use super::words::root;
use crate::policies::lexical::is_common;

/// A content word of a sentence, or a word that tells how those beside it stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Its root, and whether it is written like a name.
    Word(String, bool),
    /// What follows does it: "replaced by".
    By,
    Than,
    /// Something else begins: "and", a comma, a number.
    Break,
}

/// What a sentence says of how its things stand to each other.
#[derive(Debug, Default)]
pub(super) struct Relations {
    pub(super) said: Vec<Said>,
    /// Roots of what is meant as a whole ("all tickets"), and in part ("some tickets").
    pub(super) all: HashSet<String>,
    pub(super) some: HashSet<String>,
    /// What things happen once or cost something in: "a month", "weekly".
    pub(super) periods: HashSet<&'static str>,
}

/// Words, by their roots, that say what one does to another, and that turned round say something else.
const ACTS: &[&str] = &[
    "beat",
    "defeat",
    "replace",
    "sue",
    "hire",
    "buy",
    "sell",
    "own",
    "lead",
    "teach",
    "owe",
    "succeed",
    "follow",
    "precede",
    "exceed",
    "outnumber",
    "attack",
    "acquire",
    "invade",
    "outperform",
    "overtake",
    "supply",
    "report",
    "pay",
];

/// How many content words on each side of an act may be who does it, and to whom it is done.
const REACH: usize = 2;

/// Words of a sentence whose order is looked at, at most.
const MOST_SAID: usize = 120;

/// Words between "all" and what is meant by it, and between a number of times and its period, at most.
const NEAR: usize = 2;

impl Relations {
    pub(super) fn of(lexemes: &[Lexeme<'_>], mut said: Vec<Said>) -> Self {
        said.truncate(MOST_SAID);
        let mut relations = Self { said, ..Self::default() };
        for at in 0..lexemes.len() {
            let word = word_at(lexemes, at);
            match word.as_str() {
                "all" | "every" | "each" => relations.all.extend(thing_after(lexemes, at)),
                "some" | "several" | "few" | "many" | "most" | "certain" => {
                    relations.some.extend(thing_after(lexemes, at));
                }
                _ => {}
            }
            relations.periods.extend(period(lexemes, at, &word));
        }
        relations
    }

    /// Whether all of something is meant here and only some of it there, or the other way round.
    pub(super) fn differs_in_extent(&self, other: &Self) -> bool {
        let part = |whole: &Self, part: &Self| {
            whole.all.iter().any(|it| part.some.contains(it) && !part.all.contains(it))
                && whole.some.is_disjoint(&part.some)
        };
        part(self, other) || part(other, self)
    }

    /// Whether what one does to another is here done by the other, or what is more here is less there.
    pub(super) fn is_turned(&self, other: &Self) -> bool {
        let acts: HashSet<String> = ACTS.iter().map(|it| root(it)).collect();
        self.pivots().any(|(at, act)| {
            other.pivots().any(|(its, same)| {
                if act != same {
                    return false;
                }
                match act {
                    Said::By | Said::Break => false,
                    Said::Than => turned(&self.sides(at, 1), &other.sides(its, 1)),
                    Said::Word(act, _) => {
                        let (own, their) = (self.sides(at, REACH), other.sides(its, REACH));
                        let act = acts.contains(act) || own.are_names && their.are_names;
                        act && turned(&own, &their)
                    }
                }
            })
        })
    }

    fn pivots(&self) -> impl Iterator<Item = (usize, &Said)> {
        self.said.iter().enumerate()
    }

    /// The words on both sides of one, changed round where it says that something was done "by" somebody.
    fn sides(&self, at: usize, reach: usize) -> Sides {
        let behind = &self.said[at + 1..];
        let by = behind.first() == Some(&Said::By);
        let behind = words(behind[usize::from(by)..].iter(), reach);
        let before = words(self.said[..at].iter().rev(), reach);
        let are_names = [&before, &behind].iter().all(|it| it.first().is_some_and(|(_, name)| *name));
        let (before, behind) = if by { (behind, before) } else { (before, behind) };
        let set = |words: Vec<(String, bool)>| words.into_iter().map(|(word, _)| word).collect();
        Sides { before: set(before), behind: set(behind), are_names }
    }
}

/// The first content words, up to one that tells of others, and whether they are written like names.
fn words<'a>(said: impl Iterator<Item = &'a Said>, most: usize) -> Vec<(String, bool)> {
    let words = said.map_while(|it| match it {
        Said::Word(word, name) => Some((word.clone(), *name)),
        Said::By | Said::Than | Said::Break => None,
    });
    words.take(most).collect()
}

struct Sides {
    before: HashSet<String>,
    behind: HashSet<String>,
    /// Whether what is next to the word is a name on both sides.
    are_names: bool,
}

/// Whether what is on one side of a word here is on the other side there, on both sides.
fn turned(a: &Sides, b: &Sides) -> bool {
    let moved = |from: &HashSet<String>, to: &HashSet<String>, not: &HashSet<String>| {
        from.iter().any(|it| to.contains(it) && !not.contains(it))
    };
    moved(&a.before, &b.behind, &b.before)
        && moved(&a.behind, &b.before, &b.behind)
        && a.before.is_disjoint(&b.before)
}

/// The thing that "all" or "some" is said of.
fn thing_after(of: &[Lexeme<'_>], at: usize) -> Option<String> {
    for place in at + 1..=at + 1 + NEAR {
        let word = word_at(of, place);
        if word.is_empty() {
            return None;
        }
        if !is_common(&word) && measure(&of[place]).is_none() {
            return Some(root(&word));
        }
    }
    None
}

/// The period that begins here, in which something happens or costs something.
fn period(of: &[Lexeme<'_>], at: usize, word: &str) -> Option<&'static str> {
    let named = match word {
        "hourly" => "hour",
        "daily" => "day",
        "weekly" => "week",
        "monthly" => "month",
        "yearly" | "annual" | "annually" => "year",
        _ => "",
    };
    if !named.is_empty() {
        return Some(named);
    }
    let unit = match word_at(of, at + 1).as_str() {
        "hour" => "hour",
        "day" => "day",
        "week" => "week",
        "month" => "month",
        "year" => "year",
        _ => return None,
    };
    let counted = || {
        // "Twice a day", "500 euros a year"; not "for a day", and not "a year earlier".
        let before = at.checked_sub(1).map(|before| of[before])?;
        let times = match before {
            Lexeme::Number(_) => true,
            Lexeme::Word(word) => {
                let word = word.to_lowercase();
                let unit = matches!(measure(&before), Some(Unit::Measure(..)));
                unit || matches!(word.as_str(), "once" | "twice" | "times" | "up")
                    || !is_common(&word) && word.ends_with('s')
            }
            Lexeme::Mark(mark) => mark == '%',
        };
        let later =
            matches!(word_at(of, at + 2).as_str(), "earlier" | "later" | "ago" | "before" | "after" | "old");
        (times && !later).then_some(unit)
    };
    match word {
        "per" | "each" | "every" => Some(unit),
        "a" | "an" => counted(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::facts;
    use super::*;

    #[test]
    fn what_is_turned_round_is_known_and_what_is_said_otherwise_is_not() {
        let turned = |a: &str, b: &str| facts(a).relations.is_turned(&facts(b).relations);
        for (a, b) in [
            ("The Hawks beat the Owls in June.", "The Owls beat the Hawks in June."),
            ("Mr Bell replaced Ms Crane.", "Ms Crane replaced Mr Bell."),
            ("Costs are higher in towns than in villages.", "Costs are higher in villages than in towns."),
            ("Nordex acquired Belpharm.", "Nordex was acquired by Belpharm."),
        ] {
            assert!(turned(a, b) && turned(b, a), "{a} / {b}");
        }
        for (a, b) in [
            ("Ms Crane was replaced by Mr Bell.", "Mr Bell replaced Ms Crane."),
            ("The owner repairs the roof.", "Repairs of the roof are for the owner."),
            ("Costs are higher in towns than in villages.", "Costs are higher in towns."),
        ] {
            assert!(!turned(a, b) && !turned(b, a), "{a} / {b}");
        }
    }

    #[test]
    fn periods_are_read_in_all_their_forms() {
        for (text, period) in [
            ("twice a day", "day"),
            ("500 euros a year", "year"),
            ("$29 per month", "month"),
            ("every week", "week"),
            ("paid monthly", "month"),
        ] {
            assert_eq!(facts(text).relations.periods, HashSet::from([period]), "{text}");
        }
        for text in ["a year earlier", "rest for a day", "in the week of May"] {
            assert_eq!(facts(text).relations.periods, HashSet::new(), "{text}");
        }
    }
}
