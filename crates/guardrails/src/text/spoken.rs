//! Numbers that are written as they are read out: "five five five, double one, 2030".

use std::ops::Range;

use super::View;

/// Digits of a number that is read out, and how many words of digits it has at least.
const FEWEST_DIGITS: usize = 7;
const MOST_DIGITS: usize = 20;
const FEWEST_WORDS: usize = 3;
/// Characters between two parts of a number.
const WIDEST: usize = 3;

/// The numbers below twenty, each in its place.
pub const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
/// Twenty and on, by the ten.
pub const TENS: [&str; 8] = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/// What a word or a run of digits is in a number that is read out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Digits(String),
    /// A number below twenty.
    Ones(usize),
    Tens(usize),
    /// The next digit so many times.
    Times(usize),
    Plus,
    Hyphen,
}

/// The text with such numbers in digits; none where there is none.
pub fn spoken(view: &View) -> Option<View> {
    let mut pieces: Vec<(Range<usize>, Option<String>)> = Vec::new();
    let mut at = 0;
    let mut run: Vec<(Range<usize>, Part)> = Vec::new();
    let mut close = |run: &mut Vec<(Range<usize>, Part)>| {
        if let Some(digits) = digits_of(view.text(), run) {
            pieces.push((at..run[0].0.start, None));
            at = run[run.len() - 1].0.end;
            pieces.extend(digits);
        }
        run.clear();
    };
    for (range, part) in parts(view.text()) {
        let Some(part) = part else {
            close(&mut run);
            continue;
        };
        if run.last().is_some_and(|(before, _)| !is_gap(&view.text()[before.end..range.start])) {
            close(&mut run);
        }
        run.push((range, part));
    }
    close(&mut run);
    if pieces.is_empty() {
        return None;
    }
    pieces.push((at..view.text().len(), None));
    Some(View::rewritten(view, &pieces))
}

/// The words and runs of digits of a text, and what they are in a number.
fn parts(text: &str) -> impl Iterator<Item = (Range<usize>, Option<Part>)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(|it: char| it.is_alphanumeric() || it == '+')?;
        let rest = &text[start..];
        let first = rest.chars().next()?;
        let length = match first {
            '+' => 1,
            digit if digit.is_ascii_digit() => {
                rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len())
            }
            _ => rest.find(|it: char| !it.is_alphanumeric()).unwrap_or(rest.len()),
        };
        at = start + length;
        Some((start..at, part(&rest[..length])))
    })
}

fn part(word: &str) -> Option<Part> {
    if word.starts_with(|it: char| it.is_ascii_digit()) {
        return (word.len() <= MOST_DIGITS).then(|| Part::Digits(word.to_owned()));
    }
    if word.len() > "seventeen".len() {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    if let Some(value) = ONES.iter().position(|it| *it == lower) {
        return Some(Part::Ones(value));
    }
    if let Some(tens) = TENS.iter().position(|it| *it == lower) {
        return Some(Part::Tens(tens + 2));
    }
    Some(match lower.as_str() {
        "oh" | "o" | "nought" | "naught" => Part::Ones(0),
        "double" => Part::Times(2),
        "triple" | "treble" => Part::Times(3),
        "plus" | "+" => Part::Plus,
        "dash" | "hyphen" => Part::Hyphen,
        _ => return None,
    })
}

fn is_gap(text: &str) -> bool {
    text.chars().count() <= WIDEST
        && text.chars().all(|it| it.is_whitespace() || matches!(it, ',' | '.' | ';' | '-' | '/' | '(' | ')'))
}

/// The digits of a number, each piece with the place that it is read from; none where these parts are no number.
fn digits_of(text: &str, run: &mut Vec<(Range<usize>, Part)>) -> Option<Vec<(Range<usize>, Option<String>)>> {
    // What belongs to a number does not begin or end with "double" and the like.
    while run.last().is_some_and(|(_, it)| matches!(it, Part::Times(_) | Part::Plus | Part::Hyphen)) {
        run.pop();
    }
    let words = run.iter().filter(|(_, it)| matches!(it, Part::Ones(_) | Part::Tens(_))).count();
    if words < FEWEST_WORDS {
        return None;
    }
    let (mut pieces, mut count, mut times) = (Vec::new(), 0, 1);
    for (index, (range, part)) in run.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &run[before]);
        let gap = before.map_or("", |(before, _)| &text[before.end..range.start]);
        let mut digits = match part {
            Part::Digits(digits) => digits.clone(),
            Part::Ones(value) => value.to_string().repeat(times),
            // "Forty-one" is 41.
            Part::Tens(tens) => match run.get(index + 1) {
                Some((_, Part::Ones(1..=9))) => tens.to_string(),
                _ => format!("{tens}0"),
            },
            Part::Plus if index == 0 => "+".to_owned(),
            Part::Hyphen => "-".to_owned(),
            Part::Plus | Part::Times(_) => String::new(),
        };
        times = if let Part::Times(times) = part { *times } else { 1 };
        count += digits.bytes().filter(u8::is_ascii_digit).count();
        if let Some((_, before)) = before.filter(|_| !digits.is_empty()) {
            let is_run = |it: &Part| matches!(it, Part::Digits(_));
            let whole = matches!((before, part), (Part::Tens(_), Part::Ones(1..=9)) | (Part::Plus, _));
            match (is_run(before), is_run(part)) {
                (true, true) => digits.insert_str(0, gap),
                (a, b) if !whole && (a != b || !gap.trim().is_empty()) => digits.insert(0, ' '),
                _ => {}
            }
        }
        pieces.push((range.clone(), Some(digits)));
    }
    (FEWEST_DIGITS..=MOST_DIGITS).contains(&count).then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_read_out_are_put_in_digits() {
        let of = |text: &str| spoken(&View::plain(text)).map(|view| view.text().to_owned());
        for (text, digits) in [
            ("Call five five five, one two three, four five six seven now", "Call 555 123 4567 now"),
            ("five five five 123 4567", "555 123 4567"),
            ("Phone: oh seven nine double one, one two three four five six.", "Phone: 07911 123456."),
            ("plus one four one five five five five two six seven one", "+14155552671"),
            ("Four One Five, fifty-five, five oh one, thirty two", "415 55 501 32"),
            ("five three six dash nine zero dash four three nine nine", "536-90-4399"),
        ] {
            assert_eq!(of(text).as_deref(), Some(digits), "{text}");
        }
        for text in [
            "one of two or three",
            "one two three",
            "555 123 4567",
            "seven years and twenty-five days",
            "nothing is here",
            "three 2024 2025 2026 2027",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(of(&"nine ".repeat(100_000)), None);
    }

    #[test]
    fn digits_are_where_the_words_were() {
        let text = "Call 415, five five five, 2671 now";
        let view = spoken(&View::plain(text)).unwrap();
        let at = view.text().find("415").unwrap();
        assert_eq!(&text[view.original(at..at + "415 555 2671".len())], "415, five five five, 2671");
    }
}
