//! The embedded index: chunks and vectors are rows of the records, and everything else is a cache of them.
//!
//! * `rows`: the truth. A write is one transaction; it is acknowledged when that has reached the disk.
//! * `state`: in memory, built from the rows: 16-bit vectors, attributes as postings.
//! * `keywords`: words, on disk by `tantivy`. Compared with the rows when an index is opened, and brought to them.
//! * `graph`: neighbours, by `usearch`, only for indexes that are too large to scan; built in the background, its
//!   snapshots written beside and renamed into place. What it does not hold yet is scanned.
//!
//! A search resolves the filter to a set of slots first. Up to [`search::EXACT_LIMIT`] candidates are scanned, which is
//! exact; above, the graph is walked with the set as its filter, and its finds are scored again.
//!
//! An index may be written by several processes that share their records: a search compares the number of changes it
//! has seen with the rows' own, and takes in what others wrote.

mod bits;
mod graph;
mod keywords;
mod postings;
mod rows;
mod scan;
mod search;
mod state;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use craton_store::Store;
use parking_lot::RwLock;
use tokio::sync::{Mutex, Semaphore};

use self::graph::Graph;
use self::keywords::Keywords;
use self::rows::{Change, Removal, Rows};
use self::search::EXACT_LIMIT;
use self::state::State;
use crate::{
    Chunk, Counts, DocumentChunks, DocumentKey, Hit, IndexSpec, MAX_LIMIT, Query, VectorError, VectorIndex,
    Want,
};

/// Searches of one index that compute at the same time.
const SEARCHES_AT_ONCE: usize = 16;
/// Vectors that the graph takes in at a time.
const GRAPH_BATCH: usize = 256;

pub(crate) struct EmbeddedIndex {
    dimensions: usize,
    rows: Rows,
    caches: Arc<Caches>,
    /// Held by whoever changes the rows or takes in the changes of others.
    writing: Mutex<()>,
    searching: Semaphore,
}

/// What is kept of the rows to search them.
struct Caches {
    dimensions: usize,
    directory: PathBuf,
    state: RwLock<State>,
    keywords: Keywords,
    graph: RwLock<Option<Graph>>,
    building: AtomicBool,
}

impl EmbeddedIndex {
    pub(crate) async fn open(store: &Store, directory: &Path, spec: &IndexSpec) -> Result<Self, VectorError> {
        let (rows, incarnation) = Rows::open(store, spec).await?;
        let directory = directory.join(incarnation);
        let dimensions = spec.dimensions;
        let caches = blocking(move || Caches::open(dimensions, directory)).await?;
        let index = Self {
            dimensions,
            rows,
            caches: Arc::new(caches),
            writing: Mutex::new(()),
            searching: Semaphore::new(SEARCHES_AT_ONCE),
        };
        index.take_in_all().await?;
        Ok(index)
    }

    /// Removes the rows of an index and its caches.
    pub(crate) async fn remove(store: &Store, directory: &Path, spec: &IndexSpec) -> Result<(), VectorError> {
        if let Some(incarnation) = Rows::remove(store, &spec.id).await? {
            let _ = tokio::fs::remove_dir_all(directory.join(incarnation)).await;
        }
        Ok(())
    }

    /// Brings the caches to the rows: when opened, and after somebody else changed them.
    async fn take_in_all(&self) -> Result<(), VectorError> {
        let _writing = self.writing.lock().await;
        let sequence = self.rows.sequence().await?;
        if sequence == self.caches.state.read().sequence && sequence > 0 {
            return Ok(());
        }
        let present: Vec<u64> = self.rows.numbers().await?;
        let caches = Arc::clone(&self.caches);
        let missing = blocking(move || caches.forget_all_but(&present)).await?;
        loop {
            let last = self.caches.state.read().last_number();
            let rows = self.rows.after(last).await?;
            if rows.is_empty() {
                break;
            }
            let (caches, missing) = (Arc::clone(&self.caches), missing.clone());
            blocking(move || {
                let unknown = rows.iter().filter(|row| missing.contains(row.number));
                caches.keywords.change(unknown.map(|row| (row.number, row.chunk.text.as_str())), &[])?;
                let mut state = caches.state.write();
                rows.iter().for_each(|row| state.insert(row.number, &row.chunk));
                Ok(())
            })
            .await?;
        }
        self.caches.state.write().sequence = sequence;
        self.caches.extend_graph();
        Ok(())
    }

