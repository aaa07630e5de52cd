//! A small HTTP/1.1 client for one upstream: a pool of connections, timeouts, bounds, and nothing else.
//!
//! hyper speaks the protocol; what is added is that a connection is driven in the caller's own task (see [`conn`]),
//! which makes a call cheaper and makes dropping it close its socket.
//!
//! Retries: a request is sent a second time only when a pooled connection turned out to be closed before a single byte
//! of an answer had arrived on it. Servers close idle connections without warning, so without this the first call
//! after a pause would fail. Nothing is ever retried on a fresh connection or after the first byte.

mod body;
mod conn;

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use craton_backend::BackendError;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_rustls::TlsConnector;
use tower_service::Service;

pub(crate) use body::Body;
use conn::{Conn, Stream};

use crate::errors::told;
use crate::errors::{self, MAX_ERROR_BYTES};
use crate::settings::{SettingsError, Timeouts, UpstreamSettings};

/// Age after which an idle connection is closed instead of used.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);

/// One upstream's endpoint.
pub(crate) struct Http {
    pub(crate) name: String,
    /// Scheme and authority.
    origin: Uri,
    /// Path of the base URL without its last slash.
    base_path: String,
    /// Some for https.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connector: HttpConnector,
    pub(crate) timeouts: Timeouts,
    headers: HeaderMap,
    in_flight: Arc<Semaphore>,
    max_idle: usize,
    /// Most recently used last.
    idle: Mutex<Vec<(Conn, Instant)>>,
}

/// Where a path starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// Below the base URL: `/chat/completions`.
    Base,
    /// Below the base URL without its version: `/tokenize` of a base `http://host:8000/v1`.
    Root,
}

