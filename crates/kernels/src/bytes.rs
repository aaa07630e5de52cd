//! Products in bytes: several times as fast as those of [`super::tile`], and near to them.
//!
//! A column of a weight becomes 127 steps up and down from zero, a row of the left side 255 steps from its least number to
//! its greatest. What is lost is in the order of 1 % of a number, which turns a sentence's vector by a few degrees at most: good enough
//! for what learns on such vectors or has room to spare, and for nothing that promises the model's own.
//!
//! `unsafe` for the same reasons as in [`super::tile`], and settled the same way: in [`Bytes::multiply`].
#![allow(unsafe_code)]

use super::{LANES, Packed, Rows, processor};

/// Rows of depth that are multiplied together.
const DEEP: usize = 4;
/// Rows of a tile, at most.
const TALL: usize = 8;

/// A weight in bytes: for each panel, for each four rows of depth, [`LANES`] columns of four bytes side by side.
#[derive(Debug)]
pub(super) struct Bytes {
    panels: Vec<i8>,
    /// What a step of a column stands for, with 0 for columns that only fill a panel.
    steps: Vec<f32>,
    /// The sum of a column, in steps.
    sums: Vec<f32>,
    bias: Vec<f32>,
    depth: usize,
    columns: usize,
}

/// The left side of a product in bytes.
#[derive(Debug, Default)]
pub struct Steps {
    bytes: Vec<u8>,
    /// Of each row what a step stands for, and its least number.
    scales: Vec<(f32, f32)>,
}

impl Bytes {
    /// The same weight in bytes, where this processor multiplies them fast; none elsewhere.
    pub(super) fn of(packed: &Packed) -> Option<Self> {
        is_fast().then(|| Self::from_packed(packed))
    }

    fn from_packed(packed: &Packed) -> Self {
        let Packed { panels: exact, bias, depth, columns } = packed;
        let (filled, wide) = (depth.next_multiple_of(DEEP), columns.next_multiple_of(LANES));
        let mut bytes = Self {
            panels: vec![0; wide * filled],
            steps: vec![0.0; wide],
            sums: vec![0.0; wide],
            bias: bias.clone(),
            depth: *depth,
            columns: *columns,
        };
        bytes.bias.resize(wide, 0.0);
        if *depth == 0 {
            return bytes;
        }
        for (number, exact) in exact.chunks_exact(LANES * depth).enumerate() {
            let panel = &mut bytes.panels[number * LANES * filled..][..LANES * filled];
            for column in 0..LANES {
                let values = exact[column..].iter().step_by(LANES);
                let most = values.clone().fold(0.0_f32, |most, value| most.max(value.abs()));
                let step = most / 127.0;
                let per_step = if step > 0.0 { 1.0 / step } else { 0.0 };
                let mut sum = 0.0;
                for (row, value) in values.enumerate() {
                    let steps = (value * per_step).round();
                    sum += steps;
                    #[expect(clippy::cast_possible_truncation, reason = "from -127 to 127")]
                    let byte = steps as i8;
                    panel[(row / DEEP * LANES + column) * DEEP + row % DEEP] = byte;
                }
                bytes.steps[number * LANES + column] = step;
                bytes.sums[number * LANES + column] = sum;
            }
        }
        bytes
    }

