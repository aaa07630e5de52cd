//! The way every request goes: request id → authenticate → authorise → bind and validate → handler → render → metrics.
//! No handler does any of these itself.

mod events;

use std::any::Any;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use craton_wire::ApiError;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};

use crate::body::{self, Body, ReadError};
use crate::config::Limits;
use crate::doors::Dialect;
use crate::health;
use crate::services::Services;
use crate::transport::{Handle, Shutdown};
pub(crate) use events::EventBody;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// Answers every request of one server.
pub(crate) struct Pipeline {
    pub(crate) services: Arc<Services>,
    pub(crate) limits: Limits,
}

/// A request on its way, before anybody knows who sent it.
struct Arrival {
    parts: Parts,
    body: Body,
    request_id: String,
    peer: IpAddr,
    shutdown: Shutdown,
}

impl Handle for Pipeline {
    fn handle(
        self: Arc<Self>,
        request: Request<Body>,
        peer: IpAddr,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, Response<Body>> {
        let (parts, body) = request.into_parts();
        let request_id = self.services.ids.uuid();
        let arrival = Arrival { parts, body, request_id, peer, shutdown };
        Box::pin(async move { self.answer(arrival).await })
    }
}

impl Pipeline {
    async fn answer(&self, arrival: Arrival) -> Response<Body> {
        if let Some(reply) = self.open_to_all(&arrival) {
            return reply;
        }
        let request_id = arrival.request_id.clone();
        let dialect = Dialect::of(arrival.parts.uri.path());
        let answered = AssertUnwindSafe(self.answer_signed(arrival)).catch_unwind().await;
        let mut response = match answered.unwrap_or_else(|panic| Err(report(panic.as_ref()))) {
            Ok(response) => response,
            Err(error) => match dialect {
                Some(dialect) => dialect.refuse(&error, &request_id),
                None => error.render(None, &request_id).map(Body::full),
            },
        };
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    /// The only paths that need no credentials.
    fn open_to_all(&self, arrival: &Arrival) -> Option<Response<Body>> {
        if !matches!(arrival.parts.method, Method::GET | Method::HEAD) {
            return None;
        }
        match arrival.parts.uri.path() {
            "/health" => Some(health::reply(&self.services.health.parts(), arrival.shutdown.is_stopping())),
            _ => None,
        }
    }

    async fn answer_signed(&self, arrival: Arrival) -> Result<Response<Body>, ApiError> {
        let Arrival { parts, body, .. } = arrival;
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Err(ApiError::missing_authentication("Missing Authentication Token"));
        }
        let _body = self.read(body).await?;
        Err(ApiError::not_served(format!("{} {} is not served yet.", parts.method, parts.uri.path())))
    }

    /// The request's whole body, within the limits of size and time.
    async fn read(&self, body: Body) -> Result<Bytes, ApiError> {
        let patience = Duration::from_millis(self.limits.body_timeout_ms);
        let read = tokio::time::timeout(patience, body::read(body, self.limits.max_body_bytes)).await;
        let error = match read {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(error)) => error,
            Err(_) => ReadError::Timeout(patience),
        };
        let code = match &error {
            ReadError::TooLarge { .. } => "RequestEntityTooLargeException",
            ReadError::Timeout(_) => "RequestTimeoutException",
            ReadError::Broken(_) => "ValidationException",
        };
        Err(ApiError::new(code, error.to_string()))
    }
}

/// Logs what a handler panicked with, for the operator only.
fn report(panic: &(dyn Any + Send)) -> ApiError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)");
    tracing::error!(panic = text, "a handler panicked");
    ApiError::internal("An internal error occurred. Retry your request.")
}
