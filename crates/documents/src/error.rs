use std::time::Duration;

/// Why a document gave no text, in words for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("'{0}' is not a document format")]
    UnknownFormat(String),
    #[error("{0}")]
    Unsupported(&'static str),
    #[error("it is not well-formed: {0}")]
    Malformed(String),
    #[error("it is encrypted")]
    Encrypted,
    #[error("it is binary data of no kind that can be read")]
    Binary,
    #[error("{what} has more than {limit_bytes} bytes")]
    TooLarge { what: &'static str, limit_bytes: usize },
    #[error("{0}")]
    TooComplex(String),
    #[error("reading it took more than {0:?}")]
    TimedOut(Duration),
    /// The server's fault, not the document's.
    #[error("too many documents are being read at once")]
    Busy,
}

impl DocumentError {
    pub(crate) fn malformed(reason: impl std::fmt::Display) -> Self {
        Self::Malformed(reason.to_string())
    }
}