    /// Brings the caches to the rows after a write of this index.
    async fn take_in(&self, change: Change, documents: Vec<DocumentChunks>) -> Result<u64, VectorError> {
        if self.caches.state.read().sequence + 1 != change.sequence {
            // Somebody else wrote in between; the next search takes in all of it.
            return Ok(change.removed_documents);
        }
        let caches = Arc::clone(&self.caches);
        let removed_documents = change.removed_documents;
        blocking(move || {
            let chunks = documents.iter().flat_map(|document| &document.chunks);
            let added: Vec<(u64, &Chunk)> = (change.first_added..).zip(chunks).collect();
            let texts = added.iter().map(|(number, chunk)| (*number, chunk.text.as_str()));
            caches.keywords.change(texts, &change.removed)?;
            let mut state = caches.state.write();
            change.removed.iter().for_each(|number| state.remove(*number));
            added.iter().for_each(|(number, chunk)| state.insert(*number, chunk));
            state.sequence = change.sequence;
            Ok(())
        })
        .await?;
        self.caches.extend_graph();
        Ok(removed_documents)
    }

    async fn take_out(&self, removal: Removal<'_>) -> Result<u64, VectorError> {
        let _writing = self.writing.lock().await;
        let change = self.rows.take_out(&removal).await?;
        self.take_in(change, Vec::new()).await
    }

    fn check(&self, query: &Query) -> Result<(), VectorError> {
        if query.limit == 0 || query.limit > MAX_LIMIT {
            return Err(VectorError::Invalid(format!("A search returns 1 to {MAX_LIMIT} chunks.")));
        }
        if let Some(filter) = &query.filter {
            filter.check()?;
        }
        match &query.want {
            Want::Semantic { vector } | Want::Hybrid { vector, .. } => self.check_vector(vector),
            Want::Keywords { .. } | Want::Everything => Ok(()),
        }
    }

    fn check_vector(&self, vector: &[f32]) -> Result<(), VectorError> {
        if vector.len() != self.dimensions {
            return Err(VectorError::Dimensions { expected: self.dimensions, found: vector.len() });
        }
        if vector.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        Err(VectorError::Invalid("A vector's values must be finite.".into()))
    }
}

#[async_trait]
impl VectorIndex for EmbeddedIndex {
    fn dimensions(&self) -> usize {
        self.dimensions
    }

    async fn put(&self, documents: Vec<DocumentChunks>) -> Result<(), VectorError> {
        for chunk in documents.iter().flat_map(|document| &document.chunks) {
            self.check_vector(&chunk.vector)?;
        }
        let _writing = self.writing.lock().await;
        let change = self.rows.put(&documents).await?;
        self.take_in(change, documents).await?;
        Ok(())
    }

    async fn delete_documents(&self, keys: &[DocumentKey]) -> Result<u64, VectorError> {
        self.take_out(Removal::Documents(keys)).await
    }

    async fn delete_data_source(&self, owner: &str, data_source: &str) -> Result<u64, VectorError> {
        self.take_out(Removal::DataSource { owner, data_source }).await
    }

    async fn search(&self, query: &Query) -> Result<Vec<Hit>, VectorError> {
        self.check(query)?;
        if self.rows.sequence().await? != self.caches.state.read().sequence {
            self.take_in_all().await?;
        }
        let permit = self.searching.acquire().await.map_err(|error| internal(&error))?;
        let (caches, asked) = (Arc::clone(&self.caches), query.clone());
        let ranked = blocking(move || caches.search(&asked)).await?;
        drop(permit);
        let numbers: Vec<u64> = ranked.iter().map(|(number, _)| *number).collect();
        let rows = if numbers.is_empty() { Vec::new() } else { self.rows.get(&numbers).await? };
        let mut chunks: HashMap<u64, Chunk> = rows.into_iter().map(|row| (row.number, row.chunk)).collect();
        let hits = ranked
            .into_iter()
            .filter_map(|(number, score)| chunks.remove(&number).map(|chunk| Hit { chunk, score }));
        Ok(hits.collect())
    }

    async fn counts(&self) -> Result<Counts, VectorError> {
        self.rows.counts().await
    }

