//! Room on the disk that is kept for what must be written although there is none left: how a job ended, and why.
//!
//! A file of zeros lies beside SQLite's. When a small write fails for want of room, [`Store::must_write`] does it once
//! more while that file is let go, and takes what is left of its room back behind it; the rest comes back when the disk
//! has room again. Everything else meets the full disk, so a client that fills it can't use this room up.
//!
//! A commit needs room for its pages at the end of the write-ahead log and now and then for the log's index. It may also
//! have the log copied into the database's file, after which the log begins anew and grows no more. That needs at most
//! the log's own length, so where the log is longer than the reserve it is not copied meanwhile.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use crate::{Database, Store, StoreError, Transaction, crash};

/// Twice what the log grows to before SQLite copies it of itself (1,000 pages).
const BYTES: u64 = 8 << 20;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

#[derive(Debug)]
pub(crate) struct Reserve {
    file: PathBuf,
    log: PathBuf,
    /// Some of it is not there.
    short: AtomicBool,
    /// The writer's connection does not copy the log.
    log_kept: AtomicBool,
    /// It is let go for the transaction that has, or just had, the writer.
    open: AtomicBool,
    closed: Notify,
    turn: Arc<Mutex<()>>,
}

impl Reserve {
    /// For the database in `file`. What an earlier process kept is let go, for opening needs room too: call
    /// [`Self::fill`] after it.
    pub(crate) fn of(file: &Path, log: &Path) -> Self {
        let reserve = Self {
            file: file.with_extension("reserve"),
            log: log.to_owned(),
            short: AtomicBool::new(true),
            log_kept: AtomicBool::new(false),
            open: AtomicBool::new(false),
            closed: Notify::new(),
            turn: Arc::default(),
        };
        reserve.let_go();
        reserve
    }

    /// Bytes that were let go.
    fn let_go(&self) -> u64 {
        let emptied = std::fs::OpenOptions::new().write(true).open(&self.file).and_then(|file| {
            let bytes = file.metadata()?.len();
            file.set_len(0)?;
            Ok(bytes)
        });
        self.short.store(true, Ordering::SeqCst);
        emptied.unwrap_or_default()
    }

    /// Takes what is missing, as far as there is room.
    pub(crate) fn fill(&self) {
        match self.take() {
            Ok(bytes) => self.short.store(bytes < BYTES, Ordering::SeqCst),
            Err(error) => {
                tracing::warn!(%error, file = %self.file.display(), "no room is kept for last words")
            }
        }
    }

    fn take(&self) -> std::io::Result<u64> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).append(true).mode(0o600).open(&self.file)?;
        let mut bytes = file.metadata()?.len();
        while bytes < BYTES {
            let most = usize::try_from(BYTES - bytes).unwrap_or(ZEROS.len()).min(ZEROS.len());
            match file.write(&ZEROS[..most]) {
                Ok(0) => break,
                Ok(written) => bytes += written as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }

    pub(crate) async fn lend(self: &Arc<Self>) -> Lent {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        Lent { reserve: Arc::clone(self), _turn: turn }
    }

    /// Returns when what was let go for the writer before this one is taken back.
    pub(crate) async fn closed(&self) {
        loop {
            let closed = self.closed.notified();
            if !self.open.load(Ordering::SeqCst) {
                return;
            }
            closed.await;
        }
    }

    /// For who has the writer: lets the reserve go if it is lent, and answers what the connection is to be told, if
    /// anything.
    pub(crate) fn before_writing(&self, lent: Option<&Lent>) -> Option<&'static str> {
        let keep_log = lent.is_some_and(|lent| {
            self.open.store(true, Ordering::SeqCst);
            let room = lent.reserve.let_go();
            crash::point("reserve let go");
            std::fs::metadata(&self.log).is_ok_and(|log| log.len() > room)
        });
        match (self.log_kept.swap(keep_log, Ordering::SeqCst), keep_log) {
            (false, true) => Some("PRAGMA wal_autocheckpoint = 0"),
            (true, false) => Some("PRAGMA wal_autocheckpoint = 1000"),
            _ => None,
        }
    }
}

/// The reserve, while somebody writes on it.
#[derive(Debug)]
pub(crate) struct Lent {
    reserve: Arc<Reserve>,
    _turn: OwnedMutexGuard<()>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        crash::point("reserve written on");
        self.reserve.fill();
        self.reserve.open.store(false, Ordering::SeqCst);
        self.reserve.closed.notify_waiters();
    }
}

impl Store {
    /// Does a small write that must come through: where there is no room for it, once more on the room that is kept for
    /// such. `write` commits the transaction it is given, and may be called twice.
    pub async fn must_write<T, W>(&self, write: impl Fn(Transaction) -> W) -> Result<T, StoreError>
    where
        W: Future<Output = Result<T, StoreError>>,
    {
        let first = match self.begin().await {
            Ok(transaction) => write(transaction).await,
            Err(error) => Err(error),
        };
        match first {
            Err(error) if error.is_full() => write(self.begin_on_reserve().await?).await,
            done => done,
        }
    }

    /// Begins a transaction that may use the room that is kept for small writes that must come through, and for those
    /// that make room. Try without it first.
    pub async fn begin_on_reserve(&self) -> Result<Transaction, StoreError> {
        let lent = match &self.database {
            Database::Sqlite { reserve: Some(reserve), .. } => Some(reserve.lend().await),
            _ => None,
        };
        Transaction::begin(&self.database, &self.enqueued, lent).await
    }

    /// Takes back what is missing of the room that is kept, as far as there is room. Cheap when nothing is.
    pub(crate) async fn fill_reserve(&self) {
        let Database::Sqlite { reserve: Some(reserve), .. } = &self.database else { return };
        if reserve.short.load(Ordering::SeqCst) {
            // It is filled when it is given back.
            drop(reserve.lend().await);
        }
    }
}
