//! The one mapping from a backend's errors to AWS's.
//!
//! | backend | AWS | why |
//! |---|---|---|
//! | `Invalid`, `Unsupported` | ValidationException | the caller can change the request |
//! | `Refused` | ValidationException | the same, in the upstream's words |
//! | `ContextOverflow` | ValidationException | with the words that clients look for to shorten a conversation |
//! | `Overloaded`, upstream 429 | ThrottlingException | with `Retry-After` where it is known; clients back off |
//! | `NotReady` | ModelNotReadyException | clients of AWS retry it by themselves |
//! | `Timeout`, upstream 408 and 504 | ModelTimeoutException | |
//! | `Unreachable`, upstream 503 and 529 | ServiceUnavailableException | |
//! | upstream 400, 413, 422 | ValidationException | AWS hands on a model's own refusal in the same words |
//! | other upstream statuses | ModelErrorException | with `originalStatusCode` and `resourceName`; what the upstream said is logged, not sent: it speaks of the upstream, not of the request |
//! | `UpstreamDenied` | ModelErrorException, original status 403 | the caller has access here; it is this server's own credentials that were refused, so AccessDeniedException would send them looking in the wrong place |
//! | `BrokenStream` | ModelStreamErrorException | ModelErrorException where the answer isn't streamed |
//! | `Internal` | InternalServerException | the reason is logged, not sent |
//!
//! Callers who name a model read with which words it refused their request. Those who don't (an agent's or a flow's) are
//! told without: messages that quote say what they are otherwise, for [`ApiError::without_quotes`].

use std::time::Duration;

use craton_backend::BackendError;
use craton_wire::ApiError;

/// Exceptions that a stream of Converse may carry.
pub const CONVERSE_STREAM_ERRORS: &[&str] = &[
    "InternalServerException",
    "ModelStreamErrorException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "ValidationException",
];

/// Exceptions that a stream of InvokeModel may carry.
pub const INVOKE_STREAM_ERRORS: &[&str] = &[
    "InternalServerException",
    "ModelStreamErrorException",
    "ModelTimeoutException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "ValidationException",
];

const NOT_READY: &str = "Model is not ready for inference. Wait and try your request again.";
const BROKE_OFF: &str = "The model's answer broke off. Try your request again.";
const TOO_MANY: &str = "Too many requests, please wait before trying again.";
const RETURNED: &str = "The model returned the following errors: ";

/// An error of the backend behind `model_id`, as AWS would put it.
pub fn from_backend(error: BackendError, model_id: &str) -> ApiError {
    match error {
        BackendError::Invalid(message) | BackendError::Unsupported(message) => ApiError::validation(message),
        BackendError::Refused(message) => {
            tracing::info!(model_id, message, "an upstream refused a request");
            refused(&message)
        }
        BackendError::ContextOverflow { tokens, limit } => too_long(tokens, limit),
        BackendError::Overloaded { message, retry_after } => {
            tracing::info!(model_id, message, "the model is overloaded");
            throttled(&message, retry_after)
        }
        BackendError::NotReady(reason) => {
            tracing::info!(model_id, reason, "the model is not ready");
            ApiError::model_not_ready(detailed(NOT_READY, &reason))
                .quoting(NOT_READY)
                .with_retry_after(Some(1))
        }
        BackendError::Timeout(after) => {
            tracing::warn!(model_id, ?after, "the model timed out");
            ApiError::model_timeout("Model has timed out in processing the request. Try your request again.")
        }
        BackendError::Unreachable(reason) => {
            tracing::warn!(model_id, reason, "the model's endpoint can't be reached");
            ApiError::unavailable("The model can't be reached. Try your request again.")
        }
        BackendError::UpstreamUnauthenticated(reason) => {
            tracing::error!(model_id, reason, "an upstream does not accept this server's credentials");
            let message =
                "The model's endpoint does not accept the credentials that this server is configured with.";
            model_error(message.to_owned(), 401, model_id)
        }
        BackendError::UpstreamDenied(reason) => {
            tracing::error!(
                model_id,
                reason,
                "an upstream lets this server's credentials do less than was asked"
            );
            let message = "The model's endpoint accepts the credentials that this server is configured with, and does \
                           not let them use this model.";
            model_error(message.to_owned(), 403, model_id)
        }
        BackendError::Upstream { status, message } => {
            tracing::warn!(model_id, status, message, "an upstream answered with an error");
            from_status(status, message, model_id)
        }
        BackendError::BrokenStream(reason) => {
            tracing::warn!(model_id, reason, "the model's answer broke off");
            ApiError::model_stream_error(detailed(BROKE_OFF, &reason)).quoting(BROKE_OFF)
        }
        BackendError::Internal(reason) => {
            tracing::error!(model_id, reason, "a backend failed");
            ApiError::internal(
                "The system encountered an unexpected error during processing. Try your request again.",
            )
        }
    }
}

