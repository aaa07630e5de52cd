use craton_store::StoreError;

/// Why an object operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("the bucket '{0}' does not exist")]
    NoSuchBucket(String),
    #[error("the bucket '{0}' exists already")]
    BucketExists(String),
    #[error("the bucket '{0}' is not empty")]
    BucketNotEmpty(String),
    #[error("'{0}' is not a bucket's name")]
    InvalidBucketName(String),
    /// `delete_marker`: the newest version is a delete marker, with this version id.
    #[error("the key '{key}' does not exist")]
    NoSuchKey { key: String, delete_marker: Option<String> },
    #[error("the version '{version}' of '{key}' does not exist")]
    NoSuchVersion { key: String, version: String },
    /// The named version is a delete marker, which has no content.
    #[error("the version '{version}' of '{key}' is a delete marker")]
    IsDeleteMarker { key: String, version: String, modified_ms: i64 },
    #[error("the upload '{0}' does not exist; it may have been completed or aborted")]
    NoSuchUpload(String),
    #[error("the key is longer than {limit} bytes")]
    KeyTooLong { limit: usize },
    #[error("the metadata is larger than {limit} bytes")]
    MetadataTooLarge { limit: usize },
    /// A tag that can't be, or too many.
    #[error("{0}")]
    InvalidTag(String),
    #[error("{0}")]
    InvalidArgument(String),
    #[error("at least one of the preconditions did not hold: {condition}")]
    PreconditionFailed { condition: &'static str },
    #[error("not modified")]
    NotModified { etag: String, modified_ms: i64 },
    #[error("the range is not within the object's {size} bytes")]
    InvalidRange { size: u64 },
    #[error("the part {0} does not exist")]
    InvalidPartNumber(u32),
    /// What arrived is not what the client said it sends.
    #[error("the {what} of what was received is not the one that was given")]
    BadDigest { what: &'static str },
    #[error("{received} bytes arrived where {expected} were announced")]
    IncompleteBody { expected: u64, received: u64 },
    #[error("{size} bytes are more than the {limit} allowed")]
    EntityTooLarge { size: u64, limit: u64 },
    #[error("part {number} is smaller than {limit} bytes, and not the last")]
    EntityTooSmall { number: u32, limit: u64 },
    #[error("part {0} was not uploaded, or with another entity tag")]
    InvalidPart(u32),
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    /// A completed upload is not as large as the client said.
    #[error("the object has {found} bytes where {expected} were announced")]
    WrongObjectSize { expected: u64, found: u64 },
    /// The client's body broke off.
    #[error("the body broke off: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// A real S3 refused.
    #[error("the object store answered {status} {code}: {message}")]
    Remote { status: u16, code: String, message: String },
    /// A real S3 could not be reached, or did not answer as one.
    #[error("the object store can't be reached: {0}")]
    Unreachable(String),
    #[error("the object's file can't be read or written: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row or file that should not be as it is.
    #[error("stored data is not readable: {0}")]
    Corrupt(String),
}

impl ObjectError {
    /// Whether there is no space left, for the object's file or for its record.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io(error) => error.kind() == std::io::ErrorKind::StorageFull,
            Self::Store(error) => error.is_full(),
            _ => false,
        }
    }
}

impl From<serde_json::Error> for ObjectError {
    fn from(error: serde_json::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<sqlx::Error> for ObjectError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(StoreError::Database(error))
    }
}
