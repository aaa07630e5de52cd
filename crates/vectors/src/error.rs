/// Why an index could not be written or searched.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// A vector has another length than the index's vectors.
    #[error("the vector has {found} dimensions; this index holds vectors of {expected}")]
    Dimensions { expected: usize, found: usize },
    /// The caller's request can't be right: an empty query, a filter beyond its bounds.
    #[error("{0}")]
    Invalid(String),
    /// The store behind this index can't be reached, or can't answer now.
    #[error("the vector store can't be used: {0}")]
    Unavailable(String),
    /// The store behind this index refuses, and will until its or our configuration is another.
    #[error("the vector store refuses: {0}")]
    Refused(String),
    /// What the store holds is not readable.
    #[error("a stored chunk is not readable: {0}")]
    Corrupt(String),
    #[error(transparent)]
    Store(#[from] craton_store::StoreError),
    #[error("the files of an index can't be used: {0}")]
    Io(#[from] std::io::Error),
    /// A fault of ours or of a library.
    #[error("the index failed: {0}")]
    Internal(String),
}
