//! [`super::Product`] on processors with AVX-512 and its products of bytes (VNNI).

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

use super::{BLOCK, DEEP, Format, Product, TALL, WIDE};

/// Vectors of a panel's block, each of four numbers of every row.
const FOURS: usize = BLOCK / 4;

/// Sixteen rows of weights, unpacked, as deep as a piece.
#[repr(C, align(64))]
struct Panel {
    numbers: [[[u8; 4 * TALL]; FOURS]; DEEP],
    scales: [[f32; TALL]; DEEP],
    /// Of formats that have any.
    least: [[f32; TALL]; DEEP],
}

/// What a block of activations adds to the sums of its bytes' products.
#[derive(Debug, Clone, Copy, Default)]
struct Scale {
    scale: f32,
    /// The scaled sum of its bytes, for weights above a least number.
    sum: f32,
    /// What the sums begin with, as the weights' bytes are above what they stand for.
    start: i32,
}

struct Scratch {
    panel: Box<Panel>,
    /// By column, then block.
    scales: Vec<Scale>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        panel: Box::new(Panel {
            numbers: [[[0; 4 * TALL]; FOURS]; DEEP],
            scales: [[0.0; TALL]; DEEP],
            least: [[0.0; TALL]; DEEP],
        }),
        scales: Vec::new(),
    });
}

