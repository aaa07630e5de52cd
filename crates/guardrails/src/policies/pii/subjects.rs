//! First names that begin a sentence, by what is said of them: "Mark said", "Rose and I", "Hope, could you".
//!
//! A word that begins a sentence has a capital letter whatever it means, and many first names mean something else too. The
//! tagger weighs that; what only people do settles it.

use std::ops::Range;

use super::tagger::{Tagger, flags};
use crate::text::View;

/// Words that may stand between a name and what somebody does.
const BETWEEN: &[&str] = &[
    "also", "never", "just", "already", "still", "even", "has", "had", "didn't", "doesn't", "hasn't", "will",
    "would", "might", "must", "often", "always", "once", "later", "really", "quietly", "kindly",
];

/// What people do, and things of such names don't.
const DOES: &[&str] = &[
    "admitted",
    "agreed",
    "agrees",
    "answered",
    "apologised",
    "apologized",
    "asked",
    "asks",
    "believed",
    "believes",
    "called",
    "complained",
    "cooked",
    "cooks",
    "cried",
    "decided",
    "emailed",
    "explained",
    "feels",
    "felt",
    "forgets",
    "forgot",
    "hates",
    "hopes",
    "knew",
    "knows",
    "laughed",
    "liked",
    "likes",
    "listened",
    "lives",
    "loved",
    "loves",
    "married",
    "meant",
    "mentioned",
    "met",
    "phoned",
    "prefers",
    "promised",
    "quit",
    "remembers",
    "replied",
    "resigned",
    "retired",
    "said",
    "says",
    "signed",
    "sings",
    "sleeps",
    "slept",
    "smiled",
    "speaks",
    "spoke",
    "studies",
    "suggested",
    "swears",
    "texted",
    "thanked",
    "thinks",
    "thought",
    "told",
    "visited",
    "wanted",
    "wants",
    "whispered",
    "wondered",
    "wonders",
    "worries",
    "writes",
    "wrote",
];

/// Whose one may be: "is my sister".
const WHOSE: &[&str] = &["my", "our", "his", "her", "their", "your"];

/// What is said to somebody behind a comma.
const ADDRESSED: &[&str] = &["please", "can", "could", "would", "will", "thanks", "thank", "are", "do"];

/// First names that begin a sentence and do what only people do.
pub(super) fn subjects(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let ends = memchr::memchr_iter(b'\n', text.as_bytes())
        .chain(memchr::memchr3_iter(b'.', b'!', b'?', text.as_bytes()))
        .map(|at| at + 1);
    std::iter::once(0).chain(ends).filter_map(|from| {
        let rest = text[from..].trim_start_matches([' ', '"', '“', '\'']);
        let start = text.len() - rest.len();
        let first = rest.split(|it: char| !it.is_alphabetic()).next()?;
        let name = start..start + first.len();
        (is_first_name(first) && is_somebody(&rest[first.len()..])).then_some(name)
    })
}

fn is_first_name(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(char::is_uppercase)
        && letters.clone().count() >= 2
        && letters.all(char::is_lowercase)
        && Tagger::shipped().gazetteer.flags(View::folded(word).text()) & flags::FIRST != 0
}

/// Whether what follows a word makes it somebody.
fn is_somebody(behind: &str) -> bool {
    let mut words = behind.split(' ').skip(1);
    if let Some(said) = behind.strip_prefix(", ") {
        let word = said.split([' ', ',', '.', '!', '?']).next().unwrap_or_default();
        let next = said.split(' ').nth(1);
        return match word {
            "please" | "thanks" | "thank" => true,
            word => ADDRESSED.contains(&word) && next == Some("you"),
        };
    }
    if !behind.starts_with(' ') {
        return false;
    }
    let Some(mut word) = words.next() else { return false };
    if BETWEEN.contains(&word) {
        word = words.next().unwrap_or_default();
    }
    match word {
        "and" => words.next() == Some("I"),
        "is" | "was" => words.next().is_some_and(|it| WHOSE.contains(&it)),
        word => DOES.contains(&word.trim_end_matches(['.', ',', '!', '?', ':'])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_people_do_makes_a_name() {
        let of = |text: &str| -> Vec<String> { subjects(text).map(|it| text[it].to_owned()).collect() };
        for (text, name) in [
            ("Mark said no.", "Mark"),
            ("It rained. Rose never told me.", "Rose"),
            ("\"Hope, could you wait?\"", "Hope"),
            ("Dawn and I are neighbours.", "Dawn"),
            ("Grant is my uncle.", "Grant"),
            ("Faith resigned!", "Faith"),
        ] {
            assert_eq!(of(text), [name], "{text}");
        }
        for text in [
            "Mark the page.",
            "Rose and lily are flowers.",
            "Grace periods last.",
            "Question said nothing.",
            "MARK said no",
            "Will the price rise?",
            "",
            "Dawn",
        ] {
            assert_eq!(of(text), [""; 0], "{text}");
        }
        assert_eq!(subjects(&"Mark said. ".repeat(1000)).count(), 1000);
    }
}
