use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use craton_core::Clock as _;
use craton_wire::eventstream::{Decoder, Frame};
use craton_wire::sigv4::{
    PathEncoding, Secret, Signer, SigningSecret, sha256, sign_request, sign_s3_request,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::{ACCESS_KEY_ID, FixedClock, SECRET_ACCESS_KEY};

type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Signs and sends requests.
#[derive(Clone)]
pub struct Client {
    http: Http,
    h2: Http,
    url: String,
    clock: Arc<FixedClock>,
    pub secret: String,
    pub access_key_id: String,
    pub session_token: Option<String>,
    /// The service and region that requests are signed for.
    pub service: String,
    pub region: String,
    /// HTTP/2 with prior knowledge (or by ALPN).
    pub http2: bool,
}

impl Client {
    pub(crate) fn new(url: &str, certificate: Option<&Path>, clock: Arc<FixedClock>) -> Self {
        Self {
            http: http(certificate, false),
            h2: http(certificate, true),
            url: url.to_owned(),
            clock,
            secret: SECRET_ACCESS_KEY.into(),
            access_key_id: ACCESS_KEY_ID.into(),
            session_token: None,
            service: "bedrock".into(),
            region: "us-east-1".into(),
            http2: false,
        }
    }

    /// A signed JSON request, with its answer.
    pub async fn json(&self, method: Method, path: &str, body: &serde_json::Value) -> Answer {
        self.open(method, path, body.to_string()).await.answer().await
    }

    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Answer {
        self.json(Method::POST, path, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.open(Method::GET, path, "").await.answer().await
    }

    /// This client, signing for another service.
    pub fn for_service(&self, service: &str) -> Self {
        Self { service: service.to_owned(), ..self.clone() }
    }

    /// A signed call of a query service (`iam`, `sts`): `parameters` are its form, `Action` first.
    pub async fn query(&self, parameters: &[(&str, &str)]) -> Answer {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value)));
        let body = Bytes::from(pairs.collect::<Vec<_>>().join("&"));
        let (mut parts, body) = self.unsigned(Method::POST, "/", body);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
        parts.headers.insert("content-type", form);
        self.sign(&mut parts, &body);
        self.send(parts, body).await.answer().await
    }

    /// A signed call of a service whose operations are named in X-Amz-Target.
    pub async fn target(&self, target: &str, body: &serde_json::Value) -> Answer {
        let body = Bytes::from(body.to_string());
        let (mut parts, body) = self.unsigned(Method::POST, "/", body);
        parts.headers.insert("x-amz-target", HeaderValue::from_str(target).expect("a header's value"));
        self.sign(&mut parts, &body);
        self.send(parts, body).await.answer().await
    }

    /// A signed request; its answer is read by the caller, bit by bit.
    pub async fn open(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Open {
        let (parts, body) = self.signed(method, path, body.into());
        self.send(parts, body).await
    }

    /// A request, signed but not sent.
    pub fn signed(&self, method: Method, path: &str, body: Bytes) -> (Parts, Bytes) {
        let (mut parts, body) = self.unsigned(method, path, body);
        self.sign(&mut parts, &body);
        (parts, body)
    }

    fn sign(&self, parts: &mut Parts, body: &Bytes) {
        let secret = SigningSecret::new(Secret::new(self.secret.clone()));
        let signer = Signer {
            access_key_id: &self.access_key_id,
            secret: &secret,
            session_token: self.session_token.as_deref(),
            region: &self.region,
            service: &self.service,
            path: if self.service == "s3" { PathEncoding::Once } else { PathEncoding::Double },
        };
        let (hash, now_ms) = (sha256(body), self.clock.now_ms());
        let signed = match self.service.as_str() {
            "s3" => sign_s3_request(parts, Some(&hash), &signer, now_ms),
            _ => sign_request(parts, &hash, &signer, now_ms),
        };
        signed.expect("a request that can be signed");
    }

    pub fn unsigned(&self, method: Method, path: &str, body: Bytes) -> (Parts, Bytes) {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        if path.starts_with("/anthropic/") {
            request = request.header("anthropic-version", "2023-06-01");
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        (parts, body)
    }

    pub async fn send(&self, mut parts: Parts, body: Bytes) -> Open {
        let http = if self.http2 { &self.h2 } else { &self.http };
        if self.http2 {
            // The authority says it, and HTTP/2 clients send it once.
            parts.headers.remove("host");
        }
        let request = Request::from_parts(parts, Full::new(body));
        Open { response: http.request(request).await.expect("an answer"), decoder: Decoder::new() }
    }
}

fn http(certificate: Option<&Path>, only_h2: bool) -> Http {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = certificate {
        roots.add(CertificateDer::from_pem_file(path).expect("a certificate")).expect("a usable certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let connector = if only_h2 { builder.enable_http2().build() } else { builder.enable_http1().build() };
    hyper_util::client::legacy::Client::builder(TokioExecutor::new()).http2_only(only_h2).build(connector)
}

/// An answer whose body is still to be read. Dropping it hangs up.
pub struct Open {
    pub response: Response<Incoming>,
    decoder: Decoder,
}

impl Open {
    /// The next frame of an event stream.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("a well-formed frame") {
                return Some(frame);
            }
            match self.response.body_mut().frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.expect("an unbroken body").into_data() {
                        self.decoder.push(&data);
                    }
                }
                None => {
                    self.decoder.finish().expect("whole frames");
                    return None;
                }
            }
        }
    }

    pub async fn answer(self) -> Answer {
        let (parts, body) = self.response.into_parts();
        let body = body.collect().await.expect("an unbroken body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// A header's text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn error(&self) -> (u16, &str) {
        (self.status.as_u16(), self.header("x-amzn-errortype"))
    }

    pub fn frames(&self) -> Vec<Frame> {
        let mut decoder = Decoder::new();
        decoder.push(&self.body);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next_frame().expect("a well-formed frame") {
            frames.push(frame);
        }
        decoder.finish().expect("whole frames");
        frames
    }

    /// Status, headers (but the date and lengths) and body, for snapshots. Measured times are blanked.
    pub fn snapshot(&self) -> String {
        let mut text = format!("{}\n", self.status);
        let mut headers: Vec<(&HeaderName, &HeaderValue)> = self
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "date" | "content-length" | "transfer-encoding"))
            .collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in headers {
            let shown =
                if name.as_str().ends_with("latency") { "[ms]" } else { value.to_str().unwrap_or("?") };
            let _ = writeln!(text, "{name}: {shown}");
        }
        text.push('\n');
        if self.header("content-type") == "application/vnd.amazon.eventstream" {
            for frame in self.frames() {
                let kind =
                    frame.header(":event-type").or_else(|| frame.header(":exception-type")).unwrap_or("?");
                let _ = writeln!(text, "{kind} {}", shown(&frame.payload));
            }
        } else {
            text.push_str(&shown(&self.body));
        }
        text
    }
}

fn shown(body: &[u8]) -> String {
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(mut json) => {
            blank_times(&mut json);
            serde_json::to_string(&json).unwrap_or_default()
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

fn blank_times(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                if name == "latencyMs" { *value = "[ms]".into() } else { blank_times(value) }
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(blank_times),
        _ => {}
    }
}
