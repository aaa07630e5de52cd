use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use craton_store::Store;
use parking_lot::Mutex;

use crate::embedded::EmbeddedIndex;
use crate::opensearch::ClusterIndex;
use crate::postgres::PostgresIndex;
use crate::{VectorError, VectorIndex};

/// Which index, and what holds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IndexSpec {
    /// Unique on this server, stable over restarts: letters, digits, `-`, `_`, `.` and `/`.
    pub id: String,
    /// Length of the vectors.
    pub dimensions: usize,
    pub storage: Storage,
}

/// What holds an index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Storage {
    /// Rows of this server's records, searched in its own memory.
    Embedded,
    /// A table with pgvector.
    Postgres(Box<PostgresTable>),
    /// An index of an OpenSearch cluster.
    OpenSearch(Box<OpenSearchIndex>),
}

/// An index of somebody's OpenSearch and the names of its fields.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OpenSearchIndex {
    /// `https://host:port`
    pub url: String,
    /// For basic authentication; empty for none.
    pub username: String,
    pub password: Option<String>,
    pub index: String,
    pub vector_field: String,
    pub text_field: String,
    pub metadata_field: String,
}

impl std::fmt::Debug for OpenSearchIndex {
    /// Without the URL, which may have a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSearchIndex").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A table of somebody's PostgreSQL and the names of its columns.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PostgresTable {
    /// `postgres://user:password@host`
    pub url: String,
    /// Where the URL has none.
    pub password: Option<String>,
    /// In the place of the URL's.
    pub database: String,
    /// `table` or `schema.table`
    pub table: String,
    pub primary_key_field: String,
    pub vector_field: String,
    pub text_field: String,
    pub metadata_field: String,
    /// Takes a copy of the documents' own attributes.
    pub custom_metadata_field: Option<String>,
}

impl std::fmt::Debug for PostgresTable {
    /// Without the URL, which has a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresTable").field("table", &self.table).finish_non_exhaustive()
    }
}

impl IndexSpec {
    /// The embedded index behind a collection's index.
    pub fn of_collection(collection_id: &str, index: &str, dimensions: usize) -> Self {
        Self { id: format!("{collection_id}/{index}"), dimensions, storage: Storage::Embedded }
    }
}

/// Opens indexes and keeps them open. One for a server; clones share it.
#[derive(Clone)]
pub struct Drivers {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    directory: PathBuf,
    places: Mutex<HashMap<IndexSpec, Place>>,
}

/// Where an index is once it is open. Held while it is opened or removed, which keeps nobody from other indexes.
type Place = Arc<tokio::sync::Mutex<Option<Arc<dyn VectorIndex>>>>;

impl Drivers {
    /// `directory` is for caches: what is in it can be deleted while the server is down.
    pub fn new(store: Store, directory: impl Into<PathBuf>) -> Self {
        let inner = Inner { store, directory: directory.into(), places: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    fn place(&self, spec: &IndexSpec) -> Place {
        Arc::clone(self.inner.places.lock().entry(spec.clone()).or_default())
    }

    /// The index of a specification; created empty when it isn't there.
    pub async fn open(&self, spec: &IndexSpec) -> Result<Arc<dyn VectorIndex>, VectorError> {
        let place = self.place(spec);
        let mut open = place.lock().await;
        if let Some(index) = &*open {
            return Ok(Arc::clone(index));
        }
        let index: Arc<dyn VectorIndex> = match &spec.storage {
            Storage::Embedded => {
                Arc::new(EmbeddedIndex::open(&self.inner.store, &self.inner.directory, spec).await?)
            }
            Storage::Postgres(table) => Arc::new(PostgresIndex::open(table, spec.dimensions).await?),
            Storage::OpenSearch(index) => Arc::new(ClusterIndex::open(index, spec.dimensions).await?),
        };
        *open = Some(Arc::clone(&index));
        Ok(index)
    }

    /// Removes an index with everything in it. One that isn't there is no error.
    pub async fn remove(&self, spec: &IndexSpec) -> Result<(), VectorError> {
        let place = self.place(spec);
        let mut open = place.lock().await;
        *open = None;
        match &spec.storage {
            Storage::Embedded => EmbeddedIndex::remove(&self.inner.store, &self.inner.directory, spec).await,
            // Tables and clusters are their owners'; documents are deleted by their data sources.
            Storage::Postgres(_) | Storage::OpenSearch(_) => Ok(()),
        }
    }
}
