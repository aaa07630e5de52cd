use craton_store::StoreError;

use crate::policy::Malformed;

/// Why the directory refuses a change, in IAM's words.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error("{0}")]
    AlreadyExists(String),
    #[error("{0}")]
    NoSuchEntity(String),
    #[error("{0}")]
    DeleteConflict(String),
    #[error("{0}")]
    LimitExceeded(String),
    #[error("{0}")]
    InvalidInput(String),
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Somebody else was first.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    NotAttachable(String),
    #[error("{0}")]
    Unmodifiable(String),
    #[error("secrets can't be encrypted or read: {0}")]
    Secrets(#[from] super::vault::VaultError),
    #[error("the records of users and roles can't be read or written: {0}")]
    Store(#[from] StoreError),
    #[error("the change was broken off; whether it was made is in the records")]
    Interrupted,
    #[error("a stored {kind} is not readable: {source}")]
    Corrupt { kind: &'static str, source: serde_json::Error },
}

impl DirectoryError {
    pub(crate) fn taken(kind: &str, name: &str) -> Self {
        Self::AlreadyExists(format!("{kind} with name {name} already exists."))
    }

    /// `kind` in lower case: `user`, `role`, `user policy`.
    pub(crate) fn unknown(kind: &str, name: &str) -> Self {
        Self::NoSuchEntity(format!("The {kind} with name {name} cannot be found."))
    }

    pub(crate) fn unknown_policy(arn: &str) -> Self {
        Self::NoSuchEntity(format!("Policy {arn} was not found."))
    }

    pub(crate) fn quota(name: &str, limit: usize) -> Self {
        Self::LimitExceeded(format!("Cannot exceed quota for {name}: {limit}"))
    }
}
