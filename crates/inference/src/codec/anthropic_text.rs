//! Anthropic's legacy text completions: `prompt` with `\n\nHuman:` and `\n\nAssistant:` turns.

use craton_backend::{Finished, Sampling, StopReason};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::format::BodyFormat;
use super::prompt_template::Style;
use super::reader::{Node, Object};
use super::text::{Piece, TextCodec, TextFamily, prompt_request};
use super::{Decoded, StreamEncoder, anthropic};
use crate::answer::Answer;

const HUMAN_TURN: &str = "\n\nHuman:";
const ASSISTANT_TURN: &str = "\n\nAssistant:";

/// The body of Claude 2 and Claude Instant: a prompt, or messages, which these models take too.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnthropicText;

const PROMPT: TextCodec<Prompt> = TextCodec(Prompt);

impl BodyFormat for AnthropicText {
    fn read(&self, body: &Value) -> Result<Decoded, ApiError> {
        if body.get("messages").is_some() { anthropic::BEDROCK.read(body) } else { PROMPT.read(body) }
    }

    fn whole(&self, decoded: &Decoded, answer: &Answer) -> Value {
        if decoded.text_completion {
            PROMPT.whole(decoded, answer)
        } else {
            anthropic::BEDROCK.whole(decoded, answer)
        }
    }

    fn stream(&self, decoded: &Decoded) -> Box<dyn StreamEncoder> {
        if decoded.text_completion {
            PROMPT.stream(decoded)
        } else {
            BodyFormat::stream(&anthropic::BEDROCK, decoded)
        }
    }
}

/// How the body samples, besides `max_tokens_to_sample`, which it must have.
pub(super) const SAMPLING: &[&str] = &["stop_sequences", "temperature", "top_k", "top_p"];

pub(super) fn sampling(body: &Object<'_>) -> Result<Sampling, ApiError> {
    let mut stop_sequences = body.strings("stop_sequences", 0..=8191)?;
    // The turn marker always stops these models, so naming it changes nothing.
    stop_sequences.retain(|text| text != HUMAN_TURN);
    Ok(Sampling {
        max_tokens: body.count("max_tokens_to_sample", 1..=u32::MAX)?,
        temperature: body.number("temperature", 0.0..=1.0)?,
        top_p: body.number("top_p", 0.0..=1.0)?,
        top_k: body.count("top_k", 0..=500)?,
        stop_sequences,
        ..Sampling::default()
    })
}

#[derive(Debug, Clone, Copy)]
struct Prompt;

impl TextFamily for Prompt {
    fn read(&self, body: &Node<'_>) -> Result<Decoded, ApiError> {
        let body =
            body.object(&["prompt", "max_tokens_to_sample"], &[SAMPLING, &["anthropic_version"]].concat())?;
        let sampling = sampling(&body)?;
        let prompt = body.require("prompt")?.filled_string()?;
        check_turns(prompt)?;
        Ok(Decoded::new(prompt_request(prompt, Style::ALL, sampling)))
    }

    fn whole(&self, _decoded: &Decoded, text: &str, finished: &Finished) -> Value {
        completion(text, Some(finished))
    }

    fn piece(&self, piece: &Piece<'_>) -> Value {
        completion(piece.text, piece.finished)
    }
}

/// These models read a prompt only as a human turn, after a system prompt or not, that leads to an assistant's.
fn check_turns(prompt: &str) -> Result<(), ApiError> {
    let missing = match prompt.find(HUMAN_TURN) {
        None => "start with \"\n\nHuman:\" turn after an optional system prompt",
        Some(human) if !prompt[human..].contains(ASSISTANT_TURN) => "end with \"\n\nAssistant:\" turn",
        Some(_) => return Ok(()),
    };
    Err(ApiError::validation(format!("prompt must {missing}")))
}

/// A turn that ends by itself ends, to these models, at the next human turn.
fn completion(text: &str, finished: Option<&Finished>) -> Value {
    let (stop_reason, stop) = match finished {
        None => (None, None),
        Some(finished) => match finished.reason {
            StopReason::MaxTokens | StopReason::ContextWindowExceeded => (Some("max_tokens"), None),
            StopReason::StopSequence => {
                (Some("stop_sequence"), Some(finished.stop_sequence.as_deref().unwrap_or(HUMAN_TURN)))
            }
            _ => (Some("stop_sequence"), Some(HUMAN_TURN)),
        },
    };
    json!({"type": "completion", "completion": text, "stop_reason": stop_reason, "stop": stop})
}
