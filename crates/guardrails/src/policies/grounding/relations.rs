//! How the things of a sentence stand to each other: who does what to whom, what is more than what, all or some of them, and
//! how often.
//!
//! There is no grammar here, only the order of content words and a few words between them, so that each check asks for the
//! same words turned round and says nothing where others are used.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::forms::word_at;
use super::quantities::{Lexeme, Unit, measure};
use super::words::root;
use crate::policies::lexical::is_common;

/// A content word of a sentence, or a word that tells how those beside it stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Word(Written),
    /// What follows does it: "replaced by".
    By,
    Than,
    /// Something else begins: "and", a comma, a number.
    Break,
}

/// A content word as it stands in its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) root: String,
    /// Whether it is written like a name.
    pub(super) name: bool,
    /// Where it says what somebody does.
    pub(super) act: Option<Voice>,
}

/// Whether who does something is named before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    Active,
    Passive,
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

/// Acts, by their roots, that those who do them do to each other.
const MUTUAL: &[&str] = &[
    "meet",
    "met",
    "marry",
    "border",
    "equal",
    "match",
    "resemble",
    "differ",
    "connect",
    "join",
    "touch",
    "adjoin",
    "cooperate",
    "compete",
    "agree",
    "serve",
    "share",
    "combine",
    "cross",
    "include",
    "remain",
    "become",
    "mean",
];

static ACT_ROOTS: LazyLock<HashSet<String>> = LazyLock::new(|| ACTS.iter().map(|it| root(it)).collect());
static MUTUAL_ROOTS: LazyLock<HashSet<String>> = LazyLock::new(|| MUTUAL.iter().map(|it| root(it)).collect());

/// How many content words on each side of an act may be who does it, and to whom it is done.
const REACH: usize = 2;
const REACH_OF_OBJECTS: usize = 3;
/// The same on both sides of "than".
const REACH_OF_THAN: usize = 4;

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

    /// Whether what one does to another is here done by the other.
    pub(super) fn is_turned(&self, other: &Self) -> bool {
        self.acts().any(|(at, act)| {
            other.acts().filter(|(_, same)| same.root == act.root).any(|(its, same)| {
                let (Some(own), Some(their)) = (self.roles(at, act), other.roles(its, same)) else {
                    return false;
                };
                let known = ACT_ROOTS.contains(&act.root) || own.are_names && their.are_names;
                let done = act.act.is_some() && same.act.is_some() || known;
                done && !MUTUAL_ROOTS.contains(&act.root) && turned(&own.sides, &their.sides)
            })
        }) || self.is_crossed(other)
    }

    /// Whether what is more than another here is there what the other is more than.
    pub(super) fn is_compared_turned(&self, other: &Self) -> bool {
        let sides = |of: &Self| -> Vec<Sides> {
            let pivots = of.said.iter().enumerate().filter(|(_, it)| **it == Said::Than);
            let sides = pivots.map(|(at, _)| Sides {
                before: set(words(of.said[..at].iter().rev(), REACH_OF_THAN)),
                behind: set(words(of.said[at + 1..].iter(), REACH_OF_THAN)),
            });
            sides.collect()
        };
        let their = sides(other);
        sides(self).iter().any(|own| their.iter().any(|it| turned(own, it)))
    }

    /// Whether of two things that are done each is done by who does the other in the other sentence.
    fn is_crossed(&self, other: &Self) -> bool {
        let (own, their) = (self.doers(), other.doers());
        let does = |doers: &[(&String, String)], who: &String, act: &String| {
            doers.iter().any(|(it, doer)| *it == act && doer == who)
        };
        own.iter().enumerate().any(|(at, (act, who))| {
            own[at + 1..].iter().any(|(another, whom)| {
                act != another
                    && who != whom
                    && does(&their, whom, act)
                    && does(&their, who, another)
                    && !does(&their, who, act)
                    && !does(&their, whom, another)
            })
        })
    }

    /// What is done, and by whom.
    fn doers(&self) -> Vec<(&String, String)> {
        let acts = self.acts().filter(|(_, act)| act.act.is_some());
        let doers = acts.filter_map(|(at, act)| {
            let by = self.said[at + 1..].first() == Some(&Said::By);
            let doer = match (by, act.act) {
                (true, _) => words(self.said[at + 2..].iter(), 1),
                (false, Some(Voice::Active)) => words(self.said[..at].iter().rev(), 1),
                _ => return None,
            };
            Some((&act.root, doer.into_iter().next()?.root))
        });
        doers.collect()
    }

    fn acts(&self) -> impl Iterator<Item = (usize, &Written)> {
        self.said.iter().enumerate().filter_map(|(at, it)| match it {
            Said::Word(word) => Some((at, word)),
            _ => None,
        })
    }

    /// Who does what is done here, and to whom; none where nobody is said to do it.
    fn roles(&self, at: usize, act: &Written) -> Option<Roles> {
        let before = words(self.said[..at].iter().rev(), REACH);
        let objects = words(self.said[at + 1..].iter(), REACH_OF_OBJECTS);
        let next = at + 1 + objects.len();
        let by = self.said.get(next) == Some(&Said::By);
        let are_names = |before: &[Written], behind: &[Written]| {
            [before, behind].iter().all(|it| it.first().is_some_and(|it| it.name))
        };
        if by {
            let doers = words(self.said[next + 1..].iter(), REACH);
            let are_names = are_names(&before, &doers);
            let mut done_to = set(before);
            done_to.extend(set(objects));
            return Some(Roles { sides: Sides { before: set(doers), behind: done_to }, are_names });
        }
        let are_names = are_names(&before, &objects);
        (act.act != Some(Voice::Passive))
            .then(|| Roles { sides: Sides { before: set(before), behind: set(objects) }, are_names })
    }
}

