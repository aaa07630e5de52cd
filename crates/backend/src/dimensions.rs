use std::collections::HashMap;
use std::f64::consts::PI;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::geometry::{dot, unit};

/// Pairs of widths whose maps are kept; there are as many as models × offered widths.
const KEPT: usize = 32;

/// The width of the default embedding model, and the directions in which its vectors differ most, the widest first:
/// `data/narrow_384.py` says how they were found. Rows of signed bytes, each scaled by its own largest value.
const LEARNED_WIDTH: usize = 384;
const LEARNED: &[u8; LEARNED_WIDTH * LEARNED_WIDTH] = include_bytes!("../data/narrow_384.bin");

/// Gives a vector another number of dimensions while keeping its geometry: the cosine of two vectors, both mapped, is
/// near their cosine before. The result has unit length; an empty or zero vector gives zeros.
///
/// This is how a model of one width stands in for a model of another. The map is linear and fixed, the same in every
/// process and release, so that stored vectors stay comparable. Its core is an orthonormal cosine transform whose
/// inputs are shuffled and given random signs, so that what a vector says is spread over all dimensions:
///
/// * wider: every row of the transform of the wider size. Its columns are orthonormal, so lengths and cosines are
///   exactly kept (to rounding);
/// * narrower, from 384: the part of the vector in the directions where vectors of the default embedding model differ
///   most, turned by the transform. On 40 sentences the 780 cosines at 256 dimensions correlate with those before by
///   0.99 (Pearson and Spearman);
/// * narrower otherwise: a fixed random choice of rows of the transform of the vector's own size, in effect a random
///   projection on orthogonal directions (Johnson–Lindenstrauss). From 384 to 256 it would move a cosine by 0.036
///   (standard deviation √((1/256)·(1 − 256/384))), which on the same sentences correlates by 0.95 and 0.91.
pub fn fit_dimensions(vector: &[f32], dimensions: usize) -> Vec<f32> {
    let mapped = if vector.len() == dimensions || vector.is_empty() {
        let mut same = vector.to_vec();
        same.resize(dimensions, 0.0);
        same
    } else {
        let map = kept_map(vector.len(), dimensions);
        map.chunks_exact(vector.len()).map(|row| dot(row, vector)).collect()
    };
    unit(mapped)
}

/// The map's rows one after another, `to` of them, each `from` long.
fn kept_map(from: usize, to: usize) -> Arc<[f32]> {
    type Maps = RwLock<HashMap<(usize, usize), Arc<[f32]>>>;
    static MAPS: OnceLock<Maps> = OnceLock::new();
    let maps = MAPS.get_or_init(Maps::default);
    let found = maps.read().unwrap_or_else(PoisonError::into_inner).get(&(from, to)).map(Arc::clone);
    found.unwrap_or_else(|| {
        let map: Arc<[f32]> =
            if from == LEARNED_WIDTH && to < from { learned(to) } else { transform(from, to) }.into();
        let mut maps = maps.write().unwrap_or_else(PoisonError::into_inner);
        if maps.len() < KEPT {
            maps.insert((from, to), Arc::clone(&map));
        }
        map
    })
}

/// The first `to` learned directions, turned by the square transform so that no dimension says more than another.
fn learned(to: usize) -> Vec<f32> {
    let row = |bytes: &[u8]| unit(bytes.iter().map(|byte| f32::from(byte.cast_signed())).collect());
    let rows: Vec<Vec<f32>> = LEARNED.chunks_exact(LEARNED_WIDTH).take(to).map(row).collect();
    let turn = transform(to, to);
    let mut map = Vec::with_capacity(to * LEARNED_WIDTH);
    for weights in turn.chunks_exact(to) {
        let mut sum = vec![0.0; LEARNED_WIDTH];
        for (weight, row) in weights.iter().zip(&rows) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
        map.extend(sum);
    }
    map
}

fn transform(from: usize, to: usize) -> Vec<f32> {
    let size = from.max(to);
    let mut random = SplitMix(0x9e37_79b9_7f4a_7c15 ^ (size as u64));
    let positions = random.shuffled(size);
    let signs: Vec<f64> = (0..from).map(|_| if random.next() & 1 == 0 { 1.0 } else { -1.0 }).collect();
    let mut rows = random.shuffled(size);
    rows.truncate(to);
    rows.sort_unstable();
    let mut map = Vec::with_capacity(from * to);
    for row in rows {
        let scale = if row == 0 { (1.0 / size as f64).sqrt() } else { (2.0 / size as f64).sqrt() };
        for (position, sign) in positions.iter().zip(&signs) {
            // The angle repeats after 4 × size steps; reducing first keeps it exact.
            let step = (2 * position + 1) * row % (4 * size);
            let value = sign * scale * (PI * step as f64 / (2 * size) as f64).cos();
            map.push(value as f32);
        }
    }
    map
}

