//! Names and addresses token by token: a linear chain over hashed features.
//!
//! The recogniser in [`crate::ner`] knows English news. People's names from everywhere, addresses in the order that other
//! countries write them, signatures and chats are what it misses, and those are what this tagger was trained on: texts
//! drawn from a grammar (`corpus/personal.txt`) filled with names of many languages (`corpus/names.tsv`). Each token's
//! features are looked up in one table of small integers, and the best sequence of labels is found with the transitions
//! between them. What the recogniser says is a feature like any other, so the two decide together.
//!
//! `train-guardrails tagger` in bench/tools makes `data/tagger.bin`.

mod features;
mod gazetteer;

use std::ops::{Range, RangeInclusive};
use std::sync::LazyLock;

use features::{Said, said_features};
pub use features::{Word, features, say, words};
pub use gazetteer::{Gazetteer, flags};

use crate::ner::NameModel;

/// What a token is: nothing, or the beginning or the inside of one of four kinds.
pub const LABELS: usize = 9;
/// One number a label.
type Scores = [f32; LABELS];
/// Rows of the table that features are hashed into.
pub const BUCKETS: usize = 1 << 17;
/// Tokens that are labelled together; of longer texts each part of this length is.
const MOST_WORDS: usize = 4096;

/// Tokens of a sentence that the recogniser is shown at most.
const LONGEST_SENTENCE: usize = 120;
/// Probabilities of a token to be of a name or an address that leave it open.
const UNSURE: RangeInclusive<f32> = 0.1..=0.9;

/// The kinds that are told apart. Organisations and places are found so that they are not taken for the other two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Name,
    Address,
    Organisation,
    Place,
}

/// The kinds in the order of their labels: `1 + 2 × index` begins one, the next continues it.
pub const KINDS: [Kind; 4] = [Kind::Name, Kind::Address, Kind::Organisation, Kind::Place];

/// A labelled stretch of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub kind: Kind,
    pub range: Range<usize>,
}

/// The weights.
#[derive(Debug, Clone, Default)]
pub struct Tagger {
    pub gazetteer: Gazetteer,
    /// What a weight of 1 stands for.
    pub scale: f32,
    /// From label (one more row: from the start of the text) to label.
    pub transitions: Vec<[f32; LABELS]>,
    /// [`BUCKETS`] rows.
    pub weights: Vec<[i8; LABELS]>,
}

/// What a token's features add up to, in whole numbers, so that what is taken away again leaves nothing: some hundred bytes at
/// most. A row of the table is read with the bytes behind it, as vectors are of sixteen numbers; those count for nothing.
type Sums = [i16; LANES];
const LANES: usize = 16;

static SHIPPED: LazyLock<Tagger> =
    LazyLock::new(|| Tagger::read(include_bytes!("../../../../data/tagger.bin")).unwrap_or_default());

/// Whether a label may follow another (`LABELS` is the start).
pub fn may_follow(before: usize, label: usize) -> bool {
    label == 0 || label % 2 == 1 || before == label || before + 1 == label
}