fn set(words: Vec<Written>) -> HashSet<String> {
    words.into_iter().map(|it| it.root).collect()
}

/// The first content words, up to one that tells of others.
fn words<'a>(said: impl Iterator<Item = &'a Said>, most: usize) -> Vec<Written> {
    let words = said.map_while(|it| match it {
        Said::Word(word) => Some(word.clone()),
        Said::By | Said::Than | Said::Break => None,
    });
    words.take(most).collect()
}

/// Who does something, and to whom or to what it is done.
struct Roles {
    sides: Sides,
    /// Whether what is next to the word is a name on both sides.
    are_names: bool,
}

struct Sides {
    before: HashSet<String>,
    behind: HashSet<String>,
}

/// Whether what is on one side of a word here is on the other side there, on both sides. What both sides have ("the upper
/// field, the lower field") tells nothing.
fn turned(a: &Sides, b: &Sides) -> bool {
    let telling = |it: &&String| {
        !(a.before.contains(*it) && a.behind.contains(*it)
            || b.before.contains(*it) && b.behind.contains(*it))
    };
    let moved =
        |from: &HashSet<String>, to: &HashSet<String>| from.iter().filter(telling).any(|it| to.contains(it));
    moved(&a.before, &b.behind) && moved(&a.behind, &b.before)
}

/// Whether the word here says what somebody does, by the word before it and its own ending. There is no dictionary: a noun
/// that is taken for one is seldom turned round.
pub(super) fn act_at(of: &[Lexeme<'_>], at: usize) -> Option<Voice> {
    const NO_SUBJECT: &[&str] = &[
        "the", "a", "an", "of", "in", "on", "at", "for", "with", "from", "into", "its", "his", "her",
        "their", "our", "my", "your", "this", "these", "those", "each", "every", "any", "some", "no", "all",
        "between", "as", "than", "to", "by", "and", "or", "per",
    ];
    const BEING: &[&str] = &["is", "are", "was", "were", "be", "been", "being", "get", "gets"];
    const PAST: &[&str] = &[
        "paid", "sent", "held", "gave", "given", "took", "taken", "sold", "bought", "led", "taught", "wrote",
        "written", "beat", "beaten", "made", "won", "lost", "told", "kept", "chose", "chosen", "built",
        "found", "drew", "drawn", "brought", "caught", "drove", "driven", "fed", "fought", "hid", "hit",
        "hurt", "knew", "known", "laid", "lent", "met", "read", "saw", "seen", "shot", "shown", "stole",
        "stolen", "struck", "thought", "threw", "thrown", "wore",
    ];
    let word = word_at(of, at);
    let mut before = at.checked_sub(1)?;
    while before > 0
        && matches!(of[before], Lexeme::Word(it) if it.ends_with("ly") || matches!(it, "not" | "also" | "never"))
    {
        before -= 1;
    }
    let subject = word_at(of, before);
    let past = word.ends_with("ed") || PAST.contains(&&*word);
    let third = word.ends_with('s') && !["ss", "us", "is"].iter().any(|it| word.ends_with(it));
    match &*subject {
        "" => None,
        being if BEING.contains(&being) => match (past, word.ends_with("ing")) {
            (true, _) => Some(Voice::Passive),
            (_, doing) => doing.then_some(Voice::Active),
        },
        none if NO_SUBJECT.contains(&none) => None,
        one if past || is_common(one) || third != one.ends_with('s') => Some(Voice::Active),
        _ => None,
    }
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
        let turned = |a: &str, b: &str| {
            let (a, b) = (facts(a).relations, facts(b).relations);
            a.is_turned(&b) || a.is_compared_turned(&b)
        };
        for (a, b) in [
            ("The Hawks beat the Owls in June.", "The Owls beat the Hawks in June."),
            ("Mr Bell replaced Ms Crane.", "Ms Crane replaced Mr Bell."),
            ("Costs are higher in towns than in villages.", "Costs are higher in villages than in towns."),
            ("Nordex acquired Belpharm.", "Nordex was acquired by Belpharm."),
            ("The buyer pays the seller on delivery.", "The seller pays the buyer on delivery."),
            ("The guide calls the driver.", "The guide is called by the driver."),
            ("The upper tank drains into the lower tank.", "The lower tank drains into the upper tank."),
            ("Old members greet new members.", "New members greet old members."),
            ("The cook washes up while the guest sings.", "The guest washes up while the cook sings."),
        ] {
            assert!(turned(a, b) && turned(b, a), "{a} / {b}");
        }
        for (a, b) in [
            ("Ms Crane was replaced by Mr Bell.", "Mr Bell replaced Ms Crane."),
            ("The owner repairs the roof.", "Repairs of the roof are for the owner."),
            ("Costs are higher in towns than in villages.", "Costs are higher in towns."),
            ("The seller pays the buyer.", "The buyer is paid by the seller."),
            ("The shop supplies the school with milk.", "Milk comes to the school from the shop."),
            ("The guide sends guests a map.", "A map is sent to guests by the guide."),
            ("Clara married Tom.", "Tom married Clara."),
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
