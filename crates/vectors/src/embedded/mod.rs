//! The embedded index: chunks and vectors are rows of the records, and everything else is a cache of them.
//!
//! * `rows`: the truth. A write is one transaction; it is acknowledged when that has reached the disk.
//! * `state`: in memory, built from the rows: 16-bit vectors, attributes as postings.
//! * `keywords`: words, on disk by `tantivy`, scored by `scoring`. Compared with the rows when an index is opened, and
//!   brought to them.
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
mod scoring;
mod search;
mod state;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use craton_store::Store;
use parking_lot::RwLock;
use tokio::sync::{Mutex, Semaphore};

use self::graph::Graph;
use self::keywords::Keywords;
use self::rows::{Change, Removal, Rows};
use self::search::EXACT_LIMIT;
use self::state::State;
use crate::query::check_documents;
use crate::{Chunk, Counts, DocumentChunks, DocumentKey, Hit, IndexSpec, Query, VectorError, VectorIndex};

/// Searches of one index that compute at the same time.
const SEARCHES_AT_ONCE: usize = 16;
/// Where the caches could not be brought to the rows, they are searched as they are for this many times as long as that
/// was tried.
const TRY_AGAIN: u32 = 20;
/// Vectors that the graph takes in at a time.
const GRAPH_BATCH: usize = 256;

pub(crate) struct EmbeddedIndex {
    dimensions: usize,
    kept: Arc<Kept>,
    searching: Semaphore,
}

/// The rows and their caches, which change together.
struct Kept {
    rows: Rows,
    caches: Arc<Caches>,
    /// Held by whoever changes the rows or takes in the changes of others.
    writing: Mutex<()>,
    /// When it is tried again to bring the caches to the rows, if it could not be done.
    again_at: parking_lot::Mutex<Option<Instant>>,
}

/// What is kept of the rows to search them.
struct Caches {
    dimensions: usize,
    directory: PathBuf,
    /// The number of changes that `state` shows.
    sequence: AtomicI64,
    state: RwLock<State>,
    keywords: Keywords,
    graph: RwLock<Option<Graph>>,
    building: AtomicBool,
}

/// A change of the rows.
enum Write {
    Put(Vec<DocumentChunks>),
    Documents(Vec<DocumentKey>),
    DataSource { owner: String, data_source: String },
}

impl EmbeddedIndex {
    pub(crate) async fn open(store: &Store, directory: &Path, spec: &IndexSpec) -> Result<Self, VectorError> {
        let (rows, incarnation) = Rows::open(store, spec).await?;
        let directory = directory.join(incarnation);
        let dimensions = spec.dimensions;
        let caches = blocking(move || Caches::open(dimensions, directory)).await?;
        let (caches, writing) = (Arc::new(caches), Mutex::new(()));
        let kept = Arc::new(Kept { rows, caches, writing, again_at: parking_lot::Mutex::default() });
        let index = Self { dimensions, kept, searching: Semaphore::new(SEARCHES_AT_ONCE) };
        index.take_in_all().await?;
        Ok(index)
    }

    /// The indexes of a collection.
    pub(crate) async fn of_collection(
        store: &Store,
        collection_id: &str,
    ) -> Result<Vec<IndexSpec>, VectorError> {
        let found = Rows::of_collection(store, collection_id).await?;
        let spec =
            |(name, dimensions): (String, usize)| IndexSpec::of_collection(collection_id, &name, dimensions);
        Ok(found.into_iter().map(spec).collect())
    }

    /// Removes the rows of an index and its caches.
    pub(crate) async fn remove(store: &Store, directory: &Path, spec: &IndexSpec) -> Result<(), VectorError> {
        if let Some(incarnation) = Rows::remove(store, &spec.id).await? {
            let _ = tokio::fs::remove_dir_all(directory.join(incarnation)).await;
        }
        Ok(())
    }

    async fn take_in_all(&self) -> Result<(), VectorError> {
        let kept = Arc::clone(&self.kept);
        to_the_end(async move { kept.take_in_all().await }).await
    }

    /// Brings the caches to the rows. Where that can't be done, they are searched as they are and it is tried again some
    /// time later: a full disk keeps nobody from reading what is there.
    async fn catch_up(&self) -> Result<(), VectorError> {
        let begun = Instant::now();
        let again_at = *self.kept.again_at.lock();
        if again_at.is_some_and(|at| begun < at) {
            return Ok(());
        }
        let again_at = match self.take_in_all().await {
            Ok(()) => None,
            // The words' files can't be written.
            Err(error @ (VectorError::Io(_) | VectorError::Internal(_))) => {
                tracing::warn!(%error, "an index is searched as it was: its caches can't take in what was written");
                Some(Instant::now() + begun.elapsed() * TRY_AGAIN)
            }
            Err(error) => return Err(error),
        };
        *self.kept.again_at.lock() = again_at;
        Ok(())
    }

