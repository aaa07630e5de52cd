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
    #[error("the records could not be read or written: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the records could not be brought to this release's form: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    #[error("a stored record is not readable: {0}")]
    Corrupt(#[from] serde_json::Error),
    #[error("the data directory can't be used: {0}")]
    Io(#[from] std::io::Error),
}
