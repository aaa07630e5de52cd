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
        DirectoryError::Store(full) if full.is_full() => return ApiError::no_space(),
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

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_full_disk_is_said_to_be_one() {
        let full = |kind| refused(DirectoryError::Store(Error::from(kind).into()));
        let table = Some(&craton_api_iam::SERVICE);
        let error = full(ErrorKind::StorageFull);
        assert_eq!((error.name_in(table), error.status(table).as_u16()), ("ServiceUnavailable", 503));
        assert!(error.message.contains("no space left"), "{error}");
        assert_eq!(full(ErrorKind::NotFound).status(table), 500);
    }
}
