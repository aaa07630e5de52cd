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

/// A BM25 sum on the scale of the largest sum that the question's words could reach, words nobody has included: 1 would
/// be a chunk made of nothing but those words, typical good answers have 0.2 to 0.6, and 0 shares no word.
pub fn keyword(bm25: f64, most: f64) -> f64 {
    if most > 0.0 { (bm25 / most).clamp(0.0, 1.0) } else { 0.0 }
}

/// Weight of the keyword part.
const KEYWORDS: f64 = 0.4;

/// The hybrid score of a chunk from its parts.
pub fn hybrid(semantic: f64, keyword: f64) -> f64 {
    (1.0 - KEYWORDS) * semantic + KEYWORDS * keyword
}
