//! The one loop that most of the time goes into: a tile of a product, held in registers.
//!
//! `unsafe` here is what vector instructions take: they exist on some processors only, and they read through pointers.
//! Both are settled in [`multiply`], the only way in: it looks once at what the processor has, and checks that every
//! row and panel that a tile will touch is inside its slice.
#![allow(unsafe_code)]

use super::{Packed, Rows, processor};

/// Columns of a panel.
pub const LANES: usize = 32;
/// Rows of a tile, at most.
const TALL: usize = 8;

/// Where a tile reads and writes.
#[derive(Clone, Copy)]
struct Tile {
    depth: usize,
    left: *const f32,
    left_stride: usize,
    panel: *const f32,
    /// [`LANES`] numbers, or null.
    bias: *const f32,
    out: *mut f32,
    out_stride: usize,
    /// Columns to write, up to [`LANES`].
    columns: usize,
}

/// Computes a tile of so many rows.
type Kernel = unsafe fn(&Tile, usize);

/// # Panics
/// If a row does not lie in its slice.
pub(super) fn multiply(right: &Packed, left: Rows<'_>, rows: usize, (out, out_stride): (&mut [f32], usize)) {
    let Packed { panels, bias, depth, columns } = right;
    let (depth, columns) = (*depth, *columns);
    if rows == 0 || columns == 0 {
        return;
    }
    let count = columns.div_ceil(LANES);
    assert!(left.data.len() >= (rows - 1) * left.stride + depth, "the left side is too short");
    assert!(
        out_stride >= columns && out.len() >= (rows - 1) * out_stride + columns,
        "no room for the product"
    );
    assert!(panels.len() >= count * LANES * depth, "the right side is too short");
    assert!(bias.is_empty() || bias.len() >= count * LANES, "the bias is too short");
    let kernel = kernel();
    for panel in 0..count {
        for row in (0..rows).step_by(TALL) {
            // SAFETY: the offsets are inside the slices by the assertions above.
            let tile = unsafe {
                Tile {
                    depth,
                    left: left.data.as_ptr().add(row * left.stride),
                    left_stride: left.stride,
                    panel: panels.as_ptr().add(panel * LANES * depth),
                    bias: match bias.is_empty() {
                        true => std::ptr::null(),
                        false => bias.as_ptr().add(panel * LANES),
                    },
                    out: out.as_mut_ptr().add(row * out_stride + panel * LANES),
                    out_stride,
                    columns: (columns - panel * LANES).min(LANES),
                }
            };
            // SAFETY: the kernel is one that this processor runs; its rows and columns are inside the slices.
            unsafe { kernel(&tile, (rows - row).min(TALL)) };
        }
    }
}

/// The best kernel for this processor. What it can do is remembered.
fn kernel() -> Kernel {
    #[cfg(target_arch = "x86_64")]
    {
        if processor::avx512().numbers {
            return x86::wide;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return x86::narrow;
        }
    }
    plain
}

