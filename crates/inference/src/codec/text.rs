//! What the text-completion families share: one prompt in, one text out.
//!
//! A family says how its body is read and how a whole answer and a piece of one look ([`TextFamily`]);
//! [`TextCodec`] makes a codec of it. Tool calls and reasoning have no place in these formats and are left out.

use craton_backend::{ChatEvent, ChatRequest, Delta, Finished, Sampling, Usage};
use craton_wire::ApiError;
use serde_json::Value;

use super::format::BodyFormat;
use super::prompt_template::{self, Style};
use super::reader::{Dialect, Node};
use super::{Decoded, StreamEncoder};
use crate::answer::Answer;

/// A piece of a streamed answer.
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// Input usage, on the first piece only.
    pub(super) started: Option<Usage>,
    /// On the last piece only.
    pub(super) finished: Option<&'a Finished>,
}

pub(super) trait TextFamily: Send + Sync + Copy + 'static {
    const DIALECT: Dialect = Dialect::JsonSchema;

    fn read(&self, body: &Node<'_>) -> Result<Decoded, ApiError>;
    fn whole(&self, decoded: &Decoded, text: &str, finished: &Finished) -> Value;
    fn piece(&self, piece: &Piece<'_>) -> Value;
}

/// The body format of a text family.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextCodec<F>(pub(super) F);

impl<F: TextFamily> BodyFormat for TextCodec<F> {
    fn read(&self, body: &Value) -> Result<Decoded, ApiError> {
        let mut decoded = self.0.read(&Node::root(body, F::DIALECT))?;
        decoded.text_completion = true;
        Ok(decoded)
    }

    fn whole(&self, decoded: &Decoded, answer: &Answer) -> Value {
        self.0.whole(decoded, &answer.text(), &answer.finished)
    }

    fn stream(&self, _decoded: &Decoded) -> Box<dyn StreamEncoder> {
        Box::new(TextStream { family: self.0, started: None })
    }
}

struct TextStream<F> {
    family: F,
    /// Held until the first piece goes out.
    started: Option<Usage>,
}

impl<F: TextFamily> StreamEncoder for TextStream<F> {
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        Ok(match event {
            ChatEvent::Started { usage } => {
                self.started = Some(*usage);
                Vec::new()
            }
            ChatEvent::BlockDelta { delta: Delta::Text(text), .. } => {
                vec![self.family.piece(&Piece { text, started: self.started.take(), finished: None })]
            }
            ChatEvent::Finished(finished) => {
                let started = self.started.take().map(|_| finished.usage);
                vec![self.family.piece(&Piece { text: "", started, finished: Some(finished) })]
            }
            _ => Vec::new(),
        })
    }
}

/// A request made of a prompt, which is parsed back into messages when it follows a template.
pub(super) fn prompt_request(prompt: &str, styles: &[Style], sampling: Sampling) -> ChatRequest {
    let parsed = prompt_template::parse(prompt, styles);
    ChatRequest { system: parsed.system, messages: parsed.messages, sampling, ..ChatRequest::default() }
}

/// All tokens read, cached or not, which is what these formats call the prompt's tokens.
pub(super) fn prompt_tokens(usage: Usage) -> u32 {
    usage.input_tokens.saturating_add(usage.cache_read_tokens).saturating_add(usage.cache_write_tokens)
}