impl Http {
    pub(crate) fn new(settings: &UpstreamSettings) -> Result<Self, SettingsError> {
        let bad_url =
            || SettingsError::BaseUrl { name: settings.name.clone(), url: settings.base_url.clone() };
        let base: Uri = settings.base_url.trim().parse().map_err(|_| bad_url())?;
        let (Some(scheme), Some(authority), None) = (base.scheme_str(), base.authority(), base.query())
        else {
            return Err(bad_url());
        };
        let host = base.host().ok_or_else(bad_url)?;
        let tls = match scheme {
            "http" => None,
            "https" => Some((tls_connector(&settings.name)?, server_name(host).ok_or_else(bad_url)?)),
            _ => return Err(bad_url()),
        };
        let origin = Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query("/");
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_keepalive(Some(Duration::from_secs(30)));
        let mut headers = own_headers(settings)?;
        let host_header = authority.as_str().rsplit('@').next().unwrap_or_default();
        headers.insert(HOST, HeaderValue::from_str(host_header).map_err(|_| bad_url())?);
        Ok(Self {
            name: settings.name.clone(),
            origin: origin.build().map_err(|_| bad_url())?,
            base_path: base.path().trim_end_matches('/').to_owned(),
            tls,
            connector,
            timeouts: settings.timeouts,
            headers,
            in_flight: Arc::new(Semaphore::new(settings.max_in_flight.min(Semaphore::MAX_PERMITS))),
            max_idle: settings.max_idle_connections,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Adds a header to every request.
    pub(crate) fn set_header(&mut self, name: &'static str, value: &str) -> Result<(), SettingsError> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| SettingsError::Header { name: self.name.clone(), header: name.to_owned() })?;
        value.set_sensitive(true);
        self.headers.entry(HeaderName::from_static(name)).or_insert(value);
        Ok(())
    }

    /// Host, with its port if it is not the scheme's own.
    pub(crate) fn host(&self) -> &str {
        self.origin.authority().map(http::uri::Authority::as_str).unwrap_or_default()
    }

    /// The path as it goes into the request line.
    pub(crate) fn path(&self, from: From, path: &str) -> String {
        let base = match from {
            From::Base => self.base_path.as_str(),
            From::Root => self.base_path.strip_suffix("/v1").unwrap_or(&self.base_path),
        };
        format!("{base}{path}")
    }

    /// Sends JSON and waits for the head of the response, whatever its status.
    pub(crate) async fn post_json(
        self: &Arc<Self>,
        path: &str,
        json: Vec<u8>,
    ) -> Result<Response<Body>, BackendError> {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.send(path, headers, Bytes::from(json)).await
    }

    /// As [`Self::post_json`], with headers that hold for this request alone.
    pub(crate) async fn post_with(
        self: &Arc<Self>,
        path: &str,
        extra: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, BackendError> {
        let mut headers = self.headers.clone();
        headers.extend(extra);
        self.send(path, headers, body).await
    }

    /// Sends JSON; a response that is not a success becomes the error it means.
    pub(crate) async fn post_ok(
        self: &Arc<Self>,
        path: &str,
        json: Vec<u8>,
    ) -> Result<Response<Body>, BackendError> {
        self.check(self.post_json(path, json).await?).await
    }

    /// Passes a success on and turns any other response into the error it means.
    pub(crate) async fn check(&self, response: Response<Body>) -> Result<Response<Body>, BackendError> {
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        // The status says enough if the text can't be read.
        let text = body.collect(MAX_ERROR_BYTES).await.unwrap_or_default();
        Err(errors::from_response(&self.name, head.status, &head.headers, &text))
    }

    /// One request and its whole answer, both JSON.
    pub(crate) async fn call<T: DeserializeOwned>(
        self: &Arc<Self>,
        path: &str,
        body: &impl Serialize,
        max_bytes: usize,
    ) -> Result<T, BackendError> {
        let json = serde_json::to_vec(body).map_err(|error| {
            BackendError::Invalid(format!("the request can't be written as JSON: {error}"))
        })?;
        let answer = self.post_ok(path, json).await?.into_body().collect(max_bytes).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            BackendError::BrokenStream(told(
                &self.name,
                format!("the upstream gave an unknown answer: {error}"),
            ))
        })
    }

    async fn send(
        self: &Arc<Self>,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Body>, BackendError> {
        let permit = self.in_flight.clone().try_acquire_owned().map_err(|_| BackendError::Overloaded {
            message: told(&self.name, "the upstream has as many calls in flight as it is allowed".into()),
            retry_after: None,
        })?;
        let uri: Uri = path.parse().map_err(|error| {
            BackendError::Internal(told(&self.name, format!("bad path `{path}`: {error}")))
        })?;
        if let Some(conn) = self.pooled().await {
            let request = request(uri.clone(), headers.clone(), body.clone());
            if let Some(response) = self.exchange(conn, request).await? {
                return Ok(response.into_body(self, permit));
            }
            tracing::debug!(upstream = self.name, "pooled connection was stale, sending again");
        }
        let conn = self.connect().await?;
        match self.exchange(conn, request(uri, headers, body)).await? {
            Some(response) => Ok(response.into_body(self, permit)),
            // Only a reused connection can be stale.
            None => Err(BackendError::Internal(told(&self.name, "retried twice".into()))),
        }
    }

    /// None: the pooled connection was stale, and the request may be sent again.
    async fn exchange(
        &self,
        mut conn: Conn,
        request: Request<Full<Bytes>>,
    ) -> Result<Option<Head>, BackendError> {
        let mut timer = Box::pin(tokio::time::sleep(self.timeouts.first_byte));
        let sent = {
            let mut sending = std::pin::pin!(conn.send(request));
            poll_fn(|cx| match sending.as_mut().poll(cx) {
                Poll::Ready(sent) => Poll::Ready(Some(sent)),
                Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
            })
            .await
        };
        match sent {
            Some(Ok(response)) => Ok(Some(Head { response, conn, timer })),
            Some(Err(failure)) if failure.stale => Ok(None),
            Some(Err(failure)) if failure.heard => Err(broken(&self.name, &failure.error)),
            Some(Err(failure)) => Err(BackendError::Unreachable(told(
                &self.name,
                format!("the upstream closed the connection without an answer: {}", chain(&failure.error)),
            ))),
            None => Err(BackendError::Timeout(self.timeouts.first_byte)),
        }
    }

    /// A pooled connection that still looks open.
    async fn pooled(&self) -> Option<Conn> {
        loop {
            let (mut conn, since) = self.idle.lock().pop()?;
            if since.elapsed() > MAX_IDLE_TIME {
                // Those below are older still.
                self.idle.lock().retain(|(_, since)| since.elapsed() <= MAX_IDLE_TIME);
                continue;
            }
            if poll_fn(|cx| Poll::Ready(conn.poll_usable(cx))).await {
                conn.reused = true;
                return Some(conn);
            }
        }
    }

    fn keep(&self, conn: Conn) {
        let mut idle = self.idle.lock();
        if idle.len() < self.max_idle {
            idle.push((conn, Instant::now()));
        }
    }

    async fn connect(&self) -> Result<Conn, BackendError> {
        let unreachable = |error: &dyn std::error::Error| {
            let place = format!("{} at {}", self.name, self.host());
            BackendError::Unreachable(told(
                &place,
                format!("the upstream can't be reached: {}", chain(error)),
            ))
        };
        let connecting = async {
            let mut connector = self.connector.clone();
            poll_fn(|cx| connector.poll_ready(cx)).await.map_err(|error| unreachable(&error))?;
            let tcp = connector.call(self.origin.clone()).await.map_err(|error| unreachable(&error))?;
            let stream = match &self.tls {
                None => Stream::Plain(tcp.into_inner()),
                Some((tls, name)) => {
                    let stream = tls.connect(name.clone(), tcp.into_inner()).await;
                    Stream::Tls(Box::new(stream.map_err(|error| unreachable(&error))?))
                }
            };
            Conn::new(stream).await.map_err(|error| unreachable(&error))
        };
        tokio::time::timeout(self.timeouts.connect, connecting)
            .await
            .unwrap_or(Err(BackendError::Timeout(self.timeouts.connect)))
    }
}

/// A response whose body has not been read.
struct Head {
    response: Response<Incoming>,
    conn: Conn,
    timer: Pin<Box<Sleep>>,
}

impl Head {
    fn into_body(self, http: &Arc<Http>, permit: OwnedSemaphorePermit) -> Response<Body> {
        let Self { response, conn, timer } = self;
        response.map(|incoming| Body::new(conn, incoming, http.clone(), timer, permit))
    }
}

fn request(uri: Uri, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

fn own_headers(settings: &UpstreamSettings) -> Result<HeaderMap, SettingsError> {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("craton/", env!("CARGO_PKG_VERSION"))));
    for (name, value) in &settings.headers {
        let bad = || SettingsError::Header { name: settings.name.clone(), header: name.clone() };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        headers.insert(name, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    Ok(headers)
}

fn tls_connector(upstream: &str) -> Result<TlsConnector, SettingsError> {
    let mut config = craton_outbound::tls_config()
        .map_err(|error| SettingsError::Tls { name: upstream.to_owned(), message: error.to_string() })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) => Some(ServerName::from(ip)),
        Err(_) => ServerName::try_from(bare.to_owned()).ok(),
    }
}

/// The connection failed after it had been made.
pub(crate) fn broken(upstream: &str, error: &hyper::Error) -> BackendError {
    BackendError::BrokenStream(told(upstream, format!("the upstream broke off: {}", chain(error))))
}

/// An error with what caused it, joined by colons.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
