//! The hash that features, words and held-out texts are told apart by: FNV-1a of 64 bits, which gives the same everywhere.

use std::hash::{BuildHasher, Hasher};

pub const START: u64 = 0xcbf2_9ce4_8422_2325;

/// A hash with one more value.
pub fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3)
}

/// The hash of bytes.
pub fn of(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(START, |hash, byte| mix(hash, u64::from(byte)))
}

/// For tables in memory whose keys are words or hashes that nobody outside chooses the table's contents of: quick, and not
/// proof against keys that are made to collide, which only what fills a table could do.
#[derive(Debug, Clone, Default)]
pub struct Quick;

impl BuildHasher for Quick {
    type Hasher = QuickHasher;

    fn build_hasher(&self) -> QuickHasher {
        QuickHasher(START)
    }
}

/// Takes eight bytes at a time.
#[derive(Debug)]
pub struct QuickHasher(u64);

impl QuickHasher {
    fn take(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<8>();
        whole.iter().for_each(|it| self.take(u64::from_le_bytes(*it)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.take(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.take(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.take(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.take(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.take(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}