/// For processors that none of the others is for; compilers make vector code of it.
unsafe fn plain(tile: &Tile, rows: usize) {
    for row in 0..rows {
        let mut sums = [0.0_f32; LANES];
        // SAFETY: `multiply` checked what these touch.
        unsafe {
            if !tile.bias.is_null() {
                sums.copy_from_slice(std::slice::from_raw_parts(tile.bias, LANES));
            }
            for k in 0..tile.depth {
                let x = *tile.left.add(row * tile.left_stride + k);
                let panel = std::slice::from_raw_parts(tile.panel.add(k * LANES), LANES);
                sums.iter_mut().zip(panel).for_each(|(sum, value)| *sum += x * value);
            }
            let out = std::slice::from_raw_parts_mut(tile.out.add(row * tile.out_stride), tile.columns);
            out.copy_from_slice(&sums[..tile.columns]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, TALL, Tile};

    /// AVX-512: two registers of sixteen numbers a row.
    pub(super) unsafe fn wide(tile: &Tile, rows: usize) {
        // SAFETY: as the caller vouches.
        unsafe {
            match rows {
                TALL => wide_rows::<TALL>(tile),
                7 => wide_rows::<7>(tile),
                6 => wide_rows::<6>(tile),
                5 => wide_rows::<5>(tile),
                4 => wide_rows::<4>(tile),
                3 => wide_rows::<3>(tile),
                2 => wide_rows::<2>(tile),
                _ => wide_rows::<1>(tile),
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn wide_rows<const ROWS: usize>(tile: &Tile) {
        // SAFETY: `multiply` checked what is read and written; the last store is masked to the columns there are.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            if !tile.bias.is_null() {
                sums = [[_mm512_loadu_ps(tile.bias), _mm512_loadu_ps(tile.bias.add(16))]; ROWS];
            }
            for k in 0..tile.depth {
                let first = _mm512_loadu_ps(tile.panel.add(k * LANES));
                let second = _mm512_loadu_ps(tile.panel.add(k * LANES + 16));
                for (row, [low, high]) in sums.iter_mut().enumerate() {
                    let x = _mm512_set1_ps(*tile.left.add(row * tile.left_stride + k));
                    *low = _mm512_fmadd_ps(x, first, *low);
                    *high = _mm512_fmadd_ps(x, second, *high);
                }
            }
            let mask = u32::MAX >> (LANES - tile.columns);
            #[expect(clippy::cast_possible_truncation, reason = "a half of the mask each")]
            let (low, high) = (mask as u16, (mask >> 16) as u16);
            for (row, sums) in sums.iter().enumerate() {
                let out = tile.out.add(row * tile.out_stride);
                _mm512_mask_storeu_ps(out, low, sums[0]);
                _mm512_mask_storeu_ps(out.wrapping_add(16), high, sums[1]);
            }
        }
    }

    /// AVX2: half a panel at a time, two registers of eight numbers a row.
    pub(super) unsafe fn narrow(tile: &Tile, rows: usize) {
        // SAFETY: as the caller vouches.
        unsafe {
            for row in (0..rows).step_by(4) {
                for half in [0, 16] {
                    match rows - row {
                        1 => narrow_rows::<1>(tile, row, half),
                        2 => narrow_rows::<2>(tile, row, half),
                        3 => narrow_rows::<3>(tile, row, half),
                        _ => narrow_rows::<4>(tile, row, half),
                    }
                }
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn narrow_rows<const ROWS: usize>(tile: &Tile, begin: usize, half: usize) {
        if half >= tile.columns {
            return;
        }
        // SAFETY: `multiply` checked what is read; what is written is cut to the columns there are.
        unsafe {
            let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
            if !tile.bias.is_null() {
                let bias = tile.bias.add(half);
                sums = [[_mm256_loadu_ps(bias), _mm256_loadu_ps(bias.add(8))]; ROWS];
            }
            let left = tile.left.add(begin * tile.left_stride);
            for k in 0..tile.depth {
                let panel = tile.panel.add(k * LANES + half);
                let (first, second) = (_mm256_loadu_ps(panel), _mm256_loadu_ps(panel.add(8)));
                for (row, [low, high]) in sums.iter_mut().enumerate() {
                    let x = _mm256_set1_ps(*left.add(row * tile.left_stride + k));
                    *low = _mm256_fmadd_ps(x, first, *low);
                    *high = _mm256_fmadd_ps(x, second, *high);
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                let mut whole = [0.0_f32; 16];
                _mm256_storeu_ps(whole.as_mut_ptr(), sums[0]);
                _mm256_storeu_ps(whole.as_mut_ptr().add(8), sums[1]);
                let columns = (tile.columns - half).min(16);
                let out = tile.out.add((begin + row) * tile.out_stride + half);
                std::ptr::copy_nonoverlapping(whole.as_ptr(), out, columns);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::super::{Kernel, plain};
        use super::*;

        #[test]
        fn all_kernels_agree() {
            let numbers = |count: usize| (0..count).map(|n| (n as f32).sin()).collect::<Vec<f32>>();
            let (left, panel, bias) = (numbers(8 * 50), numbers(50 * LANES), numbers(LANES));
            let mut kernels: Vec<Kernel> = vec![plain];
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                kernels.push(narrow);
            }
            if is_x86_feature_detected!("avx512f") {
                kernels.push(wide);
            }
            for (rows, columns) in (1..=TALL).flat_map(|rows| [1, 8, 15, 16, 17, 31, 32].map(|n| (rows, n))) {
                let answers = kernels.iter().map(|kernel| {
                    let mut out = vec![7.0_f32; TALL * 40];
                    let tile = Tile {
                        depth: 50,
                        left: left.as_ptr(),
                        left_stride: 50,
                        panel: panel.as_ptr(),
                        bias: bias.as_ptr(),
                        out: out.as_mut_ptr(),
                        out_stride: 40,
                        columns,
                    };
                    // SAFETY: the processor has what the kernel needs, and everything is long enough.
                    unsafe { kernel(&tile, rows) };
                    out
                });
                let answers: Vec<Vec<f32>> = answers.collect();
                for answer in &answers {
                    for (found, expected) in answer.iter().zip(&answers[0]) {
                        assert!((found - expected).abs() < 1e-4, "{rows} rows, {columns} columns");
                    }
                }
            }
        }
    }
}