    /// Has the caches answer a query, once they show what the rows have.
    async fn ask<T: Send + 'static>(
        &self,
        query: &Query,
        answer: fn(&Caches, &Query) -> Result<T, VectorError>,
    ) -> Result<T, VectorError> {
        query.check(self.dimensions)?;
        if !self.kept.caches.shows(self.kept.rows.sequence().await?) {
            self.catch_up().await?;
        }
        let _permit = self.searching.acquire().await.map_err(|error| internal(&error))?;
        let (caches, asked) = (Arc::clone(&self.kept.caches), query.clone());
        blocking(move || answer(&caches, &asked)).await
    }

    /// Changes the rows and then the caches. Answers how many documents were taken out.
    async fn write(&self, write: Write) -> Result<u64, VectorError> {
        let kept = Arc::clone(&self.kept);
        to_the_end(async move { kept.write(write).await }).await
    }
}

#[async_trait]
impl VectorIndex for EmbeddedIndex {
    fn dimensions(&self) -> usize {
        self.dimensions
    }

    async fn put(&self, documents: Vec<DocumentChunks>) -> Result<(), VectorError> {
        check_documents(&documents, self.dimensions)?;
        self.write(Write::Put(documents)).await.map(drop)
    }

    async fn delete_documents(&self, keys: &[DocumentKey]) -> Result<u64, VectorError> {
        self.write(Write::Documents(keys.to_vec())).await
    }

    async fn delete_data_source(&self, owner: &str, data_source: &str) -> Result<u64, VectorError> {
        let (owner, data_source) = (owner.to_owned(), data_source.to_owned());
        self.write(Write::DataSource { owner, data_source }).await
    }

    async fn document(&self, key: &DocumentKey) -> Result<Vec<Chunk>, VectorError> {
        let rows = self.kept.rows.of_document(key).await?;
        Ok(rows.into_iter().map(|row| row.chunk).collect())
    }

    async fn search(&self, query: &Query) -> Result<Vec<Hit>, VectorError> {
        let ranked = self.ask(query, Caches::search).await?;
        let numbers: Vec<u64> = ranked.iter().map(|(number, _)| *number).collect();
        let rows = if numbers.is_empty() { Vec::new() } else { self.kept.rows.get(&numbers).await? };
        let mut chunks: HashMap<u64, Chunk> = rows.into_iter().map(|row| (row.number, row.chunk)).collect();
        let hits = ranked
            .into_iter()
            .filter_map(|(number, score)| chunks.remove(&number).map(|chunk| Hit { chunk, score }));
        Ok(hits.collect())
    }

    async fn count(&self, query: &Query) -> Result<u64, VectorError> {
        self.ask(query, Caches::count).await
    }

    async fn counts(&self) -> Result<Counts, VectorError> {
        self.kept.rows.counts().await
    }

    async fn export(&self) -> Result<Vec<Chunk>, VectorError> {
        let mut chunks = Vec::new();
        let mut last = 0;
        loop {
            let rows = self.kept.rows.after(last).await?;
            let Some(row) = rows.last() else { break };
            last = row.number;
            chunks.extend(rows.into_iter().map(|row| row.chunk));
        }
        chunks.sort_by(|a, b| a.document.cmp(&b.document));
        Ok(chunks)
    }
}

impl Kept {
    /// Brings the caches to the rows: when opened, and after somebody else changed them.
    async fn take_in_all(&self) -> Result<(), VectorError> {
        let _writing = self.writing.lock().await;
        let sequence = self.rows.sequence().await?;
        if sequence > 0 && self.caches.shows(sequence) {
            return Ok(());
        }
        let losses = self.caches.keywords.losses();
        let present: Vec<u64> = self.rows.numbers().await?;
        let caches = Arc::clone(&self.caches);
        let (held, mut last) = blocking(move || caches.forget_all_but(&present)).await?;
        loop {
            let rows = self.rows.after(last).await?;
            let Some(row) = rows.last() else { break };
            last = row.number;
            let (caches, held) = (Arc::clone(&self.caches), Arc::clone(&held));
            blocking(move || {
                let unknown = rows.iter().filter(|row| !held.contains(&row.number));
                caches.keywords.change(unknown.map(|row| (row.number, row.chunk.text.as_str())), &[])?;
                let mut state = caches.state.write();
                let known = state.last_number();
                let unknown = rows.iter().filter(|row| row.number > known);
                unknown.for_each(|row| state.insert(row.number, &row.chunk));
                Ok(())
            })
            .await?;
        }
        self.caches.keywords.made_good(losses);
        self.settle(sequence).await
    }

