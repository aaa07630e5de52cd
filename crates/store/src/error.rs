/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another resource of this kind already has the name (or the id).
    #[error("a {kind} named '{name}' already exists")]
    NameTaken { kind: String, name: String },
    /// The idempotency token was used before with a different request.
    #[error("the idempotency token was used before with different parameters")]
    TokenReused,
    /// The record is not there.
    #[error("no {kind} with the id '{id}'")]
    NotFound { kind: String, id: String },
    /// Someone else changed the record since it was read.
    #[error("the {kind} '{id}' was changed meanwhile")]
    VersionMismatch { kind: String, id: String },
    /// More tags than a resource may carry.
    #[error("a resource can have at most {limit} tags")]
    TooManyTags { limit: usize },
    /// An unfinished job of the kind has the same exclusive key.
    #[error("a {kind} job for '{key}' is not finished")]
    JobActive { kind: String, key: String },
    /// The job's lease ended or was taken over: what the worker was about to write is someone else's to write.
    #[error("the job {id} is no longer this worker's")]
    LeaseLost { id: String },
    #[error("the database's URL must be postgres://user:password@host/database")]
    Url,
    /// A statement's answer has no such column, or not of the type asked for.
    #[error("the column '{name}' is missing or of another type")]
    Column { name: String },
    #[error("the records could not be read or written: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the records could not be brought to this release's form: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("a stored record is not readable: {0}")]
    Corrupt(#[from] serde_json::Error),
    #[error("the data directory can't be used: {0}")]
    Io(#[from] std::io::Error),
}

impl StoreError {
    /// Whether there is no space left to write to.
    pub fn is_full(&self) -> bool {
        match self {
            // SQLite's SQLITE_FULL and (for the log's index) SQLITE_IOERR_SHMSIZE, PostgreSQL's disk_full.
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| matches!(&*code, "13" | "4874" | "53100"))
            }
            Self::Io(error) => error.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    /// Whether a statement broke a unique index or primary key.
    pub fn is_unique_violation(&self) -> bool {
        match self {
            Self::Database(error) => {
                error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
            }
            _ => false,
        }
    }
}
