use std::time::Duration;

/// Why a backend could not answer, in terms that every front end can translate.
///
/// `craton-inference` owns the one mapping to AWS error names.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BackendError {
    /// The request itself is wrong: a field out of range, an unknown tool, malformed content.
    #[error("{0}")]
    Invalid(String),
    /// The same, as an upstream says it in its own words.
    #[error("{0}")]
    Refused(String),
    /// The model behind this backend cannot do what was asked (images, tools, embeddings…).
    #[error("{0}")]
    Unsupported(String),
    /// The prompt, or the prompt plus the requested output, does not fit the model's context.
    #[error("the request has {tokens} tokens, more than the model's context of {limit}")]
    ContextOverflow { tokens: u32, limit: u32 },
    /// The queue or the upstream's rate limit is full.
    #[error("{message}")]
    Overloaded { message: String, retry_after: Option<Duration> },
    /// The backend exists but has not loaded its model yet.
    #[error("{0}")]
    NotReady(String),
    /// No answer in time.
    #[error("the model did not answer within {0:?}")]
    Timeout(Duration),
    /// The upstream can't be reached or refused the connection.
    #[error("{0}")]
    Unreachable(String),
    /// The upstream does not accept Craton's own credentials.
    #[error("{0}")]
    UpstreamUnauthenticated(String),
    /// The upstream accepts Craton's own credentials and does not let them do what was asked.
    #[error("{0}")]
    UpstreamDenied(String),
    /// The upstream answered with an error of its own.
    #[error("{message}")]
    Upstream { status: u16, message: String },
    /// The answer broke off or could not be read after it had begun.
    #[error("{0}")]
    BrokenStream(String),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}