    async fn export(&self) -> Result<Vec<Chunk>, VectorError> {
        let mut chunks = Vec::new();
        let mut last = 0;
        loop {
            let rows = self.rows.after(last).await?;
            let Some(row) = rows.last() else { break };
            last = row.number;
            chunks.extend(rows.into_iter().map(|row| row.chunk));
        }
        chunks.sort_by(|a, b| a.document.cmp(&b.document));
        Ok(chunks)
    }
}

/// The chunks that the word index lacks: those after a number, and some before it.
#[derive(Debug, Clone)]
struct Missing {
    known: Arc<HashSet<u64>>,
}

impl Missing {
    fn contains(&self, number: u64) -> bool {
        !self.known.contains(&number)
    }
}

impl Caches {
    fn open(dimensions: usize, directory: PathBuf) -> Result<Self, VectorError> {
        let graph = Graph::load(&directory, dimensions);
        Ok(Self {
            dimensions,
            state: RwLock::new(State::new(dimensions)),
            keywords: Keywords::open(&directory.join("words"))?,
            graph: RwLock::new(graph),
            building: AtomicBool::new(false),
            directory,
        })
    }

    /// Forgets chunks that are not among `present` (ascending). Answers which the word index still lacks.
    fn forget_all_but(&self, present: &[u64]) -> Result<Missing, VectorError> {
        self.keywords.flush()?;
        let held = self.keywords.numbers()?;
        let gone: Vec<u64> =
            held.iter().filter(|number| present.binary_search(number).is_err()).copied().collect();
        if !gone.is_empty() {
            self.keywords.change(std::iter::empty(), &gone)?;
        }
        let mut state = self.state.write();
        let known: Vec<u64> = state.alive().iter().map(|slot| state.number(slot)).collect();
        for number in known {
            if present.binary_search(&number).is_err() {
                state.remove(number);
            }
        }
        let more = present.len().saturating_sub(state.len());
        state.reserve(more);
        Ok(Missing { known: Arc::new(held.into_iter().collect()) })
    }

    /// Brings the graph up to date in the background, if the index is large enough to have one.
    fn extend_graph(self: &Arc<Self>) {
        let wanted = {
            let state = self.state.read();
            let through = self.graph.read().as_ref().map_or(0, Graph::through);
            state.len() > EXACT_LIMIT && state.last_number() > through
        };
        if wanted && !self.building.swap(true, Ordering::AcqRel) {
            let caches = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = caches.build_graph() {
                    tracing::error!(%error, "the graph of an index can't be built; it is scanned instead");
                }
                caches.building.store(false, Ordering::Release);
            });
        }
    }

    fn build_graph(&self) -> Result<(), VectorError> {
        let crowded =
            self.graph.read().as_ref().is_some_and(|graph| graph.len() > 2 * self.state.read().len());
        if crowded || self.graph.read().is_none() {
            let graph = Graph::new(self.dimensions)?;
            *self.graph.write() = Some(graph);
        }
        loop {
            let batch = self.beyond_graph();
            let Some((last, _)) = batch.last() else { break };
            self.make_room(batch.len())?;
            if let Some(graph) = self.graph.read().as_ref() {
                graph.add(&batch)?;
                graph.reached(*last);
            }
        }
        let graph = self.graph.read();
        graph.as_ref().map_or(Ok(()), |graph| graph.save(&self.directory))
    }

    /// The next vectors that the graph does not hold.
    fn beyond_graph(&self) -> Vec<(u64, Vec<f32>)> {
        let through = self.graph.read().as_ref().map_or(0, Graph::through);
        let state = self.state.read();
        let slots = state.alive().iter_from(state.slot_after(through)).take(GRAPH_BATCH);
        slots.map(|slot| (state.number(slot), state.arena().vector(slot))).collect()
    }

    fn make_room(&self, more: usize) -> Result<(), VectorError> {
        if self.graph.read().as_ref().is_some_and(|graph| graph.has_room(more)) {
            return Ok(());
        }
        let slots = self.state.read().slots();
        self.graph.write().as_ref().map_or(Ok(()), |graph| graph.reserve(slots + more))
    }
}

fn internal(error: &dyn std::fmt::Display) -> VectorError {
    VectorError::Internal(error.to_string())
}

/// Runs what computes or waits for the disk beside the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VectorError> + Send + 'static,
) -> Result<T, VectorError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(internal(&error)))
}
