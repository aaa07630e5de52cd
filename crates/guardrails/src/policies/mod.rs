//! The detectors, one module a policy. Each takes text and says what it found and where; none decides what happens.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use craton_backend::{EmbedRequest, EmbeddingModel, unit};

mod acronyms;
pub(crate) mod ciphered;
pub mod content;
pub mod content_full;
pub mod grounding;
pub mod judge;
pub mod lexical;
pub mod pii;
pub(crate) mod remembering;
pub(crate) mod spelled;
pub mod statics;
pub mod topics;
mod topics_acts;
mod topics_full;
pub mod words;

/// Unit vectors of texts from the sentence encoder in a hurry, or from its first layers alone; none when it can't be asked.
pub(crate) async fn encoded(
    embedder: &Arc<dyn EmbeddingModel>,
    texts: Vec<String>,
    layers: Option<usize>,
) -> Option<Vec<Vec<f32>>> {
    let count = texts.len();
    let mut vectors = Vec::with_capacity(count);
    let mut rest = texts.into_iter().peekable();
    while rest.peek().is_some() {
        let texts: Vec<String> = rest.by_ref().take(AT_ONCE).collect();
        let request = EmbedRequest { texts, truncate: true, ..EmbedRequest::default() };
        match embedder.embed_quick(request, layers).await {
            Ok(embedded) => vectors.extend(embedded.vectors.into_iter().map(unit)),
            Err(error) => {
                tracing::warn!(%error, "the sentence encoder can't be asked");
                return None;
            }
        }
    }
    (vectors.len() == count).then_some(vectors)
}

/// Texts, each once, and what the encoder says of them.
pub(crate) struct Shown {
    places: HashMap<String, usize>,
    vectors: Vec<Vec<f32>>,
}

impl Shown {
    pub(crate) async fn to<'a>(
        embedder: &Arc<dyn EmbeddingModel>,
        texts: impl Iterator<Item = &'a str>,
        layers: Option<usize>,
    ) -> Option<Self> {
        let mut places = HashMap::new();
        let mut once = Vec::new();
        for text in texts {
            if !places.contains_key(text) {
                places.insert(text.to_owned(), once.len());
                once.push(text.to_owned());
            }
        }
        Some(Self { places, vectors: encoded(embedder, once, layers).await? })
    }

    pub(crate) fn vector(&self, text: &str) -> Option<&[f32]> {
        self.vectors.get(*self.places.get(text)?).map(Vec::as_slice)
    }
}

/// Texts of at most so many bytes are one question or two, which costs the encoder little.
pub(crate) const SHORT: usize = 240;

/// Texts that the encoder is shown in one question.
const AT_ONCE: usize = 32;

/// Bytes of an ordinary sentence.
const SENTENCE: usize = 120;

/// What the encoder is shown of one text for one policy: so many pieces, none of which has a part of another, and of a
/// longer text no more than so many ordinary sentences have. So what it takes is bounded by the text's length. Of the pieces
/// beyond, the light vectors have the last word.
pub(crate) struct Allowance {
    pieces: usize,
    bytes: usize,
    taken: Vec<Range<usize>>,
}

impl Allowance {
    /// For a text of so many bytes; of a longer one at least so many pieces.
    pub(crate) fn of(bytes: usize, at_least: usize) -> Self {
        let (pieces, bytes) = match bytes <= SHORT {
            true => (4, usize::MAX),
            false => {
                let pieces = (at_least + bytes / 1000).min(64);
                (pieces, pieces * SENTENCE)
            }
        };
        Self { pieces, bytes, taken: Vec::new() }
    }

    /// Whether a piece is to be shown. Pieces come in their order, the most telling first; that one is, however long.
    pub(crate) fn take(&mut self, place: &Range<usize>) -> bool {
        let fits = place.len() <= self.bytes || self.taken.is_empty();
        let taken = fits && self.taken.len() < self.pieces && !self.touches(place);
        if taken {
            self.bytes = self.bytes.saturating_sub(place.len());
            self.taken.push(place.clone());
        }
        taken
    }

    /// Whether a piece has a part of one that is shown.
    pub(crate) fn touches(&self, place: &Range<usize>) -> bool {
        self.taken.iter().any(|taken| taken.start < place.end && place.start < taken.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_piece_is_shown_and_more_as_the_text_is_longer() {
        let shown = |bytes: usize, each: usize| {
            let mut allowance = Allowance::of(bytes, 1);
            (0..bytes / each).filter(|at| allowance.take(&(at * each..(at + 1) * each))).count()
        };
        assert_eq!([shown(240, 40), shown(1000, 100), shown(1000, 400), shown(10_000, 100)], [4, 2, 1, 11]);
        assert_eq!(shown(1_000_000, 100), 64);
        let mut allowance = Allowance::of(1000, 1);
        assert!(allowance.take(&(0..180)) && !allowance.take(&(100..110)) && !allowance.take(&(200..300)));
        assert!(allowance.take(&(300..360)), "what is left is enough for it");
    }
}
