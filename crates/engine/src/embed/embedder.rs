use std::path::Path;
use std::sync::Arc;

use craton_backend::{
    BackendError, EmbedRequest, EmbeddingModel, Embeddings, RerankModel, RerankRequest, Reranked, dot, unit,
};
use futures::future::BoxFuture;
use tokenizers::Tokenizer;

use super::encoder::{Effort, Encoder};
use super::files::{LoadError, ModelFolder};
use super::worker::Worker;

/// Longest text, in tokens of its own (without the two that frame a window). As long as the models that this one
/// stands in for can read.
pub const MAX_TEXT_TOKENS: u32 = 8192;
/// A token of English is four bytes; 64 a token leaves room for any script before a text is refused unread.
const MAX_TEXT_BYTES: usize = MAX_TEXT_TOKENS as usize * 64;

/// The cosine that counts as a score of one half, and how steep scores are around it. Set so that unrelated texts
/// (cosine under 0.1) score under 0.05 and plain answers (over 0.7) over 0.95.
const EVEN_COSINE: f32 = 0.4;
const STEEPNESS: f32 = 10.0;

/// A BERT model that embeds and reranks. Clones share weights and thread.
#[derive(Clone)]
pub struct BertEmbedder {
    shared: Arc<Shared>,
}

struct Shared {
    tokens: Arc<Tokens>,
    worker: Worker,
    dimensions: usize,
}

/// Text to token ids.
struct Tokens {
    tokenizer: Tokenizer,
    /// Tokens of text in one window.
    window: usize,
    specials: (u32, u32),
}

/// A text's tokens, cut into windows that are framed and ready for the encoder.
#[derive(Debug, PartialEq)]
struct Text {
    windows: Vec<Vec<u32>>,
    tokens: u32,
}

impl BertEmbedder {
    /// Opens a folder with `config.json`, `tokenizer.json`, `model.safetensors` and, where there is one,
    /// `1_Pooling/config.json` and `sentence_bert_config.json`. Reads the weights: call it on a thread that may block.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        let ModelFolder { config, tokenizer, pooling, window, mut weights, specials } =
            ModelFolder::read(folder)?;
        let encoder = Encoder::new(&config, pooling, &mut weights)?;
        let wrong = |reason: String| LoadError { path: folder.to_owned(), reason };
        let worker =
            Worker::start(encoder).map_err(|error| wrong(format!("no thread could be started: {error}")))?;
        let tokens = Arc::new(Tokens { tokenizer, window: window - 2, specials });
        Ok(Self { shared: Arc::new(Shared { tokens, worker, dimensions: config.hidden_size }) })
    }

    /// Tokenises on a thread that may be busy for a while.
    async fn read(&self, texts: Vec<String>, truncate: bool) -> Result<Vec<Text>, BackendError> {
        let tokens = Arc::clone(&self.shared.tokens);
        let read = move || texts.iter().map(|text| tokens.read(text, truncate)).collect();
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| BackendError::Internal("the tokenizer panicked".into()))?
    }

    /// Windows of all texts in one go, then grouped by text again.
    async fn encode(&self, texts: &mut [Text], effort: Effort) -> Result<Vec<Vec<Window>>, BackendError> {
        let counts: Vec<usize> = texts.iter().map(|text| text.windows.len()).collect();
        let windows: Vec<Vec<u32>> =
            texts.iter_mut().flat_map(|text| std::mem::take(&mut text.windows)).collect();
        let lengths: Vec<usize> = windows.iter().map(Vec::len).collect();
        let vectors = self.shared.worker.encode(windows, effort).await?;
        let mut windows = vectors.into_iter().zip(lengths).map(|(vector, tokens)| Window { vector, tokens });
        Ok(counts.into_iter().map(|count| windows.by_ref().take(count).collect()).collect())
    }

    async fn run(
        &self,
        request: EmbedRequest,
        join: fn(Vec<Window>) -> Vec<f32>,
        effort: Effort,
    ) -> Result<Embeddings, BackendError> {
        let mut texts = self.read(request.texts, request.truncate).await?;
        let vectors = self.encode(&mut texts, effort).await?.into_iter().map(join).collect();
        Ok(Embeddings { vectors, input_tokens: texts.iter().map(|text| text.tokens).collect() })
    }

    /// All of the model, as exactly as it computes.
    fn whole(&self) -> Effort {
        Effort { layers: self.shared.worker.layers, quick: false }
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> &std::sync::atomic::AtomicUsize {
        self.shared.worker.waiting()
    }
}

