//! The way of a request for S3, whose front authenticates, authorises and renders itself: bodies are streams both ways,
//! signatures cover their chunks, and errors are XML.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use craton_s3::{is_virtual_host, matches_s3};
use craton_wire::api_key;
use craton_wire::sigv4::{RequestHead, scope_service};
use craton_wire::table::Protocol;
use futures::{Stream, StreamExt as _};
use http::request::Parts;
use http::{Method, Response, header};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;

use super::{Pipeline, finished, is_form, shutting_down, timed};
use crate::audit::{Event, Trail};
use crate::body::{Body, BodyError};
use crate::doors::Dialect;
use crate::routes::TABLES;
use crate::transport::Shutdown;

/// What metrics call a request to S3 until its operation is known.
const UNKNOWN: &str = "S3Unknown";
/// How much of a refused request's body is taken in, and for how long.
const MAX_SWALLOWED_BYTES: u64 = 1 << 20;
const SWALLOW_PATIENCE: Duration = Duration::from_secs(2);

/// The first segments of other services' paths: no bucket of such a name is ever reached without a signature.
pub(super) fn taken_names() -> HashSet<&'static str> {
    let rest = TABLES.iter().filter(|table| table.protocol == Protocol::RestJson);
    let operations = rest.flat_map(|table| table.operations);
    let first = operations.filter_map(|operation| operation.uri.trim_start_matches('/').split('/').next());
    // The doors' paths, also where they lead nowhere.
    first.chain(["openai", "anthropic", "aoss"]).collect()
}

impl Pipeline {
    /// Whether a request is S3's: by its credential's scope whatever its path, or unsigned where nobody else's is.
    pub(super) fn is_for_s3(&self, parts: &Parts) -> bool {
        match scope_service(&RequestHead::from(parts)).as_deref() {
            Some("s3") => return !self.is_for_another(parts),
            Some(_) => return false,
            None => {}
        }
        let path = parts.uri.path();
        if Dialect::of(path).is_some() || api_key::bearer_token(&parts.headers).is_some() {
            return false;
        }
        if matches_s3(parts) || is_virtual_host(parts, &self.s3_domain) {
            return true;
        }
        if parts.headers.contains_key(header::AUTHORIZATION) {
            return false;
        }
        // Nobody signed. A bucket's name, then, that is no other service's path.
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let method = matches!(
            parts.method,
            Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE | Method::OPTIONS
        );
        let own = matches!(path, "/health" | "/metrics");
        let bucket = craton_objects::names::check_bucket(first).is_ok();
        method && bucket && !own && !self.taken_names.contains(first)
    }

    /// Whether a request is IAM's or STS's although it is signed for S3, which takes no such forms: a post to no bucket that
    /// names no operation in its query.
    fn is_for_another(&self, parts: &Parts) -> bool {
        parts.method == Method::POST
            && is_form(parts)
            && parts.uri.query().is_none_or(str::is_empty)
            && !is_virtual_host(parts, &self.s3_domain)
    }

    fn s3_trail(&self, parts: &Parts, peer: IpAddr, request_id: &str) -> Arc<Trail> {
        let mut event = Event::default();
        if self.services.audit.enabled() {
            event = Event::begin(&self.services, parts, peer, request_id);
            (event.service, event.operation) = ("s3".into(), UNKNOWN.into());
        }
        Trail::new(self.services.audit.clone(), event)
    }

    pub(super) async fn answer_s3(
        &self,
        parts: Parts,
        body: Body,
        peer: IpAddr,
        shutdown: Shutdown,
    ) -> Response<Body> {
        let mut timer = self.services.metering.request(UNKNOWN);
        let patience = Duration::from_millis(self.limits.body_timeout_ms);
        let request_id = self.services.ids.uuid();
        let trail = self.s3_trail(&parts, peer, &request_id);
        let (body, rest) = incoming(body, patience);
        // Who waits to be told to go on, and is not, sends nothing more; a short body is not worth the risk.
        let waits = parts.headers.contains_key(header::EXPECT);
        let call = craton_s3::Call {
            parts,
            body,
            request_id: request_id.clone(),
            peer,
            secure: self.services.secure,
            received_ms: self.services.clock.now_ms(),
        };
        let answering = async {
            let answer = self.services.s3.answer(call).await;
            rest.swallow(waits).await;
            Ok(answer)
        };
        match finished(answering, &shutdown).await {
            Ok(answer) => {
                timer.set_operation(answer.operation);
                trail.note(|event| {
                    event.operation = answer.operation.into();
                    event.principal = answer.principal;
                    for (action, resource) in &answer.asked {
                        event.ask(action, Some(resource));
                    }
                    event.denied = answer.denied;
                    event.error = answer.error.map(|code| (code, None));
                });
                // The event is complete when the answer's body is.
                let response = answer.response.map(|body| Body::other(body).when_done(move || drop(trail)));
                timed(response, timer)
            }
            Err(error) => {
                // A panic, or the end of the grace period.
                let stopping = error.code == shutting_down().code;
                let response = craton_s3::unavailable(stopping, &request_id);
                timed(response.map(Body::other), timer)
            }
        }
    }
}

/// A request's body, whose sender must not fall silent, and what will be left of it.
fn incoming(body: Body, patience: Duration) -> (craton_s3::Body, Rest) {
    if body.is_end_stream() {
        return (craton_s3::Body::empty(), Rest(Arc::default()));
    }
    let rest = Rest(Arc::new(Mutex::new(Some(body))));
    let shared = rest.clone();
    let frames = futures::stream::poll_fn(move |context| shared.poll(context));
    let paced = http_body_util::StreamBody::new(paced(frames, patience));
    (craton_s3::Body::http_body_unsync(paced), rest)
}

/// A body that has not been read to its end; empty once it has.
#[derive(Clone)]
struct Rest(Arc<Mutex<Option<Body>>>);

impl Rest {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut body = self.0.lock();
        let next = match body.as_mut() {
            Some(body) => ready!(Pin::new(body).poll_frame(context)),
            None => None,
        };
        if !matches!(next, Some(Ok(_))) {
            *body = None;
        }
        Poll::Ready(next)
    }

    /// Takes in, within bounds, what a client is still sending after its request has been refused: one that is cut off
    /// while it writes never reads why.
    async fn swallow(&self, waits: bool) {
        let Some(mut body) = self.0.lock().take() else { return };
        let announced = body.size_hint().lower();
        if waits && announced > MAX_SWALLOWED_BYTES {
            return;
        }
        let swallowing = async {
            let mut swallowed = 0;
            while let Some(Ok(frame)) = body.frame().await {
                swallowed += frame.data_ref().map_or(0, Bytes::len) as u64;
                if swallowed > MAX_SWALLOWED_BYTES {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(SWALLOW_PATIENCE, swallowing).await;
    }
}

fn paced(
    frames: impl Stream<Item = Result<Frame<Bytes>, BodyError>> + Send + Unpin + 'static,
    patience: Duration,
) -> impl Stream<Item = Result<Frame<Bytes>, BodyError>> + Send + 'static {
    futures::stream::unfold(Some(frames), move |frames| async move {
        let mut frames = frames?;
        match tokio::time::timeout(patience, frames.next()).await {
            Ok(Some(frame)) => Some((frame, Some(frames))),
            Ok(None) => None,
            Err(_) => {
                let late = io::Error::new(io::ErrorKind::TimedOut, "no bytes of the body arrived in time");
                Some((Err(late.into()), None))
            }
        }
    })
}
