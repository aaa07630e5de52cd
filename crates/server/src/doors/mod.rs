//! Front doors for clients that speak OpenAI's or Anthropic's own API instead of AWS's.
//!
//! The pipeline authenticates, reads the body and hands over; a door decodes it, calls the same `Inference::chat` as
//! every other route, and answers in its own dialect, errors included.

use std::sync::Arc;

use bytes::Bytes;
use craton_core::RequestContext;
use craton_wire::ApiError;
use http::request::Parts;
use http::{HeaderValue, Response, header};
use serde_json::json;

use crate::body::Body;
use crate::services::Services;
use crate::transport::Shutdown;

/// Which API a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `/openai/v1/…` and `/v1/…`
    OpenAi,
    /// `/anthropic/v1/…`
    Anthropic,
}

/// An authenticated request with its body read.
pub(crate) struct Call {
    pub(crate) context: RequestContext,
    pub(crate) parts: Parts,
    pub(crate) body: Bytes,
    /// A stream that outlives the server's grace period ends with an error event when [`Shutdown::into_ending`] resolves.
    pub(crate) shutdown: Shutdown,
}

impl Dialect {
    /// The dialect of a raw request path; `None` for everything else.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path.starts_with("/openai/v1/") || path.starts_with("/v1/") {
            Some(Self::OpenAi)
        } else if path.starts_with("/anthropic/v1/") {
            Some(Self::Anthropic)
        } else {
            None
        }
    }

    /// The name that metrics count the request under.
    pub(crate) fn operation(self, _parts: &Parts) -> &'static str {
        match self {
            Self::OpenAi => "OpenAi",
            Self::Anthropic => "Anthropic",
        }
    }

    pub(crate) async fn answer(self, _services: &Arc<Services>, call: Call) -> Response<Body> {
        let path = call.parts.uri.path();
        let error = ApiError::not_found(format!("This server has no {} {path}", call.parts.method));
        self.refuse(&error, &call.context.request_id)
    }

    /// An error in the dialect's own shape.
    pub(crate) fn refuse(self, error: &ApiError, request_id: &str) -> Response<Body> {
        let status = error.status(None);
        let body = match self {
            Self::OpenAi => {
                let kind = match status.as_u16() {
                    401 | 403 => "authentication_error",
                    429 => "rate_limit_error",
                    400..=499 => "invalid_request_error",
                    _ => "server_error",
                };
                json!({"error": {"message": error.message, "type": kind, "param": null, "code": error.code}})
            }
            Self::Anthropic => {
                let kind = match status.as_u16() {
                    401 | 403 => "authentication_error",
                    404 => "not_found_error",
                    413 => "request_too_large",
                    429 => "rate_limit_error",
                    400..=499 => "invalid_request_error",
                    503 => "overloaded_error",
                    _ => "api_error",
                };
                json!({
                    "type": "error",
                    "error": {"type": kind, "message": error.message},
                    "request_id": request_id,
                })
            }
        };
        let mut response = Response::new(Body::full(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = error.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
