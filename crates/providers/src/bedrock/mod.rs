//! Amazon Bedrock itself, or anything that speaks its Converse API.

mod answer;
mod request;
mod vectors;

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use craton_backend::{
    BackendError, ChatCapabilities, ChatModel, ChatRequest, ChatStream, RerankModel, RerankRequest, Reranked,
};
use craton_core::{Clock, SystemClock};
use craton_outbound::CredentialSource;
use craton_wire::sigv4::{self, PathEncoding, Secret, Signer};
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::errors::told;
use crate::estimate;
use crate::http::{Body, From, Http};
use crate::pump::Pump;
use crate::settings::{SettingsError, UpstreamSettings};
use answer::BedrockStream;
use request::Purpose;
pub(crate) use vectors::BedrockEmbeddings;

const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
const MAX_COUNT_BYTES: usize = 64 * 1024;
/// The name that Bedrock's requests are signed for.
const SERVICE: &str = "bedrock";

/// One Bedrock endpoint.
pub(crate) struct Bedrock {
    http: Arc<Http>,
    images: bool,
    access: Access,
}

enum Access {
    /// A Bedrock API key; it is among the headers of every request.
    Key,
    Signed {
        region: String,
        source: CredentialSource,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    input_tokens: u32,
}

impl Bedrock {
    pub(crate) fn new(settings: &UpstreamSettings) -> Result<Self, SettingsError> {
        let mut http = Http::new(settings)?;
        let access = match &settings.api_key {
            Some(key) => {
                http.set_header("authorization", &format!("Bearer {}", key.expose()))?;
                Access::Key
            }
            None => {
                let region = settings.aws_region.clone().or_else(|| region_of(http.host()));
                let region = region.ok_or_else(|| SettingsError::Aws {
                    name: settings.name.clone(),
                    message: format!("the region can't be told from `{}`; set it", http.host()),
                })?;
                Access::Signed { region, source: CredentialSource::new(settings.aws_credentials.clone()) }
            }
        };
        Ok(Self { http: Arc::new(http), images: settings.images, access })
    }

    async fn start(&self, request: ChatRequest) -> Result<ChatStream, BackendError> {
        let body = request::body(&request, Purpose::Answer)?;
        if request.stream {
            let response = self.post(&request.model, "converse-stream", body).await?;
            let decoder = BedrockStream::new(self.http.name.clone());
            return Ok(Box::pin(Pump::new(response.into_body(), decoder)));
        }
        let response = self.post(&request.model, "converse", body).await?;
        let body = response.into_body().collect(MAX_ANSWER_BYTES).await?;
        let events = answer::whole(&body).map_err(|what| {
            BackendError::BrokenStream(told(
                &self.http.name,
                format!("the upstream did not answer as Converse does: {what}"),
            ))
        })?;
        Ok(Box::pin(futures::stream::iter(events.into_iter().map(Ok))))
    }

    async fn count(&self, request: &ChatRequest) -> Result<u32, BackendError> {
        let body = request::body(request, Purpose::Count)?;
        let response = self.post(&request.model, "count-tokens", body).await?;
        let answer = response.into_body().collect(MAX_COUNT_BYTES).await?;
        match serde_json::from_slice(&answer) {
            Ok(Counted { input_tokens }) => Ok(input_tokens),
            Err(error) => Err(BackendError::BrokenStream(error.to_string())),
        }
    }

    /// One call of a model in its family's own body: the answer, and the tokens that were read where it says so.
    async fn invoke<T: DeserializeOwned>(
        &self,
        model: &str,
        body: &impl Serialize,
        max_bytes: usize,
    ) -> Result<(T, Option<u32>), BackendError> {
        let body = serde_json::to_vec(body).map_err(|error| {
            BackendError::Invalid(format!("the request can't be written as JSON: {error}"))
        })?;
        let response = self.post(model, "invoke", body).await?;
        let tokens = vectors::token_count(response.headers());
        let answer = response.into_body().collect(max_bytes).await?;
        let answer = serde_json::from_slice(&answer).map_err(|error| {
            BackendError::BrokenStream(told(
                &self.http.name,
                format!("the upstream gave an unknown answer: {error}"),
            ))
        })?;
        Ok((answer, tokens))
    }

