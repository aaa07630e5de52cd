//! The one mapping of what can go wrong below a handler to AWS's errors.

use craton_store::StoreError;
use craton_vectors::VectorError;
use craton_wire::ApiError;

pub(crate) fn from_store(error: StoreError) -> ApiError {
    match error {
        StoreError::NameTaken { name, .. } => {
            ApiError::conflict(format!("A resource with the name {name} already exists."))
        }
        StoreError::TokenReused => {
            ApiError::conflict("The client token was used in an earlier request with different parameters.")
        }
        StoreError::VersionMismatch { .. } => {
            ApiError::conflict("The resource was changed by another request. Try again.")
        }
        StoreError::TooManyTags { limit } => {
            ApiError::quota_exceeded(format!("A resource can have at most {limit} tags."))
        }
        full if full.is_full() => ApiError::no_space(),
        other => internal(&other),
    }
}

pub(crate) fn from_vectors(error: VectorError) -> ApiError {
    match error {
        VectorError::Invalid(message) => ApiError::validation(message),
        VectorError::Dimensions { .. } => ApiError::validation(error.to_string()),
        VectorError::Store(error) => from_store(error),
        other => internal(&other),
    }
}

/// Details of a fault of ours go to the log, not to the client.
pub(crate) fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "a collection operation failed");
    ApiError::internal("The server could not complete the request. See its log.")
}
