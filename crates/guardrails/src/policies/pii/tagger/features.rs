//! Tokens, and the hashed features of each: the word, its shape, what it is known as, its neighbours, its line.

use std::ops::Range;

use super::BUCKETS;
use super::gazetteer::{Gazetteer, flags};
use crate::fnv;
use crate::ner::{Entity, Label};
use crate::policies::statics::Statics;
use crate::text::View;

/// Longest word whose letters are looked at, in bytes.
const LONGEST: usize = 48;

/// A token: a run of letters and digits, one other character, or a line's end.
#[derive(Debug, Clone)]
pub struct Word {
    pub range: Range<usize>,
    /// Folded; empty for a line's end.
    pub folded: String,
    /// Whether features may use the word itself; training hides it now and then, so that unknown words are learnt.
    pub known: bool,
    pub flags: u8,
    identity: u64,
    shape: u32,
    /// How frequent the word is in English, from 0 (not known) to 8 (rare).
    rank: u32,
    /// What the recogniser of names says: 0 for nothing.
    entity: u32,
    /// Tokens before it in its line, and in the whole line, up to 6.
    place: (u32, u32),
    line_has_capital: bool,
}

/// The tokens of a text.
pub fn words(text: &str, gazetteer: &Gazetteer) -> Vec<Word> {
    let mut words = Vec::with_capacity(text.len() / 4);
    let mut characters = text.char_indices().peekable();
    while let Some((start, character)) = characters.next() {
        if character.is_whitespace() && character != '\n' {
            continue;
        }
        let mut end = start + character.len_utf8();
        if character.is_alphanumeric() {
            while let Some((at, next)) = characters.peek().copied() {
                if !(next.is_alphanumeric() || next == '\'' && continues(&text[at + 1..])) {
                    break;
                }
                end = at + next.len_utf8();
                characters.next();
            }
        }
        words.push(word(text, start..end, gazetteer));
    }
    place_in_lines(&mut words);
    words
}

/// Gives tokens what the recogniser says of them. Both are in the order of the text.
pub fn say(words: &mut [Word], entities: &[Entity]) {
    let mut from = 0;
    for entity in entities {
        while from < words.len() && words[from].range.end <= entity.range.start {
            from += 1;
        }
        for (index, word) in words[from..].iter_mut().enumerate() {
            if word.range.start >= entity.range.end {
                break;
            }
            word.entity = of(entity.label) * 2 + u32::from(index > 0);
        }
    }
}

impl Word {
    /// Whether the recogniser says anything of it.
    pub(super) fn is_said(&self) -> bool {
        self.entity > 0
    }

    pub(super) fn is_lettered(&self) -> bool {
        matches!(self.shape, 1..=8)
    }

    /// A line's end, or a character that ends sentences.
    pub(super) fn ends_sentence(&self) -> bool {
        self.shape == LINE_END || matches!(self.shape.checked_sub(10), Some(33 | 46 | 63))
    }
}

/// The shape of a line's end, and of a word that is too long to be looked at.
const LINE_END: u32 = 90;
const TOO_LONG: u32 = 91;

/// Whether what follows an apostrophe belongs to the word: a letter, but not a lone s.
fn continues(rest: &str) -> bool {
    let mut characters = rest.chars();
    match (characters.next(), characters.next()) {
        (Some('s' | 'S'), after) => after.is_some_and(char::is_alphanumeric),
        (Some(first), _) => first.is_alphabetic(),
        _ => false,
    }
}

fn of(label: Label) -> u32 {
    match label {
        Label::Person => 1,
        Label::Place => 2,
        Label::Location => 3,
        Label::Facility => 4,
        Label::Organisation => 5,
        Label::Other(_) => 6,
    }
}

fn word(text: &str, range: Range<usize>, gazetteer: &Gazetteer) -> Word {
    let original = &text[range.clone()];
    if original == "\n" || original.len() > LONGEST {
        let shape = if original == "\n" { LINE_END } else { TOO_LONG };
        return Word {
            range,
            folded: String::new(),
            known: true,
            flags: 0,
            identity: u64::from(shape),
            shape,
            rank: 0,
            entity: 0,
            place: (0, 0),
            line_has_capital: false,
        };
    }
    let folded = View::folded(original).into_text();
    let lettered = folded.chars().any(char::is_alphabetic);
    let rank = Statics::shipped().rank(&folded).filter(|_| lettered);
    let rank = rank.map_or(0, |rank| (rank as u32 / 400).checked_ilog2().unwrap_or(0) + 1);
    Word {
        flags: if lettered { gazetteer.flags(&folded) } else { 0 },
        identity: fnv::of(folded.bytes()),
        shape: shape(original),
        known: true,
        entity: 0,
        place: (0, 0),
        line_has_capital: false,
        rank,
        folded,
        range,
    }
}

/// A small number for what kinds of characters a word has.
fn shape(word: &str) -> u32 {
    let mut characters = word.chars();
    let Some(first) = characters.next() else { return 0 };
    if !first.is_alphanumeric() {
        return 10 + (first as u32).min(127);
    }
    let (mut count, mut digits, mut lower, mut upper) = (0, 0, 0, 0);
    for it in word.chars() {
        count += 1;
        digits += usize::from(it.is_numeric());
        lower += usize::from(it.is_lowercase());
        upper += usize::from(it.is_uppercase());
    }
    match () {
        () if digits == count => 150 + (count.min(9)) as u32,
        () if digits > 0 => 160 + u32::from(first.is_numeric()) + 2 * u32::from(upper > 0),
        () if upper == 1 && count == 1 => 1,
        () if upper == count && count == 2 => 2,
        () if upper == count => 3,
        () if first.is_uppercase() && lower + 1 == count => 4,
        () if first.is_uppercase() => 5,
        () if lower == count => 6 + u32::from(count <= 2),
        () => 8,
    }
}

