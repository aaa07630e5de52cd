//! Group commit for SQLite: one flush of the write-ahead log serves every commit that came before it.
//!
//! With `synchronous = FULL` each commit pays its own flush (milliseconds) while it holds the only writer. With
//! `NORMAL` a commit is written but not flushed, and SQLite still flushes the log before each checkpoint and its header
//! on reuse. What FULL adds, the flush after each commit, is done here instead, after the writer has been handed on,
//! and a commit is acknowledged only when a flush that began after it has ended.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Flushes of one database's log.
#[derive(Debug)]
pub(crate) struct Flush {
    log: PathBuf,
    /// Commits that asked for a flush so far.
    asked: AtomicU64,
    /// Of those, how many are covered by a flush that has ended.
    covered: Mutex<u64>,
}

impl Flush {
    /// For the database in `file`.
    pub(crate) fn of(file: &Path) -> Self {
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        Self { log: log.into(), asked: AtomicU64::new(0), covered: Mutex::new(0) }
    }

    /// The write-ahead log's file.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Returns when everything committed before the call has reached the disk.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut covered = self.covered.lock().await;
        if *covered >= ticket {
            return Ok(());
        }
        let covers = self.asked.load(Ordering::SeqCst);
        let log = self.log.clone();
        // Opened anew each time: SQLite may have replaced the file. No log means that all of it was checkpointed.
        let flushed = tokio::task::spawn_blocking(move || match std::fs::File::open(&log) {
            Ok(file) => file.sync_data(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        });
        flushed.await.map_err(io::Error::other)??;
        *covered = covers;
        Ok(())
    }
}
