//! Prompts: drafts, immutable versions, and what they become when they are asked.
//!
//! A prompt is a record whose body is its draft; versions are the store's. A prompt is used by its ARN, with a version
//! (`…:prompt/ID:2`) or without (the draft): [`Prompts::render`] gives the model and the filled-in messages of its
//! default variant. The template language is [`template`]'s: variables and nothing else, so that a prompt runs no code.
//!
//! * `service`: the modelled operations, as methods of [`Prompts`] named after them.
//! * `check`: what a prompt must be beyond what the model of the API says.
//! * `render`: from a prompt and its variables' values to a conversation.

mod check;
mod error;
mod identifier;
mod render;
mod service;
pub mod template;

use std::sync::Arc;

use craton_api_bedrock_agent as api;
use craton_core::{Clock, IdSource};
use craton_store::Store;
use serde::{Deserialize, Serialize};

pub use identifier::is_prompt_arn;
pub use render::{Filled, Needs, Rendered, fill, variables};

/// Stored prompts; clones share them.
#[derive(Clone)]
pub struct Prompts {
    store: Store,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl Prompts {
    pub fn new(store: Store, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { store, clock, ids }
    }
}

/// A prompt as it is kept, as a draft or a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredPrompt {
    name: String,
    description: Option<String>,
    customer_encryption_key_arn: Option<String>,
    default_variant: Option<String>,
    variants: Vec<api::PromptVariant>,
}
