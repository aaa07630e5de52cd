//! The hash that features, words and held-out texts are told apart by: FNV-1a of 64 bits, which gives the same everywhere.

pub const START: u64 = 0xcbf2_9ce4_8422_2325;

/// A hash with one more value.
pub fn mix(hash: u64, value: u64) -> u64 {
    (hash ^ value).wrapping_mul(0x0000_0100_0000_01b3)
}

/// The hash of bytes.
pub fn of(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(START, |hash, byte| mix(hash, u64::from(byte)))
}
