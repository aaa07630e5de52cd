//! Custom words and phrases, and the managed list of profanity.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use parking_lot::RwLock;
use rustrict::{Censor, Type};

use crate::text::{View, spaced_words, spelled_runs};

/// Finds the words and phrases of one guardrail.
#[derive(Debug)]
pub struct WordMatcher {
    automaton: AhoCorasick,
    /// The words and phrases without anything between their letters, for text whose letters all stand apart, and which
    /// word each is of.
    joined: AhoCorasick,
    words: Vec<usize>,
    /// Those that are marks alone, as they are.
    marks: Vec<(usize, String)>,
    count: usize,
}

/// Letters of a word that is looked for where letters stand apart and nothing tells words apart.
const FEWEST_JOINED: usize = 4;

/// A word that was found: which one, and where in the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordHit {
    /// Place of the word in the list that the matcher was made of.
    pub word: usize,
    pub range: Range<usize>,
}

impl WordMatcher {
    /// A matcher of `words`, compared without regard to case, width, accents and how the parts of a phrase are joined.
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let given: Vec<&str> = words.into_iter().collect();
        let words: Vec<String> = given.iter().map(|word| canonical(word)).collect();
        let count = words.len();
        let bare = given.iter().enumerate().filter(|(at, _)| words[*at].trim().is_empty());
        let marks = bare.map(|(at, word)| (at, View::folded(word.trim()).into_text())).collect();
        let automaton = |words: &[String]| {
            let built = AhoCorasick::builder().match_kind(MatchKind::Standard).build(words);
            built.map_err(|error| error.to_string())
        };
        let joined = words.iter().map(|word| word.chars().filter(|it| it.is_alphanumeric()).collect());
        let (places, joined): (Vec<usize>, Vec<String>) = joined
            .enumerate()
            .filter(|(_, word): &(usize, String)| word.chars().count() >= FEWEST_JOINED)
            .unzip();
        Ok(Self { automaton: automaton(&words)?, joined: automaton(&joined)?, words: places, marks, count })
    }

    /// Every word that stands in the text as a word of its own, once for each place.
    pub fn find(&self, folded: &View) -> Vec<WordHit> {
        let mut hits = Vec::new();
        if self.count == 0 {
            return hits;
        }
        self.find_in(&folded.squeezed(), &mut hits);
        for run in spelled_runs(folded) {
            for found in self.joined.find_overlapping_iter(run.joined.text()) {
                let word = self.words[found.pattern().as_usize()];
                hits.push(WordHit { word, range: run.joined.original(found.start()..found.end()) });
            }
        }
        for (word, mark) in self.marks.iter().filter(|(_, mark)| !mark.is_empty()) {
            for (at, found) in folded.text().match_indices(mark.as_str()) {
                hits.push(WordHit { word: *word, range: folded.original(at..at + found.len()) });
            }
        }
        hits.sort_by_key(|hit| (hit.range.start, hit.word, hit.range.end));
        hits.dedup_by(|a, b| a.word == b.word && a.range.start < b.range.end);
        hits
    }

    fn find_in(&self, view: &View, hits: &mut Vec<WordHit>) {
        let text = view.text();
        for found in self.automaton.find_overlapping_iter(text) {
            let range = found.start()..found.end();
            if !range.is_empty() && !text[range.clone()].trim().is_empty() && stands_alone(text, &range) {
                hits.push(WordHit { word: found.pattern().as_usize(), range: view.original(range) });
            }
        }
    }
}

/// A word as it is compared: without marks around it.
fn canonical(word: &str) -> String {
    View::folded(word.trim()).squeezed().text().trim().to_owned()
}

/// Whether no letter or digit continues the match on either side. Scripts without spaces between words have no sides.
fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let continues = |inner: Option<char>, outer: Option<char>| match (inner, outer) {
        (Some(inner), Some(outer)) => {
            inner.is_alphanumeric() && outer.is_alphanumeric() && !(unspaced(inner) && unspaced(outer))
        }
        _ => false,
    };
    let inside = &text[range.clone()];
    !continues(inside.chars().next_back(), text[range.end..].chars().next())
        && !continues(inside.chars().next(), text[..range.start].chars().next_back())
}

/// Letters of scripts that are written without spaces between words.
fn unspaced(character: char) -> bool {
    matches!(character as u32, 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x2E80..=0x9FFF | 0x20000..=0x3FFFF)
}