fn place_in_lines(words: &mut [Word]) {
    for line in words.split_mut(|word| word.shape == LINE_END) {
        let count = line.len().min(6) as u32;
        let capital = line.iter().any(|word| matches!(word.shape, 1..=5));
        for (index, word) in line.iter_mut().enumerate() {
            word.place = (index.min(6) as u32, count);
            word.line_has_capital = capital;
        }
    }
}

struct Out<'a>(&'a mut Vec<u32>);

impl Out<'_> {
    fn add(&mut self, kind: u64, values: [u64; 3]) {
        let mut hash = fnv::mix(fnv::START, kind + 1);
        for value in values {
            hash = fnv::mix(hash ^ (hash >> 31), value.wrapping_add(0x9E37_79B9));
        }
        let folded = hash ^ (hash >> 29) ^ (hash >> 47);
        self.0.push((folded % BUCKETS as u64) as u32);
    }
}

/// The features of the token at `at`, as rows of the table.
pub fn features(words: &[Word], at: usize, out: &mut Vec<u32>) {
    own_features(words, at, out);
    said_features(words, at, Said::All, out);
}

/// What of the recogniser's words is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    All,
}

/// Those that are of what the recogniser says.
pub(super) fn said_features(words: &[Word], at: usize, said: Said, out: &mut Vec<u32>) {
    let mut out = Out(out);
    let word = &words[at];
    let entity = |by: isize| {
        let near = at.checked_add_signed(by).and_then(|index| words.get(index)).filter(|_| said == Said::All);
        u64::from(near.map_or(0, |it| it.entity))
    };
    for by in -1..=1_isize {
        out.add(of_neighbour(by), [6, entity(by), 0]);
    }
    out.add(44, [u64::from(word.flags), entity(0), u64::from(word.shape)]);
    out.add(45, [entity(-1), entity(0), entity(1)]);
}

/// The kind of features of the token so many places further.
fn of_neighbour(by: isize) -> u64 {
    10 + by.unsigned_abs() as u64 * 2 + u64::from(by < 0)
}

/// The others.
pub(super) fn own_features(words: &[Word], at: usize, out: &mut Vec<u32>) {
    let mut out = Out(out);
    let word = &words[at];
    let get = |by: isize| at.checked_add_signed(by).and_then(|index| words.get(index));
    let shape = |by: isize| u64::from(get(by).map_or(99, |it| it.shape));
    let flag = |by: isize| u64::from(get(by).map_or(0, |it| it.flags));
    let rank = |by: isize| u64::from(get(by).map_or(0, |it| it.rank));
    let own = |by: isize| get(by).filter(|it| it.known).map(|it| it.identity);
    out.add(0, [0, 0, 0]);
    for by in -3..=3_isize {
        let kind = of_neighbour(by);
        if let Some(identity) = own(by) {
            out.add(kind, [1, identity, 0]);
        } else if get(by).is_none() {
            out.add(kind, [2, 0, 0]);
        }
        if by.abs() <= 2 {
            out.add(kind, [3, shape(by), 0]);
            out.add(kind, [4, flag(by), shape(by)]);
            out.add(kind, [5, rank(by), shape(by)]);
        }
    }
    for (kind, a, b) in [(30, -1, 0), (31, 0, 1), (32, -2, -1), (33, 1, 2), (34, -1, 1)] {
        if let (Some(a), Some(b)) = (own(a), own(b)) {
            out.add(kind, [a, b, 0]);
        }
        out.add(kind, [1, shape(a), shape(b)]);
        out.add(kind, [flag(a) + 64 * flag(b), shape(a) + 1000, shape(b)]);
    }
    out.add(40, [shape(-1), shape(0), shape(1)]);
    out.add(41, [shape(-2), shape(-1), shape(0)]);
    out.add(42, [shape(0), shape(1), shape(2)]);
    out.add(43, [flag(0), rank(0), shape(0)]);
    out.add(46, [flag(0), flag(1), flag(-1)]);
    if let Some(before) = own(-1) {
        out.add(47, [before, shape(0), 0]);
        out.add(48, [before, flag(0), rank(0)]);
    }
    if let Some(after) = own(1) {
        out.add(49, [after, shape(0), 0]);
    }
    if let (Some(before), Some(before2)) = (own(-1), own(-2)) {
        out.add(50, [before2, before, shape(0)]);
    }
    let (place, count) = (u64::from(word.place.0), u64::from(word.place.1));
    out.add(51, [place, count, shape(0)]);
    out.add(52, [place.min(1), flag(0), shape(0)]);
    out.add(53, [u64::from(word.line_has_capital), shape(0), flag(0)]);
    out.add(54, [u64::from(word.line_has_capital), rank(0), flag(0)]);
    affixes(word, &mut out);
}

/// The beginning and the end of a word, up to four characters.
fn affixes(word: &Word, out: &mut Out<'_>) {
    if word.flags & (flags::CITY_PART | flags::COUNTRY) != 0 && word.folded.len() < 3 {
        return;
    }
    if !word.folded.chars().any(char::is_alphabetic) {
        return;
    }
    let capital = u64::from(matches!(word.shape, 1..=5));
    let mut hash = fnv::START;
    for (count, character) in word.folded.chars().take(4).enumerate() {
        hash = fnv::mix(hash, u64::from(character as u32));
        out.add(60 + count as u64, [hash, capital, 0]);
    }
    let mut hash = fnv::START;
    for (count, character) in word.folded.chars().rev().take(5).enumerate() {
        hash = fnv::mix(hash, u64::from(character as u32));
        out.add(70 + count as u64, [hash, capital, 0]);
    }
}
