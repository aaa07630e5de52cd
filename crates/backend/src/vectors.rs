use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::BackendError;

/// Texts to embed, with what to do about those longer than the model can read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EmbedRequest {
    pub model: String,
    pub texts: Vec<String>,
    /// False: a text over the model's limit is an error. True: its head is embedded.
    pub truncate: bool,
}

/// One vector a text, in the order of the request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Embeddings {
    /// Unit length (L2) unless asked for raw, each [`EmbeddingModel::dimensions`] long.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens read of each text.
    pub input_tokens: Vec<u32>,
}

/// Turns texts into vectors whose cosine tells how near their meanings are.
pub trait EmbeddingModel: Send + Sync {
    fn dimensions(&self) -> usize;
    /// Longest text in tokens.
    fn max_tokens(&self) -> u32;
    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>>;
    /// As [`Self::embed`], with each vector at the length that the model itself gave it. The directions are the same;
    /// what the length says is the model's affair. A model that knows unit length only answers that.
    fn embed_raw(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        self.embed(request)
    }
    /// As [`Self::embed_raw`], in a fraction of the time: by the first `layers` layers of the model alone (`None` is all of
    /// them), and rounded where that is faster. For what was trained on such vectors or compares them with each other. An
    /// error where `layers` are wanted of a model whose layers are out of reach.
    fn embed_quick(
        &self,
        request: EmbedRequest,
        layers: Option<usize>,
    ) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        if layers.is_none() {
            return self.embed_raw(request);
        }
        let refused = BackendError::Unsupported("This model answers with all of its layers only.".to_owned());
        futures::future::ready(Err(refused)).boxed()
    }
    /// Tokens `text` would cost, without embedding it.
    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>>;
    /// As [`Self::count_tokens`] for several texts, in their order.
    fn count_each(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<u32>, BackendError>> {
        async move {
            let mut counts = Vec::with_capacity(texts.len());
            for text in &texts {
                counts.push(self.count_tokens(text).await?);
            }
            Ok(counts)
        }
        .boxed()
    }
}

/// Documents to order by how well they answer the query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RerankRequest {
    pub model: String,
    pub query: String,
    pub documents: Vec<String>,
}

/// How well documents answer a query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reranked {
    /// One score in 0..=1 a document, in the order of the request.
    pub scores: Vec<f32>,
    /// Tokens of the query and the documents together; estimated where the backend doesn't tell.
    pub input_tokens: u32,
}

/// Scores documents against a query.
pub trait RerankModel: Send + Sync {
    fn rerank(&self, request: RerankRequest) -> BoxFuture<'_, Result<Reranked, BackendError>>;
}
