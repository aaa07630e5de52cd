//! The control plane's view of models: listings, inference profiles and their tags.

mod inference_profiles;
mod listing;
pub(crate) mod profiles;
mod tags;

use std::sync::Arc;

use craton_core::{Clock, IdSource};

pub use tags::tags_from_list;

use crate::resolve::Models;

/// Handlers of the model listings and inference profiles; clones share it.
#[derive(Clone)]
pub struct ModelsService {
    pub(crate) models: Models,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
}

impl ModelsService {
    pub fn new(models: Models, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { models, clock, ids }
    }

    pub fn models(&self) -> &Models {
        &self.models
    }
}
