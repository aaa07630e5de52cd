//! Words as meaning compares them: without endings, and without those that say little.

use std::collections::{BTreeSet, HashSet};
use std::sync::LazyLock;

use super::statics::words;

/// A word without its commonest endings.
pub(super) fn stem(word: &str) -> String {
    let mut stem = word;
    for ending in
        ["ments", "ment", "ations", "ation", "ings", "ing", "ied", "ies", "edly", "ed", "es", "ly", "s", "e"]
    {
        if let Some(rest) = stem.strip_suffix(ending)
            && rest.chars().count() >= 3
        {
            stem = rest;
            break;
        }
    }
    stem.to_owned()
}

/// Whether a word in lower case says little.
pub(super) fn is_common(word: &str) -> bool {
    static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| STOP_WORDS.iter().copied().collect());
    word.len() <= 12 && COMMON.contains(word)
}

/// Stems of the words of a folded text that say something.
pub fn content_words(text: &str) -> BTreeSet<String> {
    let said = words(text).filter(|word| word.starts_with(char::is_alphanumeric) && !is_common(word));
    said.map(stem).collect()
}

pub(super) const STOP_WORDS: &[&str] = &[
    "the",
    "a",
    "an",
    "and",
    "or",
    "but",
    "if",
    "then",
    "of",
    "to",
    "in",
    "on",
    "at",
    "by",
    "for",
    "with",
    "from",
    "as",
    "is",
    "are",
    "was",
    "were",
    "be",
    "been",
    "being",
    "am",
    "it",
    "its",
    "this",
    "that",
    "these",
    "those",
    "there",
    "here",
    "he",
    "she",
    "they",
    "them",
    "his",
    "her",
    "their",
    "we",
    "our",
    "you",
    "your",
    "i",
    "my",
    "me",
    "us",
    "do",
    "does",
    "did",
    "done",
    "have",
    "has",
    "had",
    "will",
    "would",
    "can",
    "could",
    "shall",
    "should",
    "may",
    "might",
    "must",
    "what",
    "which",
    "who",
    "whom",
    "whose",
    "when",
    "where",
    "why",
    "how",
    "so",
    "than",
    "too",
    "very",
    "just",
    "also",
    "about",
    "into",
    "over",
    "under",
    "up",
    "down",
    "out",
    "off",
    "again",
    "once",
    "all",
    "any",
    "both",
    "each",
    "few",
    "some",
    "such",
    "only",
    "own",
    "same",
    "s",
    "t",
    "please",
    "yes",
    "according",
    "based",
    "however",
    "therefore",
    "within",
    "per",
];