/// Finds profanity, also when it is written with other characters or gaps: the ranges of the words in the original.
pub fn profanity(folded: &View) -> Vec<Range<usize>> {
    let text = folded.text();
    let mut found: Vec<Range<usize>> =
        PROFANE.of(text).into_iter().map(|range| folded.original(range)).collect();
    for word in spaced_words(folded) {
        if word.text().chars().any(char::is_alphabetic) && is_profane(word.text()) {
            found.push(word.original(0..word.text().len()));
        }
    }
    found.sort_by_key(|range| range.start);
    found.dedup_by(|a, b| a.start < b.end);
    found
}

/// What is known of words that came before: looking at one takes microseconds, and most words come again.
struct Known(RwLock<HashMap<Box<str>, bool>>);

static PROFANE: LazyLock<Known> = LazyLock::new(|| Known(RwLock::default()));

/// Words that are remembered at most, and how long they may be, in bytes.
const MOST_KNOWN: usize = 50_000;
const LONGEST_KNOWN: usize = 24;

impl Known {
    /// The profane words of a text.
    fn of(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut unknown: Vec<Range<usize>> = Vec::new();
        {
            let known = self.0.read();
            for word in words_of(text).filter(|word| !word.is_empty()) {
                match known.get(&text[word.clone()]) {
                    Some(true) => found.push(word),
                    Some(false) => {}
                    None => unknown.push(word),
                }
            }
        }
        if unknown.is_empty() {
            return found;
        }
        // Nobody waits for it. Most texts have none: unknown words are looked at together first. Digits and signs alone say
        // nothing, and would take longest as they can be many letters.
        let (plain, mixed): (Vec<_>, Vec<_>) =
            unknown.into_iter().partition(|word| text[word.clone()].chars().all(char::is_alphabetic));
        let lettered = |word: &Range<usize>| text[word.clone()].chars().any(char::is_alphabetic);
        let (mixed, bare): (Vec<_>, Vec<_>) = mixed.into_iter().partition(lettered);
        let mut judged: Vec<(Range<usize>, bool)> = bare.into_iter().map(|word| (word, false)).collect();
        for words in chunks(&plain, MOST_TOGETHER).into_iter().chain(chunks(&mixed, MOST_MIXED)) {
            let together: Vec<&str> = words.iter().map(|word| &text[word.clone()]).collect();
            let any = is_profane(&together.join(" "));
            let each = words.iter().map(|word| (word.clone(), any && is_profane(&text[word.clone()])));
            judged.extend(each);
        }
        let mut known = self.0.write();
        for (word, profane) in judged {
            if word.len() <= LONGEST_KNOWN {
                if known.len() >= MOST_KNOWN {
                    known.clear();
                }
                known.insert(text[word.clone()].into(), profane);
            }
            if profane {
                found.push(word);
            }
        }
        found
    }
}

