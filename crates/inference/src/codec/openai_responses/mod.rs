//! OpenAI's Responses API, as the `/openai/v1/responses` front door serves it.
//!
//! Nothing is stored: every call brings its whole conversation, `store` is answered with `false`, and
//! `previous_response_id` and `conversation` are refused. What a reasoning model signed travels in a reasoning item's
//! `encrypted_content`, so that a client can hand it back.

mod decode;
mod encode;
mod stream;

use craton_backend::ChatRequest;
use craton_core::{IdSource as _, RandomIds};
use craton_wire::ApiError;
use serde_json::{Map, Value};

use super::reader::{self, Dialect, Node};
use crate::answer::Answer;

pub use stream::ResponsesStream;

/// A call of `POST /v1/responses`, read.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponsesCall {
    pub request: ChatRequest,
    /// The model as the client named it.
    pub model_id: String,
    pub stream: bool,
    /// The client's own key–value pairs, for the usage record.
    pub metadata: Vec<(String, String)>,
    /// Letters and digits for the ids of the response and its items.
    answer_id: String,
    created_unix_s: i64,
    /// The request's fields as the response repeats them.
    echo: Map<String, Value>,
}

impl ResponsesCall {
    /// Reads a request body.
    ///
    /// # Errors
    /// `ValidationException` in OpenAI's wording, with the field's name in `param`.
    pub fn decode(body: &[u8]) -> Result<Self, ApiError> {
        let body = reader::parse(body)?;
        decode::read(&Node::root(&body, Dialect::OpenAi))
    }

    /// The response object of a whole answer.
    pub fn encode(&self, answer: &Answer) -> Value {
        encode::response(self, answer)
    }

    /// A writer of the events of a streamed answer.
    pub fn stream(&self) -> ResponsesStream {
        ResponsesStream::new(self.clone())
    }

    fn new(request: ChatRequest, model_id: String) -> Self {
        Self {
            request,
            model_id,
            stream: false,
            metadata: Vec::new(),
            answer_id: RandomIds.short(24).to_ascii_lowercase(),
            created_unix_s: time::OffsetDateTime::now_utc().unix_timestamp(),
            echo: Map::new(),
        }
    }
}

#[cfg(test)]
mod tests;
