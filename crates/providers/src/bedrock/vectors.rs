//! Embeddings and rerank through InvokeModel, in the bodies of the model families that Bedrock has for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use craton_backend::{BackendError, EmbedRequest, EmbeddingModel, Embeddings, RerankRequest, Reranked, unit};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::Bedrock;
use crate::errors::told;
use crate::{estimate, vectors};

const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
const TOKEN_COUNT: &str = "x-amzn-bedrock-input-token-count";
/// Titan takes one text a call; so many calls run side by side.
const TITAN_CALLS: usize = 8;
/// Texts that Cohere takes in one call.
const COHERE_TEXTS: usize = 96;

/// The body format of an embedding model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Titan,
    Cohere,
}

/// One embedding model behind a Bedrock endpoint. It learns its dimensions from its first answer.
pub(crate) struct BedrockEmbeddings {
    bedrock: Arc<Bedrock>,
    model: String,
    format: Format,
    dimensions: AtomicUsize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TitanBody<'a> {
    input_text: &'a str,
    /// Known to the second generation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    normalize: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TitanAnswer {
    embedding: Vec<f32>,
    #[serde(default)]
    input_text_token_count: u32,
}

#[derive(Serialize)]
struct CohereBody<'a> {
    texts: &'a [String],
    input_type: &'static str,
    truncate: &'static str,
}

#[derive(Deserialize)]
struct CohereAnswer {
    embeddings: CohereEmbeddings,
}

/// By type where the model was asked for types, or is new.
#[derive(Deserialize)]
#[serde(untagged)]
enum CohereEmbeddings {
    Plain(Vec<Vec<f32>>),
    ByType { float: Vec<Vec<f32>> },
}

impl BedrockEmbeddings {
    /// None: the model is of no family that embeds texts.
    pub(crate) fn new(bedrock: Arc<Bedrock>, model: &str) -> Option<Self> {
        let format = if model.contains("titan-embed") {
            Format::Titan
        } else if model.contains("cohere.embed") {
            Format::Cohere
        } else {
            return None;
        };
        Some(Self { bedrock, model: model.to_owned(), format, dimensions: AtomicUsize::new(0) })
    }

    async fn run(&self, request: EmbedRequest, raw: bool) -> Result<Embeddings, BackendError> {
        let mut answer = match self.format {
            Format::Titan => self.titan(&request, raw).await?,
            Format::Cohere => self.cohere(&request).await?,
        };
        let dimensions = answer.vectors.first().map_or(0, Vec::len);
        let whole = answer.vectors.len() == request.texts.len()
            && answer.vectors.iter().all(|vector| vector.len() == dimensions && dimensions > 0);
        if !whole {
            return Err(BackendError::BrokenStream(told(
                &self.bedrock.http.name,
                "the upstream did not answer with one embedding a text".into(),
            )));
        }
        if dimensions > 0 {
            self.dimensions.store(dimensions, Ordering::Relaxed);
        }
        if !raw {
            answer.vectors = answer.vectors.into_iter().map(unit).collect();
        }
        Ok(answer)
    }

    async fn titan(&self, request: &EmbedRequest, raw: bool) -> Result<Embeddings, BackendError> {
        let normalize = (raw && self.model.contains("titan-embed-text-v2")).then_some(false);
        let calls = request.texts.iter().map(|text| async move {
            let body = TitanBody { input_text: text, normalize };
            let (answer, _): (TitanAnswer, _) =
                self.bedrock.invoke(&self.model, &body, MAX_ANSWER_BYTES).await?;
            Ok::<_, BackendError>(answer)
        });
        let answers: Vec<TitanAnswer> =
            futures::stream::iter(calls.collect::<Vec<_>>()).buffered(TITAN_CALLS).try_collect().await?;
        let (vectors, input_tokens) =
            answers.into_iter().map(|answer| (answer.embedding, answer.input_text_token_count)).unzip();
        Ok(Embeddings { vectors, input_tokens })
    }

    async fn cohere(&self, request: &EmbedRequest) -> Result<Embeddings, BackendError> {
        let mut all = Embeddings::default();
        for texts in request.texts.chunks(COHERE_TEXTS) {
            let truncate = if request.truncate { "END" } else { "NONE" };
            let body = CohereBody { texts, input_type: "search_document", truncate };
            let (answer, tokens): (CohereAnswer, _) =
                self.bedrock.invoke(&self.model, &body, MAX_ANSWER_BYTES).await?;
            match answer.embeddings {
                CohereEmbeddings::Plain(vectors) | CohereEmbeddings::ByType { float: vectors } => {
                    all.vectors.extend(vectors);
                }
            }
            let total = tokens.unwrap_or_else(|| texts.iter().map(|text| estimate::text_tokens(text)).sum());
            all.input_tokens.extend(estimate::share_out(total, texts));
        }
        Ok(all)
    }
}

impl EmbeddingModel for BedrockEmbeddings {
    /// 0 until the upstream has answered once.
    fn dimensions(&self) -> usize {
        self.dimensions.load(Ordering::Relaxed)
    }

    /// Not known before a text is too long; the upstream's own error says so.
    fn max_tokens(&self) -> u32 {
        u32::MAX
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(self.run(request, false))
    }

    fn embed_raw(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(self.run(request, true))
    }

    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
        Box::pin(async move { Ok(estimate::text_tokens(text)) })
    }
}

#[derive(Serialize)]
struct RerankBody<'a> {
    query: &'a str,
    documents: &'a [String],
    top_n: usize,
    /// Cohere's models want it, Amazon's refuse it.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<u8>,
}

/// Scores by the body that Cohere's and Amazon's rerank models have in common.
pub(super) async fn rerank(bedrock: &Bedrock, request: RerankRequest) -> Result<Reranked, BackendError> {
    let RerankRequest { model, query, documents } = &request;
    let body = RerankBody {
        query,
        documents,
        top_n: documents.len(),
        api_version: model.contains("cohere").then_some(2),
    };
    let (answer, counted): (vectors::RerankAnswer, _) =
        bedrock.invoke(model, &body, MAX_ANSWER_BYTES).await?;
    answer.read(&request, counted, &bedrock.http.name)
}

/// The upstream's own count of what it read.
pub(super) fn token_count(headers: &http::HeaderMap) -> Option<u32> {
    headers.get(TOKEN_COUNT)?.to_str().ok()?.parse().ok()
}