/// A small generator whose numbers never change, unlike those of a library's next version.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// `0..length` in a random order.
    fn shuffled(&mut self, length: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..length).collect();
        for last in (1..length).rev() {
            // Modulo bias is 2^-50 at these lengths.
            all.swap(last, usize::try_from(self.next() % (last as u64 + 1)).unwrap_or(0));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors around a few centres, as sentences are: cosines from about 0 to 0.9.
    fn sentences(count: usize, width: usize) -> Vec<Vec<f32>> {
        let mut random = SplitMix(7);
        let mut direction = || -> Vec<f32> {
            unit((0..width).map(|_| (random.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect())
        };
        let centres: Vec<Vec<f32>> = (0..8).map(|_| direction()).collect();
        let near = |index: usize, noise: Vec<f32>| {
            let weight = 0.2 + 0.8 * (index % 5) as f32 / 4.0;
            unit(
                centres[index % 8]
                    .iter()
                    .zip(&noise)
                    .map(|(centre, noise)| weight * centre + 0.5 * noise)
                    .collect(),
            )
        };
        (0..count).map(|index| near(index, direction())).collect()
    }

    /// Cosines of all pairs.
    fn cosines(vectors: &[Vec<f32>]) -> Vec<f64> {
        let pairs = (0..vectors.len()).flat_map(|a| (a + 1..vectors.len()).map(move |b| (a, b)));
        pairs.map(|(a, b)| f64::from(dot(&vectors[a], &vectors[b]))).collect()
    }

    fn pearson(a: &[f64], b: &[f64]) -> f64 {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (mean_a, mean_b) = (mean(a), mean(b));
        let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
            a.iter().zip(b).map(|(a, b)| f(a - mean_a, b - mean_b)).sum()
        };
        sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
    }

    #[test]
    fn wider_keeps_every_cosine_and_fills_every_dimension() {
        let vectors = sentences(24, 384);
        let before = cosines(&vectors);
        for width in [385, 512, 1024, 1536] {
            let mapped: Vec<Vec<f32>> = vectors.iter().map(|vector| fit_dimensions(vector, width)).collect();
            assert!(mapped.iter().all(|vector| vector.len() == width));
            for (before, after) in before.iter().zip(cosines(&mapped)) {
                assert!((before - after).abs() < 1e-5, "{width}: {before} became {after}");
            }
            // No dimension is idle: each has its share over a set of vectors.
            let energy =
                |dimension: usize| mapped.iter().map(|vector| vector[dimension].powi(2)).sum::<f32>();
            let least = (0..width).map(energy).fold(f32::MAX, f32::min);
            assert!(least > 0.02 * mapped.len() as f32 / width as f32, "{width}: {least}");
        }
    }

    #[test]
    fn narrower_keeps_the_order_of_cosines() {
        let vectors = sentences(40, 380);
        let before = cosines(&vectors);
        for (width, least, most_moved) in [(256, 0.97, 0.16), (128, 0.88, 0.35)] {
            let mapped: Vec<Vec<f32>> = vectors.iter().map(|vector| fit_dimensions(vector, width)).collect();
            let after = cosines(&mapped);
            let correlation = pearson(&before, &after);
            assert!(correlation > least, "{width}: {correlation}");
            let moved =
                before.iter().zip(&after).map(|(before, after)| (before - after).abs()).fold(0.0, f64::max);
            assert!(moved < most_moved, "{width}: {moved}");
        }
    }

    #[test]
    fn learned_directions_are_nearly_orthonormal() {
        let map = learned(64);
        let rows: Vec<&[f32]> = map.chunks_exact(LEARNED_WIDTH).collect();
        for (a, row) in rows.iter().enumerate() {
            for (b, other) in rows.iter().enumerate() {
                let expected = if a == b { 1.0 } else { 0.0 };
                assert!((dot(row, other) - expected).abs() < 0.03, "{a} and {b}: {}", dot(row, other));
            }
        }
    }

    #[test]
    fn results_have_unit_length_whatever_came_in() {
        for width in [256, 384, 1024] {
            let long: Vec<f32> = (0_u16..384).map(|n| f32::from(n) - 100.0).collect();
            let mapped = fit_dimensions(&long, width);
            assert!((dot(&mapped, &mapped) - 1.0).abs() < 1e-5);
        }
        assert_eq!(fit_dimensions(&[], 3), [0.0; 3]);
        assert_eq!(fit_dimensions(&[0.0; 4], 3), [0.0; 3]);
    }

    #[test]
    fn the_map_never_changes() {
        let vector: Vec<f32> = (0_u16..384).map(|n| f32::from(n % 7) - 3.0).collect();
        let first = fit_dimensions(&vector, 1024);
        let expected = PINNED;
        for (found, expected) in first.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{:?}", &first[..4]);
        }
    }

    const PINNED: [f32; 4] = [-0.015_174_557, 0.014_883_665, -0.040_461_32, 6.654_873e-5];
}
