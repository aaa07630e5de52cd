//! How a run's errors reach its caller: as exceptions that its stream has.

use craton_inference::error::in_runtime_stream;
use craton_wire::ApiError;

/// Something that the agent leans on failed for good. `resource` names it.
pub(super) fn dependency(message: impl Into<String>, resource: &str) -> ApiError {
    ApiError::new("DependencyFailedException", message).with_field("resourceName", resource)
}

/// An error as the stream of the operation can carry it. What upstreams say is the log's, and not for whoever talks to
/// the agent.
pub(super) fn in_stream(error: ApiError, operation: &str) -> ApiError {
    in_runtime_stream(error.without_quotes(), operation)
}

/// The code that a failure's trace shows: the status that the exception has in HTTP.
pub(super) fn status(error: &ApiError) -> i32 {
    i32::from(error.status(Some(&craton_api_bedrock_agent_runtime::SERVICE)).as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_of_the_operations_stream() {
        let not_ready = || ApiError::model_not_ready("x");
        assert_eq!(in_stream(not_ready(), "InvokeAgent").code, "ModelNotReadyException");
        assert_eq!(in_stream(not_ready(), "InvokeInlineAgent").code, "DependencyFailedException");
        let quoting = ApiError::model_error("at 10.0.0.1").quoting("It failed.");
        assert_eq!(in_stream(quoting, "InvokeAgent").message, "It failed.");
        assert_eq!(status(&dependency("x", "y")), 424);
    }
}
