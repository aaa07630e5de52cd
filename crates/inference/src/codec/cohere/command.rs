//! Cohere Command: `prompt` in, `generations` out.

use craton_backend::{ChatEvent, Delta, Sampling};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::super::format::BodyFormat;
use super::super::prompt_template::Style;
use super::super::reader::{Dialect, Node, Object};
use super::super::text::prompt_request;
use super::super::{Decoded, StreamEncoder};
use super::{finish_reason, uuid_like};
use crate::answer::{Answer, AnswerBuilder};

/// `max_tokens` when the body has none.
const DEFAULT_MAX_TOKENS: u32 = 20;
const MOST_TOKENS: u32 = 4096;

/// How the body samples.
pub(in super::super) const SAMPLING: &[&str] = &["k", "max_tokens", "p", "stop_sequences", "temperature"];

pub(in super::super) fn sampling(body: &Object<'_>) -> Result<Sampling, ApiError> {
    Ok(Sampling {
        max_tokens: body.count("max_tokens", 1..=MOST_TOKENS)?,
        temperature: body.number("temperature", 0.0..=5.0)?,
        top_p: body.number("p", 0.0..=1.0)?,
        top_k: body.count("k", 0..=500)?,
        stop_sequences: body.strings("stop_sequences", 0..=usize::MAX)?,
        ..Sampling::default()
    })
}

#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Command;

impl BodyFormat for Command {
    fn read(&self, body: &Value) -> Result<Decoded, ApiError> {
        let other = ["logit_bias", "num_generations", "return_likelihoods", "stream", "truncate"];
        let body = Node::root(body, Dialect::JsonSchema).object(&["prompt"], &[SAMPLING, &other].concat())?;
        let prompt = body.require("prompt")?.filled_string()?;
        let mut sampling = sampling(&body)?;
        sampling.max_tokens.get_or_insert(DEFAULT_MAX_TOKENS);
        if let Some(node) = body.get("num_generations")
            && node.count(1..=5)? != 1
        {
            return Err(node.refuse("only one generation per request is served"));
        }
        if let Some(node) = body.get("return_likelihoods")
            && node.word(&["GENERATION", "ALL", "NONE"])? != "NONE"
        {
            return Err(node.refuse("likelihoods are not served"));
        }
        if let Some(node) = body.get("truncate") {
            node.word(&["NONE", "START", "END"])?;
        }
        let mut request = prompt_request(prompt, Style::ALL, sampling);
        if let Some(node) = body.get("logit_bias") {
            node.open_object(&[])?;
            request.extra.insert("logit_bias".to_owned(), node.value().clone());
        }
        let mut decoded = Decoded::new(request);
        decoded.text_completion = true;
        decoded.stream = body.boolean("stream")?.unwrap_or(false);
        decoded.options.prompt = Some(prompt.to_owned());
        Ok(decoded)
    }

    fn whole(&self, decoded: &Decoded, answer: &Answer) -> Value {
        json!({
            "generations": [{
                "finish_reason": finish_reason(answer.finished.reason),
                "id": uuid_like(&decoded.answer_id, "generation"),
                "text": answer.text(),
            }],
            "id": uuid_like(&decoded.answer_id, "answer"),
            "prompt": decoded.options.prompt,
        })
    }

    /// The body's `stream` says whether the stream comes in pieces or as one chunk with the whole answer.
    fn stream(&self, decoded: &Decoded) -> Box<dyn StreamEncoder> {
        if decoded.stream {
            Box::new(Pieces)
        } else {
            Box::new(Whole { decoded: decoded.clone(), answer: AnswerBuilder::default() })
        }
    }
}

struct Pieces;

impl StreamEncoder for Pieces {
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        Ok(match event {
            ChatEvent::BlockDelta { delta: Delta::Text(text), .. } => {
                vec![json!({"text": text, "is_finished": false})]
            }
            ChatEvent::Finished(finished) => {
                vec![json!({"is_finished": true, "finish_reason": finish_reason(finished.reason)})]
            }
            _ => Vec::new(),
        })
    }
}

struct Whole {
    decoded: Decoded,
    answer: AnswerBuilder,
}

impl StreamEncoder for Whole {
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        let last = matches!(event, ChatEvent::Finished(_));
        self.answer.push(event.clone()).map_err(|error| ApiError::model_stream_error(error.to_string()))?;
        if !last {
            return Ok(Vec::new());
        }
        let answer = std::mem::take(&mut self.answer).build();
        Ok(answer.iter().map(|answer| Command.whole(&self.decoded, answer)).collect())
    }
}
