//! BM25 over candidates that PostgreSQL's text search found.

use std::collections::{BTreeSet, HashMap};

use crate::words::words;
use crate::{Chunk, Hit, fusion};

/// Distinct words of a question that are looked up.
const MOST_WORDS: usize = 32;
/// Text of a question that is read, in bytes.
const MOST_BYTES: usize = 16 * 1024;
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The words of a question, each once. The character zero is not text to PostgreSQL.
pub(super) fn distinct(text: &str) -> Vec<String> {
    let end = text.floor_char_boundary(MOST_BYTES);
    let words: BTreeSet<String> =
        words(&text[..end]).into_iter().filter(|word| !word.contains('\0')).collect();
    words.into_iter().take(MOST_WORDS).collect()
}

/// What PostgreSQL is asked for: the question's words as they stand, since it keeps plurals, and as they are scored.
pub(super) fn looked_up(text: &str, asked: &[String]) -> BTreeSet<String> {
    let end = text.floor_char_boundary(MOST_BYTES);
    let standing = text[..end].split_whitespace().filter(|word| !word.contains('\0')).take(MOST_WORDS);
    standing.map(str::to_lowercase).chain(asked.iter().cloned()).collect()
}

/// Scores of candidates as [`crate::fusion`] describes them. Candidates without any of the words are left out.
#[expect(clippy::cast_precision_loss, reason = "counts of candidates and words")]
pub(super) fn score(candidates: Vec<(Chunk, i64)>, asked: &[String]) -> Vec<(Hit, i64)> {
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
    let count = texts.len() as f64;
    let mean = texts.iter().map(|(_, length)| length).sum::<f64>() / count.max(1.0);
    let idf: Vec<f64> = asked
        .iter()
        .map(|word| {
            let having = texts.iter().filter(|(counts, _)| counts.contains_key(word)).count() as f64;
            // Candidates share a word by their choice; one more than all keeps a word of every candidate worth something.
            (1.0 + (count + 1.0 - having + 0.5) / (having + 0.5)).ln()
        })
        .collect();
    let most: f64 = idf.iter().map(|idf| idf * (K1 + 1.0)).sum();
    let scored = candidates.into_iter().zip(texts).filter_map(|((chunk, number), (counts, length))| {
        let parts = asked.iter().zip(&idf).filter_map(|(word, idf)| {
            let times = *counts.get(word)? as f64;
            Some(idf * times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length / mean.max(1.0))))
        });
        let sum: f64 = parts.sum();
        (sum > 0.0).then(|| (Hit { chunk, score: fusion::keyword(sum, most) }, number))
    });
    scored.collect()
}
