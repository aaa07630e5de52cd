//! Light sentence vectors: the mean of one vector a word piece, distilled from the sentence encoder.
//!
//! The encoder that this server embeds with takes tens of milliseconds for a page on one core, which is too much to add
//! to every call. A table of its word pieces' own vectors, reduced to fewer dimensions and weighted by how rare they are,
//! takes microseconds, and is good enough to say what needs a second look. `train-guardrails statics` (bench/tools) makes it.

use std::collections::HashMap;
use std::sync::LazyLock;

use craton_backend::normalise;

use crate::fnv::Quick;

/// Longest word that is cut into pieces, in bytes.
const LONGEST_WORD: usize = 64;

/// A table of word pieces and their vectors.
#[derive(Debug, Default)]
pub struct Statics {
    pieces: HashMap<Box<str>, u32, Quick>,
    dimensions: usize,
    scales: Vec<f32>,
    vectors: Vec<i8>,
}

static SHIPPED: LazyLock<Statics> =
    LazyLock::new(|| Statics::read(include_bytes!("../../data/statics.bin")).unwrap_or_default());

impl Statics {
    pub fn shipped() -> &'static Self {
        &SHIPPED
    }

    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// How many pieces are more frequent than this word in lower case; none for a word that is not one piece.
    pub fn rank(&self, word: &str) -> Option<usize> {
        self.pieces.get(word).map(|index| *index as usize)
    }

    /// Reads a table as [`Self::write`] wrote it.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count)?;
            rest = tail;
            Some(head)
        };
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes);
        let count = number(take(4)?)? as usize;
        let dimensions = number(take(4)?)? as usize;
        let mut pieces = HashMap::with_capacity_and_hasher(count, Quick);
        for index in 0..u32::try_from(count).ok()? {
            let length = usize::from(take(1)?[0]);
            let piece = std::str::from_utf8(take(length)?).ok()?;
            pieces.insert(piece.into(), index);
        }
        let scales =
            take(count * 4)?.chunks_exact(4).map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]));
        let scales = scales.collect();
        let vectors = take(count * dimensions)?.iter().map(|byte| byte.cast_signed()).collect();
        Some(Self { pieces, dimensions, scales, vectors })
    }

    /// The bytes of a table: rows are quantised to eight bits each.
    pub fn write(rows: &[(String, Vec<f32>)]) -> Vec<u8> {
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let dimensions = u32::try_from(rows.first().map_or(0, |row| row.1.len())).unwrap_or(u32::MAX);
        let mut bytes = [count.to_le_bytes(), dimensions.to_le_bytes()].concat();
        for (piece, _) in rows {
            bytes.push(u8::try_from(piece.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(piece.as_bytes());
        }
        let scale = |row: &[f32]| row.iter().fold(1e-9_f32, |most, value| most.max(value.abs())) / 127.0;
        for (_, row) in rows {
            bytes.extend_from_slice(&scale(row).to_le_bytes());
        }
        for (_, row) in rows {
            let scale = scale(row);
            bytes.extend(
                row.iter().map(|value| ((value / scale).round().clamp(-127.0, 127.0) as i8).cast_unsigned()),
            );
        }
        bytes
    }

    /// The unit vector of a text in lower case; all zero when it has no known piece.
    pub fn embed(&self, text: &str) -> Vec<f32> {
        let mut sum = self.sum(text);
        normalise(&mut sum);
        sum
    }

    /// The sum of the vectors of a text's words.
    pub(crate) fn sum(&self, text: &str) -> Vec<f32> {
        let mut sum = vec![0.0_f32; self.dimensions];
        if self.dimensions == 0 {
            return sum;
        }
        for word in words(text) {
            self.pieces_of(word, |piece| {
                let row = &self.vectors[piece * self.dimensions..(piece + 1) * self.dimensions];
                let scale = self.scales[piece];
                for (sum, value) in sum.iter_mut().zip(row) {
                    *sum += f32::from(*value) * scale;
                }
            });
        }
        sum
    }

    /// The vector of one word in lower case, as long as the word is telling; none when nothing of it is known.
    pub fn word(&self, word: &str) -> Option<Vec<f32>> {
        let mut sum = vec![0.0_f32; self.dimensions];
        self.pieces_of(word, |piece| {
            let row = &self.vectors[piece * self.dimensions..(piece + 1) * self.dimensions];
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += f32::from(*value) * self.scales[piece];
            }
        });
        sum.iter().any(|value| *value != 0.0).then_some(sum)
    }

    /// Greedy longest pieces, as the encoder's own tokenizer cuts.
    fn pieces_of(&self, word: &str, mut each: impl FnMut(usize)) {
        if word.len() > LONGEST_WORD {
            return;
        }
        if let Some(whole) = self.pieces.get(word) {
            each(*whole as usize);
            return;
        }
        let mut start = 0;
        let mut candidate = String::with_capacity(word.len() + 2);
        while start < word.len() {
            let mut end = word.len();
            let found = loop {
                candidate.clear();
                if start > 0 {
                    candidate.push_str("##");
                }
                candidate.push_str(&word[start..end]);
                if let Some(piece) = self.pieces.get(candidate.as_str()) {
                    break Some(*piece as usize);
                }
                end -= 1;
                while end > start && !word.is_char_boundary(end) {
                    end -= 1;
                }
                if end <= start {
                    break None;
                }
            };
            match found {
                Some(piece) => each(piece),
                None => return,
            }
            start = end;
        }
    }
}

/// Words and single marks, as the encoder's tokenizer has them.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let end = match first.is_alphanumeric() {
            true => rest.find(|it: char| !it.is_alphanumeric()).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, tail) = rest.split_at(end);
        rest = tail;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use craton_backend::dot;

    use super::*;

    #[test]
    fn a_table_reads_as_it_was_written() {
        let rows = [("cat".to_owned(), vec![1.0, -0.5]), ("##s".to_owned(), vec![0.0, 0.25])];
        let table = Statics::read(&Statics::write(&rows)).unwrap();
        assert_eq!(table.dimensions(), 2);
        let vector = table.embed("cats");
        assert!((vector[0] - 0.97).abs() < 0.01 && vector[1] < 0.0, "{vector:?}");
        assert!(Statics::read(&[1, 2, 3]).is_none() && Statics::read(&[9, 0, 0, 0, 9, 0, 0, 0, 1]).is_none());
    }

    #[test]
    fn similar_meanings_are_near() {
        let table = Statics::shipped();
        let similar = |a: &str, b: &str| dot(&table.embed(a), &table.embed(b));
        assert!(
            similar("can i sue my employer", "legal action against my boss")
                > similar("can i sue my employer", "bake a chocolate cake")
        );
    }
}
