//! A first look at a text: which patterns can find anything in it at all.
//!
//! Most patterns need a word (the context that says what digits are, or a part of the pattern itself) or a certain run of
//! characters. One pass for all words and one over the bytes say which of them a text has; a pattern without its own is not
//! run. That is the difference between some fifty searches of a text and some ten.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::names::WORDS as NAME_WORDS;
use super::specs::SPECS;

/// What must be in a text for a pattern to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Digit,
    Byte(u8),
    /// This byte between two digits.
    Between(u8),
    /// So many letters and digits in a row.
    Run(usize),
    /// One of these words, in lower case. One that begins with a letter counts at the beginning of a word, after `…`
    /// anywhere.
    Word(&'static [&'static str]),
}

/// What a text has.
#[derive(Debug, Clone)]
pub(super) struct Glance {
    /// Bits of the patterns that a word is there for: the rules', then those of names and streets.
    worded: u128,
    bytes: [bool; 128],
    /// Bytes that stand between digits.
    between: [bool; 128],
    longest_run: usize,
    longest_digits: usize,
}

/// All words, and for each the patterns that it is there for.
struct Words {
    matcher: AhoCorasick,
    of: Vec<u128>,
    /// Whether it begins with a letter: then it counts where a word begins.
    lettered: Vec<bool>,
}

static WORDS: LazyLock<Option<Words>> = LazyLock::new(|| {
    let rules = SPECS.iter().map(|spec| match spec.5 {
        Needs::Word(words) => words,
        _ => spec.2,
    });
    let mut words: Vec<(&str, u128)> = Vec::new();
    for (index, list) in rules.chain(NAME_WORDS.iter().copied()).enumerate() {
        for word in list {
            match words.iter_mut().find(|(known, _)| known == word) {
                Some((_, of)) => *of |= 1 << index,
                None => words.push((word, 1 << index)),
            }
        }
    }
    let lettered =
        words.iter().map(|(word, _)| word.starts_with(|it: char| it.is_ascii_alphabetic())).collect();
    let matcher = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .build(words.iter().map(|(word, _)| word.trim_start_matches('…')))
        .ok()?;
    Some(Words { matcher, lettered, of: words.iter().map(|(_, of)| *of).collect() })
});

impl Glance {
    pub(super) fn at(text: &str) -> Self {
        let mut glance = Self {
            worded: if WORDS.is_none() { u128::MAX } else { 0 },
            bytes: [false; 128],
            between: [false; 128],
            longest_run: 0,
            longest_digits: 0,
        };
        glance.look_at_bytes(text.as_bytes());
        if let Some(words) = &*WORDS {
            let bytes = text.as_bytes();
            for hit in words.matcher.find_overlapping_iter(text) {
                let word = hit.pattern().as_usize();
                let within = words.lettered[word]
                    && hit.start().checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphabetic());
                if !within {
                    glance.worded |= words.of[word];
                }
            }
        }
        glance
    }

    fn look_at_bytes(&mut self, bytes: &[u8]) {
        let (mut run, mut digits) = (0, 0);
        // The byte before, and whether one digit stands before it.
        let (mut before, mut after_digit) = (0_u8, false);
        for byte in bytes {
            let is_digit = byte.is_ascii_digit();
            self.bytes[usize::from(byte & 0x7F)] |= *byte < 0x80;
            if is_digit && after_digit && !before.is_ascii_digit() && before < 0x80 {
                self.between[usize::from(before)] = true;
            }
            run = if byte.is_ascii_alphanumeric() { run + 1 } else { 0 };
            digits = if is_digit { digits + 1 } else { 0 };
            self.longest_run = self.longest_run.max(run);
            self.longest_digits = self.longest_digits.max(digits);
            (after_digit, before) = (before.is_ascii_digit(), *byte);
        }
    }

    pub(super) fn has_digit(&self) -> bool {
        self.longest_digits > 0
    }

    pub(super) fn longest_digits(&self) -> usize {
        self.longest_digits
    }

    /// Whether a word is there for the rule of this index.
    pub(super) fn has_word_for(&self, index: usize) -> bool {
        self.worded >> index & 1 == 1
    }

    /// Whether a word is there for the pattern of this index among [`NAME_WORDS`].
    pub(super) fn has_name_word(&self, index: usize) -> bool {
        self.has_word_for(SPECS.len() + index)
    }

    /// Whether what a rule needs is there.
    pub(super) fn has(&self, index: usize, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Digit => self.has_digit(),
            Needs::Byte(byte) => self.bytes[usize::from(byte & 0x7F)],
            Needs::Between(byte) => self.between[usize::from(byte & 0x7F)],
            Needs::Run(length) => self.longest_run >= length,
            Needs::Word(_) => self.has_word_for(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_has_is_seen() {
        let glance = Glance::at("Call 10.1.2.3 or ABC123DEF, éa");
        assert!(glance.has_digit() && glance.longest_digits() == 3 && glance.longest_run == 9);
        assert!(glance.has(0, Needs::Between(b'.')) && !glance.has(0, Needs::Between(b'-')));
        assert!(glance.has(0, Needs::Byte(b',')) && !glance.has(0, Needs::Byte(b'@')));
        assert!(glance.has(0, Needs::Run(9)) && !glance.has(0, Needs::Run(10)));
    }

    #[test]
    fn words_count_where_they_begin_whatever_their_case() {
        let index = SPECS.iter().position(|spec| spec.5 == Needs::Word(&["pin"])).unwrap();
        assert!(Glance::at("The PIN").has_word_for(index) && Glance::at("pins").has_word_for(index));
        assert!(!Glance::at("a spinning top").has_word_for(index));
    }

    #[test]
    fn there_is_a_bit_for_every_pattern() {
        assert!(SPECS.len() + NAME_WORDS.len() <= 128);
    }
}
