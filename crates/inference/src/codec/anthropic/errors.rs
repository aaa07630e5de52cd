//! Errors as Anthropic's own API renders them, for the direct door.

use craton_wire::ApiError;
use serde_json::{Value, json};

/// HTTP status and body for an error.
#[must_use]
pub fn error_body(error: &ApiError) -> (u16, Value) {
    let (status, kind) = kind(error);
    (status, body(kind, &error.message))
}

/// The `error` event of a stream that has begun.
#[must_use]
pub fn error_event(error: &ApiError) -> Value {
    body(kind(error).1, &error.message)
}

fn body(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

fn kind(error: &ApiError) -> (u16, &'static str) {
    match error.code.as_ref() {
        "ValidationException" => (400, "invalid_request_error"),
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException" => (401, "authentication_error"),
        "AccessDeniedException" => (403, "permission_error"),
        "ResourceNotFoundException" | "UnknownOperationException" => (404, "not_found_error"),
        "ThrottlingException" | "ServiceQuotaExceededException" => (429, "rate_limit_error"),
        "ModelTimeoutException" => (504, "timeout_error"),
        "ModelNotReadyException" | "ServiceUnavailableException" => (529, "overloaded_error"),
        _ => (500, "api_error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_meaning() {
        let (status, body) = error_body(&ApiError::validation("max_tokens: Field required"));
        assert_eq!(status, 400);
        assert_eq!(
            body,
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: Field required"}})
        );
        assert_eq!(error_body(&ApiError::throttling("slow down")).0, 429);
        assert_eq!(error_body(&ApiError::model_not_ready("loading")).0, 529);
        assert_eq!(error_body(&ApiError::model_error("broke")).0, 500);
    }
}
