//! Requests to an OpenSearch.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

use crate::{OpenSearchIndex, VectorError};

/// Longest answer: ten thousand chunks with their vectors.
const MAX_ANSWER_BYTES: usize = 512 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a whole answer.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    authorization: Option<HeaderValue>,
}

impl Client {
    pub(super) fn new(of: &OpenSearchIndex) -> Result<Self, VectorError> {
        let authorization = match (of.username.is_empty(), &of.password) {
            (true, _) => None,
            (false, password) => {
                let pair = format!("{}:{}", of.username, password.as_deref().unwrap_or_default());
                let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
                let mut value = value.map_err(unavailable)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self { pool: pool()?, url: of.url.trim_end_matches('/').to_owned(), authorization })
    }

    /// Sends lines or one document of JSON; the answer whatever its status.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Value), VectorError> {
        let mut request = Request::builder().method(method).uri(format!("{}/{path}", self.url));
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        if !body.is_empty() {
            let kind = if path.contains("_bulk") { "application/x-ndjson" } else { "application/json" };
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(unavailable)?;
        let asking = async {
            let answer = self.pool.request(request).await.map_err(unavailable)?;
            let (head, body) = answer.into_parts();
            let read = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(unavailable)?;
            Ok::<_, VectorError>((head.status, read.to_bytes()))
        };
        let (status, bytes) = tokio::time::timeout(PATIENCE, asking)
            .await
            .map_err(|_| VectorError::Unavailable("OpenSearch gave no answer in time".into()))??;
        let answer = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).map_err(|_| {
                VectorError::Unavailable(format!("the answer ({status}) is not an OpenSearch's"))
            })?,
        };
        Ok((status, answer))
    }

    /// As [`Self::send`], for what must succeed.
    pub(super) async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, VectorError> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.send(method, path, body).await?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(VectorError::Unavailable(reason(status, &answer)))
    }
}

/// What an answer that is no success says.
pub(super) fn reason(status: StatusCode, answer: &Value) -> String {
    let error = &answer["error"];
    let cause = &error["root_cause"][0]["reason"];
    let told = cause.as_str().or_else(|| error["reason"].as_str()).or_else(|| error.as_str());
    format!("OpenSearch answered {status}: {}", told.unwrap_or("without a reason"))
}

fn unavailable(error: impl std::fmt::Display) -> VectorError {
    VectorError::Unavailable(error.to_string())
}

/// Trusts the machine's own roots, or Mozilla's where the machine has none.
fn pool() -> Result<Pool<HttpsConnector<HttpConnector>, Full<Bytes>>, VectorError> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let builder = || {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| VectorError::Internal(error.to_string()))
    };
    let rooted = match builder()?.with_native_roots() {
        Ok(rooted) => rooted,
        Err(_) => builder()?.with_webpki_roots(),
    };
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(rooted.with_no_client_auth())
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    let mut pool = Pool::builder(TokioExecutor::new());
    pool.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(20));
    Ok(pool.build(https))
}
