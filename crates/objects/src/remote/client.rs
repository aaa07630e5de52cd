//! Signed requests to a real S3.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use craton_outbound::{CredentialSource, Pool};
use craton_wire::sigv4::{PathEncoding, Secret, Signer, sha256, sign_s3_request};
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::xml::Element;
use super::{RemoteConfig, RemoteError};
use crate::types::{BodyError, ByteStream};
use crate::{ObjectError, Result};

/// Bytes of an answer that is not an object.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// How often a request without a body is sent when the first answers say that the trouble is passing.
const ATTEMPTS: u32 = 3;
/// Longest wait for the head of an answer, and longest silence within one.
const PATIENCE: Duration = Duration::from_secs(120);

/// All but what SigV4 leaves as it is.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &VALUE.remove(b'/');

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BodyError>;

/// A connection pool and the credentials to use it with.
pub(super) struct Client {
    pool: Pool<Body>,
    endpoint: String,
    region: String,
    source: CredentialSource,
}

/// A request before it is signed.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) bucket: String,
    pub(super) key: String,
    query: String,
    pub(super) headers: HeaderMap,
}

impl Call {
    pub(super) fn new(method: Method, bucket: &str, key: &str) -> Self {
        Self {
            method,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            query: String::new(),
            headers: HeaderMap::new(),
        }
    }

    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(name);
        self.query.push('=');
        self.query.extend(utf8_percent_encode(value, VALUE));
        self
    }

    /// A parameter's value, if it needs no decoding.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)).map(str::to_owned)
    }

    pub(super) fn maybe_query(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Result<Self> {
        let value = http::HeaderValue::from_str(value.as_ref()).or_else(|_| {
            // Header values are bytes; the other side reads them as UTF-8.
            http::HeaderValue::from_bytes(value.as_ref().as_bytes())
        });
        let value =
            value.map_err(|_| ObjectError::InvalidArgument(format!("{name} can't be sent as a header")))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    pub(super) fn maybe_header(self, name: &'static str, value: Option<impl AsRef<str>>) -> Result<Self> {
        match value {
            Some(value) => self.header(name, value),
            None => Ok(self),
        }
    }
}

impl Client {
    pub(super) fn new(config: &RemoteConfig) -> Result<Self, RemoteError> {
        let source = CredentialSource::new(config.credentials()?);
        // What is missing is said at start.
        source.get()?;
        Ok(Self {
            pool: craton_outbound::pool()?,
            endpoint: config.endpoint.trim_end_matches('/').to_owned(),
            region: config.region.clone(),
            source,
        })
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Sends a request with a body at hand, and gives back the head of an answer that is a success.
    pub(super) async fn send(&self, call: Call, body: Bytes) -> Result<Response<Incoming>> {
        let mut pause = Duration::from_millis(100);
        let mut attempt = 1;
        loop {
            let hash = sha256(&body);
            let full = Full::new(body.clone()).map_err(|never| match never {}).boxed_unsync();
            let sent = self.once(&call, full, Some(body.len() as u64), Some(&hash)).await;
            let passing = match &sent {
                Ok(response) => {
                    response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS
                }
                Err(_) => true,
            };
            if !passing || attempt == ATTEMPTS {
                return self.checked(&call, sent?).await;
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
    }

    /// Sends a body that can be sent only once, of a known length.
    pub(super) async fn send_stream(
        &self,
        call: Call,
        body: ByteStream,
        length: u64,
    ) -> Result<Response<Incoming>> {
        let body = StreamBody::new(body.map(|chunk| chunk.map(Frame::data))).boxed_unsync();
        let response = self.once(&call, body, Some(length), None).await?;
        self.checked(&call, response).await
    }

    async fn once(
        &self,
        call: &Call,
        body: Body,
        length: Option<u64>,
        hash: Option<&[u8; 32]>,
    ) -> Result<Response<Incoming>> {
        let mut uri = format!("{}/{}", self.endpoint, call.bucket);
        if !call.key.is_empty() {
            uri.push('/');
            uri.extend(utf8_percent_encode(&call.key, PATH));
        }
        if !call.query.is_empty() {
            uri.push('?');
            uri.push_str(&call.query);
        }
        let unsendable = |error: &dyn std::fmt::Display| ObjectError::InvalidArgument(error.to_string());
        let request = Request::builder().method(call.method.clone()).uri(uri).body(());
        let (mut parts, ()) = request.map_err(|error| unsendable(&error))?.into_parts();
        parts.headers = call.headers.clone();
        let keys = self.source.get().map_err(|error| ObjectError::Unreachable(error.to_string()))?;
        let signer = Signer {
            access_key_id: &keys.access_key_id,
            secret: &keys.secret,
            session_token: keys.session_token.as_ref().map(Secret::expose),
            region: &self.region,
            service: "s3",
            path: PathEncoding::Once,
        };
        sign_s3_request(&mut parts, hash, &signer, now_ms()).map_err(|error| unsendable(&error))?;
        if let Some(length) = length.filter(|length| *length > 0 || call.method != Method::GET) {
            parts.headers.insert(http::header::CONTENT_LENGTH, length.into());
        }
        let sending = self.pool.request(Request::from_parts(parts, body));
        // A body takes as long as it takes; it is the answer that must not be late.
        let patience = PATIENCE + Duration::from_secs(length.unwrap_or_default() >> 17);
        match tokio::time::timeout(patience, sending).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(broken(error)),
            Err(_) => Err(ObjectError::Unreachable("no answer in time".into())),
        }
    }

    /// The answer, if it is a success; else what its body says.
    async fn checked(&self, call: &Call, response: Response<Incoming>) -> Result<Response<Incoming>> {
        if response.status().is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let text = read(body).await.unwrap_or_default();
        let error = Element::parse(&text).ok();
        let said = |name: &str| error.as_ref().and_then(|error| error.text_of(name)).unwrap_or_default();
        Err(super::errors::told(call, &parts, said("Code"), said("Message")))
    }
}

/// The reason that was put into a request's body comes back out, rather than that the connection broke.
fn broken(error: hyper_util::client::legacy::Error) -> ObjectError {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(held) = inner.downcast_ref::<super::upload::Held>() {
            return held.take();
        }
        source = inner.source();
    }
    ObjectError::Unreachable(error.to_string())
}

/// A whole answer that is not an object.
pub(super) async fn read(body: Incoming) -> Result<Bytes> {
    let reading = Limited::new(body, MAX_ANSWER_BYTES).collect();
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(ObjectError::Unreachable(error.to_string())),
        Err(_) => Err(ObjectError::Unreachable("the answer broke off".into())),
    }
}

/// An object's bytes as they come.
pub(super) fn stream(body: Incoming) -> ByteStream {
    let frames = BodyStream::new(body);
    futures::stream::unfold(Some(frames), |frames| async move {
        let mut frames = frames?;
        loop {
            match tokio::time::timeout(PATIENCE, frames.next()).await {
                Ok(None) => return None,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => return Some((Ok(data), Some(frames))),
                    Err(_) => continue,
                },
                Ok(Some(Err(error))) => return Some((Err(error.into()), None)),
                Err(_) => return Some((Err("the object store fell silent".into()), None)),
            }
        }
    })
    .boxed()
}

pub(super) fn now_ms() -> i64 {
    use craton_core::Clock as _;
    craton_core::SystemClock.now_ms()
}
