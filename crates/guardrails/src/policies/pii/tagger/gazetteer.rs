//! Words that are known to be parts of names and places, as hashes.

use std::collections::HashMap;

use crate::fnv::{self, Quick};

/// What a word is known as.
pub mod flags {
    pub const FIRST: u8 = 1;
    pub const LAST: u8 = 2;
    pub const CITY: u8 = 4;
    /// A word of a city's name of several.
    pub const CITY_PART: u8 = 8;
    /// Of a country's or a state's.
    pub const COUNTRY: u8 = 16;
}

/// Folded words (lower case, no accents) and their flags.
#[derive(Debug, Clone, Default)]
pub struct Gazetteer {
    known: HashMap<u32, u8, Quick>,
}

fn hash(word: &str) -> u32 {
    let hash = fnv::of(word.bytes());
    (hash ^ (hash >> 32)) as u32
}

impl Gazetteer {
    /// Of words that come with flags; those of one word are joined.
    pub fn new(words: impl IntoIterator<Item = (String, u8)>) -> Self {
        let mut known = HashMap::with_hasher(Quick);
        for (word, flags) in words {
            *known.entry(hash(&word)).or_default() |= flags;
        }
        Self { known }
    }

    pub fn flags(&self, folded: &str) -> u8 {
        self.known.get(&hash(folded)).copied().unwrap_or(0)
    }

    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (count, rest) = bytes.split_at_checked(4)?;
        let count = u32::from_le_bytes(count.try_into().ok()?) as usize;
        let (rows, rest) = rest.split_at_checked(count.checked_mul(5)?)?;
        let row = |row: &[u8]| Some((u32::from_le_bytes(row[..4].try_into().ok()?), row[4]));
        Some((Self { known: rows.chunks_exact(5).map(row).collect::<Option<_>>()? }, rest))
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut rows: Vec<(u32, u8)> = self.known.iter().map(|(hash, flags)| (*hash, *flags)).collect();
        rows.sort_unstable();
        let mut bytes = u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        for (hash, flags) in rows {
            bytes.extend(hash.to_le_bytes());
            bytes.push(flags);
        }
        bytes
    }
}
