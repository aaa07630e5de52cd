//! `/embeddings` and `/rerank`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use craton_backend::{BackendError, EmbedRequest, EmbeddingModel, Embeddings, RerankRequest, Reranked, unit};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::errors::told;
use crate::estimate;
use crate::http::{From, Http};
use crate::vectors::RerankAnswer;

const MAX_EMBEDDINGS_BYTES: usize = 128 * 1024 * 1024;
const MAX_RERANK_BYTES: usize = 16 * 1024 * 1024;
/// How often a text that is too long is cut before giving up.
const MAX_CUTS: usize = 3;

/// One embedding model behind an upstream. It learns its dimensions from its first answer.
pub(crate) struct OpenAiEmbeddings {
    http: Arc<Http>,
    path: String,
    model: String,
    dimensions: AtomicUsize,
}

#[derive(Serialize)]
struct EmbedBody<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct EmbedAnswer {
    data: Vec<Embedding>,
    #[serde(default)]
    usage: Option<EmbedUsage>,
}

#[derive(Deserialize)]
struct Embedding {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct EmbedUsage {
    #[serde(default)]
    prompt_tokens: u32,
}

impl OpenAiEmbeddings {
    pub(super) fn new(http: Arc<Http>, model: &str) -> Self {
        let path = http.path(From::Base, "/embeddings");
        Self { http, path, model: model.to_owned(), dimensions: AtomicUsize::new(0) }
    }

    async fn run(&self, mut request: EmbedRequest) -> Result<Embeddings, BackendError> {
        if request.texts.is_empty() {
            return Ok(Embeddings::default());
        }
        let mut cuts = 0;
        let answer = loop {
            match self.ask(&request.texts).await {
                Err(BackendError::ContextOverflow { tokens, limit })
                    if request.truncate && cuts < MAX_CUTS =>
                {
                    cuts += 1;
                    cut(&mut request.texts, f64::from(limit) / f64::from(tokens.max(1)));
                }
                other => break other?,
            }
        };
        let total = answer.usage.map_or_else(
            || request.texts.iter().map(|text| estimate::text_tokens(text)).sum(),
            |usage| usage.prompt_tokens,
        );
        let vectors = self.in_order(answer.data, request.texts.len())?;
        Ok(Embeddings { vectors, input_tokens: estimate::share_out(total, &request.texts) })
    }

    async fn ask(&self, texts: &[String]) -> Result<EmbedAnswer, BackendError> {
        let body = EmbedBody { model: &self.model, input: texts, encoding_format: "float" };
        self.http.call(&self.path, &body, MAX_EMBEDDINGS_BYTES).await
    }

    fn in_order(&self, data: Vec<Embedding>, expected: usize) -> Result<Vec<Vec<f32>>, BackendError> {
        let mut vectors = vec![Vec::new(); expected];
        for (place, embedding) in data.into_iter().enumerate() {
            if let Some(slot) = vectors.get_mut(embedding.index.unwrap_or(place)) {
                *slot = embedding.embedding;
            }
        }
        let dimensions = vectors.first().map_or(0, Vec::len);
        if dimensions == 0 || vectors.iter().any(|vector| vector.len() != dimensions) {
            return Err(BackendError::BrokenStream(told(
                &self.http.name,
                "the upstream did not answer with one embedding a text".into(),
            )));
        }
        self.dimensions.store(dimensions, Ordering::Relaxed);
        Ok(vectors)
    }
}

impl EmbeddingModel for OpenAiEmbeddings {
    /// 0 until the upstream has answered once: nothing in its API tells.
    fn dimensions(&self) -> usize {
        self.dimensions.load(Ordering::Relaxed)
    }

    /// Not known before a text is too long; the upstream's own error says so.
    fn max_tokens(&self) -> u32 {
        u32::MAX
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(async move {
            let mut answer = self.run(request).await?;
            answer.vectors = answer.vectors.into_iter().map(unit).collect();
            Ok(answer)
        })
    }

    fn embed_raw(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(self.run(request))
    }

    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
        Box::pin(async move { Ok(estimate::text_tokens(text)) })
    }
}

/// Keeps the head of every text longer than the average, a little less than the part that would fit.
fn cut(texts: &mut [String], part: f64) {
    let longest = texts.iter().map(String::len).max().unwrap_or(0);
    let keep = (longest as f64 * part * 0.9) as usize;
    for text in texts {
        if text.len() > keep {
            text.truncate(text.floor_char_boundary(keep));
        }
    }
}

#[derive(Serialize)]
struct RerankBody<'a> {
    model: &'a str,
    query: &'a str,
    documents: &'a [String],
    top_n: usize,
}

/// Scores by the `/rerank` that vLLM, llama.cpp, Jina and Cohere have in common.
pub(super) async fn rerank(http: &Arc<Http>, request: RerankRequest) -> Result<Reranked, BackendError> {
    let RerankRequest { model, query, documents } = &request;
    if documents.is_empty() {
        return Ok(Reranked::default());
    }
    let body = RerankBody { model, query, documents, top_n: documents.len() };
    let answer: RerankAnswer = http.call(&http.path(From::Base, "/rerank"), &body, MAX_RERANK_BYTES).await?;
    answer.read(&request, None, &http.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_respects_characters_and_leaves_short_texts() {
        let mut texts = vec!["ü".repeat(100), "short".to_owned()];
        cut(&mut texts, 0.5);
        assert_eq!(texts, ["ü".repeat(45), "short".to_owned()]);
    }
}
