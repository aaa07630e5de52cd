//! How scores of meaning and of words become one.
//!
//! Both parts are first put on a scale that does not depend on what else was found: the semantic score is
//! `(1 + cosine) / 2`; the keyword score is the BM25 sum divided by the largest sum the query's words could reach.
//! The hybrid score is their weighted mean, so it stays in 0..=1, and a chunk that only one part finds is not punished
//! for where others stand. Rank fusion (RRF) throws these distances away.

/// `(1 + cosine) / 2`: 1 for the same direction, 0.5 for unrelated, 0 for opposite.
pub fn semantic(cosine: f32) -> f64 {
    f64::midpoint(1.0, f64::from(cosine)).clamp(0.0, 1.0)
}
