use craton_store::StoreError;
use craton_wire::error::ApiError;

use crate::config::ConfigError;
use crate::files::FilesError;

/// Why models could not be set up, listed or changed.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The one mapping of what can go wrong below a handler to what its client is told.
impl From<ModelsError> for ApiError {
    fn from(error: ModelsError) -> Self {
        match error {
            ModelsError::Store(error) => store_error(&error),
            ModelsError::Config(_) | ModelsError::Files(_) => internal(&error),
        }
    }
}

pub(crate) fn store_error(error: &StoreError) -> ApiError {
    match error {
        StoreError::NameTaken { name, .. } => {
            ApiError::conflict(format!("The resource name {name} is already in use. Choose another name."))
        }
        StoreError::TokenReused => ApiError::conflict(
            "The client request token was used in an earlier request with different parameters.",
        ),
        StoreError::NotFound { .. } => ApiError::not_found("The specified resource does not exist."),
        StoreError::VersionMismatch { .. } => {
            ApiError::conflict("The resource was changed by another request. Try again.")
        }
        StoreError::TooManyTags { limit } => ApiError::new(
            "TooManyTagsException",
            format!("The resource would have more tags than the {limit} it can have."),
        ),
        full if full.is_full() => ApiError::no_space(),
        _ => internal(error),
    }
}

/// Details of a fault of ours go to the log, not to the client.
fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "a model operation failed");
    ApiError::internal("The server could not complete the request. See its log.")
}
