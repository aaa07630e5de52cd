//! Counting tokens on servers that can.
//!
//! vLLM answers `POST /tokenize` with chat messages by a `count` for the rendered prompt. llama.cpp's server renders a
//! prompt at `/apply-template` and splits it at `/tokenize`. Which one an upstream is, is found out by the first call
//! and remembered; a failure to connect is not remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use craton_backend::{BackendError, ChatRequest};
use serde::{Deserialize, Serialize};

use super::request::{Messages, Tools};
use crate::estimate;
use crate::http::{From, Http};

const MAX_TOKENS_BYTES: usize = 64 * 1024 * 1024;

const UNKNOWN: u8 = 0;
const VLLM: u8 = 1;
const LLAMA_CPP: u8 = 2;
const NEITHER: u8 = 3;

pub(super) struct TokenCounter {
    http: Arc<Http>,
    server: AtomicU8,
}

#[derive(Serialize)]
struct TokenizeChat<'a> {
    model: &'a str,
    messages: Messages<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Tools<'a>>,
    add_generation_prompt: bool,
}

#[derive(Serialize)]
struct TokenizeText<'a> {
    content: &'a str,
    add_special: bool,
    parse_special: bool,
}

#[derive(Deserialize)]
struct Tokenized {
    count: Option<u32>,
    tokens: Option<Vec<serde::de::IgnoredAny>>,
}

#[derive(Deserialize)]
struct Templated {
    prompt: String,
}

impl TokenCounter {
    pub(super) fn new(http: Arc<Http>) -> Self {
        Self { http, server: AtomicU8::new(UNKNOWN) }
    }

    /// Never fails: without an answer from the upstream it estimates.
    pub(super) async fn count(&self, request: &ChatRequest) -> Result<u32, BackendError> {
        match self.ask(request).await {
            Ok(Some(count)) => return Ok(count),
            Ok(None) => {}
            Err(error) => tracing::debug!(upstream = self.http.name, %error, "tokens are estimated"),
        }
        Ok(estimate::chat_tokens(request))
    }

    async fn ask(&self, request: &ChatRequest) -> Result<Option<u32>, BackendError> {
        let server = self.server.load(Ordering::Relaxed);
        if server == NEITHER {
            return Ok(None);
        }
        let chat = TokenizeChat {
            model: &request.model,
            messages: Messages(request),
            tools: Some(Tools(&request.tools)).filter(|_| !request.tools.is_empty()),
            add_generation_prompt: true,
        };
        if server == LLAMA_CPP {
            return self.llama_cpp(&chat).await;
        }
        let answer: Result<Tokenized, _> = self.post("/tokenize", &chat).await;
        match answer {
            Ok(Tokenized { count: Some(count), .. }) => {
                self.server.store(VLLM, Ordering::Relaxed);
                Ok(Some(count))
            }
            // llama.cpp ignores the messages and tokenizes a text that is not there.
            Ok(Tokenized { tokens: Some(_), .. }) => {
                let count = self.llama_cpp(&chat).await;
                self.server
                    .store(if matches!(count, Ok(Some(_))) { LLAMA_CPP } else { NEITHER }, Ordering::Relaxed);
                count
            }
            Ok(_) | Err(BackendError::Upstream { .. } | BackendError::BrokenStream(_))
                if server == UNKNOWN =>
            {
                self.server.store(NEITHER, Ordering::Relaxed);
                Ok(None)
            }
            Ok(_) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn llama_cpp(&self, chat: &TokenizeChat<'_>) -> Result<Option<u32>, BackendError> {
        let Templated { prompt } = self.post("/apply-template", chat).await?;
        let text = TokenizeText { content: &prompt, add_special: true, parse_special: true };
        let Tokenized { tokens, .. } = self.post("/tokenize", &text).await?;
        Ok(tokens.and_then(|tokens| u32::try_from(tokens.len()).ok()))
    }

    async fn post<T: for<'a> Deserialize<'a>>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, BackendError> {
        self.http.call(&self.http.path(From::Root, path), body, MAX_TOKENS_BYTES).await
    }
}