impl Tagger {
    pub fn shipped() -> &'static Self {
        &SHIPPED
    }

    /// The labelled stretches of a text, in its order, with the recogniser's opinion where there is one to ask.
    ///
    /// The recogniser takes many times as long as all else, so it is shown only the sentences in which a token may or may
    /// not be of a name or an address; those are labelled anew with what it says.
    pub fn tag(&self, text: &str, names: Option<&NameModel>) -> Vec<Span> {
        if self.weights.is_empty() {
            return Vec::new();
        }
        let mut words = words(text, &self.gazetteer);
        let mut sums: Vec<Sums> = vec![[0; LANES]; words.len()];
        let mut buckets = Vec::with_capacity(96);
        for (at, sums) in sums.iter_mut().enumerate() {
            buckets.clear();
            features(&words, at, &mut buckets);
            self.add(&buckets, 1, sums);
        }
        let mut own: Vec<Scores> = sums.iter().map(|sums| self.scores(sums)).collect();
        if let Some(names) = names {
            let parts = self.unsure(&words, &own);
            let ranges: Vec<Range<usize>> = parts
                .iter()
                .map(|part| words[part.start].range.start..words[part.end - 1].range.end)
                .collect();
            let sentences: Vec<&str> = ranges.iter().map(|range| &text[range.clone()]).collect();
            for ((part, range), mut entities) in
                parts.into_iter().zip(ranges).zip(names.entities_of(&sentences))
            {
                for entity in &mut entities {
                    entity.range = entity.range.start + range.start..entity.range.end + range.start;
                }
                say(&mut words[part], &entities);
            }
            self.hear(&words, &mut sums);
            own.iter_mut().zip(&sums).for_each(|(own, sums)| *own = self.scores(sums));
        }
        let mut spans = Vec::new();
        for (part, own) in words.chunks(MOST_WORDS).zip(own.chunks(MOST_WORDS)) {
            let labels = self.labels(own);
            collect(part, &labels, &mut spans);
        }
        spans
    }

    /// The sentences of a text, as ranges of its tokens, that have a token that is unsure.
    fn unsure(&self, words: &[Word], own: &[Scores]) -> Vec<Range<usize>> {
        let chances: Vec<f32> = own.chunks(MOST_WORDS).flat_map(|own| self.chances(own)).collect();
        let open = |at: usize| UNSURE.contains(&chances[at]) && words[at].is_lettered();
        let mut parts = Vec::new();
        let mut start = 0;
        for at in 0..words.len() {
            let last = at + 1 == words.len();
            if last || words[at].ends_sentence() || at - start >= LONGEST_SENTENCE {
                if (start..=at).any(open) {
                    parts.push(start..at + 1);
                }
                start = at + 1;
            }
        }
        parts
    }

    /// For each token the probability that it is of a name or an address.
    fn chances(&self, own: &[Scores]) -> Vec<f32> {
        let own: Vec<Scores> = own
            .iter()
            .map(|scores| {
                let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                scores.map(|score| (score - most).exp())
            })
            .collect();
        let factors: Vec<Scores> = (0..=LABELS)
            .map(|from| {
                std::array::from_fn(|to| match may_follow(from, to) {
                    true => self.transitions[from][to].exp(),
                    false => 0.0,
                })
            })
            .collect();
        let mut forward: Vec<Scores> = Vec::with_capacity(own.len());
        for own in &own {
            let mut row = factors[LABELS];
            if let Some(last) = forward.last() {
                row = [0.0; LABELS];
                for (before, factors) in last.iter().zip(&factors) {
                    row.iter_mut().zip(factors).for_each(|(sum, factor)| *sum += before * factor);
                }
            }
            row.iter_mut().zip(own).for_each(|(value, own)| *value *= own);
            forward.push(scaled(row));
        }
        let mut backward = [1.0_f32; LABELS];
        let mut chances = vec![0.0; own.len()];
        for at in (0..own.len()).rev() {
            let both: Scores = std::array::from_fn(|label| forward[at][label] * backward[label]);
            let total: f32 = both.iter().sum::<f32>().max(f32::MIN_POSITIVE);
            chances[at] = both[1..5].iter().sum::<f32>() / total;
            let ahead: Scores = std::array::from_fn(|to| own[at][to] * backward[to]);
            let row = std::array::from_fn(|from| factors[from].iter().zip(ahead).map(|(a, b)| a * b).sum());
            backward = scaled(row);
        }
        chances
    }

    /// The best sequence of labels, by the tokens' scores.
    fn labels(&self, tokens: &[Scores]) -> Vec<u8> {
        let mut scores: Vec<Scores> = Vec::with_capacity(tokens.len());
        let mut from: Vec<[u8; LABELS]> = Vec::with_capacity(tokens.len());
        for own in tokens {
            let mut best = [f32::NEG_INFINITY; LABELS];
            let mut back = [0_u8; LABELS];
            for (label, (best, back)) in best.iter_mut().zip(&mut back).enumerate() {
                match scores.last() {
                    None if may_follow(LABELS, label) => *best = own[label] + self.transitions[LABELS][label],
                    None => {}
                    Some(before) => {
                        for (previous, score) in before.iter().enumerate() {
                            let score = score + self.transitions[previous][label] + own[label];
                            if may_follow(previous, label) && score > *best {
                                (*best, *back) = (score, previous as u8);
                            }
                        }
                    }
                }
            }
            scores.push(best);
            from.push(back);
        }
        let Some(last) = scores.last() else { return Vec::new() };
        let mut label = (0..LABELS).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap_or(0) as u8;
        let mut labels = vec![0; tokens.len()];
        for at in (0..tokens.len()).rev() {
            labels[at] = label;
            label = from[at][usize::from(label)];
        }
        labels
    }

    /// What the recogniser's words change of the sums: most of a token's features have nothing to do with them.
    fn hear(&self, words: &[Word], sums: &mut [Sums]) {
        let mut buckets = Vec::with_capacity(8);
        for (at, sums) in sums.iter_mut().enumerate() {
            // A token's features have what is said of its neighbours.
            let near = at.saturating_sub(1)..(at + 2).min(words.len());
            if words[near].iter().any(Word::is_said) {
                for (said, sign) in [(Said::Nothing, -1), (Said::All, 1)] {
                    buckets.clear();
                    said_features(words, at, said, &mut buckets);
                    self.add(&buckets, sign, sums);
                }
            }
        }
    }

    /// Adds the weights of features to a token's sums, or takes them away.
    fn add(&self, buckets: &[u32], sign: i16, sums: &mut Sums) {
        let flat = self.weights.as_flattened();
        for bucket in buckets {
            let row = &flat[*bucket as usize * LABELS..];
            match row.first_chunk::<LANES>() {
                Some(row) => sums.iter_mut().zip(row).for_each(|(sum, it)| *sum += sign * i16::from(*it)),
                None => {
                    sums.iter_mut().zip(&row[..LABELS]).for_each(|(sum, it)| *sum += sign * i16::from(*it))
                }
            }
        }
    }

    fn scores(&self, sums: &Sums) -> Scores {
        std::array::from_fn(|label| f32::from(sums[label]) * self.scale)
    }

    /// Reads weights as [`Self::write`] wrote them.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (gazetteer, mut rest) = Gazetteer::read(bytes)?;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count)?;
            rest = tail;
            Some(head)
        };
        let mut number = || Some(f32::from_le_bytes(take(4)?.try_into().ok()?));
        let scale = number()?;
        let mut transitions = vec![[0.0; LABELS]; LABELS + 1];
        for value in transitions.iter_mut().flatten() {
            *value = number()?;
        }
        let rows = take(BUCKETS * LABELS)?.chunks_exact(LABELS);
        let weights = rows.map(|row| std::array::from_fn(|index| row[index].cast_signed())).collect();
        Some(Self { gazetteer, scale, transitions, weights })
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.gazetteer.write();
        bytes.extend(self.scale.to_le_bytes());
        bytes.extend(self.transitions.iter().flatten().flat_map(|value| value.to_le_bytes()));
        bytes.extend(self.weights.iter().flatten().map(|weight| weight.cast_unsigned()));
        bytes
    }
}

