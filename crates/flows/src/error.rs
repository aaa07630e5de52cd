//! The one mapping of what can go wrong below a handler to what its client is told.

use craton_store::StoreError;
use craton_wire::ApiError;

pub(crate) fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::NameTaken { kind, name } => {
            let what = kind.replace('-', " ");
            ApiError::conflict(format!("A {what} with the name {name} already exists. Choose another name."))
        }
        StoreError::TokenReused => {
            ApiError::conflict("The client token was used in an earlier request with different parameters.")
        }
        StoreError::VersionMismatch { .. } => {
            ApiError::conflict("The flow was changed by another request. Try again.")
        }
        StoreError::NotFound { kind, id } if kind == "version" => {
            ApiError::not_found(format!("Could not find version {id} of the flow."))
        }
        StoreError::NotFound { kind, id } if kind == "alias" => {
            ApiError::not_found(format!("Could not find the flow alias {id}."))
        }
        StoreError::NotFound { id, .. } => flow_not_found(&id),
        StoreError::TooManyTags { limit } => ApiError::quota_exceeded(format!(
            "The resource would have more tags than the {limit} it can have."
        )),
        full if full.is_full() => ApiError::no_space(),
        other => internal(&other),
    }
}

pub(crate) fn flow_not_found(identifier: &str) -> ApiError {
    ApiError::not_found(format!("Could not find the flow {identifier}."))
}

/// Details of a fault of ours go to the log, not to the client.
pub(crate) fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "a flow operation failed");
    ApiError::internal("The server could not complete the request. See its log.")
}
