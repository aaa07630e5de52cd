//! The one mapping of what can go wrong here to what a client is told.

use craton_store::StoreError;
use craton_wire::ApiError;

pub(crate) fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::NameTaken { name, .. } => ApiError::conflict(format!(
            "Another guardrail in your account already has the name {name}. Choose another name and try again."
        )),
        StoreError::TokenReused => ApiError::conflict(
            "The client request token was used in an earlier request with different parameters.",
        ),
        StoreError::NotFound { .. } => ApiError::not_found("The guardrail does not exist."),
        StoreError::VersionMismatch { .. } => {
            ApiError::conflict("The guardrail was changed by another request. Try again.")
        }
        StoreError::TooManyTags { limit } => ApiError::new(
            "TooManyTagsException",
            format!("The resource would have more tags than the {limit} it can have."),
        ),
        full if full.is_full() => ApiError::no_space(),
        other => {
            tracing::error!(error = %other, "a guardrail operation failed");
            ApiError::internal("The server could not complete the request. See its log.")
        }
    }
}

pub(crate) fn unreadable(error: serde_json::Error) -> ApiError {
    store_error(StoreError::from(error))
}

pub(crate) fn not_found(identifier: &str) -> ApiError {
    ApiError::not_found(format!("The guardrail {identifier} could not be found."))
}
