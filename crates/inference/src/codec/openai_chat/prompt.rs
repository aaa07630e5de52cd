//! The bare `prompt` that DeepSeek R1 takes on Bedrock.

use craton_backend::{Finished, Sampling, StopReason};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::super::Decoded;
use super::super::prompt_template::Style;
use super::super::reader::Node;
use super::super::text::{Piece, TextFamily, prompt_request};
use super::stop;

const MOST_TOKENS: u32 = 32_768;

#[derive(Debug, Clone, Copy)]
pub(super) struct Prompt;

impl TextFamily for Prompt {
    fn read(&self, body: &Node<'_>) -> Result<Decoded, ApiError> {
        let body = body.object(&["prompt"], &["max_tokens", "stop", "temperature", "top_p"])?;
        let sampling = Sampling {
            max_tokens: body.count("max_tokens", 1..=MOST_TOKENS)?,
            temperature: body.number("temperature", 0.0..=1.0)?,
            top_p: body.number("top_p", 0.0..=1.0)?,
            stop_sequences: stop(&body)?,
            ..Sampling::default()
        };
        Ok(Decoded::new(prompt_request(body.require("prompt")?.filled_string()?, Style::ALL, sampling)))
    }

    fn whole(&self, _decoded: &Decoded, text: &str, finished: &Finished) -> Value {
        json!({"choices": [{"text": text, "stop_reason": stop_reason(finished.reason)}]})
    }

    fn piece(&self, piece: &Piece<'_>) -> Value {
        let stop_reason = piece.finished.map(|finished| stop_reason(finished.reason));
        json!({"choices": [{"index": 0, "text": piece.text, "stop_reason": stop_reason}]})
    }
}

fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::MaxTokens | StopReason::ContextWindowExceeded => "length",
        _ => "stop",
    }
}
