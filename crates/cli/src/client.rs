//! A small AWS client: one signed POST, its answer as JSON or as events.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use craton_wire::eventstream::{Decoder, Frame};
use craton_wire::sigv4::{PathEncoding, Signer, SigningSecret, sha256, sign_request};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::endpoint::Endpoint;

type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Longest error body that is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Calls Bedrock at one endpoint.
pub(crate) struct Client {
    http: Http,
    endpoint: Endpoint,
    secret: SigningSecret,
}

/// An error the server answered with.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({code})")]
pub(crate) struct ServiceError {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Client {
    pub(crate) fn new(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let secret = SigningSecret::new(endpoint.keys.secret.clone());
        Ok(Self { http: http(endpoint)?, endpoint: endpoint.clone(), secret })
    }

    /// Posts JSON to a path of the Bedrock API.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> anyhow::Result<Response<Incoming>> {
        self.send(Method::POST, path, Bytes::from(serde_json::to_vec(body)?)).await
    }

    /// The JSON that a path of the Bedrock API answers; with a body, PUT is the method, without one GET.
    pub(crate) async fn call(
        &self,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> anyhow::Result<serde_json::Value> {
        let (method, body) = match body {
            Some(body) => (Method::PUT, Bytes::from(serde_json::to_vec(body)?)),
            None => (Method::GET, Bytes::new()),
        };
        let answer = self.send(method, path, body).await?.into_body().collect().await;
        Ok(serde_json::from_slice(&answer.context("the answer broke off")?.to_bytes())?)
    }

    /// The JSON that a path of Lambda's API answers.
    pub(crate) async fn lambda(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let request = Request::builder().method(Method::GET).uri(format!("{}{path}", self.endpoint.url));
        let answer = self.signed("lambda", request.body(())?, Bytes::new()).await?;
        let answer = answer.into_body().collect().await.context("the answer broke off")?;
        Ok(serde_json::from_slice(&answer.to_bytes())?)
    }

    /// The XML that an action of IAM answers.
    pub(crate) async fn iam(&self, action: &str, parameters: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut form = format!("Action={action}&Version=2010-05-08");
        for (name, value) in parameters {
            let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            form.push_str(&format!("&{name}={value}"));
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/", self.endpoint.url))
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = self.signed("iam", request.body(())?, form.into()).await?;
        let answer = answer.into_body().collect().await.context("the answer broke off")?;
        Ok(String::from_utf8(answer.to_bytes().to_vec())?)
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint.url))
            .header("content-type", "application/json")
            .body(())?;
        self.signed("bedrock", request, body).await
    }

    async fn signed(
        &self,
        service: &str,
        request: Request<()>,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let (mut parts, ()) = request.into_parts();
        let signer = Signer {
            access_key_id: &self.endpoint.keys.access_key_id,
            secret: &self.secret,
            session_token: self.endpoint.keys.session_token.as_deref(),
            region: &self.endpoint.region,
            service,
            path: PathEncoding::Double,
        };
        sign_request(&mut parts, &sha256(&body), &signer, now_ms())?;
        let request = Request::from_parts(parts, Full::new(body));
        let response =
            self.http.request(request).await.map_err(|error| unreachable(&self.endpoint, error))?;
        if response.status().is_success() { Ok(response) } else { Err(service_error(response).await.into()) }
    }
}

/// Frames of a streamed answer as they arrive.
pub(crate) struct Events {
    body: Incoming,
    decoder: Decoder,
}

impl Events {
    pub(crate) fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), decoder: Decoder::new() }
    }

    /// The next event; an exception in the stream is an error.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return match frame.failure() {
                    Some((code, message)) => Err(ServiceError { code, message }.into()),
                    None => Ok(Some(frame)),
                };
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.context("the answer broke off")?.into_data() {
                        self.decoder.push(&data);
                    }
                }
                None => {
                    self.decoder.finish().context("the answer broke off")?;
                    return Ok(None);
                }
            }
        }
    }
}

/// Whether the server refuses the endpoint's keys because it does not know them, or their secret is another.
pub(crate) async fn refuses_keys(endpoint: &Endpoint) -> bool {
    let Ok(client) = Client::new(endpoint) else { return false };
    let refused = client.call("/foundation-models", None).await.err();
    let refused = refused.as_ref().and_then(|error| error.downcast_ref::<ServiceError>());
    refused.is_some_and(|error| {
        matches!(error.code.as_str(), "UnrecognizedClientException" | "InvalidSignatureException")
    })
}

/// Whether a Craton server answers at the endpoint.
pub(crate) async fn is_craton(endpoint: &Endpoint) -> bool {
    let asking = async {
        let http = http(endpoint)?;
        let request = Request::builder().uri(format!("{}/health", endpoint.url)).body(Full::default())?;
        let body = http.request(request).await?.into_body();
        let body = http_body_util::Limited::new(body, MAX_ERROR_BYTES).collect().await;
        let body = body.map_err(|error| anyhow!(error))?.to_bytes();
        let health: serde_json::Value = serde_json::from_slice(&body)?;
        anyhow::Ok(health.get("status").is_some())
    };
    tokio::time::timeout(Duration::from_secs(3), asking).await.is_ok_and(|answer| answer.unwrap_or(false))
}

fn unreachable(endpoint: &Endpoint, error: hyper_util::client::legacy::Error) -> anyhow::Error {
    let hint = if error.is_connect() { "; is it running? `craton serve` starts it" } else { "" };
    anyhow!(error).context(format!("no answer from the server at {}{hint}", endpoint.url))
}

async fn service_error(response: Response<Incoming>) -> ServiceError {
    let status = response.status();
    let code = response.headers().get("x-amzn-errortype").and_then(|code| code.to_str().ok());
    let code = code.map_or_else(|| status.to_string(), str::to_owned);
    let body = http_body_util::Limited::new(response.into_body(), MAX_ERROR_BYTES).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if body.starts_with(b"<ErrorResponse") {
        let text = String::from_utf8_lossy(&body);
        let one = |name| crate::keys::elements(&text, name).into_iter().next();
        if let (Some(code), Some(message)) = (one("Code"), one("Message")) {
            return ServiceError { code, message };
        }
    }
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = json.get("message").and_then(serde_json::Value::as_str);
    let message = message.map_or_else(|| format!("the server answered with status {status}"), str::to_owned);
    ServiceError { code, message }
}

fn http(endpoint: &Endpoint) -> anyhow::Result<Http> {
    let tls = tls(endpoint.certificate.as_deref(), endpoint.url.starts_with("https:"))?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector))
}

/// Trusts `certificate` alone where one is given, else what the system trusts.
fn tls(certificate: Option<&Path>, needed: bool) -> anyhow::Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut roots = rustls::RootCertStore::empty();
    match certificate {
        Some(path) if path.exists() => {
            let pem = || format!("the certificate {} can't be read", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(pem)? {
                roots.add(certificate.with_context(pem)?)?;
            }
        }
        // Not made yet, so no server has it.
        Some(_) => {}
        None if needed => return Ok(builder.with_native_roots()?.with_no_client_auth()),
        None => {}
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
