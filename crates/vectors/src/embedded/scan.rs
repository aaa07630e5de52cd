//! Vectors in memory: 16-bit "brain floats", unit length, scanned exactly.
//!
//! A bf16 keeps an f32's exponent and the top of its fraction, so a dot product of unit vectors is off by about 1e-4:
//! less than what tells neighbours apart, at half the memory and bandwidth.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Vectors by slot.
#[derive(Debug)]
pub(super) struct Arena {
    dimensions: usize,
    values: Vec<u16>,
}

/// A slot and its cosine with the question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    pub slot: u32,
    pub score: f32,
}

impl Eq for Scored {}

/// Greater is better: a higher score, then an earlier slot.
impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.slot.cmp(&self.slot))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Arena {
    pub(super) fn new(dimensions: usize) -> Self {
        Self { dimensions, values: Vec::new() }
    }

    /// Appends a vector, brought to unit length, as the next slot.
    pub(super) fn push(&mut self, vector: &[f32]) {
        self.values.extend(unit(vector).iter().map(|value| to_bf16(*value)));
    }

    pub(super) fn reserve(&mut self, count: usize) {
        self.values.reserve(count * self.dimensions);
    }

    pub(super) fn cosine(&self, slot: u32, unit_query: &[f32]) -> f32 {
        let start = slot as usize * self.dimensions;
        self.values.get(start..start + self.dimensions).map_or(-1.0, |row| dot(row, unit_query))
    }

    /// The vector of a slot.
    pub(super) fn vector(&self, slot: u32) -> Vec<f32> {
        let start = slot as usize * self.dimensions;
        let row = self.values.get(start..start + self.dimensions).unwrap_or_default();
        row.iter().map(|value| from_bf16(*value)).collect()
    }

    /// The `limit` slots nearest to `unit_query`, best first.
    pub(super) fn nearest(
        &self,
        slots: impl Iterator<Item = u32>,
        unit_query: &[f32],
        limit: usize,
    ) -> Vec<Scored> {
        best(slots.map(|slot| Scored { slot, score: self.cosine(slot, unit_query) }), limit)
    }
}

/// The `limit` best, best first.
pub(super) fn best(scored: impl Iterator<Item = Scored>, limit: usize) -> Vec<Scored> {
    let mut heap = BinaryHeap::with_capacity(limit + 1);
    for scored in scored {
        if heap.len() < limit {
            heap.push(std::cmp::Reverse(scored));
        } else if heap.peek().is_some_and(|worst| scored > worst.0) {
            heap.pop();
            heap.push(std::cmp::Reverse(scored));
        }
    }
    heap.into_sorted_vec().into_iter().map(|reverse| reverse.0).collect()
}

/// The vector with length 1; zeros stay zeros.
pub(super) fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    let scale = if length > 0.0 && length.is_finite() { 1.0 / length } else { 0.0 };
    vector.iter().map(|value| value * scale).collect()
}

/// Lanes that are summed apart, so that the loop becomes vector instructions.
const LANES: usize = 16;

fn dot(row: &[u16], query: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (rows, queries) = (row.chunks_exact(LANES), query.chunks_exact(LANES));
    let rest = rows.remainder().iter().zip(queries.remainder());
    let tail: f32 = rest.map(|(value, query)| from_bf16(*value) * query).sum();
    for (row, query) in rows.zip(queries) {
        for lane in 0..LANES {
            sums[lane] = from_bf16(row[lane]).mul_add(query[lane], sums[lane]);
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// Rounds to the nearest, ties to even.
fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounding = 0x7FFF + ((bits >> 16) & 1);
    u16::try_from(bits.wrapping_add(rounding) >> 16).unwrap_or(u16::MAX)
}

fn from_bf16(value: u16) -> f32 {
    f32::from_bits(u32::from(value) << 16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cosines_are_close(vectors in prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, 37), 1..40)) {
            let mut arena = Arena::new(37);
            vectors.iter().for_each(|vector| arena.push(vector));
            let query = unit(&vectors[0]);
            for (slot, vector) in (0_u32..).zip(&vectors) {
                let exact: f32 = unit(vector).iter().zip(&query).map(|(a, b)| a * b).sum();
                prop_assert!((arena.cosine(slot, &query) - exact).abs() < 0.003);
            }
            let found = arena.nearest(0..u32::try_from(vectors.len()).unwrap(), &query, 5);
            prop_assert!(found.len() == vectors.len().min(5) && found.is_sorted_by(|a, b| a >= b));
            prop_assert_eq!(found[0].slot, 0);
        }
    }

    #[test]
    fn equal_scores_come_in_order() {
        let scored = [3, 1, 2].map(|slot| Scored { slot, score: 0.5 });
        let slots: Vec<u32> = best(scored.into_iter(), 2).iter().map(|scored| scored.slot).collect();
        assert_eq!(slots, [1, 2]);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let mut arena = Arena::new(3);
        arena.push(&[0.0; 3]);
        arena.push(&[f32::INFINITY, 0.0, 0.0]);
        assert!(arena.cosine(0, &unit(&[1.0, 2.0, 3.0])).abs() < 1e-6);
        assert!(!arena.cosine(1, &unit(&[1.0, 2.0, 3.0])).is_infinite());
    }
}
