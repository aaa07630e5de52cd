//! Errors as OpenAI's API renders them, for the front door.

use craton_wire::ApiError;
use serde_json::{Value, json};

/// HTTP status and body for an error.
#[must_use]
pub fn error_body(error: &ApiError) -> (u16, Value) {
    (kind(error).0, error_object(error))
}

/// The body alone, which is also how an error inside a stream is sent.
#[must_use]
pub fn error_object(error: &ApiError) -> Value {
    let (_, kind, code) = kind(error);
    json!({"error": {
        "message": error.message,
        "type": kind,
        "param": error.fields.get("param").cloned().unwrap_or(Value::Null),
        "code": code,
    }})
}

fn kind(error: &ApiError) -> (u16, &'static str, Option<&'static str>) {
    match error.code.as_ref() {
        "ValidationException" => (400, "invalid_request_error", None),
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException" => (401, "invalid_request_error", Some("invalid_api_key")),
        "AccessDeniedException" => (403, "invalid_request_error", Some("permission_denied")),
        "ResourceNotFoundException" => (404, "invalid_request_error", Some("model_not_found")),
        "UnknownOperationException" => (404, "invalid_request_error", Some("unknown_url")),
        "ThrottlingException" | "ServiceQuotaExceededException" => {
            (429, "rate_limit_error", Some("rate_limit_exceeded"))
        }
        "ModelTimeoutException" => (504, "server_error", Some("timeout")),
        "ModelNotReadyException" | "ServiceUnavailableException" => {
            (503, "server_error", Some("unavailable"))
        }
        _ => (500, "server_error", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_is_named() {
        let error =
            ApiError::validation("Missing required parameter: 'messages'.").with_field("param", "messages");
        let (status, body) = error_body(&error);
        assert_eq!(status, 400);
        assert_eq!(body["error"]["param"], "messages");
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert_eq!(error_body(&ApiError::throttling("")).0, 429);
    }
}
