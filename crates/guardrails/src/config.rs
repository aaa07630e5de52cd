//! What an operator says about guardrails.

use serde::Deserialize;

use crate::policies::judge::{Format, OnFailure};

/// `[guardrails]` of `craton.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardrailsConfig {
    /// The local model that finds names and places; empty to find them by patterns only.
    pub name_model: String,
    /// The local model that is asked about denied topics where the light match is unsure; empty to go without.
    pub sentence_model: String,
    /// The model id that judges harmful content; empty for the built-in classifiers.
    pub guard_model: String,
    /// How it is asked: `llama-guard` or `json`.
    pub guard_format: Format,
    /// How long it may take for one text, in milliseconds.
    pub guard_timeout_ms: u64,
    /// What happens when it gives no valid answer in time: `closed` or `open`.
    pub guard_on_failure: OnFailure,
}

impl Default for GuardrailsConfig {
    fn default() -> Self {
        Self {
            name_model: craton_models::DEFAULT_NAME_MODEL.to_owned(),
            sentence_model: craton_models::DEFAULT_EMBEDDING_MODEL.to_owned(),
            guard_model: String::new(),
            guard_format: Format::default(),
            guard_timeout_ms: 10_000,
            guard_on_failure: OnFailure::default(),
        }
    }
}
