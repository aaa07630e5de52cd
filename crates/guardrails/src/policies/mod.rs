//! The detectors, one module a policy. Each takes text and says what it found and where; none decides what happens.

use std::sync::Arc;

use craton_backend::{EmbedRequest, EmbeddingModel};

mod acronyms;
pub mod content;
pub mod content_full;
pub mod grounding;
pub mod judge;
mod lexical;
pub mod pii;
pub mod statics;
pub mod topics;
pub mod words;

/// Vectors of texts from the sentence encoder; none when it can't be asked.
pub(crate) async fn encoded(embedder: &Arc<dyn EmbeddingModel>, texts: Vec<String>) -> Option<Vec<Vec<f32>>> {
    let count = texts.len();
    let mut vectors = Vec::with_capacity(count);
    let mut rest = texts.into_iter().peekable();
    while rest.peek().is_some() {
        let texts: Vec<String> = rest.by_ref().take(AT_ONCE).collect();
        let request = EmbedRequest { texts, truncate: true, ..EmbedRequest::default() };
        match embedder.embed(request).await {
            Ok(embedded) => vectors.extend(embedded.vectors),
            Err(error) => {
                tracing::warn!(%error, "the sentence encoder can't be asked");
                return None;
            }
        }
    }
    (vectors.len() == count).then_some(vectors)
}

/// Texts that the encoder is shown in one question.
const AT_ONCE: usize = 32;

/// Pieces of a text that the encoder is shown at most: more of a longer one.
pub(crate) fn most_shown(bytes: usize) -> usize {
    (4 + bytes / 400).min(128)
}
