use craton_backend::function::FunctionError;
use craton_store::StoreError;
use craton_wire::ApiError;

/// Lambda's own names of what can go wrong.
pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValueException", message)
}

pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceNotFoundException", message)
}

pub(crate) fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceConflictException", message)
}

pub(crate) fn service(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "a Lambda operation failed");
    ApiError::new("ServiceException", "The server could not complete the request. See its log.")
}

/// The one mapping of what the records say to what a client is told.
pub(crate) fn store_error(error: &StoreError) -> ApiError {
    match error {
        StoreError::NameTaken { name, .. } => conflict(format!("Alias already exists: {name}")),
        StoreError::NotFound { id, .. } => not_found(format!("Function not found: {id}")),
        StoreError::VersionMismatch { .. } => ApiError::new(
            "PreconditionFailedException",
            "The function was changed by another request. Read its RevisionId again.",
        ),
        StoreError::TooManyTags { limit } => {
            invalid(format!("A function can have at most {limit} tags. Send fewer and try again."))
        }
        full if full.is_full() => ApiError::no_space(),
        other => service(other),
    }
}

pub(crate) fn function_error(error: FunctionError) -> ApiError {
    match error {
        FunctionError::NotFound(_) => not_found(error.to_string()),
        FunctionError::Throttled(message) => ApiError::new("TooManyRequestsException", message),
        FunctionError::Invalid(message) => ApiError::new("InvalidRequestContentException", message),
        FunctionError::Unavailable(message) => ApiError::new("InvalidRuntimeException", message),
    }
}
