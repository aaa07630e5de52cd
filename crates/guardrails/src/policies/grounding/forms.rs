//! Numbers in other forms than digits and number words: fractions, ordinals, times of day.

use super::quantities::{Lexeme, Unit, measure};
use crate::text::ONES;

/// A number that is read from its form: its value, its unit, how far off it may be, and where it ends.
pub(super) struct Form {
    pub(super) value: f64,
    pub(super) unit: Unit,
    pub(super) slack: f64,
    pub(super) to: usize,
}

/// Relative difference that still makes one quantity.
pub(super) const EXACT: f64 = 1e-9;
/// The same for fractions, whose percentages people round ("a third", 33 %).
const OF_FRACTIONS: f64 = 0.02;
/// The same for numbers that are said to be inexact ("about 350").
const OF_ROUND_ONES: f64 = 0.05;

/// What times of day are counted from, so that they are no other number.
const DAY: f64 = 1e6;
const HALF_A_DAY: f64 = 720.0;

pub(super) fn form_at(of: &[Lexeme<'_>], at: usize) -> Option<Form> {
    fraction(of, at).or_else(|| ordinal(of, at)).or_else(|| named_time(of, at))
}

/// The word here in lower case; empty for anything else.
pub(super) fn word_at(of: &[Lexeme<'_>], at: usize) -> String {
    match of.get(at) {
        Some(Lexeme::Word(word)) => word.to_lowercase(),
        _ => String::new(),
    }
}

fn word_before(of: &[Lexeme<'_>], at: usize) -> String {
    at.checked_sub(1).map_or_else(String::new, |before| word_at(of, before))
}

/// Parts of a whole: "a third of", "three quarters", "half of the", "½".
fn fraction(of: &[Lexeme<'_>], at: usize) -> Option<Form> {
    let form = |share: f64, to: usize| {
        // "A quarter of an hour" is 15 minutes.
        let measured = (word_at(of, to) == "of" && matches!(word_at(of, to + 1).as_str(), "a" | "an"))
            .then(|| of.get(to + 2).and_then(measure))
            .flatten();
        Some(match measured {
            Some(unit) => Form { value: share, unit, slack: EXACT, to: to + 3 },
            None => {
                Form { value: share * 100.0, unit: Unit::Measure("percent", 1.0), slack: OF_FRACTIONS, to }
            }
        })
    };
    let word = word_at(of, at);
    if word == "half" && matches!(word_at(of, at + 1).as_str(), "of" | "the" | "its" | "their" | "all") {
        return form(0.5, at + 1);
    }
    let alone = matches!(word.as_str(), "a" | "an" | "one");
    let over = match alone {
        true => 1,
        false => ONES.iter().position(|it| *it == word).filter(|it| (2..10).contains(it))?,
    };
    let name = if of.get(at + 1) == Some(&Lexeme::Mark('-')) { at + 2 } else { at + 1 };
    let part = word_at(of, name);
    let singular = part.strip_suffix('s').unwrap_or(&part);
    let parts = match singular {
        "quarter" => 4,
        "half" | "halve" => 2,
        _ => ORDINALS.iter().position(|it| *it == singular).filter(|it| (3..=10).contains(it))?,
    };
    // "A quarter" alone may be three months, "a third" one more; "two fifths" are no ordinals.
    let plain = if alone { word_at(of, name + 1) == "of" && singular == part } else { singular != part };
    if plain { form(over as f64 / parts as f64, name + 1) } else { None }
}

const ORDINALS: [&str; 21] = [
    "zeroth",
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
];

/// What is counted from the first on; "first" before other words is mostly an adverb.
const PLACES: &[&str] = &[
    "quarter",
    "half",
    "place",
    "round",
    "edition",
    "generation",
    "century",
    "floor",
    "grade",
    "division",
    "stage",
    "phase",
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// A place in an order ("third", "3rd", "Q3"), or the day of a date ("9th of June"), which is a plain number.
fn ordinal(of: &[Lexeme<'_>], at: usize) -> Option<Form> {
    let (value, to) = match of[at] {
        Lexeme::Number(digits) => {
            let ends = matches!(word_at(of, at + 1).as_str(), "st" | "nd" | "rd" | "th");
            (digits.parse::<f64>().ok().filter(|_| ends)?, at + 2)
        }
        Lexeme::Word(word) => {
            let word = word.to_lowercase();
            let quarter = match word.as_bytes() {
                [b'q', digit @ b'1'..=b'4'] => Some(usize::from(digit - b'0')),
                _ => None,
            };
            let place = quarter.or_else(|| worded_place(of, at, &word))?;
            (place as f64, at + 1)
        }
        Lexeme::Mark(_) => return None,
    };
    let is_month = |at: usize| MONTHS.contains(&word_at(of, at).as_str());
    let of_month = is_month(to) || word_at(of, to) == "of" && is_month(to + 1) || at > 0 && is_month(at - 1);
    let unit = if of_month { Unit::Bare } else { Unit::Place };
    Some(Form { value, unit, slack: EXACT, to })
}

fn worded_place(of: &[Lexeme<'_>], at: usize, word: &str) -> Option<usize> {
    let place = ORDINALS.iter().position(|it| *it == word).filter(|place| *place > 0)?;
    // "Second, …", "third-party", "a second time".
    let joined = matches!(of.get(at + 1), Some(Lexeme::Mark('-' | ',')));
    let party = matches!(word_at(of, at + 1).as_str(), "party" | "parties" | "hand");
    let before = word_before(of, at);
    let loose =
        matches!(before.as_str(), "a" | "an" | "per" | "every" | "each" | "one" | "another" | "split");
    let counts = place > 1 || PLACES.contains(&word_at(of, at + 1).as_str());
    (counts && !joined && !party && !loose).then_some(place)
}

fn named_time(of: &[Lexeme<'_>], at: usize) -> Option<Form> {
    let minutes = match word_at(of, at).as_str() {
        "noon" | "midday" => HALF_A_DAY,
        "midnight" => 0.0,
        _ => return None,
    };
    Some(Form { value: DAY + minutes, unit: Unit::Bare, slack: EXACT, to: at + 1 })
}

/// A time of day, in minutes.
pub(super) fn time_of_day(hours: f64, minutes: f64) -> f64 {
    DAY + hours * 60.0 + minutes
}

/// "6 pm" and "6:30 pm" as times of day; other quantities stay what they are.
pub(super) fn in_day(value: f64, unit: Unit) -> (f64, Unit) {
    let afternoon = match unit {
        Unit::Measure("morning", _) => 0.0,
        Unit::Measure("afternoon", _) => HALF_A_DAY,
        _ => return (value, unit),
    };
    let minutes = if value >= DAY { value - DAY } else { value.trunc() * 60.0 + value.fract() * 100.0 };
    // Twelve is none.
    (DAY + minutes.round() % HALF_A_DAY + afternoon, Unit::Bare)
}

/// How inexact the words before a number say that it is.
pub(super) fn slack_before(of: &[Lexeme<'_>], from: usize) -> f64 {
    const SAY_SO: &[&str] =
        &["about", "around", "roughly", "approximately", "nearly", "almost", "circa", "some", "approx"];
    let close_to = word_before(of, from) == "to" && from > 1 && word_at(of, from - 2) == "close";
    let tilde = from > 0 && of[from - 1] == Lexeme::Mark('~');
    let says_so = close_to || tilde || SAY_SO.contains(&word_before(of, from).as_str());
    if says_so { OF_ROUND_ONES } else { EXACT }
}
