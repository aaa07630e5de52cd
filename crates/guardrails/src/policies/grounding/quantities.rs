//! Quantities of a sentence: a number with its unit and its bound, however they are written.
//!
//! "two-year", "24 months" and "two years" are one quantity, so are "EUR 349" and "349 euros". A number belongs to its unit:
//! where a source says 349 euros and 12 kg, "349 kg" is in nobody's words. "At least" and "up to" belong to it too.

use super::forms::{EXACT, form_at, in_day, slack_before, time_of_day, word_at};
use super::words::root;
use crate::policies::lexical::is_common;
use crate::text::{ONES, TENS};

/// A word, a number or a mark of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lexeme<'a> {
    Word(&'a str),
    Number(&'a str),
    Mark(char),
}

/// Cuts a sentence. Digits are a number with the signs between them, letters behind them a word of their own ("12kg").
pub(super) fn lexemes(text: &str) -> Vec<Lexeme<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = if first.is_ascii_digit() {
            number_end(rest)
        } else if first.is_alphanumeric() {
            rest.find(|it: char| !it.is_alphanumeric()).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (piece, tail) = rest.split_at(end);
        match first {
            it if it.is_ascii_digit() => found.push(Lexeme::Number(piece)),
            it if it.is_alphanumeric() => found.push(Lexeme::Word(piece)),
            it if it.is_whitespace() => {}
            it => found.push(Lexeme::Mark(it)),
        }
        rest = tail;
    }
    found
}

fn number_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        let inside =
            matches!(bytes[end], b'.' | b',' | b':') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !bytes[end].is_ascii_digit() && !inside {
            break;
        }
        end += 1;
    }
    end
}

/// What is counted or measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Unit {
    /// Nothing is said.
    Bare,
    /// A measure: what it measures, and how many of the smallest unit it has.
    Measure(&'static str, f64),
    /// Things: the root of their word.
    Things(String),
    /// A place in an order: "third".
    Place,
}

/// Which side of a number is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) upper: bool,
    /// Whether the number itself is left out: "less than".
    pub(super) strict: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantity {
    pub(super) value: f64,
    pub(super) unit: Unit,
    pub(super) bound: Option<Bound>,
    /// "a year", "one day": says little of how many.
    pub(super) loose: bool,
    /// Relative difference from another that makes no difference.
    pub(super) slack: f64,
    /// The lexemes that it is made of.
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Quantity {
    /// Whether this can be what a source means by the other.
    pub(super) fn is(&self, other: &Self) -> bool {
        let slack = self.slack.max(other.slack);
        let within = |a: f64, b: f64, slack: f64| (a - b).abs() <= slack * a.abs().max(b.abs());
        let same = |a: f64, b: f64| within(a, b, slack);
        let about = |a: f64, b: f64| within(a, b, slack.max(OF_CONVERSIONS));
        match (&self.unit, &other.unit) {
            // Pounds are money, and what things weigh.
            (Unit::Measure("pound", _), Unit::Measure("mass", one)) if *one != POUND => {
                about(self.value * POUND, other.value * one)
            }
            (Unit::Measure("mass", one), Unit::Measure("pound", _)) if *one != POUND => {
                about(self.value * one, other.value * POUND)
            }
            (Unit::Measure("pound", _), Unit::Measure("mass", _))
            | (Unit::Measure("mass", _), Unit::Measure("pound", _)) => same(self.value, other.value),
            (Unit::Measure(a, one), Unit::Measure(b, another))
                if IMPERIAL.contains(one) != IMPERIAL.contains(another) =>
            {
                a == b && about(self.value * one, other.value * another)
            }
            (Unit::Measure(a, one), Unit::Measure(b, another)) => {
                a == b && same(self.value * one, other.value * another)
            }
            (Unit::Measure(..), Unit::Things(_) | Unit::Place)
            | (Unit::Things(_) | Unit::Place, Unit::Measure(..))
            | (Unit::Things(_) | Unit::Bare, Unit::Place)
            | (Unit::Place, Unit::Things(_) | Unit::Bare) => false,
            _ => same(self.value, other.value),
        }
    }

    /// Whether the other could be taken for it: the same measure, or both a year, or both plain numbers.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let is_year = |it: &Self| it.value.fract() == 0.0 && (1500.0..2200.0).contains(&it.value);
        match (&self.unit, &other.unit) {
            (Unit::Measure(a, _), Unit::Measure(b, _)) => a == b,
            (Unit::Place, Unit::Place) => true,
            (Unit::Measure(..) | Unit::Place, _) | (_, Unit::Measure(..) | Unit::Place) => false,
            _ => is_year(self) == is_year(other),
        }
    }

    /// Whether this says on which side of a round number the other lies: "over 1,200" where it is 1,240.
    pub(super) fn rounds(&self, exact: &Self) -> bool {
        let Some(bound) = self.bound.filter(|it| it.strict && exact.bound.is_none()) else { return false };
        let factor = |unit: &Unit| if let Unit::Measure(_, factor) = unit { *factor } else { 1.0 };
        let (round, value) = (self.value * factor(&self.unit), exact.value * factor(&exact.unit));
        let off = (value - round) / round.abs().max(f64::MIN_POSITIVE);
        let beyond = if bound.upper { -off } else { off };
        self.is_like(exact) && beyond > EXACT && beyond <= MOST_ROUNDED
    }
}

