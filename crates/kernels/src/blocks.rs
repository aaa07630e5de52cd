//! Products of weights in blocks: the formats that models' files hold them in, 32 numbers that share a scale.
//!
//! A [`Panel`] is 16 rows of weights, unpacked to a byte a number and turned, so that one vector holds four numbers of each
//! row. Four bytes of an activation, repeated, are multiplied with it and added up to sixteen sums in one instruction; a
//! block's sums are whole numbers, and only they are scaled. A panel is unpacked once for all columns, in pieces that stay in
//! the nearest cache.
//!
//! Every number of the result is computed by the same steps in the same order, whatever the number of columns, the tile it
//! falls into and the threads: a batch has its answers bit for bit as each alone.
//!
//! `unsafe` because the matrices are another library's, reached by pointers that several threads share.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(test)]
mod tests;

use crate::processor;

/// Numbers of a block.
pub const BLOCK: usize = 32;
/// Rows of a panel.
const TALL: usize = 16;
/// Columns of a tile, at most.
const WIDE: usize = 8;
/// Blocks of a panel that are unpacked at a time: with their scales and a tile's activations, some 24 KiB.
const DEEP: usize = 24;

/// How 32 weights are written, in GGML's words. Each begins with a scale, a half-precision number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Half bytes, 8 above what they stand for.
    Q4_0,
    /// Half bytes above a least number, which follows the scale.
    Q4_1,
    /// Bytes.
    Q8_0,
}

impl Format {
    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 2 + BLOCK / 2,
            Self::Q4_1 => 4 + BLOCK / 2,
            Self::Q8_0 => 2 + BLOCK,
        }
    }

    /// Bytes of a block of the activations that go with it: Q8_1, whose scale is followed by the scaled sum of its bytes, for
    /// weights above a least number, and Q8_0 otherwise.
    pub const fn activation_bytes(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q8_0 => 2 + BLOCK,
            Self::Q4_1 => 4 + BLOCK,
        }
    }

    /// What unpacked bytes are above what they stand for.
    const fn offset(self) -> i32 {
        match self {
            Self::Q4_0 => 8,
            Self::Q4_1 => 0,
            Self::Q8_0 => 128,
        }
    }
}

/// A product of weights, `rows` of `depth` blocks, with activations, `columns` of as many. Strides are in bytes, the result's
/// in numbers: it holds a column's numbers side by side.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    pub format: Format,
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    pub weights: *const u8,
    pub weights_stride: usize,
    pub activations: *const u8,
    pub activations_stride: usize,
    pub result: *mut f32,
    pub result_stride: usize,
}

/// Whether this processor has what [`Product::compute`] needs.
pub fn are_fast() -> bool {
    processor::avx512().blocks
}

impl Product {
    /// Computes the share of thread `thread` of `threads`, some rows of the result, where [`are_fast`]; nothing elsewhere.
    ///
    /// # Safety
    /// Each row of the weights and each column of the activations can be read, as long as their depth has bytes; each column
    /// of the result can be written, and nobody reads it or writes the same share meanwhile.
    pub unsafe fn compute(&self, (thread, threads): (usize, usize)) {
        if !are_fast() || thread >= threads {
            return;
        }
        let panels = self.rows.div_ceil(TALL);
        let share = panels * thread / threads..panels * (thread + 1) / threads;
        if share.is_empty() || self.columns == 0 {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has what it takes; the matrices are as the caller vouches, and shares do not overlap.
        unsafe {
            avx512::compute(self, share);
        }
    }
}
