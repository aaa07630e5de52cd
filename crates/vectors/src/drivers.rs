use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use craton_outbound::AwsCredentials;
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
    pub access: OpenSearchAccess,
    pub index: String,
    pub vector_field: String,
    pub text_field: String,
    pub metadata_field: String,
}

/// How an OpenSearch is told who is asking.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum OpenSearchAccess {
    /// Not at all.
    Open,
    Basic {
        username: String,
        password: String,
    },
    /// Requests are signed with the keys of an AWS account.
    Signed {
        /// `es` for domains, `aoss` for collections.
        service: String,
        region: String,
        credentials: AwsCredentials,
    },
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

/// Whether an index can have this name, by OpenSearch's rules.
pub fn is_index_name(name: &str) -> bool {
    const MOST_BYTES: usize = 255;
    let forbidden = |letter: char| {
        letter.is_control()
            || matches!(letter, ' ' | '"' | '*' | ',' | '#' | '\\' | '/' | '?' | '<' | '>' | '|' | ':')
    };
    (1..=MOST_BYTES).contains(&name.len())
        && !name.starts_with(['_', '-', '+'])
        && !matches!(name, "." | "..")
        && name == name.to_lowercase()
        && !name.contains(forbidden)
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
type Place = Arc<tokio::sync::Mutex<Opening>>;

#[derive(Default)]
struct Opening {
    index: Option<Arc<dyn VectorIndex>>,
    /// When the store last could not be reached, and why. Who waited meanwhile is told the same, and does not wait again.
    failed: Option<(Instant, String)>,
}

/// How long a failure is everybody's.
const FAILURE_SHARED: Duration = Duration::from_secs(1);

impl Drivers {
    /// `directory` is for caches: what is in it can be deleted while the server is down.
    pub fn new(store: Store, directory: impl Into<PathBuf>) -> Self {
        let inner = Inner { store, directory: directory.into(), places: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Bytes that are free on the disk of the caches, where that can be told.
    pub fn free_bytes(&self) -> Option<u64> {
        let there = self.inner.directory.ancestors().find(|folder| folder.exists())?;
        fs4::available_space(there).ok()
    }

    fn place(&self, spec: &IndexSpec) -> Place {
        Arc::clone(self.inner.places.lock().entry(spec.clone()).or_default())
    }

    /// The index of a specification; created empty when it isn't there.
    pub async fn open(&self, spec: &IndexSpec) -> Result<Arc<dyn VectorIndex>, VectorError> {
        let place = self.place(spec);
        let mut open = place.lock().await;
        if let Some(index) = &open.index {
            return Ok(Arc::clone(index));
        }
        if let Some((_, reason)) = open.failed.as_ref().filter(|(when, _)| when.elapsed() < FAILURE_SHARED) {
            return Err(VectorError::Unavailable(reason.clone()));
        }
        match self.begin(spec).await {
            Ok(index) => {
                *open = Opening { index: Some(Arc::clone(&index)), failed: None };
                Ok(index)
            }
            Err(VectorError::Unavailable(reason)) => {
                open.failed = Some((Instant::now(), reason.clone()));
                Err(VectorError::Unavailable(reason))
            }
            Err(error) => Err(error),
        }
    }

    async fn begin(&self, spec: &IndexSpec) -> Result<Arc<dyn VectorIndex>, VectorError> {
        Ok(match &spec.storage {
            Storage::Embedded => {
                Arc::new(EmbeddedIndex::open(&self.inner.store, &self.inner.directory, spec).await?)
            }
            Storage::Postgres(table) => Arc::new(PostgresIndex::open(table, spec.dimensions).await?),
            Storage::OpenSearch(index) => Arc::new(ClusterIndex::open(index, spec.dimensions).await?),
        })
    }

    /// Removes all embedded indexes of a collection, whoever made them.
    pub async fn remove_collection(&self, collection_id: &str) -> Result<(), VectorError> {
        for spec in EmbeddedIndex::of_collection(&self.inner.store, collection_id).await? {
            self.remove(&spec).await?;
        }
        Ok(())
    }

    /// Removes an index with everything in it. One that isn't there is no error.
    pub async fn remove(&self, spec: &IndexSpec) -> Result<(), VectorError> {
        let place = self.place(spec);
        let mut open = place.lock().await;
        *open = Opening::default();
        // Tables and clusters are their owners'; documents are deleted by their data sources.
        if spec.storage == Storage::Embedded {
            EmbeddedIndex::remove(&self.inner.store, &self.inner.directory, spec).await?;
        }
        // Unless somebody waits for the place: the map has one hold of it, and this function the other.
        let mut places = self.inner.places.lock();
        if Arc::strong_count(&place) == 2 {
            places.remove(spec);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenSearchAccess;

    #[test]
    fn names_of_indexes_are_opensearchs() {
        for name in ["bedrock-knowledge-base-default-index", "i", "a.b_c-1", "été"] {
            assert!(is_index_name(name), "{name}");
        }
        let long = "i".repeat(256);
        for name in
            ["", ".", "..", "_a", "-a", "+a", "A", "a b", "a/b", "a*", "a,b", "a#", "a:b", "a\n", &long]
        {
            assert!(!is_index_name(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_collection_goes_with_all_of_its_indexes_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).await.unwrap();
        let drivers = Drivers::new(store.clone(), directory.path());
        let spec = |collection: &str, name: &str| IndexSpec::of_collection(collection, name, 4);
        let specs = [spec("c", "a"), spec("c", "b"), spec("c0", "a"), spec("b", "a")];
        for spec in &specs {
            drivers.open(spec).await.unwrap();
        }
        drivers.remove_collection("c").await.unwrap();
        let sql = "SELECT id FROM vector_indexes ORDER BY id";
        let rows = store.fetch_all(sql, &[]).await.unwrap();
        let left: Vec<&str> = rows.iter().map(|row| row.get("id").unwrap()).collect();
        assert_eq!(left, ["b/a", "c0/a"]);
    }

    /// Nobody waits for a store that does not answer once for each who waited before.
    #[tokio::test]
    async fn a_store_that_is_away_keeps_nobody_waiting_twice() {
        // Takes connections and says nothing.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let url = format!("http://{}", silent.local_addr().unwrap());
        let counted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = silent.accept().await.unwrap();
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
                drop(stream);
            }
        });
        let store = Store::in_memory().await.unwrap();
        let drivers = Drivers::new(store, "/nowhere");
        let of = OpenSearchIndex {
            url,
            access: OpenSearchAccess::Open,
            index: "kb".into(),
            vector_field: "v".into(),
            text_field: "t".into(),
            metadata_field: "m".into(),
        };
        let spec = IndexSpec { id: "kb".into(), dimensions: 3, storage: Storage::OpenSearch(Box::new(of)) };
        let asked = (0..10).map(|_| drivers.open(&spec));
        for answer in futures::future::join_all(asked).await {
            assert!(matches!(answer.err(), Some(VectorError::Unavailable(_))));
        }
        assert!(connections.load(std::sync::atomic::Ordering::SeqCst) <= 2);
        accepting.abort();
        drivers.remove(&spec).await.unwrap();
        assert!(drivers.inner.places.lock().is_empty());
    }
}
