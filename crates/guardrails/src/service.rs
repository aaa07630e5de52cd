//! The service: guardrails as they are kept, and made ready for use.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use craton_api_bedrock::GuardrailFilterStrength;
use craton_backend::EmbeddingModel;
use craton_core::{Clock, IdSource, RequestContext};
use craton_metering::Metering;
use craton_models::Models;
use craton_store::Store;
use craton_wire::ApiError;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::control::{Enforced, Identifier, enforced_for, find};
use crate::definition::{ContentPolicy, Definition};
use crate::guard::{Guard, Tools};
use crate::metrics::GuardrailMetrics;
use crate::ner::NameModel;
use crate::policies::judge::Judge;
use crate::policies::topics::OrdinaryVectors;

/// Guards kept ready; beyond this the ones used longest ago go.
const MAX_READY: usize = 256;
/// How long the list of enforced guardrails is believed, for servers that share records.
const ENFORCED_TTL: Duration = Duration::from_secs(2);

/// What a server composes guardrails from.
#[derive(Clone)]
pub struct GuardrailsParts {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    pub metering: Arc<Metering>,
    /// Which models there are to enforce a guardrail for.
    pub models: Models,
    pub vectors: Vectors,
}

/// The models that some policies need.
#[derive(Clone, Default)]
pub struct Vectors {
    /// Sentence vectors: a second opinion on denied topics and grounding, where the light one is unsure.
    pub embedder: Option<Arc<dyn EmbeddingModel>>,
    /// Whether it is the encoder that the heads for harmful content were trained on.
    pub content_heads: bool,
    /// Ordinary traffic as that encoder sees it, once it was asked.
    pub ordinary: Arc<OrdinaryVectors>,
    /// Who judges harmful content in place of the built-in classifiers.
    pub judge: Option<Judge>,
    /// Names and places; none to go without.
    pub names: Option<Arc<dyn NameModels>>,
}

/// Where the model of names comes from: it may have to be fetched and opened first.
pub trait NameModels: Send + Sync {
    fn get(&self) -> BoxFuture<'_, Result<Arc<NameModel>, String>>;
}

/// A guardrail as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardReference {
    /// An id or an ARN.
    pub identifier: String,
    /// `DRAFT` or a number; none is the draft.
    pub version: Option<String>,
}

/// A guardrail that the account enforces.
#[derive(Debug, Clone)]
pub struct EnforcedGuard {
    pub guard: Arc<Guard>,
    /// Judge every system prompt, whatever the caller marks; else what is marked of it.
    pub whole_system: bool,
    /// Judge every text of the messages, whatever the caller marks.
    pub whole_messages: bool,
}

/// Keeps guardrails, and applies them.
pub struct Guardrails {
    pub(crate) parts: GuardrailsParts,
    metrics: Option<GuardrailMetrics>,
    ready: Mutex<HashMap<(String, String), Ready>>,
    enforced: Mutex<HashMap<(String, String), Known>>,
    /// What judges content where no guardrail is named.
    checking: OnceLock<Arc<Guard>>,
}

/// The enforced guardrails of an account and region, and since when they are known.
type Known = (Instant, Arc<Vec<Enforced>>);

struct Ready {
    revision: i64,
    used: Instant,
    guard: Arc<Guard>,
}

impl Guardrails {
    pub fn new(parts: GuardrailsParts) -> Self {
        let metrics = GuardrailMetrics::new(&parts.metering);
        Self {
            parts,
            metrics,
            ready: Mutex::default(),
            enforced: Mutex::default(),
            checking: OnceLock::new(),
        }
    }

    /// A guardrail ready to judge text.
    pub async fn guard(
        &self,
        context: &RequestContext,
        reference: &GuardReference,
    ) -> Result<Arc<Guard>, ApiError> {
        let at = Identifier::parse(context, &reference.identifier)?;
        let lying = find(&self.parts.store, &at, reference.version.as_deref()).await?;
        let key = (lying.arn.clone(), lying.version.clone());
        if let Some(ready) = self.ready.lock().get_mut(&key)
            && ready.revision == lying.revision
        {
            ready.used = Instant::now();
            return Ok(Arc::clone(&ready.guard));
        }
        let revision = lying.revision;
        let stored = lying.read()?;
        let tools = Tools { vectors: self.parts.vectors.clone(), metrics: self.metrics.clone() };
        let compiling = tokio::task::spawn_blocking(move || Guard::compile(stored, tools));
        let guard = compiling.await.map_err(|error| ApiError::internal(error.to_string()))?;
        let guard = Arc::new(guard.map_err(ApiError::validation)?);
        let mut ready = self.ready.lock();
        if ready.len() >= MAX_READY
            && let Some(oldest) = ready.iter().min_by_key(|(_, it)| it.used).map(|(key, _)| key.clone())
        {
            ready.remove(&oldest);
        }
        ready.insert(key, Ready { revision, used: Instant::now(), guard: Arc::clone(&guard) });
        Ok(guard)
    }

    /// Fails unless the guardrail is there; nothing is made ready.
    pub async fn check(&self, context: &RequestContext, reference: &GuardReference) -> Result<(), ApiError> {
        let at = Identifier::parse(context, &reference.identifier)?;
        find(&self.parts.store, &at, reference.version.as_deref()).await.map(drop)
    }

    /// The guardrails that the account enforces for a model, ready.
    pub async fn enforced(
        &self,
        context: &RequestContext,
        model_id: &str,
    ) -> Result<Vec<EnforcedGuard>, ApiError> {
        let all = self.enforced_list(context).await?;
        let mut guards = Vec::new();
        for it in all.iter().filter(|it| it.covers(model_id)) {
            let reference = GuardReference { identifier: it.arn.clone(), version: Some(it.version.clone()) };
            let guard = self.guard(context, &reference).await?;
            let (whole_system, whole_messages) = it.whole();
            guards.push(EnforcedGuard { guard, whole_system, whole_messages });
        }
        Ok(guards)
    }

    async fn enforced_list(&self, context: &RequestContext) -> Result<Arc<Vec<Enforced>>, ApiError> {
        let key = (context.account.id.clone(), context.region.clone());
        if let Some((since, list)) = self.enforced.lock().get(&key)
            && since.elapsed() < ENFORCED_TTL
        {
            return Ok(Arc::clone(list));
        }
        let list = Arc::new(enforced_for(&self.parts.store, context).await?);
        self.enforced.lock().insert(key, (Instant::now(), Arc::clone(&list)));
        Ok(list)
    }

    /// A guard with all content filters and nothing else.
    pub(crate) fn checking(&self) -> Result<&Arc<Guard>, ApiError> {
        if self.checking.get().is_none() {
            let policy = ContentPolicy::every(GuardrailFilterStrength::High);
            let definition = Definition { content: Some(policy), ..Definition::named("checks") };
            let guard = Guard::of(definition, self.parts.vectors.clone()).map_err(ApiError::internal)?;
            let _ = self.checking.set(Arc::new(guard));
        }
        self.checking.get().ok_or_else(|| ApiError::internal("no content filters".to_owned()))
    }

    pub(crate) fn forget_enforced(&self) {
        self.enforced.lock().clear();
    }
}
