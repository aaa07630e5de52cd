use craton_store::StoreError;
use craton_wire::ApiError;

use crate::template::TemplateError;

/// The one mapping of what the records say to what a client is told.
pub(crate) fn store_error(error: &StoreError) -> ApiError {
    match error {
        StoreError::NameTaken { name, .. } => {
            ApiError::conflict(format!("A prompt with the name {name} already exists. Choose another name."))
        }
        StoreError::TokenReused => {
            ApiError::conflict("The client token was used in an earlier request with different parameters.")
        }
        StoreError::VersionMismatch { .. } => {
            ApiError::conflict("The prompt was changed by another request. Try again.")
        }
        StoreError::NotFound { id, .. } => prompt_not_found(id),
        StoreError::TooManyTags { limit } => {
            ApiError::validation(format!("A prompt can have at most {limit} tags. Send fewer and try again."))
        }
        full if full.is_full() => ApiError::no_space(),
        other => {
            tracing::error!(error = %other, "a prompt operation failed");
            ApiError::internal("The server could not complete the request. See its log.")
        }
    }
}

pub(crate) fn prompt_not_found(identifier: &str) -> ApiError {
    ApiError::not_found(format!("Could not find the prompt {identifier}."))
}

pub(crate) fn template_error(error: &TemplateError) -> ApiError {
    ApiError::validation(error.to_string())
}
