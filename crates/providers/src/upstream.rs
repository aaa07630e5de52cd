use std::collections::HashMap;
use std::sync::Arc;

use craton_backend::{BackendError, ChatModel, EmbeddingModel, RerankModel};
use parking_lot::Mutex;

use crate::anthropic::Anthropic;
use crate::bedrock::{Bedrock, BedrockEmbeddings};
use crate::errors::told;
use crate::openai::OpenAi;
use crate::settings::{SettingsError, UpstreamKind, UpstreamSettings};

/// A configured upstream: its connections, and the models behind it.
pub struct Upstream {
    name: String,
    kind: Kind,
    /// An embedding model keeps what it has learnt of its dimensions.
    embeddings: Mutex<HashMap<String, Arc<dyn EmbeddingModel>>>,
}

enum Kind {
    OpenAi(Arc<OpenAi>),
    Anthropic(Arc<Anthropic>),
    Bedrock(Arc<Bedrock>),
}

impl Upstream {
    /// Checks the settings and prepares the connections; nothing is sent before the first call.
    pub fn connect(settings: &UpstreamSettings) -> Result<Self, SettingsError> {
        let kind = match settings.kind {
            UpstreamKind::OpenAi => Kind::OpenAi(Arc::new(OpenAi::new(settings)?)),
            UpstreamKind::Anthropic => Kind::Anthropic(Arc::new(Anthropic::new(settings)?)),
            UpstreamKind::Bedrock => Kind::Bedrock(Arc::new(Bedrock::new(settings)?)),
        };
        Ok(Self { name: settings.name.clone(), kind, embeddings: Mutex::new(HashMap::new()) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The upstream's chat models; which one is named by each request.
    pub fn chat(&self) -> Arc<dyn ChatModel> {
        match &self.kind {
            Kind::OpenAi(upstream) => upstream.clone(),
            Kind::Anthropic(upstream) => upstream.clone(),
            Kind::Bedrock(upstream) => upstream.clone(),
        }
    }

    /// One of the upstream's embedding models, by the upstream's own name for it. The same object every time.
    pub fn embedding(&self, model: &str) -> Result<Arc<dyn EmbeddingModel>, BackendError> {
        let mut embeddings = self.embeddings.lock();
        if let Some(known) = embeddings.get(model) {
            return Ok(known.clone());
        }
        let new: Arc<dyn EmbeddingModel> = match &self.kind {
            Kind::OpenAi(upstream) => Arc::new(upstream.embeddings(model)),
            Kind::Bedrock(upstream) => match BedrockEmbeddings::new(upstream.clone(), model) {
                Some(embeddings) => Arc::new(embeddings),
                None => return Err(self.cannot("embed with this model")),
            },
            Kind::Anthropic(_) => return Err(self.cannot("embed")),
        };
        embeddings.insert(model.to_owned(), new.clone());
        Ok(new)
    }

    /// The upstream's rerank models; which one is named by each request.
    pub fn rerank(&self) -> Result<Arc<dyn RerankModel>, BackendError> {
        match &self.kind {
            Kind::OpenAi(upstream) => Ok(upstream.clone()),
            Kind::Bedrock(upstream) => Ok(upstream.clone()),
            Kind::Anthropic(_) => Err(self.cannot("rank documents")),
        }
    }

    fn cannot(&self, what: &str) -> BackendError {
        BackendError::Unsupported(told(&self.name, format!("the upstream can't {what}")))
    }
}
