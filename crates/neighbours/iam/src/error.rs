use craton_identity::directory::DirectoryError;
use craton_wire::ApiError;

/// The one mapping of what the directory refuses to IAM's names.
pub(crate) fn refused(error: DirectoryError) -> ApiError {
    let code = match &error {
        DirectoryError::AlreadyExists(_) => "EntityAlreadyExists",
        DirectoryError::NoSuchEntity(_) => "NoSuchEntity",
        DirectoryError::DeleteConflict(_) => "DeleteConflict",
        DirectoryError::LimitExceeded(_) => "LimitExceeded",
        DirectoryError::InvalidInput(_) => "InvalidInput",
        DirectoryError::Malformed(_) => "MalformedPolicyDocument",
        DirectoryError::NotAttachable(_) => "NotSupportedService",
        DirectoryError::Unmodifiable(_) => "UnmodifiableEntity",
        DirectoryError::Conflict(_) => "ConcurrentModification",
        DirectoryError::Secrets(_)
        | DirectoryError::Store(_)
        | DirectoryError::Corrupt { .. }
        | DirectoryError::Interrupted => {
            tracing::error!(%error, "the directory of users and roles failed");
            return ApiError::new(
                "ServiceFailure",
                "The server could not complete the request. See its log.",
            );
        }
    };
    ApiError::new(code, error.to_string())
}
