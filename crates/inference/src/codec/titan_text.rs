//! Amazon Titan Text: `inputText` and `textGenerationConfig`.

use craton_backend::{Finished, Sampling, StopReason};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::Decoded;
use super::prompt_template::Style;
use super::reader::{Node, Object};
use super::text::{Piece, TextFamily, prompt_request, prompt_tokens};

/// `maxTokenCount` when the body has none.
const DEFAULT_MAX_TOKENS: u32 = 512;
/// The largest of the family (Express); smaller models' limits are the catalogue's.
const MOST_TOKENS: u32 = 8192;

#[derive(Debug, Clone, Copy)]
pub(super) struct TitanText;

impl TextFamily for TitanText {
    fn read(&self, body: &Node<'_>) -> Result<Decoded, ApiError> {
        let body = body.object(&["inputText"], &["textGenerationConfig"])?;
        let prompt = body.require("inputText")?.filled_string()?;
        let config = body
            .get("textGenerationConfig")
            .map(|node| node.object(&[], &["maxTokenCount", "stopSequences", "temperature", "topP"]));
        let mut sampling =
            config.transpose()?.map(|config| sampling(&config)).transpose()?.unwrap_or_default();
        sampling.max_tokens.get_or_insert(DEFAULT_MAX_TOKENS);
        Ok(Decoded::new(prompt_request(prompt, Style::WITH_TITAN, sampling)))
    }

    fn whole(&self, _decoded: &Decoded, text: &str, finished: &Finished) -> Value {
        json!({
            "inputTextTokenCount": prompt_tokens(finished.usage),
            "results": [{
                "tokenCount": finished.usage.output_tokens,
                "outputText": text,
                "completionReason": completion_reason(finished.reason),
            }],
        })
    }

    fn piece(&self, piece: &Piece<'_>) -> Value {
        json!({
            "outputText": piece.text,
            "index": 0,
            "totalOutputTextTokenCount": piece.finished.map(|finished| finished.usage.output_tokens),
            "completionReason": piece.finished.map(|finished| completion_reason(finished.reason)),
            "inputTextTokenCount": piece.started.map(prompt_tokens),
        })
    }
}

fn sampling(config: &Object<'_>) -> Result<Sampling, ApiError> {
    Ok(Sampling {
        max_tokens: config.count("maxTokenCount", 0..=MOST_TOKENS)?,
        temperature: config.number("temperature", 0.0..=1.0)?,
        top_p: config.number("topP", 0.0..=1.0)?,
        stop_sequences: config.strings("stopSequences", 0..=usize::MAX)?,
        ..Sampling::default()
    })
}

fn completion_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::MaxTokens | StopReason::ContextWindowExceeded => "LENGTH",
        StopReason::StopSequence => "STOP_CRITERIA_MET",
        StopReason::ContentFiltered => "CONTENT_FILTERED",
        _ => "FINISH",
    }
}
