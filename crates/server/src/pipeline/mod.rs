//! The way every request goes: request id → authenticate → authorise → bind and validate → handler → render → metrics.
//! No handler does any of these itself.

mod authenticate;
mod authorize;
mod events;
mod render;
mod s3;

use std::any::Any;
use std::collections::HashSet;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use craton_core::RequestContext;
use craton_metering::RequestTimer;
use craton_wire::ApiError;
use craton_wire::bind;
use craton_wire::dispatch::{Dispatcher, Found, Front};
use craton_wire::query;
use craton_wire::route::Match;
use craton_wire::sigv4::{RequestHead, scope_service};
use craton_wire::table::{Protocol, ServiceTable};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::audit::{Event, Trail};
use crate::body::Body;
use crate::config::Limits;
use crate::doors::{Call, Dialect};
use crate::health;
use crate::routes::{Routes, TABLES, not_served};
use crate::services::Services;
use crate::transport::{Handle, Shutdown};
use authenticate::{BEDROCK, NEIGHBOURS, unknown_service, wrong_scope};
use render::{Answered, refuse, render};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// What metrics call a request that names no operation.
const UNKNOWN: &str = "Unknown";

/// Answers every request of one server.
pub(crate) struct Pipeline {
    services: Arc<Services>,
    limits: Limits,
    dispatcher: Dispatcher,
    routes: Routes,
    /// Host names under it may name buckets.
    s3_domain: String,
    /// See [`s3::taken_names`].
    taken_names: HashSet<&'static str>,
}

/// A request on its way.
struct Arrival {
    parts: Parts,
    body: Body,
    request_id: String,
    received_ms: i64,
    peer: IpAddr,
    shutdown: Shutdown,
    /// Whether it names a credential scope.
    signed: bool,
    /// The signing name that the scope must have; `None` for a service that nobody here knows.
    service: Option<&'static str>,
    /// The operation, or why there is none. Told to nobody before they are authenticated.
    found: Result<Found, ApiError>,
    /// The one service that errors without an operation are from.
    table: Option<&'static ServiceTable>,
}

