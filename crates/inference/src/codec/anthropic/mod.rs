//! Anthropic Messages: Bedrock's InvokeModel body, and Anthropic's own API with its small differences.
//!
//! The two doors differ in the request's envelope only: Bedrock's body has `anthropic_version` and no `model` or
//! `stream`; the direct API has them the other way round. Token counting takes the same body without `max_tokens`.

mod content;
mod decode;
mod encode;
mod errors;
mod limits;

use craton_wire::ApiError;
use serde_json::Value;

use super::format::BodyFormat;
use super::reader::{Dialect, Node};
use super::{Decoded, StreamEncoder};
use crate::answer::Answer;

pub(super) use decode::check_additional;
pub use errors::{error_body, error_event};
pub(crate) use limits::{check_model, read_converse_fields, too_many_markers};

/// Where the body came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// InvokeModel's body.
    Bedrock,
    /// `POST /anthropic/v1/messages`.
    Direct,
    /// `POST /anthropic/v1/messages/count_tokens`.
    DirectCount,
}

/// The Messages codec.
#[derive(Debug, Clone, Copy)]
pub struct AnthropicMessages {
    door: Door,
}

/// InvokeModel's body.
pub static BEDROCK: AnthropicMessages = AnthropicMessages { door: Door::Bedrock };
/// The body of `/v1/messages`: `model` and `stream` inside; [`Decoded::model_id`] and [`Decoded::stream`] are set.
pub static DIRECT: AnthropicMessages = AnthropicMessages { door: Door::Direct };
/// The body of `/v1/messages/count_tokens`; encode its answer with [`count_answer`].
pub static DIRECT_COUNT: AnthropicMessages = AnthropicMessages { door: Door::DirectCount };

impl BodyFormat for AnthropicMessages {
    fn read(&self, body: &Value) -> Result<Decoded, ApiError> {
        decode::read(&Node::root(body, Dialect::Anthropic), self.door)
    }

    fn whole(&self, decoded: &Decoded, answer: &Answer) -> Value {
        encode::message(decoded, self.door, answer)
    }

    fn stream(&self, decoded: &Decoded) -> Box<dyn StreamEncoder> {
        Box::new(encode::Stream::new(decoded, self.door))
    }
}

/// The body that answers a token count.
#[must_use]
pub fn count_answer(input_tokens: u32) -> Value {
    serde_json::json!({ "input_tokens": input_tokens })
}

/// The SSE `event:` of a chunk: its `type`.
#[must_use]
pub fn event_name(chunk: &Value) -> &str {
    chunk.get("type").and_then(Value::as_str).unwrap_or("message")
}
