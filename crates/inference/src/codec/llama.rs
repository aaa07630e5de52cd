//! Meta Llama: one `prompt`, usually written in Llama's own chat template.

use craton_backend::{Block, Finished, Image, Message, Role, Sampling, StopReason};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::prompt_template::Style;
use super::reader::{Node, Object};
use super::text::{Piece, TextFamily, prompt_request, prompt_tokens};
use super::{Decoded, media};

/// `max_gen_len` when the body has none.
const DEFAULT_MAX_TOKENS: u32 = 512;
const MOST_TOKENS: u32 = 8192;

/// How the body samples.
pub(super) const SAMPLING: &[&str] = &["max_gen_len", "temperature", "top_p"];

pub(super) fn sampling(body: &Object<'_>) -> Result<Sampling, ApiError> {
    Ok(Sampling {
        max_tokens: body.count("max_gen_len", 1..=MOST_TOKENS)?,
        temperature: body.number("temperature", 0.0..=1.0)?,
        top_p: body.number("top_p", 0.0..=1.0)?,
        ..Sampling::default()
    })
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Llama;

impl TextFamily for Llama {
    fn read(&self, body: &Node<'_>) -> Result<Decoded, ApiError> {
        let body = body.object(&["prompt"], &[SAMPLING, &["images"]].concat())?;
        let prompt = body.require("prompt")?.filled_string()?;
        let mut sampling = sampling(&body)?;
        sampling.max_tokens.get_or_insert(DEFAULT_MAX_TOKENS);
        let mut request = prompt_request(prompt, Style::ALL, sampling);
        add_images(&mut request.messages, images(&body)?);
        Ok(Decoded::new(request))
    }

    fn whole(&self, _decoded: &Decoded, text: &str, finished: &Finished) -> Value {
        json!({
            "generation": text,
            "prompt_token_count": prompt_tokens(finished.usage),
            "generation_token_count": finished.usage.output_tokens,
            "stop_reason": stop_reason(finished.reason),
        })
    }

    fn piece(&self, piece: &Piece<'_>) -> Value {
        json!({
            "generation": piece.text,
            "prompt_token_count": piece.started.map(prompt_tokens),
            "generation_token_count": piece.finished.map(|finished| finished.usage.output_tokens),
            "stop_reason": piece.finished.map(|finished| stop_reason(finished.reason)),
        })
    }
}

/// Llama 3.2's images: base64 without a media type.
fn images(body: &Object<'_>) -> Result<Vec<Block>, ApiError> {
    let Some(list) = body.get("images") else { return Ok(Vec::new()) };
    list.list()?
        .iter()
        .map(|node| {
            let bytes = media::decode_base64(node)?;
            let format = craton_core::image::format_of(&bytes)
                .ok_or_else(|| node.refuse("the image is not a PNG, JPEG, GIF or WebP"))?;
            Ok(Block::Image(Image { format: format.to_owned(), bytes }))
        })
        .collect()
}

/// The images belong to the last thing the user said.
fn add_images(messages: &mut Vec<Message>, images: Vec<Block>) {
    if images.is_empty() {
        return;
    }
    match messages.iter_mut().rev().find(|message| message.role == Role::User) {
        Some(message) => {
            message.content.splice(0..0, images);
        }
        None => messages.push(Message { role: Role::User, content: images }),
    }
}

fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::MaxTokens | StopReason::ContextWindowExceeded => "length",
        _ => "stop",
    }
}