/// Words in groups of so many bytes; a longer word is a group of its own.
fn chunks(words: &[Range<usize>], most: usize) -> Vec<&[Range<usize>]> {
    let (mut groups, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, word) in words.iter().enumerate() {
        if bytes > 0 && bytes + word.len() > most {
            groups.push(&words[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += word.len() + 1;
    }
    groups.push(&words[start..]);
    groups
}

/// Bytes of plain words that are looked at together; of those with digits and signs [`MOST_MIXED`].
const MOST_TOGETHER: usize = 256;
/// Bytes that are analysed at a time. The analysis takes longer than linear time on text that is made for that, so it is
/// given no more; pieces of longer words have some in common.
const MOST_AT_ONCE: usize = 320;
const MOST_MIXED: usize = 96;
const IN_COMMON: usize = 32;

/// Words that the crate's list has not, or takes for mild, and that nobody wants a customer to read.
const MORE: [&str; 12] = [
    "arsehole",
    "asshole",
    "bastard",
    "bitch",
    "bollocks",
    "bullshit",
    "cunt",
    "dickhead",
    "jackass",
    "motherfucker",
    "twat",
    "wanker",
];

/// Whether a folded word is one of [`MORE`], also with an ending, or with digits and signs for letters.
fn is_one_more(word: &str) -> bool {
    if !(4..=20).contains(&word.len()) {
        return false;
    }
    let letter = |it: char| match it {
        '@' | '4' => 'a',
        '3' => 'e',
        '1' | '!' => 'i',
        '0' => 'o',
        '$' | '5' => 's',
        '7' => 't',
        other => other,
    };
    let word: String = word.trim_end_matches('!').chars().map(letter).collect();
    let endings = ["", "s", "es", "y", "ed", "ing"];
    MORE.iter().any(|more| word.strip_prefix(more).is_some_and(|rest| endings.contains(&rest)))
}

fn is_profane(text: &str) -> bool {
    if text.split(' ').any(is_one_more) {
        return true;
    }
    let analyse = |text: &str| Censor::from_str(text).analyze().is(Type::PROFANE & Type::MODERATE_OR_HIGHER);
    let most = match text.chars().all(|it| it.is_alphabetic() || it == ' ') {
        true => MOST_AT_ONCE,
        false => MOST_MIXED,
    };
    let mut start = 0;
    loop {
        let end = text.floor_char_boundary(start + most);
        if analyse(&text[start..end]) {
            return true;
        }
        if end == text.len() {
            return false;
        }
        start = text.floor_char_boundary(end - IN_COMMON);
    }
}

/// Runs without white space.
fn words_of(text: &str) -> impl Iterator<Item = Range<usize>> {
    let start_of = text.as_ptr() as usize;
    text.split_whitespace().map(move |word| {
        let start = word.as_ptr() as usize - start_of;
        let kept =
            word.trim_matches(|it: char| matches!(it, ',' | '.' | ';' | ':' | '?' | '"' | '\'' | '(' | ')'));
        let start = start + (kept.as_ptr() as usize - word.as_ptr() as usize);
        start..start + kept.len()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(words: &[&str], text: &str) -> Vec<String> {
        let hits = WordMatcher::new(words.iter().copied()).unwrap().find(&View::folded(text));
        hits.into_iter().map(|hit| text[hit.range].to_owned()).collect()
    }

    #[test]
    fn words_stand_alone_however_they_are_written() {
        let words = ["competitors-product-name", "acme", "C++"];
        assert_eq!(found(&words, "I use Competitors Product  Name."), ["Competitors Product  Name"]);
        assert_eq!(found(&words, "ＡＣＭＥ, àcmé and a\u{200B}cme"), ["ＡＣＭＥ", "àcmé", "a\u{200B}cme"]);
        assert_eq!(found(&words, "a c m e is what I mean"), ["a c m e"]);
        assert_eq!(
            found(&words, "c o m p e t i t o r s  p r o d u c t  n a m e!"),
            ["c o m p e t i t o r s  p r o d u c t  n a m e"]
        );
        assert_eq!(found(&words, "buy i t a c m e"), ["a c m e"]);
        assert_eq!(found(&words, "We write C++ daily"), ["C++"]);
        assert!(found(&words, "acmes pacme and competitors").is_empty());
        assert_eq!(found(&["東京"], "私は東京にいる"), ["東京"]);
    }

    #[test]
    fn the_parts_of_a_phrase_may_have_marks_between_them() {
        for text in [
            "foo, bar",
            "foo.bar",
            "foo/bar",
            "foo (bar)",
            "\"foo\" bar",
            "foo: bar",
            "foo — bar",
            "(foo), [bar]",
            "foo…bar",
        ] {
            assert_eq!(found(&["foo bar"], &format!("I like {text}!")).len(), 1, "{text}");
        }
        for text in ["I like foo. Bar is closed.", "foo and bar", "foobar", "foo's bar"] {
            assert!(found(&["foo bar"], text).is_empty(), "{text}");
        }
        assert_eq!(
            found(&["acme.com", "(", "don't"], "see acme.com (no, don't)"),
            ["acme.com", "(", "don't"]
        );
        assert!(found(&["-"], "nothing here").is_empty());
    }

    #[test]
    fn profanity_is_found_behind_disguises() {
        for text in [
            "what the fuck",
            "you sh1thead",
            "f u c k this",
            "a ｆｕｃｋing mess",
            "fu\u{200B}ck",
            "you b@stard",
            "wankers!",
            "B I T C H",
            "total bullsh1t",
        ] {
            assert!(!profanity(&View::folded(text)).is_empty(), "{text}");
        }
        for text in [
            "The class will assess the Scunthorpe assets.",
            "Please analyze the cocktail menu",
            "Hello, the title of the analysis is long",
        ] {
            assert!(profanity(&View::folded(text)).is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn hits_are_ranges_of_the_text(text in "\\PC{0,60}", word in "\\PC{1,6}") {
            let folded = View::folded(&text);
            let matcher = WordMatcher::new([word.as_str()]).unwrap();
            for hit in matcher.find(&folded) {
                prop_assert!(text.get(hit.range).is_some());
            }
            for range in profanity(&folded) {
                prop_assert!(text.get(range).is_some());
            }
        }
    }
}