/// What happened, and what was said of it. A server like this one says both already.
fn detailed(plainly: &str, detail: &str) -> String {
    match detail {
        "" => plainly.to_owned(),
        detail if detail.starts_with(plainly) => detail.to_owned(),
        detail => format!("{plainly} ({detail})"),
    }
}

/// The prompt does not fit. Clients shorten a conversation when they read the first sentence.
fn too_long(tokens: u32, limit: u32) -> ApiError {
    ApiError::validation(format!(
        "Input is too long for requested model. The request needs {tokens} tokens and the model's context has {limit}."
    ))
}

/// What a model says of a request, with whose words these are. A server like this one says both already.
pub(crate) fn returned(message: &str) -> String {
    match message.starts_with(RETURNED) {
        true => message.to_owned(),
        false => format!("{RETURNED}{message}"),
    }
}

/// A request that an upstream refuses, in its words.
fn refused(message: &str) -> ApiError {
    ApiError::validation(returned(message)).quoting("The model refused the request.")
}

fn throttled(message: &str, retry_after: Option<Duration>) -> ApiError {
    // Rounded up, so that a client never comes back too early.
    let seconds = retry_after.map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
    ApiError::throttling(detailed(TOO_MANY, message)).with_retry_after(seconds).quoting(TOO_MANY)
}

fn from_status(status: u16, message: String, model_id: &str) -> ApiError {
    match status {
        400 | 413 | 422 => refused(&message),
        429 => throttled(&message, None),
        408 | 504 => {
            ApiError::model_timeout("Model has timed out in processing the request. Try your request again.")
        }
        503 | 529 => ApiError::unavailable("The model is not available. Try your request again."),
        _ => model_error(
            format!("The model failed with status {status}. Try your request again."),
            status,
            model_id,
        ),
    }
}

fn model_error(message: String, status: u16, model_id: &str) -> ApiError {
    ApiError::model_error(message)
        .with_field("originalStatusCode", status.clamp(100, 599))
        .with_field("resourceName", model_id)
}

/// An error of an answer that is not streamed: operations without a stream don't know ModelStreamErrorException.
pub(crate) fn unstreamed(mut error: ApiError) -> ApiError {
    if error.code == "ModelStreamErrorException" {
        error.code = "ModelErrorException".into();
    }
    error
}

/// An error after the stream has begun: one the stream's model doesn't list becomes ModelStreamErrorException, with
/// what happened kept in its fields.
pub(crate) fn in_stream(error: ApiError, listed: &[&str]) -> ApiError {
    if listed.contains(&error.code.as_ref()) {
        return error;
    }
    let status = error.fields.get("originalStatusCode").cloned();
    let mut streamed =
        ApiError::model_stream_error(error.message.clone()).with_field("originalMessage", error.message);
    if let Some(status) = status {
        streamed = streamed.with_field("originalStatusCode", status);
    }
    streamed
}

