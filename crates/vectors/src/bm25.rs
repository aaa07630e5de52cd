//! BM25 over candidates that a store's own text search found, so that scores mean the same whatever the store's are.

use std::collections::{BTreeSet, HashMap};

use crate::words::words;
use crate::{Chunk, Hit, MAX_LIMIT, fusion};

/// How common words are in all of an index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Statistics {
    pub chunks: f64,
    /// Words of a chunk, on average.
    pub mean_length: f64,
    /// Chunks that have each of the words asked for.
    pub having: Vec<f64>,
}

/// Distinct words of a question that are looked up.
const MOST_WORDS: usize = 32;
/// Text of a question that is read, in bytes.
const MOST_BYTES: usize = 16 * 1024;
/// Candidates that are looked at, at least.
pub(crate) const CANDIDATES: usize = 200;
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The words of a question, each once. The character zero is not text to PostgreSQL.
pub(crate) fn distinct(text: &str) -> Vec<String> {
    let end = text.floor_char_boundary(MOST_BYTES);
    let words: BTreeSet<String> =
        words(&text[..end]).into_iter().filter(|word| !word.contains('\0')).collect();
    words.into_iter().take(MOST_WORDS).collect()
}

/// What PostgreSQL is asked for: the question's words as they stand, since it keeps plurals, and as they are scored.
pub(crate) fn looked_up(text: &str, asked: &[String]) -> BTreeSet<String> {
    let end = text.floor_char_boundary(MOST_BYTES);
    let standing = text[..end].split_whitespace().filter(|word| !word.contains('\0')).take(MOST_WORDS);
    standing.map(str::to_lowercase).chain(asked.iter().cloned()).collect()
}

/// Scores of candidates as [`crate::fusion`] describes them. Candidates without any of the words are left out. Without
/// `known` statistics those of the candidates have to do.
#[expect(clippy::cast_precision_loss, reason = "counts of candidates and words")]
pub(crate) fn score(
    candidates: Vec<(Chunk, i64)>,
    asked: &[String],
    known: Option<Statistics>,
) -> Vec<(Hit, i64)> {
    let texts: Vec<(HashMap<String, usize>, f64)> = candidates
        .iter()
        .map(|(chunk, _)| {
            let words = words(&chunk.text);
            let length = words.len() as f64;
            let mut counts = HashMap::new();
            words.into_iter().for_each(|word| *counts.entry(word).or_insert(0) += 1);
            (counts, length)
        })
        .collect();
    let of_candidates = || Statistics {
        // Candidates share a word by their choice; one more than all keeps a word of every candidate worth something.
        chunks: texts.len() as f64 + 1.0,
        mean_length: texts.iter().map(|(_, length)| length).sum::<f64>() / (texts.len() as f64).max(1.0),
        having: asked
            .iter()
            .map(|word| texts.iter().filter(|(counts, _)| counts.contains_key(word)).count() as f64)
            .collect(),
    };
    let Statistics { chunks, mean_length, having } = known.unwrap_or_else(of_candidates);
    let idf: Vec<f64> =
        having.iter().map(|having| (1.0 + (chunks - having + 0.5).max(0.5) / (having + 0.5)).ln()).collect();
    let most: f64 = idf.iter().map(|idf| idf * (K1 + 1.0)).sum();
    let scored = candidates.into_iter().zip(texts).filter_map(|((chunk, number), (counts, length))| {
        let parts = asked.iter().zip(&idf).filter_map(|(word, idf)| {
            let times = *counts.get(word)? as f64;
            Some(idf * times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length / mean_length.max(1.0))))
        });
        let sum: f64 = parts.sum();
        (sum > 0.0).then(|| (Hit { chunk, score: fusion::keyword(sum, most) }, number))
    });
    scored.collect()
}

/// Best first; equals in the order they were written.
pub(crate) fn sort(hits: &mut [(Hit, i64)]) {
    hits.sort_by(|a, b| b.0.score.total_cmp(&a.0.score).then(a.1.cmp(&b.1)));
}

/// Candidates of each part of a hybrid search for so many hits, at least.
pub(crate) fn candidates(limit: usize) -> usize {
    (limit * 2).clamp(CANDIDATES, MAX_LIMIT)
}

/// What both parts of a hybrid search found, as one list.
pub(crate) fn fuse(near: Vec<(Hit, i64)>, worded: Vec<(Hit, i64)>, limit: usize) -> Vec<(Hit, i64)> {
    let lowest = near.last().map_or(0.5, |(hit, _)| hit.score);
    let mut fused: Vec<(Hit, i64)> = Vec::with_capacity(near.len() + worded.len());
    let mut words: HashMap<String, (Hit, i64)> =
        worded.into_iter().map(|found| (found.0.chunk.id.clone(), found)).collect();
    for (hit, number) in near {
        let keyword = words.remove(&hit.chunk.id).map_or(0.0, |(found, _)| found.score);
        fused.push((Hit { score: fusion::hybrid(hit.score, keyword), ..hit }, number));
    }
    // Not among the nearest: at most as near as the last of them.
    let further = words
        .into_values()
        .map(|(hit, number)| (Hit { score: fusion::hybrid(lowest, hit.score), ..hit }, number));
    fused.extend(further);
    sort(&mut fused);
    fused.truncate(limit);
    fused
}
