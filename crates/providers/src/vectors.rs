//! What embeddings and rerank have in common over all upstreams.

use craton_backend::{BackendError, RerankRequest, Reranked};
use serde::Deserialize;

use crate::errors::told;
use crate::estimate;

/// The answer of every rerank API there is, Bedrock's models included.
#[derive(Debug, Deserialize)]
pub(crate) struct RerankAnswer {
    results: Vec<RerankResult>,
    /// As vLLM, Jina and llama.cpp have it.
    usage: Option<RerankUsage>,
}

#[derive(Debug, Deserialize)]
struct RerankUsage {
    total_tokens: Option<u32>,
    prompt_tokens: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct RerankResult {
    index: usize,
    relevance_score: f32,
}

impl RerankAnswer {
    /// One probability a document, in the documents' order. `counted` are the tokens that the answer's head told.
    pub(crate) fn read(
        self,
        request: &RerankRequest,
        counted: Option<u32>,
        upstream: &str,
    ) -> Result<Reranked, BackendError> {
        let told = self.usage.as_ref().and_then(|usage| usage.prompt_tokens.or(usage.total_tokens));
        let input_tokens = counted.or(told).unwrap_or_else(|| estimate::rerank_tokens(request));
        Ok(Reranked { scores: self.scores(request.documents.len(), upstream)?, input_tokens })
    }

    fn scores(self, documents: usize, upstream: &str) -> Result<Vec<f32>, BackendError> {
        let mut scores = vec![f32::NAN; documents];
        for result in self.results {
            if let Some(score) = scores.get_mut(result.index) {
                *score = result.relevance_score;
            }
        }
        if scores.iter().any(|score| !score.is_finite()) {
            let message = told(upstream, "the upstream did not score every document".into());
            return Err(BackendError::BrokenStream(message));
        }
        // llama.cpp reports logits, the others probabilities.
        if scores.iter().any(|score| !(0.0..=1.0).contains(score)) {
            scores.iter_mut().for_each(|score| *score = 1.0 / (1.0 + (-*score).exp()));
        }
        Ok(scores)
    }
}