/// An error as the stream of an operation of the agents' runtime can carry it: what a model or a store says under a name
/// that the operation does not list becomes a bad gateway or a failed dependency. The streams of that service model
/// what their operations list.
pub fn in_runtime_stream(mut error: ApiError, operation: &str) -> ApiError {
    let operation = craton_api_bedrock_agent_runtime::SERVICE.operation(operation);
    if operation.is_some_and(|operation| operation.errors.contains(&error.code.as_ref())) {
        return error;
    }
    error.code = match error.code.as_ref() {
        "ServiceUnavailableException" => "BadGatewayException".into(),
        _ => "DependencyFailedException".into(),
    };
    error.fields.remove("originalStatusCode");
    error
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapped(error: BackendError) -> ApiError {
        from_backend(error, "meta.llama3-8b-instruct-v1:0")
    }

    #[test]
    fn every_backend_error_has_its_aws_name() {
        let upstream = |status| BackendError::Upstream { status, message: "no".into() };
        let cases = [
            (BackendError::Invalid("x".into()), "ValidationException"),
            (BackendError::Refused("x".into()), "ValidationException"),
            (BackendError::Unsupported("x".into()), "ValidationException"),
            (BackendError::ContextOverflow { tokens: 9, limit: 8 }, "ValidationException"),
            (BackendError::Overloaded { message: "full".into(), retry_after: None }, "ThrottlingException"),
            (BackendError::NotReady("loading".into()), "ModelNotReadyException"),
            (BackendError::Timeout(Duration::from_secs(3)), "ModelTimeoutException"),
            (BackendError::Unreachable("refused".into()), "ServiceUnavailableException"),
            (BackendError::UpstreamUnauthenticated("401".into()), "ModelErrorException"),
            (BackendError::UpstreamDenied("403".into()), "ModelErrorException"),
            (upstream(400), "ValidationException"),
            (upstream(429), "ThrottlingException"),
            (upstream(504), "ModelTimeoutException"),
            (upstream(529), "ServiceUnavailableException"),
            (upstream(500), "ModelErrorException"),
            (upstream(404), "ModelErrorException"),
            (BackendError::BrokenStream("eof".into()), "ModelStreamErrorException"),
            (BackendError::Internal("poisoned".into()), "InternalServerException"),
        ];
        for (error, code) in cases {
            assert_eq!(mapped(error.clone()).code, code, "{error:?}");
        }
    }

    #[test]
    fn details_that_clients_read() {
        let error = mapped(BackendError::ContextOverflow { tokens: 9000, limit: 8192 });
        assert!(error.message.starts_with("Input is too long for requested model."), "{}", error.message);
        assert!(error.message.contains("9000") && error.message.contains("8192"));
        let wait = Some(Duration::from_millis(1500));
        let error = mapped(BackendError::Overloaded { message: String::new(), retry_after: wait });
        assert_eq!(error.retry_after_s, Some(2));
        assert_eq!(error.message, "Too many requests, please wait before trying again.");
        let error = mapped(BackendError::Upstream { status: 500, message: "boom".into() });
        assert_eq!(error.fields["originalStatusCode"], 500);
        assert_eq!(error.fields["resourceName"], "meta.llama3-8b-instruct-v1:0");
        assert_eq!(error.message, "The model failed with status 500. Try your request again.");
        let unknown = mapped(BackendError::UpstreamUnauthenticated("the upstream answered 401".into()));
        let denied = mapped(BackendError::UpstreamDenied("the upstream answered 403".into()));
        assert_eq!(
            (&unknown.fields["originalStatusCode"], &denied.fields["originalStatusCode"]),
            (&json!(401), &json!(403))
        );
        assert!(unknown.message.contains("does not accept the credentials"), "{unknown}");
        assert!(denied.message.contains("does not let them use this model"), "{denied}");
        let error = mapped(BackendError::Internal("secret path".into()));
        assert!(!error.message.contains("secret"));
    }

    #[test]
    fn whoever_did_not_choose_the_model_reads_nothing_of_its_upstream() {
        let said = || "no route to http://10.0.0.1".to_owned();
        let upstream = |status| BackendError::Upstream { status, message: said() };
        let overloaded = BackendError::Overloaded { message: said(), retry_after: None };
        let mut errors = vec![BackendError::Refused(said()), BackendError::NotReady(said()), overloaded];
        errors.extend([BackendError::BrokenStream(said()), BackendError::Unreachable(said())]);
        errors.extend([BackendError::UpstreamUnauthenticated(said()), BackendError::UpstreamDenied(said())]);
        errors.push(BackendError::Internal(said()));
        errors.extend([400, 401, 404, 408, 413, 422, 429, 500, 503, 529].map(upstream));
        for error in errors {
            let plain = mapped(error.clone()).without_quotes();
            assert!(!plain.message.is_empty() && !plain.message.contains("10.0.0.1"), "{error:?}: {plain}");
        }
        // What this server itself says of a request stays.
        let ours = mapped(BackendError::Invalid("no such field".into())).without_quotes();
        assert_eq!(ours.message, "no such field");
    }

    #[test]
    fn what_a_server_like_this_one_said_is_not_said_twice() {
        let refused = |message: &str| BackendError::Upstream { status: 400, message: message.into() };
        let once = mapped(refused("no such field"));
        assert_eq!(once.message, "The model returned the following errors: no such field");
        assert_eq!(mapped(refused(&once.message)).message, once.message);
        for again in
            [BackendError::Refused("no such field".into()), BackendError::Refused(once.message.clone())]
        {
            assert_eq!(mapped(again).message, once.message);
        }
        let full =
            |message: &str| mapped(BackendError::Overloaded { message: message.into(), retry_after: None });
        let once = full("64 in flight");
        assert_eq!(once.message, "Too many requests, please wait before trying again. (64 in flight)");
        assert_eq!(full(&once.message).message, once.message);
    }

    #[test]
    fn errors_fit_where_they_appear() {
        let broken = || mapped(BackendError::BrokenStream("eof".into()));
        assert_eq!(unstreamed(broken()).code, "ModelErrorException");
        assert_eq!(in_stream(broken(), CONVERSE_STREAM_ERRORS), broken());
        let timeout = || mapped(BackendError::Timeout(Duration::from_secs(1)));
        assert_eq!(in_stream(timeout(), INVOKE_STREAM_ERRORS).code, "ModelTimeoutException");
        let streamed = in_stream(timeout(), CONVERSE_STREAM_ERRORS);
        assert_eq!(streamed.code, "ModelStreamErrorException");
        assert_eq!(streamed.fields["originalMessage"], streamed.message);
        let upstream = mapped(BackendError::Upstream { status: 500, message: "boom".into() });
        assert_eq!(in_stream(upstream, CONVERSE_STREAM_ERRORS).fields["originalStatusCode"], 500);
    }

    #[test]
    fn streams_of_the_agents_runtime_carry_what_their_operations_list() {
        let operations = &craton_api_bedrock_agent_runtime::SERVICE.operations;
        let streaming = operations.iter().filter(|operation| operation.streams).collect::<Vec<_>>();
        assert!(streaming.len() >= 5, "{streaming:?}");
        for operation in streaming {
            for code in ["ModelErrorException", "ModelTimeoutException", "ServiceUnavailableException", "Odd"]
            {
                let error = ApiError::new(code, "x").with_field("originalStatusCode", 500);
                let error = in_runtime_stream(error, operation.name);
                let listed = operation.errors.contains(&error.code.as_ref());
                assert!(listed && error.fields.is_empty(), "{}: {code}", operation.name);
            }
        }
        let code = |error, operation| in_runtime_stream(error, operation).code;
        assert_eq!(code(ApiError::conflict("x"), "OptimizePrompt"), "DependencyFailedException");
        assert_eq!(code(ApiError::conflict("x"), "InvokeFlow"), "ConflictException");
        let not_ready = || ApiError::model_not_ready("x");
        assert_eq!(code(not_ready(), "InvokeAgent"), "ModelNotReadyException");
        assert_eq!(code(not_ready(), "InvokeInlineAgent"), "DependencyFailedException");
    }
}
