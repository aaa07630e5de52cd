//! The way every request goes: request id → authenticate → authorise → bind and validate → handler → render → metrics.
//! No handler does any of these itself.

mod authenticate;
mod authorize;
mod events;

use std::any::Any;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use craton_core::RequestContext;
use craton_identity::{Authenticated, AuthorizationRequest};
use craton_metering::RequestTimer;
use craton_wire::ApiError;
use craton_wire::bind::bind;
use craton_wire::operation::{Reply, ReplyBody};
use craton_wire::route::{Match, Router};
use craton_wire::table::ServiceTable;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::body::Body;
use crate::config::Limits;
use crate::doors::{Call, Dialect};
use crate::health;
use crate::routes::{Routes, TABLES, not_served};
use crate::services::Services;
use crate::transport::{Handle, Shutdown};
use events::EventBody;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("application/vnd.amazon.eventstream");
/// What metrics call a request that names no operation.
const UNKNOWN: &str = "Unknown";

/// Answers every request of one server.
pub(crate) struct Pipeline {
    services: Arc<Services>,
    limits: Limits,
    router: Router,
    routes: Routes,
}

/// A request on its way.
struct Arrival {
    parts: Parts,
    body: Body,
    request_id: String,
    received_ms: i64,
    peer: IpAddr,
    shutdown: Shutdown,
    /// The operation, or why there is none. Told to nobody before they are authenticated.
    found: Result<Match, ApiError>,
}

impl Handle for Pipeline {
    fn handle(
        self: Arc<Self>,
        request: Request<Body>,
        peer: IpAddr,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, Response<Body>> {
        Box::pin(async move { self.answer(request, peer, shutdown).await })
    }
}

impl Pipeline {
    pub(crate) fn new(services: Arc<Services>, limits: Limits) -> Self {
        Self { services, limits, router: Router::new(&TABLES), routes: Routes::all() }
    }

