//! The detectors, one module a policy. Each takes text and says what it found and where; none decides what happens.

use std::collections::HashMap;
use std::sync::Arc;

use craton_backend::{EmbedRequest, EmbeddingModel, unit};

mod acronyms;
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

/// Pieces of a text that the encoder is shown at most, for one policy: what it takes is bounded by the text's length. Of
/// those beyond, the light vectors have the last word.
pub(crate) fn most_shown(bytes: usize, at_least: usize) -> usize {
    match bytes <= SHORT {
        true => 4,
        false => (at_least + bytes / 1000).min(64),
    }
}
