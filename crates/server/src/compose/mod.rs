//! The concrete drivers: what computes for a target (local models through the engine, upstreams through their
//! providers), and where objects are.

mod agents;
mod flows;
mod functions;
mod guardrails;
mod knowledge_bases;
mod lazy;
mod local;
mod objects;
mod orchestration;
mod room;
mod upkeep;
mod upstreams;

use std::sync::Arc;

use craton_backend::{BackendError, ChatModel, EmbeddingModel, RerankModel};
use craton_inference::Backends;
use craton_models::Target;

use crate::health::{HealthSource, Readiness};
pub(crate) use functions::functions;
pub(crate) use guardrails::guardrail_models;
pub(crate) use knowledge_bases::knowledge_bases;
pub(crate) use local::LocalModels;
pub(crate) use objects::{objects, s3};
pub(crate) use orchestration::orchestration;
pub(crate) use upkeep::Upkeep;
pub(crate) use upstreams::Upstreams;

/// The concrete drivers of one server.
pub(crate) struct Drivers {
    pub(crate) local: Arc<LocalModels>,
    pub(crate) upstreams: Upstreams,
}

impl Backends for Drivers {
    fn chat(&self, target: &Target) -> Result<Arc<dyn ChatModel>, BackendError> {
        match target {
            Target::Local { model } => Ok(self.local.chat(model)),
            Target::Upstream { upstream, .. } => Ok(self.upstreams.find(upstream)?.chat()),
        }
    }

    fn embedding(&self, target: &Target) -> Result<Arc<dyn EmbeddingModel>, BackendError> {
        match target {
            Target::Local { model } => Ok(self.local.embedding(model)),
            Target::Upstream { upstream, model } => self.upstreams.find(upstream)?.embedding(model),
        }
    }

    fn rerank(&self, target: &Target) -> Result<Arc<dyn RerankModel>, BackendError> {
        match target {
            Target::Local { model } => Ok(self.local.rerank(model)),
            Target::Upstream { upstream, .. } => self.upstreams.find(upstream)?.rerank(),
        }
    }
}

impl HealthSource for Drivers {
    fn parts(&self) -> Vec<(String, Readiness)> {
        let upstreams = self.upstreams.names().map(|name| (format!("upstream {name}"), Readiness::Serving));
        self.local.parts().into_iter().chain(upstreams).collect()
    }
}