    async fn post(
        &self,
        model: &str,
        operation: &str,
        body: Vec<u8>,
    ) -> Result<Response<Body>, BackendError> {
        let path = self.http.path(From::Base, &format!("/model/{}/{operation}", encode(model)));
        let mut request = Request::builder().method("POST").uri(&path);
        request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = request.header(HOST, self.http.host()).body(());
        let internal = |what: String| BackendError::Internal(told(&self.http.name, what));
        let (mut parts, ()) = request.map_err(|error| internal(error.to_string()))?.into_parts();
        if let Access::Signed { region, source } = &self.access {
            let credentials =
                source.get().map_err(|error| BackendError::UpstreamUnauthenticated(error.to_string()))?;
            let signer = Signer {
                access_key_id: &credentials.access_key_id,
                secret: &credentials.secret,
                session_token: credentials.session_token.as_ref().map(Secret::expose),
                region,
                service: SERVICE,
                path: PathEncoding::Double,
            };
            sigv4::sign_request(&mut parts, &sigv4::sha256(&body), &signer, SystemClock.now_ms())
                .map_err(|error| internal(error.to_string()))?;
        }
        let response = self.http.post_with(&path, parts.headers, Bytes::from(body)).await?;
        let not_ready = response
            .headers()
            .get("x-amzn-errortype")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"ModelNotReadyException"));
        match self.http.check(response).await {
            Err(BackendError::Overloaded { message, .. }) if not_ready => {
                Err(BackendError::NotReady(message))
            }
            checked => checked,
        }
    }
}

impl ChatModel for Bedrock {
    fn capabilities(&self, _model: &str) -> ChatCapabilities {
        ChatCapabilities { images: self.images, documents: true, tools: true, context_tokens: None }
    }

    fn chat(&self, request: ChatRequest) -> BoxFuture<'_, Result<ChatStream, BackendError>> {
        Box::pin(self.start(request))
    }

    /// Counted by the upstream for the models that its CountTokens knows; estimated for the others.
    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<u32, BackendError>> {
        Box::pin(async move {
            let counted = self.count(request).await;
            Ok(counted.unwrap_or_else(|error| {
                tracing::debug!(upstream = self.http.name, %error, "tokens are estimated");
                estimate::chat_tokens(request)
            }))
        })
    }
}

impl RerankModel for Bedrock {
    fn rerank(&self, request: RerankRequest) -> BoxFuture<'_, Result<Reranked, BackendError>> {
        Box::pin(async move { vectors::rerank(self, request).await })
    }
}

/// The region in `bedrock-runtime.eu-west-1.amazonaws.com` or `….bedrock-runtime.eu-west-1.vpce.amazonaws.com`.
fn region_of(host: &str) -> Option<String> {
    let host = host.split(':').next()?;
    let mut labels = host.split('.').skip_while(|label| !label.starts_with("bedrock-runtime"));
    labels.next()?;
    let region = labels.next()?;
    (host.contains(".amazonaws.com") && region.contains('-')).then(|| region.to_owned())
}

/// A model id or ARN as one segment of a path.
fn encode(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_read_from_host_names() {
        let cases = [
            ("bedrock-runtime.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com:443", Some("us-gov-west-1")),
            ("vpce-0a.bedrock-runtime.us-east-2.vpce.amazonaws.com", Some("us-east-2")),
            ("localhost:8473", None),
            ("bedrock-runtime.example.com", None),
        ];
        for (host, region) in cases {
            assert_eq!(region_of(host).as_deref(), region, "{host}");
        }
    }

    #[test]
    fn arns_are_one_segment() {
        assert_eq!(encode("arn:aws:bedrock:x/y-1.0"), "arn%3Aaws%3Abedrock%3Ax%2Fy-1.0");
    }
}
