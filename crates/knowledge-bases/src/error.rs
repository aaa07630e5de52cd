//! The one mapping of what can go wrong below a handler to what its client is told.

use craton_store::StoreError;
use craton_vectors::VectorError;
use craton_wire::ApiError;

pub(crate) fn from_store(error: StoreError) -> ApiError {
    match error {
        StoreError::NameTaken { kind, name } => {
            // A data source's name is kept after its knowledge base's id.
            let name = name.rsplit_once('/').map_or(name.as_str(), |(_, name)| name);
            let what = kind.replace('-', " ");
            ApiError::conflict(format!("A {what} with the name {name} already exists."))
        }
        StoreError::TokenReused => {
            ApiError::conflict("The client token was used in an earlier request with different parameters.")
        }
        StoreError::NotFound { kind, id } => missing(&kind, &id),
        StoreError::VersionMismatch { .. } => {
            ApiError::conflict("The resource was changed by another request. Try again.")
        }
        StoreError::TooManyTags { limit } => ApiError::quota_exceeded(format!(
            "The resource would have more tags than the {limit} it can have."
        )),
        full if full.is_full() => ApiError::no_space(),
        other => internal(&other),
    }
}

pub(crate) fn from_vectors(error: VectorError) -> ApiError {
    match error {
        VectorError::Invalid(message) => ApiError::validation(message),
        VectorError::Dimensions { .. } => ApiError::validation(error.to_string()),
        VectorError::Store(error) => from_store(error),
        VectorError::Unavailable(reason) => unusable(&reason, "at the moment. Try again."),
        VectorError::Refused(reason) => unusable(&reason, "as it is set up. See the server's log."),
        other => internal(&other),
    }
}

/// Why a vector store can't be used goes to the log: it may name the operator's servers and users.
fn unusable(reason: &str, how: &str) -> ApiError {
    tracing::warn!(reason, "a vector store can't be used");
    let message = format!("The knowledge base's vector store can't be used {how}");
    ApiError::new("DependencyFailedException", message)
}

/// What a resource that is not there answers.
pub(crate) fn missing(kind: &str, id: &str) -> ApiError {
    let what = match kind {
        crate::records::KNOWLEDGE_BASE => "Knowledge Base",
        crate::records::DATA_SOURCE => "DataSource",
        crate::records::INGESTION_JOB => "Ingestion Job",
        other => other,
    };
    let id = id.rsplit_once('/').map_or(id, |(_, id)| id);
    ApiError::not_found(format!("{what} with id {id} is not found"))
}

/// Details of a fault of ours go to the log, not to the client.
pub(crate) fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "a knowledge base operation failed");
    ApiError::internal("The server could not complete the request. See its log.")
}
