//! What an operator says about guardrails.

use serde::Deserialize;

/// `[guardrails]` of `craton.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardrailsConfig {
    /// The local model that finds names and places; empty to go without one.
    pub name_model: String,
    /// Most bytes of text that one assessment looks at.
    pub max_text_bytes: usize,
}

impl Default for GuardrailsConfig {
    fn default() -> Self {
        Self { name_model: craton_models::DEFAULT_NAME_MODEL.to_owned(), max_text_bytes: 2 << 20 }
    }
}
