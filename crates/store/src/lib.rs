//! Durable records: resources as JSON bodies under (kind, account, region, id), their tags, and idempotency tokens.
//!
//! One generic table holds every kind of resource, so that a capability adds a kind and not a schema. Records are in
//! SQLite with a write-ahead log and `synchronous = FULL`: what was acknowledged survives `kill -9` and power loss.
//! One connection writes (SQLite has one writer anyway, and queueing here beats busy errors), several read. The SQL is
//! kept to what PostgreSQL also runs.

mod error;
mod record;
mod resources;
mod tags;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub use error::StoreError;
pub use record::{Created, Idempotency, NewRecord, Range, Record, Scope};
pub use tags::MAX_TAGS;

/// Connections that read at the same time.
const READERS: u32 = 4;

/// A handle to the records; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Store {
    /// Opens the records in `directory/records.sqlite`, creating both when missing, and migrates them to this release.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(directory)?;
        let options = SqliteConnectOptions::new()
            .filename(directory.join("records.sqlite"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        sqlx::migrate!().run(&writer).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options.create_if_missing(false).read_only(true));
        Ok(Self { writer, readers })
    }

    /// Records that end with the process, for tests and throw-away servers.
    pub async fn in_memory() -> Result<Self, StoreError> {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(SqliteConnectOptions::new().in_memory(true))
            .await?;
        sqlx::migrate!().run(&pool).await?;
        Ok(Self { writer: pool.clone(), readers: pool })
    }

    /// Writes out everything and closes the files. Calls after it fail.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
