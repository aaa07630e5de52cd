//! bedrock-agent-runtime's half of knowledge bases: finding passages, and answers that cite them.
//!
//! * `retrieve`: Retrieve, and the one search that answers also use.
//! * `rerank`: Rerank, and reranking of what was found.
//! * `filters`, `implicit`: metadata filters as clients write them, and those that a model makes from a question.
//! * `generate`: RetrieveAndGenerate and its stream: retrieve → prompt → one `Inference::chat` → attribution.
//! * `prompt`: templates; passages are data between marks that their text can't close.
//! * `attribution`: which passages a sentence of an answer rests on; `around`: where in an answer a place is.
//! * `cite`: the same for an answer that an agent made.
//! * `sessions`: what was said before, kept in the records.
//! * `external`: answers from a document that came with the request or lies in S3.
//!
//! What a knowledge base is (its index, its embedding model) is known through [`Searchables`], so that nothing here
//! depends on how documents got in.

mod around;
mod attribution;
mod cite;
mod decompose;
mod external;
mod filters;
mod generate;
mod implicit;
mod passages;
mod prompt;
mod rerank;
mod retrieve;
mod sessions;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use craton_core::{Clock, IdSource, RequestContext};
use craton_inference::Inference;
use craton_objects::ObjectStore;
use craton_store::Store;
use craton_vectors::VectorIndex;
use craton_wire::ApiError;

/// A knowledge base as a search needs it.
pub struct Searchable {
    pub id: String,
    pub index: Arc<dyn VectorIndex>,
    pub embedder: Arc<dyn TextEmbedder>,
}

/// Finds knowledge bases that can be searched.
#[async_trait]
pub trait Searchables: Send + Sync {
    /// ResourceNotFoundException when there is none with this id in the context's account and region.
    async fn searchable(&self, context: &RequestContext, id: &str) -> Result<Searchable, ApiError>;
}

/// Embeds texts with a knowledge base's own model, at the length its index has.
#[async_trait]
pub trait TextEmbedder: Send + Sync {
    /// Vectors of unit length, in the texts' order.
    async fn embed_texts(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ApiError>;
}

/// What retrieval stands on.
pub struct RetrievalParts {
    pub searchables: Arc<dyn Searchables>,
    pub inference: Inference,
    /// Where `s3Location` of external sources is read.
    pub objects: Arc<dyn ObjectStore>,
    /// Where sessions are kept.
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
}

/// The service; clones share it.
#[derive(Clone)]
pub struct Retrieval {
    parts: Arc<RetrievalParts>,
}

impl Retrieval {
    pub fn new(parts: RetrievalParts) -> Self {
        Self { parts: Arc::new(parts) }
    }
}

/// Per-user access is never passed over in silence.
fn refuse_user(user: Option<&craton_api_bedrock_agent_runtime::UserContext>) -> Result<(), ApiError> {
    match user {
        Some(_) => Err(ApiError::validation(
            "This server's knowledge bases hold no per-user permissions. Remove userContext from the request.",
        )),
        None => Ok(()),
    }
}
