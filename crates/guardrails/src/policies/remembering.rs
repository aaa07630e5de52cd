//! The sentence encoder with a short memory: for texts that are judged again and again while they grow.
//!
//! A stream is judged a sentence at a time, each together with what came before it, so that most of what the encoder is shown
//! it has been shown already. What it said of the latest texts is kept for as long as the stream lasts.

use std::collections::VecDeque;
use std::sync::Arc;

use craton_backend::{BackendError, EmbedRequest, EmbeddingModel, Embeddings};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;

/// Texts that are remembered, and the longest of them in bytes: about 150 kB a stream.
const MOST: usize = 48;
const LONGEST: usize = 1200;

/// An encoder, and what it said lately when it was asked in a hurry.
pub(crate) struct Remembering {
    encoder: Arc<dyn EmbeddingModel>,
    /// The oldest first.
    said: Mutex<VecDeque<Said>>,
}

struct Said {
    text: String,
    layers: Option<usize>,
    vector: Vec<f32>,
    tokens: u32,
}

impl Remembering {
    pub(crate) fn new(encoder: Arc<dyn EmbeddingModel>) -> Self {
        Self { encoder, said: Mutex::default() }
    }

    fn recall(&self, text: &str, layers: Option<usize>) -> Option<(Vec<f32>, u32)> {
        let said = self.said.lock();
        let known = said.iter().find(|it| it.layers == layers && it.text == text)?;
        Some((known.vector.clone(), known.tokens))
    }

    fn remember(&self, said: Said) {
        if said.text.len() <= LONGEST {
            let mut all = self.said.lock();
            if all.len() >= MOST {
                all.pop_front();
            }
            all.push_back(said);
        }
    }

    async fn quick(&self, request: EmbedRequest, layers: Option<usize>) -> Result<Embeddings, BackendError> {
        // Many texts at once are what a guardrail asks about itself.
        if request.texts.len() > MOST / 4 {
            return self.encoder.embed_quick(request, layers).await;
        }
        let EmbedRequest { model, texts, truncate } = request;
        let mut known: Vec<_> = texts.iter().map(|text| self.recall(text, layers)).collect();
        let missing: Vec<usize> = (0..texts.len()).filter(|at| known[*at].is_none()).collect();
        if !missing.is_empty() {
            let asked = missing.iter().map(|at| texts[*at].clone()).collect();
            let request = EmbedRequest { model, texts: asked, truncate };
            let answer = self.encoder.embed_quick(request, layers).await?;
            for ((at, vector), tokens) in missing.into_iter().zip(answer.vectors).zip(answer.input_tokens) {
                let text = texts[at].clone();
                self.remember(Said { text, layers, vector: vector.clone(), tokens });
                known[at] = Some((vector, tokens));
            }
        }
        let (vectors, input_tokens) = known.into_iter().flatten().unzip();
        Ok(Embeddings { vectors, input_tokens })
    }
}

impl EmbeddingModel for Remembering {
    fn dimensions(&self) -> usize {
        self.encoder.dimensions()
    }

    fn max_tokens(&self) -> u32 {
        self.encoder.max_tokens()
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        self.encoder.embed(request)
    }

    fn embed_raw(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        self.encoder.embed_raw(request)
    }

    fn embed_quick(
        &self,
        request: EmbedRequest,
        layers: Option<usize>,
    ) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        self.quick(request, layers).boxed()
    }

    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
        self.encoder.count_tokens(text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Says how long a text is, and counts what it is asked.
    #[derive(Default)]
    struct Lengths(AtomicUsize);

    impl EmbeddingModel for Lengths {
        fn dimensions(&self) -> usize {
            1
        }

        fn max_tokens(&self) -> u32 {
            100
        }

        fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
            self.embed_quick(request, None)
        }

        fn embed_quick(
            &self,
            request: EmbedRequest,
            layers: Option<usize>,
        ) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
            self.0.fetch_add(request.texts.len(), Ordering::Relaxed);
            let of = |text: &String| vec![(text.len() + 1000 * layers.unwrap_or(0)) as f32];
            let vectors: Vec<Vec<f32>> = request.texts.iter().map(of).collect();
            futures::future::ready(Ok(Embeddings { input_tokens: vec![1; vectors.len()], vectors })).boxed()
        }

        fn count_tokens<'a>(&'a self, _text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
            futures::future::ready(Ok(1)).boxed()
        }
    }

    #[tokio::test]
    async fn what_was_said_is_not_asked_again_and_is_bounded() {
        let inner = Arc::new(Lengths::default());
        let encoder = Remembering::new(Arc::clone(&inner) as Arc<dyn EmbeddingModel>);
        let ask = async |texts: &[&str], layers| {
            let texts = texts.iter().map(|it| (*it).to_owned()).collect();
            let request = EmbedRequest { texts, ..EmbedRequest::default() };
            encoder.embed_quick(request, layers).await.unwrap().vectors
        };
        assert_eq!(ask(&["a", "bb"], None).await, [[1.0], [2.0]]);
        assert_eq!(ask(&["bb", "ccc", "a"], None).await, [[2.0], [3.0], [1.0]]);
        assert_eq!(inner.0.load(Ordering::Relaxed), 3);
        assert_eq!(ask(&["bb"], Some(3)).await, [[3002.0]], "another question");
        for number in 0..200 {
            ask(&[&format!("text {number}")], None).await;
        }
        assert_eq!(encoder.said.lock().len(), MOST);
    }
}
