//! What an operator says about guardrails.

use serde::Deserialize;

/// `[guardrails]` of `craton.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardrailsConfig {
    /// The local model that finds names and places; empty to find them by patterns only.
    pub name_model: String,
    /// The local model that is asked about denied topics where the light match is unsure; empty to go without.
    pub sentence_model: String,
}

impl Default for GuardrailsConfig {
    fn default() -> Self {
        Self {
            name_model: craton_models::DEFAULT_NAME_MODEL.to_owned(),
            sentence_model: craton_models::DEFAULT_EMBEDDING_MODEL.to_owned(),
        }
    }
}