/// A pound in kilograms, and all units in those of their measure that are converted to others with a difference.
const POUND: f64 = 0.453_592;
const IMPERIAL: [f64; 12] = [
    POUND,
    0.028_349_5,
    6.350_29,
    0.3048,
    0.0254,
    0.9144,
    1_609.344,
    3.785_41,
    0.473_176,
    0.092_903,
    4_046.86,
    745.7,
];
/// Relative difference of what was converted and rounded.
const OF_CONVERSIONS: f64 = 0.015;

/// How far a number may be from the round one that it is said to be above or below, as a share of that.
const MOST_ROUNDED: f64 = 0.15;

/// The quantities of a sentence, in its order.
pub(super) fn quantities(of: &[Lexeme<'_>]) -> Vec<Quantity> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < of.len() {
        if let Some(form) = form_at(of, at) {
            let (bound, from) = bound_before(of, at);
            let slack = form.slack.max(slack_before(of, from));
            found.push(Quantity {
                value: form.value,
                unit: form.unit,
                bound,
                loose: false,
                slack,
                from,
                to: form.to,
            });
            at = form.to;
            continue;
        }
        let Some((value, loose, mut to)) = value_at(of, at) else {
            at += 1;
            continue;
        };
        let mut from = at;
        let mut unit = Unit::Bare;
        let mut value = value;
        if let Some(currency) = at.checked_sub(1).and_then(|before| currency(&of[before])) {
            (unit, from) = (currency, at - 1);
            // "$4.6m": behind a currency no metre.
            if let Some(by) = short_multiplier(&word_at(of, to)) {
                (value, to) = (value * by, to + 1);
            }
        }
        if unit == Unit::Bare {
            (unit, to) = unit_behind(of, to);
        }
        // "A day and a half"
        let mut loose = loose;
        if unit != Unit::Bare
            && ["and", "a", "half"].iter().enumerate().all(|(by, it)| word_at(of, to + by) == *it)
        {
            (value, loose, to) = (value + 0.5, false, to + 3);
        }
        at = to;
        // "For an hour" says how long.
        let before = from.checked_sub(1).map_or_else(String::new, |before| word_at(of, before));
        let loose = loose && !matches!(before.as_str(), "for" | "lasts" | "takes");
        if loose && !matches!(unit, Unit::Measure("clock" | "calendar", _)) {
            continue;
        }
        let (value, unit) = in_day(value, unit);
        let slack = slack_before(of, from);
        let (bound, from) = bound_before(of, from);
        let (behind, to) = bound_behind(of, to);
        found.push(Quantity { value, unit, bound: bound.or(behind), loose, slack, from, to });
    }
    found
}

