//! The one error type handlers return, and how it reaches the client.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// An error as AWS clients see it: a modelled name, a message, and the modelled fields of that name.
///
/// The HTTP status comes from the service's table, because one name has different statuses in different services.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The exception's name, such as `ValidationException`.
    pub code: Cow<'static, str>,
    pub message: String,
    /// Modelled members besides `message` (`fieldList`, `originalStatusCode`, `resourceName`…).
    pub fields: Map<String, Value>,
    /// Seconds for a `Retry-After` header.
    pub retry_after_s: Option<u64>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:literal),+ $(,)?) => {
        impl ApiError {$(
            $(#[$doc])*
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new($code, message)
            }
        )+}
    };
}

constructors! {
    validation => "ValidationException",
    access_denied => "AccessDeniedException",
    not_found => "ResourceNotFoundException",
    conflict => "ConflictException",
    throttling => "ThrottlingException",
    quota_exceeded => "ServiceQuotaExceededException",
    internal => "InternalServerException",
    unavailable => "ServiceUnavailableException",
    model_timeout => "ModelTimeoutException",
    model_error => "ModelErrorException",
    model_stream_error => "ModelStreamErrorException",
    model_not_ready => "ModelNotReadyException",
    /// An operation or service this server does not know.
    unknown_operation => "UnknownOperationException",
    /// A modelled operation that this release does not serve. Says so instead of inventing a success.
    not_served => "UnknownOperationException",
    invalid_signature => "InvalidSignatureException",
    unrecognized_client => "UnrecognizedClientException",
    incomplete_signature => "IncompleteSignatureException",
    missing_authentication => "MissingAuthenticationTokenException",
    expired_token => "ExpiredTokenException",
}

impl ApiError {
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), fields: Map::new(), retry_after_s: None }
    }

    #[must_use]
    pub fn with_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, seconds: Option<u64>) -> Self {
        self.retry_after_s = seconds;
        self
    }
}
