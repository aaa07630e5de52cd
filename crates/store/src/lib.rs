//! Durable records, on SQLite (the default) or PostgreSQL, and what is built on them.
//!
//! - **Resources**: JSON bodies under (kind, account, region, id) with names, tags and idempotency tokens. One generic
//!   table holds every kind, so that a capability adds a kind and not a schema.
//! - **[`versions`]**: a resource is the draft of numbered immutable versions, and aliases point at them.
//! - **[`jobs`]**: durable work, enqueued in the transaction of the row it belongs to, leased, retried, resumed.
//! - **Own tables**: [`Store::execute`], [`Store::fetch_all`] and [`Transaction`] run a capability's own statements.
//!
//! One SQL text runs on both databases: parameters are `$1`, `$2`; types are `TEXT`, `BIGINT`, `DOUBLE PRECISION` and
//! `BLOB` (migrations are spelled for PostgreSQL on the way: `BLOB` is `BYTEA` there, and `TEXT` sorts by bytes);
//! sums are cast (`CAST(SUM(n) AS BIGINT)`).
//!
//! SQLite has one writer, so writes queue for one connection here rather than meet busy errors there. Every
//! acknowledged write has reached the disk; writers that commit together share one flush (`flush.rs`). On a full disk
//! writes fail ([`StoreError::is_full`]), but for the few that go by [`Store::must_write`] (`reserve.rs`).

mod connection;
pub mod crash;
mod error;
mod expiry;
mod flush;
pub mod jobs;
mod migrations;
mod notices;
mod record;
mod reserve;
mod resources;
mod row;
mod tags;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod value;
pub mod versions;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::Notify;

pub use error::StoreError;
pub use expiry::Ageing;
pub use notices::Notices;
pub use record::{Created, Idempotency, NewRecord, Place, Range, Record, Scope, fits};
pub use row::{FromValue, Row};
pub use sqlx::{AssertSqlSafe, SqlSafeStr};
pub use tags::MAX_TAGS;
pub use transaction::Transaction;
pub use value::Value;

use crate::flush::Flush;
use crate::reserve::Reserve;

/// Connections that read at the same time from SQLite.
const READERS: u32 = 4;

/// Connections to PostgreSQL.
const CONNECTIONS: u32 = 16;

/// A handle to the records; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    /// Told when a transaction that enqueued or stopped jobs is committed by this process.
    enqueued: Arc<Notify>,
    /// Held while this process alone has the directory open.
    sole: Option<Arc<Sole>>,
}

/// This process alone has the directory open.
#[derive(Debug)]
struct Sole {
    /// Held until the last clone of the store is gone.
    _lock: std::fs::File,
    /// What a process before this one left was taken over.
    taken_over: AtomicBool,
}

#[derive(Debug, Clone)]
enum Database {
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        /// These two where there is a file.
        flush: Option<Arc<Flush>>,
        reserve: Option<Arc<Reserve>>,
    },
    Postgres(PgPool),
}

impl Store {
    /// Opens the records in `directory/records.sqlite`, creating both when missing, and migrates them to this release.
    pub async fn open(directory: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(directory)?;
        let file = directory.join("records.sqlite");
        for_owner_only(&file)?;
        let flush = Arc::new(Flush::of(&file));
        let reserve = Arc::new(Reserve::of(&file, flush.log()));
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            // A full disk and the like have SQLite itself undo a transaction. The library's own undoing then fails, and its
            // connection would refuse every transaction after it.
            .before_acquire(|connection, _| {
                Box::pin(async move { Ok(!sqlx::Connection::is_in_transaction(connection)) })
            })
            .connect_with(options.clone())
            .await?;
        migrations::for_sqlite().run(&writer).await?;
        flush.flush().await?;
        reserve.fill();
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(options.create_if_missing(false).read_only(true));
        let lock = std::fs::File::create(directory.join("records.lock"))?;
        let sole = lock.try_lock().is_ok();
        let sole = sole.then(|| Arc::new(Sole { _lock: lock, taken_over: AtomicBool::new(false) }));
        let (flush, reserve) = (Some(flush), Some(reserve));
        Ok(Self { sole, ..Self::on(Database::Sqlite { writer, readers, flush, reserve }) })
    }

    /// Connects to PostgreSQL (`postgres://user:password@host/database`) and migrates its records to this release.
    /// Several servers may share one database.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(StoreError::Url);
        }
        let options: PgConnectOptions = url.parse().map_err(|_| StoreError::Url)?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options.application_name("craton"))
            .await?;
        migrations::for_postgres().run(&pool).await?;
        Ok(Self::on(Database::Postgres(pool)))
    }

    /// Records that end with the process, for tests and throw-away servers. They have one connection: while a
    /// transaction is open, everything else waits.
    pub async fn in_memory() -> Result<Self, StoreError> {
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(SqliteConnectOptions::new().in_memory(true))
            .await?;
        migrations::for_sqlite().run(&pool).await?;
        Ok(Self::on(Database::Sqlite { writer: pool.clone(), readers: pool, flush: None, reserve: None }))
    }

    fn on(database: Database) -> Self {
        Self { database, enqueued: Arc::new(Notify::new()), sole: None }
    }

    /// Whether the records are on PostgreSQL, where several servers may share them.
    pub fn is_shared(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }

    /// Whether leases that are in the records are those of a dead process: nobody else has the directory open, and
    /// this process has not worked on jobs yet. True once.
    pub(crate) fn takes_over(&self) -> bool {
        self.sole.as_ref().is_some_and(|sole| !sole.taken_over.swap(true, Ordering::SeqCst))
    }

    /// Writes out everything and closes the files. Calls after it fail.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Database::Postgres(pool) => pool.close().await,
        }
    }
}

/// Makes the file, readable by its owner alone, or closes one that others can read. SQLite gives the files beside it
/// the same rights.
fn for_owner_only(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}
