use std::sync::Arc;

use craton_backend::{BackendError, ChatModel, EmbeddingModel, RerankModel};
use craton_models::Target;

/// Finds what computes for a target. The server implements it over the engine and the upstreams.
///
/// Called on every request: an implementation looks up, it doesn't load or connect.
pub trait Backends: Send + Sync {
    fn chat(&self, target: &Target) -> Result<Arc<dyn ChatModel>, BackendError>;

    fn embedding(&self, target: &Target) -> Result<Arc<dyn EmbeddingModel>, BackendError>;

    fn rerank(&self, target: &Target) -> Result<Arc<dyn RerankModel>, BackendError>;
}