impl Arrival {
    /// The service, as far as the head tells it.
    fn table(&self) -> Option<&'static ServiceTable> {
        match &self.found {
            Ok(Found::Operation(found)) => Some(found.table),
            Ok(Found::InBody(table)) => Some(table),
            Err(_) => self.table,
        }
    }

    fn operation(&self) -> &'static str {
        match &self.found {
            Ok(Found::Operation(found)) => found.operation.name,
            _ => UNKNOWN,
        }
    }
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
    pub(crate) fn new(services: Arc<Services>, limits: Limits, s3_domain: String) -> Self {
        Self {
            services,
            limits,
            dispatcher: Dispatcher::new(TABLES),
            routes: Routes::all(),
            s3_domain,
            taken_names: s3::taken_names(),
        }
    }

    async fn answer(&self, request: Request<Body>, peer: IpAddr, shutdown: Shutdown) -> Response<Body> {
        let (parts, body) = request.into_parts();
        // First, because a bucket may have any name.
        if self.is_for_s3(&parts) {
            // Boxed, as the doors below: else every call would be as large as the largest there is.
            return Box::pin(self.answer_s3(parts, body, peer, shutdown)).await;
        }
        if let Some(reply) = self.open_to_all(&parts, &shutdown) {
            return reply;
        }
        let dialect = Dialect::of(parts.uri.path());
        let arrival = self.arrive(parts, body, (peer, shutdown), dialect);
        let trail = self.trail(&arrival, dialect);
        let id_header = HeaderValue::from_str(&arrival.request_id).ok();
        let mut response = match dialect {
            Some(dialect) => {
                let timer = self.services.metering.request(dialect.operation(&arrival.parts));
                Box::pin(self.answer_door(dialect, arrival, timer, trail)).await
            }
            None => {
                let timer = self.services.metering.request(arrival.operation());
                self.answer_modelled(arrival, timer, trail).await
            }
        };
        if let Some(id) = id_header {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }

    /// Reads off the head which service and operation a request is for. `dialect`: its path is one of another API's.
    fn arrive(
        &self,
        parts: Parts,
        body: Body,
        from: (IpAddr, Shutdown),
        dialect: Option<Dialect>,
    ) -> Arrival {
        let door = dialect.is_some();
        let scope = scope_service(&RequestHead::from(&parts));
        let signed = scope.is_some();
        let named = scope.as_deref().unwrap_or(BEDROCK);
        let scope = match dialect {
            Some(dialect) => dialect.service(),
            None => named,
        };
        let mut front = self.dispatcher.front(scope);
        let mut found = match front {
            _ if door => Err(ApiError::unknown_operation("")),
            Some(front) => front.find(parts.method.as_str(), parts.uri.path(), &parts.headers),
            None => Err(unknown_service(scope)),
        };
        if !door && found.is_err() && NEIGHBOURS.contains(&scope) && self.asks_bedrock(&parts) {
            found = Err(wrong_scope(BEDROCK));
            front = None;
        }
        let mut table = front.filter(|_| !door).and_then(Front::table);
        if !door && found.is_err() && is_form(&parts) {
            // IAM's or STS's: which, says the body, of somebody who is not known yet. Their errors look alike.
            table = TABLES.iter().copied().find(|table| table.name == "sts");
            if signed {
                found = Err(wrong_scope("sts' or 'iam"));
                front = None;
            }
        }
        Arrival {
            service: front.map(|front| front.service),
            table,
            found,
            signed,
            request_id: self.services.ids.uuid(),
            received_ms: self.services.clock.now_ms(),
            peer: from.0,
            shutdown: from.1,
            parts,
            body,
        }
    }

    /// What the audit log is told of a request, as far as its head says.
    fn trail(&self, arrival: &Arrival, dialect: Option<Dialect>) -> Arc<Trail> {
        let mut event = Event::default();
        if self.services.audit.enabled() {
            event = Event::begin(&self.services, &arrival.parts, arrival.peer, &arrival.request_id);
            event.service = arrival.service.unwrap_or("unknown").into();
            let door = dialect.map(|door| door.operation(&arrival.parts));
            event.operation = door.unwrap_or_else(|| arrival.operation()).into();
        }
        Trail::new(self.services.audit.clone(), event)
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
    async fn answer_door(
        &self,
        dialect: Dialect,
        arrival: Arrival,
        timer: RequestTimer,
        trail: Arc<Trail>,
    ) -> Response<Body> {
        let (request_id, ending) = (arrival.request_id.clone(), arrival.shutdown.clone());
        let answering = async {
            let mut arrival = arrival;
            let identified = self.identify(&mut arrival, &trail).await;
            let (context, body) = identified.map_err(|error| dialect.unidentified(error))?;
            let Arrival { parts, shutdown, .. } = arrival;
            let trail = Arc::clone(&trail);
            dialect.answer(&self.services, Call { context, parts, body, shutdown, trail }).await
        };
        let answered = finished(answering, &ending).await;
        let response = answered.unwrap_or_else(|error| {
            trail.note(|event| event.fail(&error, None));
            dialect.refuse(&error, &request_id)
        });
        timed(response, timer)
    }

    async fn answer_modelled(
        &self,
        arrival: Arrival,
        mut timer: RequestTimer,
        trail: Arc<Trail>,
    ) -> Response<Body> {
        let request_id = arrival.request_id.clone();
        let table = arrival.table();
        let shutdown = arrival.shutdown.clone();
        match finished(self.run(arrival, &mut timer, &trail), &shutdown).await {
            Ok(answered) => render(answered, &request_id, shutdown, timer),
            Err(error) => {
                trail.note(|event| event.fail(&error, table));
                let response = refuse(&error, table, &request_id);
                timer.finish(response.status().as_u16());
                response
            }
        }
    }

    /// From a stranger's request to an operation's answer.
    async fn run(
        &self,
        mut arrival: Arrival,
        timer: &mut RequestTimer,
        trail: &Trail,
    ) -> Result<Answered, ApiError> {
        if let Ok(Found::Operation(found)) = &arrival.found
            && found.operation.streams_input
        {
            // Its body is a conversation that ends with the answer; there is nothing to read first.
            return Err(not_served(found.table, found.operation));
        }
        let (context, body) = self.identify(&mut arrival, trail).await?;
        let Arrival { parts, found, .. } = arrival;
        let found = match found? {
            Found::Operation(found) => found,
            Found::InBody(table) => in_body(table, parts.uri.query(), &body)?,
        };
        timer.set_operation(found.operation.name);
        trail.note(|event| event.operation = found.operation.name.into());
        let read = bind::read(&found, parts.uri.query(), &parts.headers, body)?;
        self.authorize(&parts, &found, &read, (&context, trail)).await?;
        let handler = self.routes.find(found.table, found.operation)?;
        let bound = read.check()?;
        let reply = handler(&self.services, &context, bound).await;
        if reply.as_ref().is_err_and(|error| error.code.starts_with("AccessDenied")) {
            // What the handler alone could know: a role that a component may not use, a second factor that is missing.
            trail.note(|event| event.denied = true);
        }
        let reply = reply?;
        Ok(Answered { table: found.table, operation: found.operation, reply })
    }

    /// Whether the path is one of Bedrock's operations.
    fn asks_bedrock(&self, parts: &Parts) -> bool {
        let front = self.dispatcher.front(BEDROCK);
        front.is_some_and(|front| front.find(parts.method.as_str(), parts.uri.path(), &parts.headers).is_ok())
    }

    /// Authenticates, reads the body, and says what the call's context is.
    async fn identify(
        &self,
        arrival: &mut Arrival,
        trail: &Trail,
    ) -> Result<(RequestContext, Bytes), ApiError> {
        let (who, body) = self.authenticate(arrival).await?;
        trail.note(|event| {
            event.principal = Some(Arc::clone(&who.principal));
            event.region.clone_from(&who.region);
        });
        let context = RequestContext {
            request_id: std::mem::take(&mut arrival.request_id),
            account: Arc::clone(&self.services.account),
            region: who.region,
            principal: who.principal,
            source_ip: Some(arrival.peer),
            received_ms: arrival.received_ms,
        };
        Ok((context, body))
    }
}

/// Whether a request is one of the services whose operations are named in a form, or in the query.
fn is_form(parts: &Parts) -> bool {
    let kind =
        parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let posted = parts.method == Method::POST && kind.starts_with("application/x-www-form-urlencoded");
    let mut query = parts.uri.query().unwrap_or_default().split('&');
    let asked = parts.method == Method::GET && query.any(|pair| pair.starts_with("Action="));
    parts.uri.path() == "/" && (posted || asked)
}

/// The operation that a form names. One of another service is told that the signature is not for that.
fn in_body(table: &'static ServiceTable, query: Option<&str>, body: &Bytes) -> Result<Match, ApiError> {
    query::find(table, query, body).map_err(|error| {
        let mut others = TABLES.iter().copied().filter(|other| other.name != table.name);
        let meant = others.find(|other| {
            matches!(other.protocol, Protocol::Query { .. }) && query::find(other, query, body).is_ok()
        });
        meant.map_or(error, |other| wrong_scope(other.signing_name))
    })
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
