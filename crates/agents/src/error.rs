//! The one mapping of what can go wrong below a handler to what its client is told.

use craton_store::StoreError;
use craton_wire::ApiError;

use crate::control::records::kinds;

pub(crate) fn from_store(error: StoreError) -> ApiError {
    match error {
        StoreError::NameTaken { kind, name } => {
            // What hangs on an agent is named after the agent's id.
            let name = name.rsplit_once('/').map_or(name.as_str(), |(_, name)| name);
            ApiError::conflict(match kind.as_str() {
                kinds::AGENT => format!(
                    "Cannot create or rename the agent: an agent with the name {name} already exists. Choose another \
                     name."
                ),
                kinds::KNOWLEDGE_BASE => {
                    format!("The knowledge base {name} is associated with the agent already.")
                }
                kind => format!("The agent has an {} with the name {name} already.", what(kind)),
            })
        }
        StoreError::TokenReused => {
            ApiError::conflict("The client token was used in an earlier request with different parameters.")
        }
        StoreError::NotFound { id, .. } => missing(&id),
        StoreError::VersionMismatch { .. } => {
            ApiError::conflict("The agent was changed by another request. Try again.")
        }
        StoreError::TooManyTags { limit } => ApiError::quota_exceeded(format!(
            "The resource would have more tags than the {limit} it can have."
        )),
        full if full.is_full() => ApiError::no_space(),
        other => internal(&other),
    }
}

/// What a resource that is not there answers, in the words AWS uses for all kinds.
pub(crate) fn missing(id: &str) -> ApiError {
    let id = id.rsplit_once('/').map_or(id, |(_, id)| id);
    ApiError::not_found(format!(
        "Failed to retrieve resource {id} because it doesn't exist. Retry the request with a different resource \
         identifier."
    ))
}

fn what(kind: &str) -> &str {
    match kind {
        kinds::ACTION_GROUP => "action group",
        kinds::COLLABORATOR => "agent collaborator",
        "alias" => "agent alias",
        other => other,
    }
}

/// Details of a fault of ours go to the log, not to the client.
pub(crate) fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "an operation on an agent failed");
    ApiError::internal("The server could not complete the request. See its log.")
}