    /// Writes `left · self + bias` for `rows` rows of `left` into rows of `out`, `stride` apart.
    ///
    /// # Panics
    /// If a row does not lie in its slice.
    pub(super) fn multiply(
        &self,
        left: Rows<'_>,
        rows: usize,
        (out, stride): (&mut [f32], usize),
        steps: &mut Steps,
    ) {
        if rows == 0 || self.columns == 0 {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if is_fast() {
            // SAFETY: the processor has what it takes.
            return unsafe { x86::multiply(self, left, rows, (out, stride), steps) };
        }
        self.multiply_with(left, rows, (out, stride), steps);
    }

    /// The loops of [`Self::multiply`], for vectors as wide as the caller's.
    #[inline(always)]
    fn multiply_with(
        &self,
        left: Rows<'_>,
        rows: usize,
        (out, stride): (&mut [f32], usize),
        steps: &mut Steps,
    ) {
        steps.set(left, (rows, self.depth));
        let filled = self.depth.next_multiple_of(DEEP);
        for column in (0..self.columns).step_by(LANES) {
            let panel = &self.panels[column * filled..][..LANES * filled];
            for row in (0..rows).step_by(TALL) {
                let tall = (rows - row).min(TALL);
                let mut sums = [[0; LANES]; TALL];
                tile(&steps.bytes[row * filled..][..tall * filled], panel, &mut sums[..tall]);
                for (row, sums) in (row..).zip(&sums[..tall]) {
                    let to = &mut out[row * stride + column..][..(self.columns - column).min(LANES)];
                    self.finish(column, steps.scales[row], sums, to);
                }
            }
        }
    }

    /// Whole numbers to what they stand for.
    #[inline(always)]
    fn finish(&self, column: usize, (step, least): (f32, f32), sums: &[i32; LANES], to: &mut [f32]) {
        let steps = &self.steps[column..][..LANES];
        let column_sums = &self.sums[column..][..LANES];
        let bias = &self.bias[column..][..LANES];
        let mut whole = [0.0_f32; LANES];
        for lane in 0..LANES {
            whole[lane] = (sums[lane] as f32 * step + least * column_sums[lane]) * steps[lane] + bias[lane];
        }
        to.copy_from_slice(&whole[..to.len()]);
    }
}

impl Steps {
    #[inline(always)]
    fn set(&mut self, left: Rows<'_>, (rows, depth): (usize, usize)) {
        // Added, it leaves a whole number in the low bits.
        const SHIFT: f32 = 12_582_912.0;
        let filled = depth.next_multiple_of(DEEP);
        self.scales.clear();
        self.bytes.clear();
        self.bytes.resize(rows * filled, 0);
        for (row, bytes) in self.bytes.chunks_exact_mut(filled.max(1)).take(rows).enumerate() {
            let values = &left.data[row * left.stride..][..depth];
            let (least, most) = bounds(values);
            let step = (most - least) / 255.0;
            let per_step = if step > 0.0 { 1.0 / step } else { 0.0 };
            for (byte, value) in bytes.iter_mut().zip(values) {
                *byte = (((value - least) * per_step + SHIFT).to_bits() & 0xFF) as u8;
            }
            self.scales.push((step, least));
        }
    }
}

/// The least number and the greatest, in sixteen parts, which need not wait for each other.
#[inline(always)]
fn bounds(values: &[f32]) -> (f32, f32) {
    let (mut least, mut most) = ([f32::MAX; 16], [f32::MIN; 16]);
    let chunks = values.chunks_exact(16);
    let rest = chunks.remainder().iter();
    let ends = rest.fold((f32::MAX, f32::MIN), |(least, most), x| (x.min(least), x.max(most)));
    for chunk in chunks {
        least.iter_mut().zip(chunk).for_each(|(least, x)| *least = if *x < *least { *x } else { *least });
        most.iter_mut().zip(chunk).for_each(|(most, x)| *most = if *x > *most { *x } else { *most });
    }
    (least.into_iter().fold(ends.0, f32::min), most.into_iter().fold(ends.1, f32::max))
}

/// Whether this processor adds up products of bytes by the four.
fn is_fast() -> bool {
    processor::avx512().bytes
}

/// Adds up the products of rows of bytes with a panel's columns.
fn tile(left: &[u8], panel: &[i8], sums: &mut [[i32; LANES]]) {
    let filled = panel.len() / LANES;
    assert!(sums.len() <= TALL && left.len() == sums.len() * filled, "a tile of another shape");
    #[cfg(target_arch = "x86_64")]
    if is_fast() {
        // SAFETY: the processor has what it takes; the left side has a row of `filled` bytes for each row of sums, and the
        // panel as many for each of its columns.
        return unsafe { x86::tile(left.as_ptr(), panel.as_ptr(), filled / DEEP, sums) };
    }
    plain(left, panel, sums);
}

fn plain(left: &[u8], panel: &[i8], sums: &mut [[i32; LANES]]) {
    let filled = panel.len() / LANES;
    for (row, sums) in left.chunks_exact(filled.max(1)).zip(sums) {
        for (left, right) in row.chunks_exact(DEEP).zip(panel.chunks_exact(DEEP * LANES)) {
            for (sum, right) in sums.iter_mut().zip(right.chunks_exact(DEEP)) {
                *sum += left.iter().zip(right).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>();
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Bytes, DEEP, LANES, Rows, Steps, TALL};

    /// What stands around the tiles, in wide vectors too.
    ///
    /// # Safety
    /// The processor has AVX-512 with VNNI.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn multiply(
        bytes: &Bytes,
        left: Rows<'_>,
        rows: usize,
        to: (&mut [f32], usize),
        steps: &mut Steps,
    ) {
        bytes.multiply_with(left, rows, to, steps);
    }

    /// # Safety
    /// The processor has AVX-512 with VNNI; `left` has `fours · DEEP` bytes for each row of `sums`, `panel` as many for each
    /// of its columns.
    pub(super) unsafe fn tile(left: *const u8, panel: *const i8, fours: usize, sums: &mut [[i32; LANES]]) {
        // SAFETY: as the caller vouches.
        unsafe {
            match sums.len() {
                TALL => rows::<TALL>(left, panel, fours, sums),
                7 => rows::<7>(left, panel, fours, sums),
                6 => rows::<6>(left, panel, fours, sums),
                5 => rows::<5>(left, panel, fours, sums),
                4 => rows::<4>(left, panel, fours, sums),
                3 => rows::<3>(left, panel, fours, sums),
                2 => rows::<2>(left, panel, fours, sums),
                1 => rows::<1>(left, panel, fours, sums),
                _ => {}
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn rows<const ROWS: usize>(
        left: *const u8,
        panel: *const i8,
        fours: usize,
        out: &mut [[i32; LANES]],
    ) {
        // SAFETY: every read is inside what the caller vouches for, every write inside a row of `out`.
        unsafe {
            let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
            for four in 0..fours {
                let columns = panel.add(four * DEEP * LANES);
                let first = _mm512_loadu_si512(columns.cast());
                let second = _mm512_loadu_si512(columns.add(DEEP * LANES / 2).cast());
                for (row, [low, high]) in sums.iter_mut().enumerate() {
                    let at = left.add((row * fours + four) * DEEP);
                    let x = _mm512_set1_epi32(at.cast::<i32>().read_unaligned());
                    *low = _mm512_dpbusd_epi32(*low, x, first);
                    *high = _mm512_dpbusd_epi32(*high, x, second);
                }
            }
            for (to, [low, high]) in out.iter_mut().zip(sums) {
                let to = to.as_mut_ptr();
                _mm512_storeu_si512(to.cast(), low);
                _mm512_storeu_si512(to.add(LANES / 2).cast(), high);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|n| (seed + 0.37 * n as f32).sin()).collect()
    }

    #[test]
    fn products_are_near_the_exact_ones() {
        for (rows, depth, columns) in [(1, 1, 1), (3, 5, 31), (8, 32, 32), (9, 7, 33), (17, 384, 96)] {
            let (left, right) = (numbers(rows * (depth + 2), 1.0), numbers(columns * depth, 2.0));
            let exact = Packed::layer(&right, &numbers(columns, 3.0));
            let left = Rows { data: &left, stride: depth + 2 };
            let (mut expected, mut found) =
                (vec![9.0; rows * (columns + 1)], vec![9.0; rows * (columns + 1)]);
            exact.multiply(left, rows, (&mut expected, columns + 1));
            let bytes = Bytes::from_packed(&exact);
            bytes.multiply(left, rows, (&mut found, columns + 1), &mut Steps::default());
            // A half step of either side for each number that is added up, were they all to go the same way.
            let most = depth as f32 * (0.5 / 127.0 + 1.0 / 255.0);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() <= most, "{rows} {depth} {columns}: {found} {expected}");
            }
            let far = found.iter().zip(&expected).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
            let long = expected.iter().map(|x| x * x).sum::<f32>().sqrt();
            assert!(far < 0.01 * long, "{rows} {depth} {columns}: {far} of {long}");
        }
    }

    #[test]
    fn a_row_of_one_number_and_a_column_of_none_are_exact() {
        let exact = Packed::layer(&[[2.0; 4], [0.0; 4]].concat(), &[1.0, -1.0]);
        let (left, mut out) = ([3.0; 4], [0.0; 2]);
        let left = Rows { data: &left, stride: 4 };
        Bytes::from_packed(&exact).multiply(left, 1, (&mut out, 2), &mut Steps::default());
        assert_eq!(out, [25.0, -1.0]);
    }

    #[test]
    fn all_tiles_agree() {
        let left: Vec<u8> = (0..TALL * 52).map(|n| (n * 37 % 256) as u8).collect();
        let panel: Vec<i8> = (0..LANES * 52).map(|n| ((n * 73 % 255) as i16 - 127) as i8).collect();
        for rows in 1..=TALL {
            let (mut one, mut other) = ([[0; LANES]; TALL], [[0; LANES]; TALL]);
            tile(&left[..rows * 52], &panel, &mut one[..rows]);
            plain(&left[..rows * 52], &panel, &mut other[..rows]);
            assert_eq!(one, other, "{rows} rows");
        }
    }
}
