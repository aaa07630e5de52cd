//! Upstreams that speak OpenAI's API: vLLM, SGLang, Ollama, llama.cpp's server, OpenAI itself.
//!
//! Requests are written straight from the borrowed [`ChatRequest`] and answers read into typed structs, because most
//! of a gateway's traffic goes through here.

mod answer;
mod request;
mod stream;
mod tokens;
mod vectors;

use std::sync::Arc;

use bytes::Bytes;
use craton_backend::{
    BackendError, Block, ChatCapabilities, ChatModel, ChatRequest, ChatStream, RerankModel, RerankRequest,
    Reranked,
};
use futures::future::BoxFuture;
use http::{Response, header};

use crate::errors::told;
use crate::estimate;
use crate::http::{Body, From, Http};
use crate::pump::Pump;
use crate::settings::{MaxTokensField, SettingsError, UpstreamSettings};
use crate::stops::Stops;
use answer::{Asked, Unreadable};
use request::Style;
use stream::OpenAiStream;
use tokens::TokenCounter;
pub(crate) use vectors::OpenAiEmbeddings;

/// Largest chat answer that is read whole.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// One OpenAI-compatible endpoint.
pub(crate) struct OpenAi {
    http: Arc<Http>,
    chat_path: String,
    max_tokens_field: MaxTokensField,
    images: bool,
    counter: TokenCounter,
}

impl OpenAi {
    pub(crate) fn new(settings: &UpstreamSettings) -> Result<Self, SettingsError> {
        let mut http = Http::new(settings)?;
        if let Some(key) = &settings.api_key {
            http.set_header("authorization", &format!("Bearer {}", key.expose()))?;
        }
        let openai_itself = http.host().split(':').next().is_some_and(|host| host == "api.openai.com");
        let max_tokens_field = match settings.max_tokens_field {
            MaxTokensField::ByHost if openai_itself => MaxTokensField::MaxCompletionTokens,
            MaxTokensField::ByHost => MaxTokensField::MaxTokens,
            field => field,
        };
        let http = Arc::new(http);
        Ok(Self {
            chat_path: http.path(From::Base, "/chat/completions"),
            counter: TokenCounter::new(http.clone()),
            images: settings.images,
            max_tokens_field,
            http,
        })
    }

    pub(crate) fn embeddings(&self, model: &str) -> OpenAiEmbeddings {
        OpenAiEmbeddings::new(self.http.clone(), model)
    }

    async fn start(&self, request: ChatRequest) -> Result<ChatStream, BackendError> {
        let style = Style { max_tokens_field: self.max_tokens_field, stream: request.stream };
        let response = self.http.post_ok(&self.chat_path, request::body(&request, style)?).await?;
        let asked = asked(&request);
        let stops = request.sampling.stop_sequences.clone();
        let usage = answer::estimated_usage(asked, 0);
        if request.stream && !is_json(&response) {
            let decoder = OpenAiStream::new(self.http.name.clone(), asked);
            let answer = Box::pin(Pump::new(response.into_body(), decoder));
            return Ok(Stops::keep(answer, stops, usage, false));
        }
        // Some servers ignore `stream` (with tools, say) and answer in one piece.
        let body = response.into_body().collect(MAX_ANSWER_BYTES).await?;
        Ok(Stops::keep(self.whole(&body, asked)?, stops, usage, true))
    }

    fn whole(&self, body: &Bytes, asked: Asked) -> Result<ChatStream, BackendError> {
        let events = answer::whole(body, asked).map_err(|unreadable| match unreadable {
            Unreadable::Malformed(what) => BackendError::BrokenStream(told(
                &self.http.name,
                format!("the upstream did not answer with a chat completion: {what}"),
            )),
            Unreadable::Error(error) => crate::errors::from_event(&self.http.name, &error),
        })?;
        Ok(Box::pin(futures::stream::iter(events.into_iter().map(Ok))))
    }
}

impl ChatModel for OpenAi {
    fn capabilities(&self, _model: &str) -> ChatCapabilities {
        ChatCapabilities { images: self.images, documents: false, tools: true, context_tokens: None }
    }

    fn chat(&self, request: ChatRequest) -> BoxFuture<'_, Result<ChatStream, BackendError>> {
        Box::pin(self.start(request))
    }

    /// Counted by the upstream itself where it is vLLM or llama.cpp, which have a tokenizer endpoint. The others have
    /// none: for them it is [`estimate::chat_tokens`], which can differ from what the call then reports.
    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<u32, BackendError>> {
        Box::pin(self.counter.count(request))
    }
}

impl RerankModel for OpenAi {
    fn rerank(&self, request: RerankRequest) -> BoxFuture<'_, Result<Reranked, BackendError>> {
        Box::pin(vectors::rerank(&self.http, request))
    }
}

fn asked(request: &ChatRequest) -> Asked {
    let blocks = request.system.iter().chain(request.messages.iter().flat_map(|message| &message.content));
    Asked {
        cache_points: blocks.clone().any(|block| matches!(block, Block::CachePoint)),
        estimated_input_tokens: estimate::chat_tokens(request),
    }
}

fn is_json(response: &Response<Body>) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    media_type.is_some_and(|media_type| media_type.as_bytes().starts_with(b"application/json"))
}