    async fn answer(&self, request: Request<Body>, peer: IpAddr, shutdown: Shutdown) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Some(reply) = self.open_to_all(&parts, &shutdown) {
            return reply;
        }
        let request_id = self.services.ids.uuid();
        let id_header = HeaderValue::from_str(&request_id).ok();
        let received_ms = self.services.clock.now_ms();
        let mut response = match Dialect::of(parts.uri.path()) {
            Some(dialect) => {
                let timer = self.services.metering.request(dialect.operation(&parts));
                let found = Err(ApiError::unknown_operation(""));
                let arrival = Arrival { parts, body, request_id, received_ms, peer, shutdown, found };
                self.answer_door(dialect, arrival, timer).await
            }
            None => {
                let found = self.router.route(parts.method.as_str(), parts.uri.path());
                let found = found.map_err(ApiError::from);
                let name = found.as_ref().map_or(UNKNOWN, |found| found.operation.name);
                let timer = self.services.metering.request(name);
                let arrival = Arrival { parts, body, request_id, received_ms, peer, shutdown, found };
                self.answer_modelled(arrival, timer).await
            }
        };
        if let Some(id) = id_header {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    /// The only paths that need no credentials.
    fn open_to_all(&self, parts: &Parts, shutdown: &Shutdown) -> Option<Response<Body>> {
        let path = parts.uri.path();
        if !matches!(path, "/health" | "/metrics") || !matches!(parts.method, Method::GET | Method::HEAD) {
            return None;
        }
        if path == "/health" {
            return Some(health::reply(&self.services.health.parts(), shutdown.is_stopping()));
        }
        let mut response = match self.services.metering.render() {
            Ok(text) => Response::new(Body::full(text)),
            Err(error) => {
                let mut response = Response::new(Body::full(error.to_string()));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        };
        let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, format);
        Some(response)
    }

    /// OpenAI's and Anthropic's routes: the same authentication, another dialect.
    async fn answer_door(&self, dialect: Dialect, arrival: Arrival, timer: RequestTimer) -> Response<Body> {
        let (request_id, ending) = (arrival.request_id.clone(), arrival.shutdown.clone());
        let answering = async {
            let mut arrival = arrival;
            let (who, body) = self.authenticate(&mut arrival).await?;
            let Arrival { parts, shutdown, request_id, received_ms, peer, .. } = arrival;
            let context = self.context(request_id, who, received_ms, peer);
            Ok(dialect.answer(&self.services, Call { context, parts, body, shutdown }).await)
        };
        let answered = finished(answering, &ending).await;
        let response = answered.unwrap_or_else(|error| dialect.refuse(&error, &request_id));
        timed(response, timer)
    }

    async fn answer_modelled(&self, arrival: Arrival, timer: RequestTimer) -> Response<Body> {
        let request_id = arrival.request_id.clone();
        let table = arrival.found.as_ref().ok().map(|found| found.table);
        let shutdown = arrival.shutdown.clone();
        match finished(self.run(arrival), &shutdown).await {
            Ok((status, reply)) => render(status, reply, shutdown, timer),
            Err(error) => {
                let response = refuse(&error, table, &request_id);
                timer.finish(response.status().as_u16());
                response
            }
        }
    }

    /// From a stranger's request to an operation's answer.
    async fn run(&self, mut arrival: Arrival) -> Result<(u16, Reply), ApiError> {
        if let Ok(found) = &arrival.found
            && found.operation.streams_input
        {
            // Its body is a conversation that ends with the answer; there is nothing to read first.
            return Err(not_served(found.table, found.operation));
        }
        let (who, body) = self.authenticate(&mut arrival).await?;
        let Arrival { parts, request_id, received_ms, peer, found, .. } = arrival;
        let found = found?;
        let context = self.context(request_id, who, received_ms, peer);
        let resources = authorize::resources(&found, &context);
        let action = authorize::action(found.operation.name);
        let request = AuthorizationRequest::new(&action, &resources);
        self.services.authorizer.authorize(&context.principal, &request)?;
        let handler = self.routes.find(found.table, found.operation)?;
        let bound = bind(&found, parts.uri.query(), &parts.headers, body)?;
        let reply = handler(&self.services, &context, bound).await?;
        Ok((found.operation.status, reply))
    }

    fn context(
        &self,
        request_id: String,
        who: Authenticated,
        received_ms: i64,
        peer: IpAddr,
    ) -> RequestContext {
        RequestContext {
            request_id,
            account: Arc::clone(&self.services.account),
            region: who.region,
            principal: who.principal,
            source_ip: Some(peer),
            received_ms,
        }
    }
}

/// What `answering` comes to. A panic in it is an internal error, and the end of the server's grace period an error that
/// clients retry elsewhere.
async fn finished<T>(
    answering: impl Future<Output = Result<T, ApiError>>,
    shutdown: &Shutdown,
) -> Result<T, ApiError> {
    tokio::select! {
        biased;
        answered = AssertUnwindSafe(answering).catch_unwind() => {
            answered.unwrap_or_else(|panic| Err(report(panic.as_ref())))
        }
        () = shutdown.ending() => Err(shutting_down()),
    }
}

/// What whoever is still waiting at the server's end is told.
pub(crate) fn shutting_down() -> ApiError {
    ApiError::unavailable("The server is shutting down. Send the request again.")
}

fn render(status: u16, reply: Reply, shutdown: Shutdown, timer: RequestTimer) -> Response<Body> {
    let (body, content_type) = match reply.body {
        ReplyBody::Bytes(bytes) => {
            timer.finish(status);
            (Body::full(bytes), JSON)
        }
        ReplyBody::Events(frames) => {
            let events = EventBody::new(frames, shutdown, move |error| {
                timer.finish(error.map_or(status, |error| error.status(None).as_u16()));
            });
            (Body::stream(events), EVENT_STREAM)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    for (name, value) in reply.headers {
        headers.insert(name, value);
    }
    response
}

fn refuse(error: &ApiError, table: Option<&'static ServiceTable>, request_id: &str) -> Response<Body> {
    tracing::debug!(request_id, code = %error.code, message = %error.message, "refused");
    error.render(table, request_id).map(Body::full)
}

/// Lets the timer run until the body is done.
fn timed(response: Response<Body>, timer: RequestTimer) -> Response<Body> {
    let status = response.status().as_u16();
    response.map(|body| body.when_done(move || timer.finish(status)))
}

/// Logs what a handler panicked with, for the operator only.
fn report(panic: &(dyn Any + Send)) -> ApiError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)");
    tracing::error!(panic = text, "a handler panicked");
    ApiError::internal("An internal error occurred. Retry your request.")
}
