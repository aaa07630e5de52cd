//! Embedding and rerank models, which answer whole and without increments.

use bytes::Bytes;
use craton_backend::{BackendError, EmbedRequest, EmbeddingModel, Embeddings, RerankRequest, Reranked};
use craton_core::RequestContext;
use craton_metering::{CallMeter, CallStart, Tokens};
use craton_models::{Resolved, Target, Task};
use craton_wire::ApiError;

use super::{Asked, windows};
use crate::chat::{Inference, ModelChoice};
use crate::codec::{embedding, rerank};
use crate::error;
use crate::headers::{self, Headers};

impl Inference {
    pub(super) async fn invoke_embedding(
        &self,
        context: &RequestContext,
        resolved: &Resolved,
        body: &[u8],
        asked: Asked,
    ) -> Result<(Bytes, Headers), ApiError> {
        let mut decoded = embedding::decode(resolved.model.family, &resolved.model.id, body)?;
        // A model of another width stands in: the answer has the width that clients of this model store.
        decoded.dimensions =
            decoded.dimensions.or_else(|| resolved.model.embedding_dimensions.first().copied());
        let (embeddings, latency_ms) = self.embed(context, resolved, &decoded, asked).await?;
        let body = decoded.encode(&embeddings)?;
        let tokens = (embeddings.input_tokens.iter().map(|count| u64::from(*count)).sum(), None);
        Ok((body, headers::invocation(resolved, tokens, latency_ms)))
    }

    /// Vectors of the texts and how long they took, metered.
    async fn embed(
        &self,
        context: &RequestContext,
        resolved: &Resolved,
        decoded: &embedding::EmbedDecoded,
        asked: Asked,
    ) -> Result<(Embeddings, u64), ApiError> {
        let mut meter = self.meter(context, resolved, asked.operation, asked.metadata);
        let request = EmbedRequest { model: target_model(resolved).to_owned(), ..decoded.request.clone() };
        let embedded = match self.backends.embedding(&resolved.target) {
            Ok(backend) => embed_any_length(&*backend, resolved, request, decoded.raw).await,
            Err(error) => Err(error),
        };
        let embeddings = finished(embedded, &mut meter, resolved)?;
        let input = embeddings.input_tokens.iter().fold(0_u32, |sum, count| sum.saturating_add(*count));
        let latency_ms = meter.elapsed_ms();
        meter.complete("end_turn", Tokens { input, ..Tokens::default() });
        Ok((embeddings, latency_ms))
    }

    pub(super) async fn invoke_rerank(
        &self,
        context: &RequestContext,
        resolved: &Resolved,
        body: &[u8],
        asked: Asked,
    ) -> Result<(Bytes, Headers), ApiError> {
        let decoded = rerank::decode(resolved.model.family, body)?;
        let request = RerankRequest { model: target_model(resolved).to_owned(), ..decoded.request.clone() };
        let mut meter = self.meter(context, resolved, asked.operation, asked.metadata);
        let Reranked { scores, input_tokens } = self.score(resolved, request, &mut meter).await?;
        let headers = headers::invocation(resolved, (input_tokens.into(), None), meter.elapsed_ms());
        Ok((decoded.encode(&scores)?, headers))
    }

    /// One score in 0..=1 a document, in their order, from a rerank model by its id or ARN; metered.
    pub async fn rerank(
        &self,
        context: &RequestContext,
        model_id: &str,
        query: String,
        documents: Vec<String>,
    ) -> Result<Vec<f32>, ApiError> {
        let resolved = self.resolve(context, ModelChoice::Id(model_id.to_owned())).await?;
        if resolved.model.task() != Task::Rerank {
            return Err(ApiError::validation(format!("The model {model_id} is not a rerank model.")));
        }
        let request = RerankRequest { model: target_model(&resolved).to_owned(), query, documents };
        let mut meter = self.meter(context, &resolved, "Rerank", Vec::new());
        self.score(&resolved, request, &mut meter).await.map(|reranked| reranked.scores)
    }

    async fn score(
        &self,
        resolved: &Resolved,
        request: RerankRequest,
        meter: &mut CallMeter,
    ) -> Result<Reranked, ApiError> {
        let scored = match self.backends.rerank(&resolved.target) {
            Ok(backend) => backend.rerank(request).await,
            Err(error) => Err(error),
        };
        let reranked = finished(scored, meter, resolved)?;
        meter.complete("end_turn", Tokens { input: reranked.input_tokens, ..Tokens::default() });
        Ok(reranked)
    }

    fn meter(
        &self,
        context: &RequestContext,
        resolved: &Resolved,
        operation: &'static str,
        metadata: Vec<(String, String)>,
    ) -> CallMeter {
        let start = CallStart {
            context,
            operation,
            model_id: &resolved.model.id,
            invoked_id: &resolved.invoked_id,
            profile_arn: resolved.profile_arn.as_deref(),
            served_by: &resolved.served_by,
            streamed: false,
        };
        self.metering.call(start, metadata)
    }
}

/// Embeds texts as long as the model that was asked for reads, whatever serves it.
async fn embed_any_length(
    backend: &dyn EmbeddingModel,
    resolved: &Resolved,
    request: EmbedRequest,
    raw: bool,
) -> Result<Embeddings, BackendError> {
    let whole = request.clone();
    match if raw { backend.embed_raw(whole).await } else { backend.embed(whole).await } {
        Err(BackendError::ContextOverflow { tokens, limit })
            if resolved.model.context_tokens.is_some_and(|most| tokens <= most) =>
        {
            windows::embed(backend, request, limit, raw).await
        }
        other => other,
    }
}

fn target_model(resolved: &Resolved) -> &str {
    match &resolved.target {
        Target::Local { model } | Target::Upstream { model, .. } => model,
    }
}

fn finished<T>(
    outcome: Result<T, BackendError>,
    meter: &mut CallMeter,
    resolved: &Resolved,
) -> Result<T, ApiError> {
    outcome.map_err(|error| {
        let error = error::unstreamed(error::from_backend(error, &resolved.model.id));
        meter.fail(error.code.clone());
        error
    })
}