/// A row that sums to 1.
fn scaled(row: Scores) -> Scores {
    let total: f32 = row.iter().sum::<f32>().max(f32::MIN_POSITIVE);
    row.map(|value| value / total)
}

fn collect(words: &[Word], labels: &[u8], spans: &mut Vec<Span>) {
    let mut open: Option<Span> = None;
    for (word, label) in words.iter().zip(labels) {
        let begins = label % 2 == 1;
        if (*label == 0 || begins)
            && let Some(span) = open.take()
        {
            spans.push(span);
        }
        match (&mut open, KINDS.get(usize::from(label.saturating_sub(1)) / 2)) {
            (Some(span), _) => span.range.end = word.range.end,
            (None, Some(kind)) if *label > 0 => {
                open = Some(Span { kind: *kind, range: word.range.clone() });
            }
            _ => {}
        }
    }
    spans.extend(open);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_read_as_they_were_written() {
        let tagger = Tagger {
            gazetteer: Gazetteer::new([("anna".to_owned(), flags::FIRST)]),
            scale: 0.5,
            transitions: vec![[1.0; LABELS]; LABELS + 1],
            weights: vec![[3; LABELS]; BUCKETS],
        };
        let read = Tagger::read(&tagger.write()).unwrap();
        assert_eq!(read.gazetteer.flags("anna"), flags::FIRST);
        assert!(read.weights[7] == [3; LABELS] && read.transitions[9][8] == 1.0);
        assert!(Tagger::read(&[1, 0, 0, 0, 0]).is_none());
    }

    #[test]
    fn names_and_addresses_of_many_countries_are_tagged() {
        let tagged = |text: &str| -> Vec<(Kind, String)> {
            let spans = Tagger::shipped().tag(text, None);
            let wanted = spans.into_iter().filter(|it| matches!(it.kind, Kind::Name | Kind::Address));
            wanted.map(|it| (it.kind, text[it.range].to_owned())).collect()
        };
        let name = |text: &str| (Kind::Name, text.to_owned());
        let address = |text: &str| (Kind::Address, text.to_owned());
        assert_eq!(tagged("Please ask Ingibjörg Magnúsdóttir to sign."), [name("Ingibjörg Magnúsdóttir")]);
        assert_eq!(
            tagged("She lives at Lindenstraße 14, 10969 Berlin."),
            [address("Lindenstraße 14, 10969 Berlin")]
        );
        assert_eq!(tagged("Please read the Quarterly Report by Monday."), []);
    }
}
