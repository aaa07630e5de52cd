//! How a run's errors reach its caller: as exceptions that its stream has.

use craton_wire::ApiError;

/// The exceptions that both streams of agents model.
const LISTED: &[&str] = &[
    "AccessDeniedException",
    "BadGatewayException",
    "ConflictException",
    "DependencyFailedException",
    "InternalServerException",
    "ModelNotReadyException",
    "ResourceNotFoundException",
    "ServiceQuotaExceededException",
    "ThrottlingException",
    "ValidationException",
];

/// Something that the agent leans on failed for good. `resource` names it.
pub(super) fn dependency(message: impl Into<String>, resource: &str) -> ApiError {
    ApiError::new("DependencyFailedException", message).with_field("resourceName", resource)
}

/// An error as the stream can carry it: what a model or a store says under another name becomes a failed dependency or
/// a bad gateway. What their upstreams say is the log's, and not for whoever talks to the agent.
pub(super) fn in_stream(error: ApiError) -> ApiError {
    let mut error = error.without_quotes();
    if LISTED.contains(&error.code.as_ref()) {
        return error;
    }
    error.code = match error.code.as_ref() {
        "ServiceUnavailableException" => "BadGatewayException".into(),
        _ => "DependencyFailedException".into(),
    };
    error.fields.remove("originalStatusCode");
    error
}

/// The code that a failure's trace shows: the status that the exception has in HTTP.
pub(super) fn status(error: &ApiError) -> i32 {
    i32::from(error.status(Some(&craton_api_bedrock_agent_runtime::SERVICE)).as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one_the_stream_has() {
        for code in ["ModelErrorException", "ModelTimeoutException", "ServiceUnavailableException", "Odd"] {
            let error = in_stream(ApiError::new(code, "x"));
            assert!(LISTED.contains(&error.code.as_ref()), "{code}");
        }
        assert_eq!(in_stream(ApiError::throttling("x")).code, "ThrottlingException");
        assert_eq!(
            in_stream(ApiError::model_error("at 10.0.0.1").quoting("It failed.")).message,
            "It failed."
        );
        assert_eq!(status(&dependency("x", "y")), 424);
    }
}