/// A window's pooled vector and its length in tokens.
struct Window {
    vector: Vec<f32>,
    tokens: usize,
}

impl Tokens {
    fn read(&self, text: &str, truncate: bool) -> Result<Text, BackendError> {
        let limit = MAX_TEXT_TOKENS as usize;
        let mut text = text;
        if text.len() > MAX_TEXT_BYTES {
            if !truncate {
                // At least: no token is longer than a word of the vocabulary.
                let tokens = u32::try_from(text.len() / 64).unwrap_or(u32::MAX);
                return Err(BackendError::ContextOverflow { tokens, limit: MAX_TEXT_TOKENS });
            }
            text = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
        }
        let ids = self.ids(text)?;
        let mut ids = ids.as_slice();
        if ids.len() > limit {
            if !truncate {
                let tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                return Err(BackendError::ContextOverflow { tokens, limit: MAX_TEXT_TOKENS });
            }
            ids = &ids[..limit];
        }
        let (first, last) = self.specials;
        let frame = |ids: &[u32]| [&[first], ids, &[last]].concat();
        // An empty text still has a vector: that of its frame.
        let windows =
            if ids.is_empty() { vec![frame(&[])] } else { ids.chunks(self.window).map(frame).collect() };
        Ok(Text { windows, tokens: u32::try_from(ids.len()).unwrap_or(u32::MAX) })
    }

    fn ids(&self, text: &str) -> Result<Vec<u32>, BackendError> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let encoding = encoding.map_err(|error| BackendError::Internal(format!("tokenizer: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The mean over all tokens of a text's windows, at unit length.
fn merge(windows: Vec<Window>) -> Vec<f32> {
    unit(mean(windows))
}

/// The mean over all tokens of a text's windows: what the model's pooling gives.
fn mean(windows: Vec<Window>) -> Vec<f32> {
    let mut sum = vec![0.0; windows.first().map_or(0, |window| window.vector.len())];
    let tokens: usize = windows.iter().map(|window| window.tokens).sum();
    for window in windows {
        let weight = window.tokens as f32 / tokens.max(1) as f32;
        sum.iter_mut().zip(&window.vector).for_each(|(sum, value)| *sum += weight * value);
    }
    sum
}

fn score(cosine: f32) -> f32 {
    1.0 / (1.0 + (STEEPNESS * (EVEN_COSINE - cosine)).exp())
}

impl EmbeddingModel for BertEmbedder {
    fn dimensions(&self) -> usize {
        self.shared.dimensions
    }

    fn max_tokens(&self) -> u32 {
        MAX_TEXT_TOKENS
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(self.run(request, merge, self.whole()))
    }

    fn embed_raw(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(self.run(request, mean, self.whole()))
    }

    fn embed_quick(
        &self,
        request: EmbedRequest,
        layers: Option<usize>,
    ) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        let all = self.whole().layers;
        let effort = Effort { layers: layers.map_or(all, |layers| layers.min(all)), quick: true };
        Box::pin(self.run(request, mean, effort))
    }

    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
        Box::pin(async move {
            let texts = self.read(vec![text.to_owned()], true).await?;
            Ok(texts.iter().map(|text| text.tokens).sum())
        })
    }

    fn count_each(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<u32>, BackendError>> {
        Box::pin(async move {
            let texts = self.read(texts, true).await?;
            Ok(texts.iter().map(|text| text.tokens).collect())
        })
    }
}

impl RerankModel for BertEmbedder {
    fn rerank(&self, request: RerankRequest) -> BoxFuture<'_, Result<Reranked, BackendError>> {
        Box::pin(async move {
            let mut texts = vec![request.query];
            texts.extend(request.documents);
            let mut texts = self.read(texts, true).await?;
            let input_tokens = texts.iter().map(|text| text.tokens).sum();
            let mut vectors = self.encode(&mut texts, self.whole()).await?.into_iter();
            let query = merge(vectors.next().unwrap_or_default());
            let cosine = |window: Window| -> f32 { dot(&query, &unit(window.vector)) };
            let best = |windows: Vec<Window>| windows.into_iter().map(cosine).fold(-1.0, f32::max);
            let scores = vectors.map(|windows| score(best(windows))).collect();
            Ok(Reranked { scores, input_tokens })
        })
    }
}
