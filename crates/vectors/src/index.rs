use async_trait::async_trait;

use crate::{Chunk, Counts, DocumentKey, Hit, MAX_LIMIT, Query, VectorError, Want};

/// All chunks of one document, which take the place of those that were there.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentChunks {
    pub key: DocumentKey,
    /// In the document's order. Each chunk's `document` equals `key`. Empty removes the document.
    pub chunks: Vec<Chunk>,
}

/// Chunks that can be searched by meaning, by words and by attributes.
///
/// What a call acknowledged is durable and seen by every later search. Each document of a call changes in one step:
/// no search sees half of it, and neither does a restart after a crash.
#[async_trait]
pub trait VectorIndex: Send + Sync {
    /// Length of the vectors.
    fn dimensions(&self) -> usize;

    /// Puts documents in place of what was there of them.
    async fn put(&self, documents: Vec<DocumentChunks>) -> Result<(), VectorError>;

    /// Removes documents; those that are not there are no error. Returns how many were there.
    async fn delete_documents(&self, keys: &[DocumentKey]) -> Result<u64, VectorError>;

    /// Removes all documents of a data source. Returns how many there were.
    async fn delete_data_source(&self, owner: &str, data_source: &str) -> Result<u64, VectorError>;

    /// A document's chunks, with vectors, in its order. Empty when it is not there.
    async fn document(&self, key: &DocumentKey) -> Result<Vec<Chunk>, VectorError>;

    /// The nearest chunks, best first. Chunks with equal scores come in the order they were written.
    async fn search(&self, query: &Query) -> Result<Vec<Hit>, VectorError>;

    /// Chunks that a query finds: all of those by words or by attributes alone, up to the query's limit of those by meaning.
    /// A driver that can't count more than it returns counts up to its most.
    async fn count(&self, query: &Query) -> Result<u64, VectorError> {
        let limit = match query.want {
            Want::Semantic { .. } | Want::Hybrid { .. } => query.limit,
            Want::Keywords { .. } | Want::Everything => MAX_LIMIT,
        };
        Ok(self.search(&Query { limit, ..query.clone() }).await?.len() as u64)
    }

    async fn counts(&self) -> Result<Counts, VectorError>;

    /// Everything in it, with vectors, in the order of document keys and chunks. For tests and migrations: the whole
    /// index is in memory at once.
    async fn export(&self) -> Result<Vec<Chunk>, VectorError>;
}