/// The number that begins here: its value, whether it is only "a" or "one", and where it ends.
fn value_at(of: &[Lexeme<'_>], at: usize) -> Option<(f64, bool, usize)> {
    let (mut value, mut loose, mut to) = match of[at] {
        Lexeme::Number(digits) => (parsed(digits)?, false, at + 1),
        Lexeme::Word(word) => worded(of, at, &word.to_lowercase())?,
        Lexeme::Mark(_) => return None,
    };
    while let Some(by) = of.get(to).and_then(multiplier) {
        value *= by;
        loose = false;
        to += 1;
    }
    if word_at(of, to) == "and" && word_at(of, to + 1) == "a" && word_at(of, to + 2) == "half" {
        (value, loose, to) = (value + 0.5, false, to + 3);
    }
    Some((value, loose, to))
}

/// `1,000` and `1000` are one value, so are `4,90` and `4.9`; a time of day is minutes.
fn parsed(digits: &str) -> Option<f64> {
    if let Some((hours, minutes)) = digits.split_once(':') {
        return Some(time_of_day(hours.parse().ok()?, minutes.parse().ok()?));
    }
    let grouped =
        digits.split(',').skip(1).all(|group| group.split('.').next().is_some_and(|it| it.len() == 3));
    let plain = if grouped { digits.replace(',', "") } else { digits.replace(',', ".") };
    plain.parse().ok()
}

fn worded(of: &[Lexeme<'_>], at: usize, word: &str) -> Option<(f64, bool, usize)> {
    let next_word = |at: usize| word_at(of, at);
    match word {
        "a" | "an" | "one" => return Some((1.0, true, at + 1)),
        "twice" => return Some((2.0, false, at + 1)),
        "half" if matches!(next_word(at + 1).as_str(), "a" | "an") => return Some((0.5, false, at + 2)),
        "dozen" => return Some((12.0, false, at + 1)),
        _ => {}
    }
    if let Some(small) = ONES.iter().position(|it| *it == word) {
        return Some((small as f64, false, at + 1)).filter(|_| small > 1);
    }
    let tens = (TENS.iter().position(|it| *it == word)? + 2) as f64 * 10.0;
    // "twenty-four", "twenty four"
    let behind = if of.get(at + 1) == Some(&Lexeme::Mark('-')) { at + 2 } else { at + 1 };
    let ones = ONES.iter().take(10).position(|it| *it == next_word(behind)).filter(|ones| *ones > 0);
    Some(ones.map_or((tens, false, at + 1), |ones| (tens + ones as f64, false, behind + 1)))
}

fn multiplier(of: &Lexeme<'_>) -> Option<f64> {
    let Lexeme::Word(word) = of else { return None };
    match word.to_lowercase().as_str() {
        "hundred" => Some(1e2),
        "thousand" | "k" => Some(1e3),
        "million" | "millions" | "mn" => Some(1e6),
        "billion" | "billions" | "bn" => Some(1e9),
        "dozen" => Some(12.0),
        _ => None,
    }
}

fn short_multiplier(word: &str) -> Option<f64> {
    match word {
        "m" => Some(1e6),
        "b" => Some(1e9),
        _ => None,
    }
}

fn currency(of: &Lexeme<'_>) -> Option<Unit> {
    let name = match of {
        Lexeme::Mark('€') | Lexeme::Word("EUR") => "euro",
        Lexeme::Mark('$') | Lexeme::Word("USD") => "dollar",
        Lexeme::Mark('£') | Lexeme::Word("GBP") => "pound",
        Lexeme::Word("CHF") => "franc",
        Lexeme::Mark('¥') | Lexeme::Word("JPY") => "yen",
        Lexeme::Mark('₹') | Lexeme::Word("INR") => "rupee",
        _ => return None,
    };
    Some(Unit::Measure(name, 1.0))
}

/// The unit that follows a number: a measure among the next words of its group, or else the first thing that is named.
fn unit_behind(of: &[Lexeme<'_>], to: usize) -> (Unit, usize) {
    if word_at(of, to) == "per" && word_at(of, to + 1) == "cent" {
        return (Unit::Measure("percent", 1.0), to + 2);
    }
    let mut things = None;
    let mut words = 0;
    for (place, it) in of.iter().enumerate().skip(to) {
        if *it == Lexeme::Mark('-') && words == 0 {
            continue;
        }
        if let Some(unit) = measure(it).or_else(|| currency(it)) {
            return (unit, place + 1);
        }
        let Lexeme::Word(word) = it else { break };
        let lower = word.to_lowercase();
        if is_common(&lower) || lower.len() < 2 || words == 2 {
            break;
        }
        things = things.or_else(|| Some(Unit::Things(root(&lower))));
        words += 1;
    }
    (things.unwrap_or(Unit::Bare), to)
}

/// The measure that a word or a sign is.
pub(super) fn measure(of: &Lexeme<'_>) -> Option<Unit> {
    let word = match of {
        Lexeme::Mark('%') => "percent",
        Lexeme::Mark('°') => "degree",
        Lexeme::Word(word) => &*word.to_lowercase(),
        _ => return None,
    };
    let (measured, factor) = match word {
        "second" | "seconds" | "sec" | "secs" => ("clock", 1.0),
        "minute" | "minutes" | "min" | "mins" => ("clock", 60.0),
        "hour" | "hours" | "hr" | "hrs" | "h" => ("clock", 3600.0),
        "day" | "days" => ("clock", 86_400.0),
        "week" | "weeks" => ("clock", 604_800.0),
        "fortnight" | "fortnights" => ("clock", 1_209_600.0),
        "month" | "months" => ("calendar", 1.0),
        "year" | "years" | "yr" | "yrs" => ("calendar", 12.0),
        "decade" | "decades" => ("calendar", 120.0),
        "century" | "centuries" => ("calendar", 1_200.0),
        "mg" | "milligram" | "milligrams" => ("mass", 1e-6),
        "g" | "gram" | "grams" | "gramme" | "grammes" => ("mass", 1e-3),
        "kg" | "kgs" | "kilo" | "kilos" | "kilogram" | "kilograms" | "kilogramme" | "kilogrammes" => {
            ("mass", 1.0)
        }
        "tonne" | "tonnes" | "ton" | "tons" => ("mass", 1e3),
        "lb" | "lbs" => ("mass", POUND),
        "oz" | "ounce" | "ounces" => ("mass", 0.028_349_5),
        "mm" | "millimetre" | "millimetres" | "millimeter" | "millimeters" => ("length", 1e-3),
        "cm" | "centimetre" | "centimetres" | "centimeter" | "centimeters" => ("length", 1e-2),
        "m" | "metre" | "metres" | "meter" | "meters" => ("length", 1.0),
        "km" | "kilometre" | "kilometres" | "kilometer" | "kilometers" => ("length", 1e3),
        "mile" | "miles" => ("length", 1_609.344),
        "ft" | "foot" | "feet" => ("length", 0.3048),
        "inch" | "inches" => ("length", 0.0254),
        "yard" | "yards" => ("length", 0.9144),
        "ml" | "millilitre" | "millilitres" | "milliliter" | "milliliters" => ("volume", 1e-3),
        "l" | "litre" | "litres" | "liter" | "liters" => ("volume", 1.0),
        "gallon" | "gallons" => ("volume", 3.785_41),
        "pint" | "pints" => ("volume", 0.473_176),
        "hectare" | "hectares" => ("area", 1e4),
        "acre" | "acres" => ("area", 4_046.86),
        "horsepower" | "hp" => ("power", 745.7),
        "w" | "watt" | "watts" => ("power", 1.0),
        "kw" | "kilowatt" | "kilowatts" => ("power", 1e3),
        "kb" | "kilobyte" | "kilobytes" => ("data", 1.0),
        "mb" | "megabyte" | "megabytes" => ("data", 1e3),
        "gb" | "gigabyte" | "gigabytes" => ("data", 1e6),
        "tb" | "terabyte" | "terabytes" => ("data", 1e9),
        "euro" | "euros" | "eur" => ("euro", 1.0),
        "dollar" | "dollars" | "usd" | "bucks" => ("dollar", 1.0),
        "pound" | "pounds" | "gbp" => ("pound", 1.0),
        "franc" | "francs" | "chf" => ("franc", 1.0),
        "yen" | "jpy" => ("yen", 1.0),
        "rupee" | "rupees" | "inr" => ("rupee", 1.0),
        "percent" | "pct" => ("percent", 1.0),
        "degree" | "degrees" => ("degree", 1.0),
        "am" => ("morning", 1.0),
        "pm" => ("afternoon", 1.0),
        _ => return None,
    };
    Some(Unit::Measure(measured, factor))
}

/// What says on which side of a number something lies, in the words before it: the words, whether it is the upper end, and
/// whether the number is left out.
const BEFORE: &[(&[&str], bool, bool)] = &[
    (&["no", "more", "than"], true, false),
    (&["not", "more", "than"], true, false),
    (&["no", "longer", "than"], true, false),
    (&["no", "later", "than"], true, false),
    (&["not", "exceed"], true, false),
    (&["not", "exceeding"], true, false),
    (&["no", "less", "than"], false, false),
    (&["not", "less", "than"], false, false),
    (&["no", "fewer", "than"], false, false),
    (&["up", "to"], true, false),
    (&["at", "most"], true, false),
    (&["maximum", "of"], true, false),
    (&["maximum", "is"], true, false),
    (&["minimum", "is"], false, false),
    (&["max"], true, false),
    (&["within"], true, false),
    (&["less", "than"], true, true),
    (&["fewer", "than"], true, true),
    (&["under"], true, true),
    (&["below"], true, true),
    (&["younger", "than"], true, true),
    (&["at", "least"], false, false),
    (&["minimum", "of"], false, false),
    (&["more", "than"], false, true),
    (&["longer", "than"], false, true),
    (&["older", "than"], false, true),
    (&["over"], false, true),
    (&["above"], false, true),
    (&["exceeding"], false, true),
];

const BEHIND: &[(&[&str], bool)] = &[
    (&["or", "more"], false),
    (&["or", "later"], false),
    (&["or", "older"], false),
    (&["or", "over"], false),
    (&["and", "over"], false),
    (&["or", "above"], false),
    (&["or", "longer"], false),
    (&["or", "higher"], false),
    (&["minimum"], false),
    (&["or", "less"], true),
    (&["or", "fewer"], true),
    (&["or", "younger"], true),
    (&["or", "under"], true),
    (&["maximum"], true),
];

fn is_phrase(of: &[Lexeme<'_>], phrase: &[&str]) -> bool {
    of.len() == phrase.len()
        && of
            .iter()
            .zip(phrase)
            .all(|(it, word)| matches!(it, Lexeme::Word(it) if it.eq_ignore_ascii_case(word)))
}

fn bound_before(of: &[Lexeme<'_>], from: usize) -> (Option<Bound>, usize) {
    for (phrase, upper, strict) in BEFORE {
        if let Some(start) = from.checked_sub(phrase.len())
            && is_phrase(&of[start..from], phrase)
        {
            return (Some(Bound { upper: *upper, strict: *strict }), start);
        }
    }
    (None, from)
}

fn bound_behind(of: &[Lexeme<'_>], to: usize) -> (Option<Bound>, usize) {
    for (phrase, upper) in BEHIND {
        if of.get(to..to + phrase.len()).is_some_and(|it| is_phrase(it, phrase)) {
            return (Some(Bound { upper: *upper, strict: false }), to + phrase.len());
        }
    }
    (None, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Quantity> {
        quantities(&lexemes(text)).into_iter().filter(|it| !it.loose).collect()
    }

    #[test]
    fn one_quantity_has_many_forms() {
        for (a, b) in [
            ("a two-year warranty", "24 months of warranty"),
            ("EUR 349", "349 euros"),
            ("$1,250", "1250 dollars"),
            ("twelve kilograms", "12kg"),
            ("half a year", "six months"),
            ("48 hours", "two days"),
            ("twelve hundred adults", "1,200 adults"),
            ("thirty-five percent", "35%"),
            ("1.5 tonnes", "1,500 kg"),
            ("a thousand seats", "1,000 seats"),
            ("three quarters of the staff", "75 %"),
            ("a third of sales", "33 per cent"),
            ("a quarter of an hour", "15 minutes"),
            ("two and a half hours", "150 minutes"),
            ("6:30 pm", "18:30"),
            ("at noon", "12 pm"),
            ("on the 9th of June", "9 June"),
            ("the 3rd quarter", "the third quarter"),
            ("Q3", "the third quarter"),
            ("$4.6m", "4.6 million dollars"),
            ("about 350 kg", "349 kg"),
            ("10 kg", "22 pounds"),
            ("5 miles", "8 km"),
            ("a day and a half", "36 hours"),
            ("an hour and a half", "90 minutes"),
            ("five lb", "five pounds"),
        ] {
            assert!(of(a)[0].is(&of(b)[0]), "{a} / {b}: {:?} {:?}", of(a), of(b));
        }
        for (a, b) in [
            ("three-year warranty", "two-year warranty"),
            ("12 euros", "12 kg"),
            ("23 bags", "23 kg"),
            ("17:05", "17:55"),
            ("10 am", "10 pm"),
            ("the second quarter", "the third quarter"),
            ("a quarter of sales", "a third of sales"),
            ("about 350 kg", "300 kg"),
            ("12 am", "12 pm"),
            ("third place", "three places"),
        ] {
            assert!(!of(a)[0].is(&of(b)[0]), "{a} / {b}");
        }
    }

    #[test]
    fn words_that_only_look_like_numbers_are_none() {
        for text in
            ["a second time", "third-party tools", "Second, rinse it.", "First, rinse it.", "per second"]
        {
            assert_eq!(of(text), [], "{text}");
        }
        let rounds = |told: &str, exact: &str| of(told)[0].rounds(&of(exact)[0]);
        assert!(rounds("over 1,200 adults", "1,240 adults") && rounds("under 400 km", "390 km"));
        assert!(!rounds("over 1,240 adults", "1,240 adults") && !rounds("over 400 km", "390 km"));
        assert!(!rounds("over 500 adults", "1,240 adults") && !rounds("over 1,200 kg", "1,240 km"));
    }

    #[test]
    fn bounds_belong_to_their_number() {
        for (text, upper, strict) in [
            ("up to 40 people", true, false),
            ("no more than three tablets", true, false),
            ("at least EUR 40", false, false),
            ("children under 14", true, true),
            ("4 or more", false, false),
        ] {
            assert_eq!(of(text)[0].bound, Some(Bound { upper, strict }), "{text}");
        }
        assert_eq!(of("It has 40 seats")[0].bound, None);
    }
}
