//! The one mapping of what can go wrong below a handler to AWS's errors.

use craton_store::StoreError;
use craton_vectors::VectorError;
use craton_wire::ApiError;

pub(super) fn from_vectors(error: VectorError) -> ApiError {
    match error {
        VectorError::Invalid(message) => ApiError::validation(message),
        VectorError::Unavailable(reason) => {
            tracing::warn!(reason, "a vector store can't be used");
            ApiError::new(
                "DependencyFailedException",
                "The knowledge base's vector store can't be used at the moment. Try again.",
            )
        }
        other => internal(&other),
    }
}

pub(super) fn from_store(error: StoreError) -> ApiError {
    internal(&error)
}

/// Details of a fault of ours go to the log, not to the client.
pub(super) fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "retrieval failed");
    ApiError::internal("The server could not complete the request. See its log.")
}