/// Computes the panels in `share`.
///
/// # Safety
/// The processor has what [`super::are_fast`] asks for, the matrices are as [`Product::compute`] wants them, and no other thread
/// is given these panels.
pub(super) unsafe fn compute(product: &Product, share: Range<usize>) {
    SCRATCH.with_borrow_mut(|scratch| {
        // SAFETY: as the caller vouches; only Q4_1 has numbers that weights are above.
        unsafe {
            match product.format {
                Format::Q4_1 => panels::<true>(product, share, scratch),
                Format::Q4_0 | Format::Q8_0 => panels::<false>(product, share, scratch),
            }
        }
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
unsafe fn panels<const LEAST: bool>(product: &Product, share: Range<usize>, scratch: &mut Scratch) {
    let Scratch { panel, scales } = scratch;
    // SAFETY: columns and rows below those of the product, blocks below its depth.
    unsafe {
        read_scales::<LEAST>(product, scales);
        for number in share {
            for first in (0..product.depth).step_by(DEEP) {
                let blocks = first..(first + DEEP).min(product.depth);
                unpack(product, number, blocks.clone(), panel);
                let mut column = 0;
                while column < product.columns {
                    let wide = (product.columns - column).min(WIDE);
                    let place = Place { panel: number, column, blocks: blocks.clone() };
                    match wide {
                        8 => tile::<8, LEAST>(product, &place, panel, scales),
                        7 => tile::<7, LEAST>(product, &place, panel, scales),
                        6 => tile::<6, LEAST>(product, &place, panel, scales),
                        5 => tile::<5, LEAST>(product, &place, panel, scales),
                        4 => tile::<4, LEAST>(product, &place, panel, scales),
                        3 => tile::<3, LEAST>(product, &place, panel, scales),
                        2 => tile::<2, LEAST>(product, &place, panel, scales),
                        _ => tile::<1, LEAST>(product, &place, panel, scales),
                    }
                    column += wide;
                }
            }
        }
    }
}

/// A half-precision number.
#[inline]
#[target_feature(enable = "avx512f,f16c")]
unsafe fn half(at: *const u8) -> f32 {
    // SAFETY: the caller's two bytes.
    let bits = unsafe { at.cast::<u16>().read_unaligned() };
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
unsafe fn read_scales<const LEAST: bool>(product: &Product, scales: &mut Vec<Scale>) {
    let bytes = product.format.activation_bytes();
    scales.clear();
    scales.reserve(product.columns * product.depth);
    for column in 0..product.columns {
        for block in 0..product.depth {
            // SAFETY: a block of the activations, which has `bytes` bytes.
            unsafe {
                let at = product.activations.add(column * product.activations_stride + block * bytes);
                let mut read = Scale { scale: half(at), ..Scale::default() };
                if LEAST {
                    read.sum = half(at.add(2));
                } else {
                    let numbers = _mm256_loadu_si256(at.add(2).cast());
                    let sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), numbers);
                    let halves =
                        _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
                    let pairs = _mm_add_epi32(halves, _mm_shuffle_epi32::<0b01_00_11_10>(halves));
                    let whole = _mm_add_epi32(pairs, _mm_shuffle_epi32::<0b10_11_00_01>(pairs));
                    read.start = -product.format.offset() * _mm_cvtsi128_si32(whole);
                }
                scales.push(read);
            }
        }
    }
}

/// Unpacks a piece of a panel, and has the processor fetch the next panel meanwhile.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
unsafe fn unpack(product: &Product, number: usize, blocks: Range<usize>, panel: &mut Panel) {
    let bytes = product.format.bytes();
    // Loops here and below, and no closures: the library's functions that call them are compiled for any processor, so none
    // would be inlined.
    let mut rows = [product.weights; TALL];
    for (row, at) in rows.iter_mut().enumerate() {
        // Rows that the matrix lacks are computed as its last, and not stored.
        let row = (number * TALL + row).min(product.rows - 1);
        *at = at.wrapping_add(row * product.weights_stride + blocks.start * bytes);
    }
    // SAFETY: as many blocks of each of the rows, each of which has a format's bytes: a scale, perhaps a least number, and
    // 16 or 32 bytes of numbers.
    unsafe {
        match product.format {
            Format::Q4_1 if blocks.len() >= 4 => {
                for to in (0..blocks.len()).step_by(4) {
                    // The last ones again, where there are no four left.
                    let to = to.min(blocks.len() - 4);
                    prefetch(product, number + 1, blocks.start + to..blocks.start + to + 4);
                    four_blocks(further(rows, to * bytes), to, panel);
                }
            }
            _ => {
                for to in 0..blocks.len() {
                    prefetch(product, number + 1, blocks.start + to..blocks.start + to + 1);
                    one_block(product.format, further(rows, to * bytes), to, panel);
                }
            }
        }
    }
}

/// Has the processor fetch as much of a panel as these blocks of all its rows, where rows are next to each other. Bit by bit:
/// what is asked for at once must fit between the memory and the caches.
#[inline(always)]
fn prefetch(product: &Product, number: usize, blocks: Range<usize>) {
    let bytes = TALL * product.format.bytes();
    let panel = product.weights.wrapping_add(number * TALL * product.weights_stride);
    for line in (blocks.start * bytes..blocks.end * bytes).step_by(64) {
        // SAFETY: fetches ahead of time are hints, and read nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(panel.wrapping_add(line).cast()) };
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn one_block(format: Format, rows: [*const u8; TALL], to: usize, panel: &mut Panel) {
    // SAFETY: the caller's rows have a block each.
    unsafe {
        panel.scales[to] = halves_of(rows);
        match format {
            Format::Q4_0 => half_bytes(turned(further(rows, 2)), &mut panel.numbers[to]),
            Format::Q4_1 => {
                panel.least[to] = halves_of(further(rows, 2));
                half_bytes(turned(further(rows, 4)), &mut panel.numbers[to]);
            }
            Format::Q8_0 => whole_bytes(further(rows, 2), &mut panel.numbers[to]),
        }
    }
}

/// Four blocks of Q4_1: twenty words of each row, every fifth of which is a scale and a least number.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn four_blocks(rows: [*const u8; TALL], to: usize, panel: &mut Panel) {
    let mut words = [_mm512_setzero_si512(); 20];
    // SAFETY: the caller's rows have 80 bytes each; what is written to holds sixteen numbers.
    unsafe {
        for part in 0..5 {
            words[4 * part..4 * part + 4].copy_from_slice(&turned(further(rows, 16 * part)));
        }
        for (block, words) in words.chunks_exact(5).enumerate() {
            let (scales, least) = (_mm512_cvtepi32_epi16(words[0]), _mm512_srli_epi32::<16>(words[0]));
            let least = _mm512_cvtepi32_epi16(least);
            _mm512_storeu_ps(panel.scales[to + block].as_mut_ptr(), _mm512_cvtph_ps(scales));
            _mm512_storeu_ps(panel.least[to + block].as_mut_ptr(), _mm512_cvtph_ps(least));
            half_bytes([words[1], words[2], words[3], words[4]], &mut panel.numbers[to + block]);
        }
    }
}

/// The half-precision numbers at sixteen places.
#[inline]
#[target_feature(enable = "avx512f,f16c")]
unsafe fn halves_of(places: [*const u8; TALL]) -> [f32; TALL] {
    // SAFETY: the caller's places have two bytes each; the array holds as many halves, and sixteen numbers.
    unsafe {
        let mut bits = [0_u16; TALL];
        for (bits, place) in bits.iter_mut().zip(places) {
            *bits = place.cast::<u16>().read_unaligned();
        }
        let mut numbers = [0.0; TALL];
        _mm512_storeu_ps(numbers.as_mut_ptr(), _mm512_cvtph_ps(_mm256_loadu_si256(bits.as_ptr().cast())));
        numbers
    }
}

/// Sixteen bytes of each row, turned: four vectors of four bytes of every row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn turned(rows: [*const u8; TALL]) -> [__m512i; 4] {
    // SAFETY: the caller's rows have sixteen bytes each.
    unsafe {
        let mut fours = [_mm512_setzero_si512(); 4];
        for (first, four) in fours.iter_mut().enumerate() {
            *four = _mm512_castsi128_si512(_mm_loadu_si128(rows[first].cast()));
            *four = _mm512_inserti32x4::<1>(*four, _mm_loadu_si128(rows[first + 4].cast()));
            *four = _mm512_inserti32x4::<2>(*four, _mm_loadu_si128(rows[first + 8].cast()));
            *four = _mm512_inserti32x4::<3>(*four, _mm_loadu_si128(rows[first + 12].cast()));
        }
        let [a, b, c, d] = fours;
        let (ab, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        [
            _mm512_unpacklo_epi64(ab, cd),
            _mm512_unpackhi_epi64(ab, cd),
            _mm512_unpacklo_epi64(ab_high, cd_high),
            _mm512_unpackhi_epi64(ab_high, cd_high),
        ]
    }
}

/// Half bytes: the low ones are the first half of a block.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn half_bytes(words: [__m512i; 4], to: &mut [[u8; 4 * TALL]; FOURS]) {
    let low = _mm512_set1_epi8(0x0F);
    // SAFETY: the places written to have 64 bytes each.
    unsafe {
        for (word, packed) in words.into_iter().enumerate() {
            let high = _mm512_srli_epi16::<4>(packed);
            _mm512_storeu_si512(to[word].as_mut_ptr().cast(), _mm512_and_si512(packed, low));
            _mm512_storeu_si512(to[word + FOURS / 2].as_mut_ptr().cast(), _mm512_and_si512(high, low));
        }
    }
}

/// Bytes with a sign, raised above zero.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn whole_bytes(rows: [*const u8; TALL], to: &mut [[u8; 4 * TALL]; FOURS]) {
    let raise = _mm512_set1_epi8(i8::MIN);
    let (first, second) = to.split_at_mut(FOURS / 2);
    // SAFETY: the caller's rows have 32 bytes each, the places written to 64.
    unsafe {
        for (rows, to) in [(rows, first), (further(rows, BLOCK / 2), second)] {
            for (word, bytes) in turned(rows).into_iter().enumerate() {
                _mm512_storeu_si512(to[word].as_mut_ptr().cast(), _mm512_xor_si512(bytes, raise));
            }
        }
    }
}

/// The same places of all rows, `bytes` on.
#[inline(always)]
fn further(mut rows: [*const u8; TALL], bytes: usize) -> [*const u8; TALL] {
    for row in &mut rows {
        *row = row.wrapping_add(bytes);
    }
    rows
}

/// Where a tile is: sixteen rows, some columns from `column` on, a piece of their depth.
struct Place {
    panel: usize,
    column: usize,
    blocks: Range<usize>,
}

/// Adds a piece's products to a tile of the result, or begins it with them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c")]
unsafe fn tile<const COLUMNS: usize, const LEAST: bool>(
    product: &Product,
    place: &Place,
    panel: &Panel,
    scales: &[Scale],
) {
    let rows = (product.rows - place.panel * TALL).min(TALL);
    let mask = u16::MAX >> (TALL - rows);
    let bytes = product.format.activation_bytes();
    let numbers = bytes - BLOCK;
    // SAFETY: the columns and rows are the product's, the blocks below its depth; what rows a panel has too many are masked.
    unsafe {
        let result = product.result.add(place.column * product.result_stride + place.panel * TALL);
        let mut columns = [product.activations; COLUMNS];
        let mut column_scales = [scales.as_ptr(); COLUMNS];
        let mut sums = [_mm512_setzero_ps(); COLUMNS];
        for column in 0..COLUMNS {
            columns[column] = product.activations.add((place.column + column) * product.activations_stride);
            column_scales[column] = scales.as_ptr().add((place.column + column) * product.depth);
            if place.blocks.start > 0 {
                sums[column] = _mm512_maskz_loadu_ps(mask, result.add(column * product.result_stride));
            }
        }
        for (from, block) in place.blocks.clone().enumerate() {
            let mut whole = [_mm512_setzero_si512(); COLUMNS];
            for column in 0..COLUMNS {
                whole[column] = _mm512_set1_epi32((*column_scales[column].add(block)).start);
            }
            for (four, weights) in panel.numbers.get_unchecked(from).iter().enumerate() {
                let weights = _mm512_load_si512(weights.as_ptr().cast());
                for column in 0..COLUMNS {
                    let at = columns[column].add(block * bytes + numbers + 4 * four);
                    let repeated = _mm512_set1_epi32(at.cast::<i32>().read_unaligned());
                    whole[column] = _mm512_dpbusd_epi32(whole[column], weights, repeated);
                }
            }
            let weight_scales = _mm512_load_ps(panel.scales.get_unchecked(from).as_ptr());
            let least = _mm512_load_ps(panel.least.get_unchecked(from).as_ptr());
            for column in 0..COLUMNS {
                let scale = *column_scales[column].add(block);
                let both = _mm512_mul_ps(weight_scales, _mm512_set1_ps(scale.scale));
                sums[column] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole[column]), both, sums[column]);
                if LEAST {
                    sums[column] = _mm512_fmadd_ps(least, _mm512_set1_ps(scale.sum), sums[column]);
                }
            }
        }
        for (column, sums) in sums.into_iter().enumerate() {
            _mm512_mask_storeu_ps(result.add(column * product.result_stride), mask, sums);
        }
    }
}
