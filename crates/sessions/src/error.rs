use craton_store::StoreError;
use craton_wire::ApiError;

/// The one mapping of what the records say to what a client is told.
pub(crate) fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::NameTaken { .. } => ApiError::conflict("The id is in use already."),
        StoreError::VersionMismatch { .. } => {
            ApiError::conflict("The session was changed by another request. Try again.")
        }
        StoreError::TooManyTags { limit } => {
            ApiError::quota_exceeded(format!("A session can have at most {limit} tags."))
        }
        full if full.is_full() => ApiError::no_space(),
        other => internal(&other),
    }
}

pub(crate) fn internal(error: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(%error, "a session operation failed");
    ApiError::internal("The server could not complete the request. See its log.")
}

pub(crate) fn missing(what: &str, id: &str) -> ApiError {
    ApiError::not_found(format!("Could not find the {what} {id}."))
}
