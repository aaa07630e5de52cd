//! The embedded index: chunks and vectors are rows of the records, and everything else is a cache of them.

use std::path::Path;

use async_trait::async_trait;
use craton_store::Store;

use crate::{Chunk, Counts, DocumentChunks, DocumentKey, Hit, IndexSpec, Query, VectorError, VectorIndex};

pub(crate) struct EmbeddedIndex {
    dimensions: usize,
}

impl EmbeddedIndex {
    pub(crate) async fn open(_: &Store, _: &Path, spec: &IndexSpec) -> Result<Self, VectorError> {
        Ok(Self { dimensions: spec.dimensions })
    }

    pub(crate) async fn remove(_: &Store, _: &Path, _: &IndexSpec) -> Result<(), VectorError> {
        Err(unfinished())
    }
}

fn unfinished() -> VectorError {
    VectorError::Unavailable("the embedded index is not built yet".into())
}

#[async_trait]
impl VectorIndex for EmbeddedIndex {
    fn dimensions(&self) -> usize {
        self.dimensions
    }

    async fn put(&self, _: Vec<DocumentChunks>) -> Result<(), VectorError> {
        Err(unfinished())
    }

    async fn delete_documents(&self, _: &[DocumentKey]) -> Result<u64, VectorError> {
        Err(unfinished())
    }

    async fn delete_data_source(&self, _: &str, _: &str) -> Result<u64, VectorError> {
        Err(unfinished())
    }

    async fn search(&self, _: &Query) -> Result<Vec<Hit>, VectorError> {
        Err(unfinished())
    }

    async fn counts(&self) -> Result<Counts, VectorError> {
        Err(unfinished())
    }

    async fn export(&self) -> Result<Vec<Chunk>, VectorError> {
        Err(unfinished())
    }
}
