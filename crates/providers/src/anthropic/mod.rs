//! Anthropic's Messages API.

mod answer;
mod request;

use std::sync::Arc;

use bytes::Bytes;
use craton_backend::{BackendError, Block, ChatCapabilities, ChatModel, ChatRequest, ChatStream};
use futures::future::BoxFuture;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;

use crate::errors::told;
use crate::estimate;
use crate::http::{Body, From, Http};
use crate::pump::Pump;
use crate::settings::{SettingsError, UpstreamSettings};
use answer::AnthropicStream;
use request::Purpose;

const VERSION: &str = "2023-06-01";
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
const MAX_COUNT_BYTES: usize = 64 * 1024;

/// One endpoint of the Messages API.
pub(crate) struct Anthropic {
    http: Arc<Http>,
    path: String,
    count_path: String,
    images: bool,
}

#[derive(Deserialize)]
struct Counted {
    input_tokens: u32,
}

impl Anthropic {
    pub(crate) fn new(settings: &UpstreamSettings) -> Result<Self, SettingsError> {
        let mut http = Http::new(settings)?;
        http.set_header("anthropic-version", VERSION)?;
        if let Some(key) = &settings.api_key {
            http.set_header("x-api-key", key.expose())?;
        }
        // The base URL may name the version or leave it out, as Anthropic's own clients do.
        let path = http.path(From::Root, "/v1/messages");
        Ok(Self {
            count_path: format!("{path}/count_tokens"),
            path,
            images: settings.images,
            http: Arc::new(http),
        })
    }

    async fn start(&self, request: ChatRequest) -> Result<ChatStream, BackendError> {
        let body = request::body(&request, Purpose::Answer { stream: request.stream })?;
        let response = self.post(&self.path, &request, body).await?;
        let blocks =
            request.system.iter().chain(request.messages.iter().flat_map(|message| &message.content));
        let cache_points = blocks.into_iter().any(|block| matches!(block, Block::CachePoint));
        if request.stream {
            let decoder = AnthropicStream::new(self.http.name.clone(), cache_points);
            return Ok(Box::pin(Pump::new(response.into_body(), decoder)));
        }
        let body = response.into_body().collect(MAX_ANSWER_BYTES).await?;
        let events = answer::whole(&body, cache_points).map_err(|what| {
            BackendError::BrokenStream(told(
                &self.http.name,
                format!("the upstream did not answer with a message: {what}"),
            ))
        })?;
        Ok(Box::pin(futures::stream::iter(events.into_iter().map(Ok))))
    }

    async fn post(
        &self,
        path: &str,
        request: &ChatRequest,
        body: Vec<u8>,
    ) -> Result<Response<Body>, BackendError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(betas) = request::betas(request) {
            let value = HeaderValue::try_from(betas)
                .map_err(|_| BackendError::Invalid("anthropic_beta is not a list of names".to_owned()))?;
            headers.insert("anthropic-beta", value);
        }
        self.http.check(self.http.post_with(path, headers, Bytes::from(body)).await?).await
    }

    async fn count(&self, request: &ChatRequest) -> Result<u32, BackendError> {
        let body = request::body(request, Purpose::Count)?;
        let response = self.post(&self.count_path, request, body).await?;
        let answer = response.into_body().collect(MAX_COUNT_BYTES).await?;
        match serde_json::from_slice(&answer) {
            Ok(Counted { input_tokens }) => Ok(input_tokens),
            Err(error) => Err(BackendError::BrokenStream(error.to_string())),
        }
    }
}

impl ChatModel for Anthropic {
    fn capabilities(&self, _model: &str) -> ChatCapabilities {
        ChatCapabilities { images: self.images, documents: false, tools: true, context_tokens: None }
    }

    fn chat(&self, request: ChatRequest) -> BoxFuture<'_, Result<ChatStream, BackendError>> {
        Box::pin(self.start(request))
    }

    /// Counted by the upstream; estimated if it can't be asked. Anthropic calls its own count an estimate, too, that
    /// may differ from the usage by a few tokens.
    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<u32, BackendError>> {
        Box::pin(async move {
            match self.count(request).await {
                Err(
                    error @ (BackendError::Invalid(_)
                    | BackendError::Refused(_)
                    | BackendError::Unsupported(_)),
                ) => Err(error),
                Err(error) => {
                    tracing::debug!(upstream = self.http.name, %error, "tokens are estimated");
                    Ok(estimate::chat_tokens(request))
                }
                counted => counted,
            }
        })
    }
}
