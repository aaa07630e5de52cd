//! The provider bodies of InvokeModel, each a codec around the one internal request.
//!
//! A codec reads a model family's native JSON into a [`ChatRequest`] and writes the family's answer, whole or as the
//! chunks of a stream. It knows nothing of models or backends: limits that depend on the model are checked by the
//! caller, who also sets [`Decoded::model_id`] and the request's backend model name. Embedding and rerank bodies are
//! in [`embedding`] and [`rerank`].
//!
//! Errors carry the family's own wording as AWS passes it on; see `reader`.

pub(crate) mod additional;
pub mod anthropic;
mod anthropic_text;
mod cohere;
pub mod embedding;
mod format;
mod jamba;
mod llama;
mod media;
mod mistral;
mod nova;
pub mod openai_chat;
pub mod openai_responses;
pub mod prompt_template;
pub(crate) mod reader;
pub mod rerank;
mod text;
mod titan_text;

use bytes::Bytes;
use craton_backend::{ChatEvent, ChatRequest};
use craton_core::{IdSource as _, RandomIds};
use craton_models::Family;
use craton_wire::ApiError;
use serde_json::Value;

use self::text::TextCodec;
use crate::answer::Answer;

/// One family's body format.
pub trait ChatCodec: Send + Sync {
    /// Reads a request body.
    ///
    /// # Errors
    /// `ValidationException` in the family's wording, naming the field.
    fn decode(&self, body: &[u8]) -> Result<Decoded, ApiError>;

    /// Writes a whole answer's body.
    ///
    /// # Errors
    /// `InternalServerException` when the answer cannot be written as JSON.
    fn encode(&self, decoded: &Decoded, answer: &Answer) -> Result<Bytes, ApiError>;

    /// A writer of the chunks of one answer.
    fn stream(&self, decoded: &Decoded) -> Box<dyn StreamEncoder>;
}

/// Writes one streamed answer, event by event.
pub trait StreamEncoder: Send {
    /// The chunks this event gives rise to, each one JSON object. The last event gives at least one chunk, to which
    /// InvokeModelWithResponseStream adds its invocation metrics.
    ///
    /// # Errors
    /// `ModelStreamErrorException` when the event cannot be expressed in the family.
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError>;
}

/// A request body, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub request: ChatRequest,
    /// The model as the client named it: from the body where the format has it there, else set by the caller.
    pub model_id: String,
    /// Whether the body itself asks for a stream. InvokeModel's two operations decide without it.
    pub stream: bool,
    /// Letters and digits for the answer's id, to which families add their prefix.
    pub answer_id: String,
    /// Seconds since 1970, for the families whose answers are dated.
    pub created_unix_s: i64,
    /// Whether the body holds one prompt rather than messages (chat families that also complete text).
    pub(crate) text_completion: bool,
    pub(crate) options: AnswerOptions,
}

/// What of the request shapes the answer, besides its content.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct AnswerOptions {
    /// OpenAI: the stream's last chunk reports usage.
    pub include_usage: bool,
    /// Cohere: the request, echoed in the answer.
    pub chat_history: Vec<Value>,
    /// Cohere: the prompt, echoed in the answer.
    pub prompt: Option<String>,
}

impl Decoded {
    pub(crate) fn new(request: ChatRequest) -> Self {
        Self {
            request,
            model_id: String::new(),
            stream: false,
            answer_id: RandomIds.short(22),
            created_unix_s: time::OffsetDateTime::now_utc().unix_timestamp(),
            text_completion: false,
            options: AnswerOptions::default(),
        }
    }
}

/// The codec of a family that chats; `None` for families that embed, rerank or draw.
#[must_use]
pub fn chat_codec(family: Family) -> Option<&'static dyn ChatCodec> {
    static TITAN_TEXT: TextCodec<titan_text::TitanText> = TextCodec(titan_text::TitanText);
    static LLAMA: TextCodec<llama::Llama> = TextCodec(llama::Llama);
    static MISTRAL_TEXT: TextCodec<mistral::MistralText> = TextCodec(mistral::MistralText);
    Some(match family {
        Family::AnthropicMessages => &anthropic::BEDROCK,
        Family::AnthropicText => &anthropic_text::AnthropicText,
        Family::TitanText => &TITAN_TEXT,
        Family::Nova => &nova::Nova,
        Family::Llama => &LLAMA,
        Family::MistralText => &MISTRAL_TEXT,
        Family::MistralChat => &mistral::MistralChat,
        Family::CohereCommand => &cohere::Command,
        Family::CohereCommandR => &cohere::CommandR,
        Family::Jamba => &jamba::Jamba,
        Family::OpenAiChat => &openai_chat::BEDROCK,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