    async fn write(&self, write: Write) -> Result<u64, VectorError> {
        let _writing = self.writing.lock().await;
        let (change, documents) = match write {
            Write::Put(documents) => (self.rows.put(&documents).await?, documents),
            Write::Documents(keys) => (self.rows.take_out(&Removal::Documents(&keys)).await?, Vec::new()),
            Write::DataSource { owner, data_source } => {
                let removal = Removal::DataSource { owner: &owner, data_source: &data_source };
                (self.rows.take_out(&removal).await?, Vec::new())
            }
        };
        let removed_documents = change.removed_documents;
        if !self.caches.shows(change.sequence - 1) {
            // Somebody else wrote in between; the next search takes in all of it.
            return Ok(removed_documents);
        }
        let (caches, sequence) = (Arc::clone(&self.caches), change.sequence);
        blocking(move || caches.take_in(&change, &documents)).await?;
        self.settle(sequence).await?;
        Ok(removed_documents)
    }

    /// The caches show the rows: says so, and keeps them in shape.
    async fn settle(&self, sequence: i64) -> Result<(), VectorError> {
        let caches = Arc::clone(&self.caches);
        let crowded = blocking(move || {
            caches.sequence.store(sequence, Ordering::Release);
            caches.extend_graph();
            Ok(caches.state.read().is_crowded())
        });
        if !crowded.await? {
            return Ok(());
        }
        let mut fresh = State::new(self.caches.dimensions);
        let mut last = 0;
        loop {
            let rows = self.rows.after(last).await?;
            let Some(row) = rows.last() else { break };
            last = row.number;
            fresh = blocking(move || {
                rows.iter().for_each(|row| fresh.insert(row.number, &row.chunk));
                Ok(fresh)
            })
            .await?;
        }
        let caches = Arc::clone(&self.caches);
        blocking(move || {
            *caches.state.write() = fresh;
            Ok(())
        })
        .await
    }
}

impl Caches {
    fn open(dimensions: usize, directory: PathBuf) -> Result<Self, VectorError> {
        let graph = Graph::load(&directory, dimensions);
        Ok(Self {
            dimensions,
            sequence: AtomicI64::new(0),
            state: RwLock::new(State::new(dimensions)),
            keywords: Keywords::open(&directory.join("words"))?,
            graph: RwLock::new(graph),
            building: AtomicBool::new(false),
            directory,
        })
    }

    /// Whether they show the rows after this many changes, all of them.
    fn shows(&self, sequence: i64) -> bool {
        self.sequence.load(Ordering::Acquire) == sequence && !self.keywords.has_lost()
    }

    /// Takes in a change of the rows; `documents` are what was put in.
    fn take_in(&self, change: &Change, documents: &[DocumentChunks]) -> Result<(), VectorError> {
        let chunks = documents.iter().flat_map(|document| &document.chunks);
        let added: Vec<(u64, &Chunk)> = (change.first_added..).zip(chunks).collect();
        let texts = added.iter().map(|(number, chunk)| (*number, chunk.text.as_str()));
        self.keywords.change(texts, &change.removed)?;
        let mut state = self.state.write();
        change.removed.iter().for_each(|number| state.remove(*number));
        added.iter().for_each(|(number, chunk)| state.insert(*number, chunk));
        Ok(())
    }

    /// Forgets chunks that are not among `present` (ascending). Answers which the word index holds, and the number
    /// after which the rows are to be read.
    fn forget_all_but(&self, present: &[u64]) -> Result<(Arc<HashSet<u64>>, u64), VectorError> {
        // Words may be lost of chunks that the state has: then all rows are read again.
        let has_lost = self.keywords.has_lost();
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
        let after = if has_lost { 0 } else { state.last_number() };
        Ok((Arc::new(held.into_iter().collect()), after))
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
        match graph.as_ref().filter(|graph| graph.wants_saving()) {
            Some(graph) => graph.save(&self.directory),
            None => Ok(()),
        }
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

/// Runs a future on its own, so that it ends also when its caller goes away: half a change of the caches would be taken
/// in once more.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, VectorError>> + Send + 'static,
) -> Result<T, VectorError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(internal(&error)))
}

/// Runs what computes or waits for the disk beside the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VectorError> + Send + 'static,
) -> Result<T, VectorError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(internal(&error)))
}
