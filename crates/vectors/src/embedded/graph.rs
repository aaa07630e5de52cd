//! The neighbourhood graph (HNSW, `usearch`): a cache of the rows' vectors for searches that are too wide to scan.
//!
//! It holds the chunks up to a number; later ones are scanned until it has caught up. Chunks are never changed and
//! their numbers never used again, so a snapshot needs no more than that number to be brought up to date: chunks that
//! are gone are passed over by the search, and when they are many the graph is built anew.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use usearch::ffi::{IndexOptions, MetricKind, ScalarKind};

use crate::VectorError;

/// Neighbours a node, and candidates looked at when adding one.
const CONNECTIVITY: usize = 16;
const EXPANSION_ADD: usize = 128;
/// Candidates looked at in a search, at least.
const EXPANSION_SEARCH: usize = 128;
/// Searches and additions at the same time; more are refused by the library.
const THREADS: usize = 32;

pub(super) struct Graph {
    index: usearch::Index,
    /// Chunks up to this number are in it.
    through: AtomicU64,
    /// Chunks in the last snapshot.
    saved: AtomicUsize,
}

impl Graph {
    pub(super) fn new(dimensions: usize) -> Result<Self, VectorError> {
        let index = usearch::new_index(&options(dimensions)).map_err(of_library)?;
        let graph = Self { index, through: AtomicU64::new(0), saved: AtomicUsize::new(0) };
        graph.reserve(0)?;
        Ok(graph)
    }

    /// The newest snapshot in a folder, if one can be read.
    pub(super) fn load(directory: &Path, dimensions: usize) -> Option<Self> {
        let (through, path) = snapshots(directory).pop()?;
        let graph = Self::new(dimensions).ok()?;
        match graph.index.load(path.to_str()?) {
            Ok(()) if graph.index.dimensions() == dimensions => {
                graph.reserve(graph.index.size()).ok()?;
                graph.reached(through);
                graph.saved.store(graph.len(), Ordering::Release);
                Some(graph)
            }
            outcome => {
                tracing::warn!(?outcome, path = %path.display(), "leaving a damaged snapshot of a graph");
                let _ = std::fs::remove_file(path);
                None
            }
        }
    }

    /// Whether enough has come since the last snapshot that another is worth its writing: what it lacks is added again
    /// after a restart.
    pub(super) fn wants_saving(&self) -> bool {
        let saved = self.saved.load(Ordering::Acquire);
        self.len() > saved + saved / 10
    }

    /// Writes a snapshot, and removes older ones when it is in place.
    pub(super) fn save(&self, directory: &Path) -> Result<(), VectorError> {
        std::fs::create_dir_all(directory)?;
        let partial = directory.join("graph.partial");
        let name = partial.to_str().ok_or_else(|| VectorError::Internal("a path is not UTF-8".into()))?;
        let held = self.len();
        self.index.save(name).map_err(of_library)?;
        std::fs::File::open(&partial)?.sync_all()?;
        let older = snapshots(directory);
        std::fs::rename(&partial, directory.join(format!("graph-{:020}", self.through())))?;
        std::fs::File::open(directory)?.sync_all()?;
        self.saved.store(held, Ordering::Release);
        for (through, path) in older {
            if through != self.through() {
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.index.size()
    }

    /// Chunks up to this number are in it.
    pub(super) fn through(&self) -> u64 {
        self.through.load(Ordering::Acquire)
    }

    /// Says that every chunk up to `number` has been added.
    pub(super) fn reached(&self, number: u64) {
        self.through.store(number, Ordering::Release);
    }

    pub(super) fn has_room(&self, more: usize) -> bool {
        self.index.size() + more <= self.index.capacity()
    }

    /// Makes room for `count` chunks. Not while others search or add.
    pub(super) fn reserve(&self, count: usize) -> Result<(), VectorError> {
        let count = count + count / 4 + 1024;
        self.index.reserve_capacity_and_threads(count, THREADS).map_err(of_library)
    }

    /// Adds chunks, while others search. There must be room.
    pub(super) fn add(&self, chunks: &[(u64, Vec<f32>)]) -> Result<(), VectorError> {
        for (number, vector) in chunks {
            // One that is there already was added before an interruption.
            if !self.index.contains(*number) {
                self.index.add(*number, vector).map_err(of_library)?;
            }
        }
        Ok(())
    }

    /// Numbers of about the `limit` nearest chunks that are allowed, in no order that counts.
    pub(super) fn nearest(
        &self,
        query: &[f32],
        limit: usize,
        allowed: impl Fn(u64) -> bool,
    ) -> Result<Vec<u64>, VectorError> {
        let wanted = limit.max(EXPANSION_SEARCH);
        let matches = self.index.filtered_search(query, wanted, allowed).map_err(of_library)?;
        Ok(matches.keys)
    }
}

fn options(dimensions: usize) -> IndexOptions {
    IndexOptions {
        dimensions,
        metric: MetricKind::IP,
        quantization: ScalarKind::BF16,
        connectivity: CONNECTIVITY,
        expansion_add: EXPANSION_ADD,
        expansion_search: EXPANSION_SEARCH,
        multi: false,
    }
}

/// Snapshots in a folder with the numbers they reach, oldest first.
fn snapshots(directory: &Path) -> Vec<(u64, PathBuf)> {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = files
        .filter_map(|file| {
            let name = file.file_name().into_string().ok()?;
            Some((name.strip_prefix("graph-")?.parse().ok()?, file.path()))
        })
        .collect();
    found.sort_unstable();
    found
}

fn of_library(error: impl std::fmt::Display) -> VectorError {
    VectorError::Internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_found_again_and_a_damaged_one_left() {
        let directory = tempfile::tempdir().unwrap();
        let graph = Graph::new(4).unwrap();
        let angle = |n: u64| f32::from(u16::try_from(n).unwrap()) / 100.0;
        let chunks: Vec<(u64, Vec<f32>)> =
            (1..=100).map(|n| (n, vec![angle(n).cos(), angle(n).sin(), 0.0, 0.0])).collect();
        graph.add(&chunks[..50]).unwrap();
        graph.reached(50);
        graph.save(directory.path()).unwrap();
        graph.add(&chunks[50..]).unwrap();
        graph.reached(100);
        graph.save(directory.path()).unwrap();
        assert_eq!(snapshots(directory.path()).len(), 1);
        assert!(!graph.wants_saving());
        graph.add(&[(101, vec![0.0, 1.0, 0.0, 0.0])]).unwrap();
        assert!(!graph.wants_saving(), "one of a hundred can wait");
        let more: Vec<_> = (102..=111).map(|n| (n, vec![0.0, 1.0, 0.0, 0.0])).collect();
        graph.reserve(200).unwrap();
        graph.add(&more).unwrap();
        assert!(graph.wants_saving());
        let loaded = Graph::load(directory.path(), 4).unwrap();
        assert_eq!((loaded.through(), loaded.len()), (100, 100));
        let found = loaded.nearest(&[1.0, 0.0, 0.0, 0.0], 3, |n| n > 60).unwrap();
        assert!(found.contains(&61) && !found.contains(&1), "{found:?}");
        std::fs::write(directory.path().join(format!("graph-{:020}", 200)), "nonsense").unwrap();
        assert!(Graph::load(directory.path(), 4).is_none());
        assert_eq!(Graph::load(directory.path(), 4).unwrap().through(), 100);
    }
}
