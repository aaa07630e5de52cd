//! From a `modelId` to what serves it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use craton_core::RequestContext;
use craton_store::Store;
use craton_wire::error::ApiError;
use parking_lot::Mutex;

use crate::catalogue::{FoundationModel, Price};
use crate::config::ModelsConfig;
use crate::error::ModelsError;
use crate::files::{FilesError, ModelFiles, Progress};
use crate::index::{DEFAULT_CHAT_MODEL, DEFAULT_EMBEDDING_MODEL, Entry, Index, Serving, ServingRow};
use crate::service::profiles;

/// A stale index is noticed on a hit at most this often; a miss always looks.
const RESCAN_INTERVAL_MS: i64 = 1_000;

/// What computes the answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A model of the model store, by name.
    Local { model: String },
    /// A configured upstream, and its name for the model.
    Upstream { upstream: String, model: String },
}

/// A `modelId` understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// As the client sent it.
    pub invoked_id: String,
    pub model: Arc<FoundationModel>,
    /// The inference profile it came through.
    pub profile_arn: Option<String>,
    pub target: Target,
    /// `local/smollm2-135m-instruct`: the value of the `x-craton-served-by` header.
    pub served_by: String,
    /// Another model than the one asked for answers, for want of configuration.
    pub stand_in: bool,
}

/// The catalogue joined with the configuration, the model store and application inference profiles; clones share it.
#[derive(Clone)]
pub struct Models {
    inner: Arc<Inner>,
}

struct Inner {
    config: ModelsConfig,
    files: ModelFiles,
    store: Store,
    index: ArcSwap<Index>,
    /// The model store's state that the index shows.
    scanned: Mutex<crate::files::Stamp>,
    checked_ms: AtomicI64,
}

impl Models {
    /// Checks the configuration and reads the model store's manifests.
    pub fn open(config: ModelsConfig, files: ModelFiles, store: Store) -> Result<Self, ModelsError> {
        config.check()?;
        let stamp = files.stamp();
        let installed = files.list()?;
        config.check_local(&installed)?;
        let index = Index::build(&config, &installed);
        let inner = Inner {
            config,
            files,
            store,
            index: ArcSwap::from_pointee(index),
            scanned: Mutex::new(stamp),
            checked_ms: AtomicI64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub fn files(&self) -> &ModelFiles {
        &self.inner.files
    }

    pub fn config(&self) -> &ModelsConfig {
        &self.inner.config
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn index(&self) -> Arc<Index> {
        self.inner.index.load_full()
    }

    /// Where the files of a local model are: a GGUF file, or a directory with safetensors and a tokenizer.
    pub fn local_path(&self, name: &str) -> Result<Option<std::path::PathBuf>, FilesError> {
        Ok(self.inner.files.find(name)?.map(|model| model.path()))
    }

    /// Understands a model id, inference profile id, or the ARN of either, as `InvokeModel` takes them.
    pub async fn resolve(&self, context: &RequestContext, model_id: &str) -> Result<Resolved, ApiError> {
        self.refresh_now_and_then(context.received_ms);
        if model_id.starts_with("arn:") {
            return self.resolve_arn(context, model_id).await;
        }
        if let Some(entry) = self.inner.index.load().get(model_id) {
            return resolved(context, model_id, model_id, entry);
        }
        if self.refresh()
            && let Some(entry) = self.inner.index.load().get(model_id)
        {
            return resolved(context, model_id, model_id, entry);
        }
        if let Some(found) = self.resolve_application(context, model_id, &context.region, model_id).await? {
            return Ok(found);
        }
        match self.inner.index.load().match_pattern(model_id) {
            Some(entry) => resolved(context, model_id, model_id, &entry),
            None => Err(invalid_identifier()),
        }
    }

    async fn resolve_arn(&self, context: &RequestContext, arn: &str) -> Result<Resolved, ApiError> {
        let Some(ArnRef { region, account, kind, id }) = ArnRef::parse(arn) else {
            return Err(invalid_identifier());
        };
        let own = account == context.account.id;
        match kind {
            "foundation-model" if account.is_empty() => {
                self.refresh_on_miss(id);
                let index = self.inner.index.load();
                match index.get(id).filter(|entry| entry.geography.is_none()) {
                    Some(entry) => resolved(context, arn, id, entry),
                    None => Err(unresolved()),
                }
            }
            "inference-profile" if own || account.is_empty() => {
                let index = self.inner.index.load();
                match index.get(id).filter(|entry| entry.geography.is_some()) {
                    Some(entry) => resolved(context, arn, id, entry),
                    None => Err(unresolved()),
                }
            }
            "application-inference-profile" if own => {
                self.resolve_application(context, arn, region, id).await?.ok_or_else(unresolved)
            }
            _ => Err(unresolved()),
        }
    }

    async fn resolve_application(
        &self,
        context: &RequestContext,
        invoked_id: &str,
        region: &str,
        id: &str,
    ) -> Result<Option<Resolved>, ApiError> {
        if !profiles::is_application_id(id) {
            return Ok(None);
        }
        let found = profiles::find(&self.inner.store, &context.account.id, region, id).await?;
        let Some(profile) = found else { return Ok(None) };
        let index = self.inner.index.load();
        let Some(entry) = index.get(&profile.source_id) else { return Err(unresolved()) };
        let mut resolved = resolved(context, invoked_id, &profile.source_id, entry)?;
        resolved.profile_arn = Some(profile.arn);
        Ok(Some(resolved))
    }

    /// Takes in model files that were added or removed since the last look. True when there were any.
    pub fn refresh(&self) -> bool {
        let mut scanned = self.inner.scanned.lock();
        let stamp = self.inner.files.stamp();
        if !stamp.differs(&scanned) {
            return false;
        }
        match self.inner.files.list() {
            Ok(installed) => {
                self.inner.index.store(Arc::new(Index::build(&self.inner.config, &installed)));
                *scanned = stamp;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the model store can't be read; keeping what was known of it");
                false
            }
        }
    }

    fn refresh_on_miss(&self, id: &str) {
        if self.inner.index.load().get(id).is_none() {
            self.refresh();
        }
    }

    fn refresh_now_and_then(&self, now_ms: i64) {
        let checked_ms = self.inner.checked_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(checked_ms) < RESCAN_INTERVAL_MS {
            return;
        }
        let won =
            self.inner.checked_ms.compare_exchange(checked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_ok() {
            self.refresh();
        }
    }

    /// What serves each id, for the table printed at start: one line a model, and one for each inference profile that
    /// is served differently from its model.
    pub fn serving_table(&self) -> Vec<ServingRow> {
        self.inner.index.load().serving_table()
    }

    /// Foundation models, configured and imported ones included, in listing order.
    pub fn list(&self) -> Vec<Arc<FoundationModel>> {
        self.refresh();
        self.inner.index.load().models.clone()
    }

    /// What a model's tokens cost, by foundation model id; profiles cost what their model costs.
    pub fn price(&self, model_id: &str) -> Option<Price> {
        self.inner.index.load().get(model_id).and_then(|entry| entry.model.price)
    }

    /// Local models the configuration needs: those of `[[model]]`, and the two embedded ones while they stand in.
    pub fn needed_local_models(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.inner.config.models.iter().filter_map(|model| model.local.clone()).collect();
        if self.inner.config.stand_ins {
            names.extend([DEFAULT_CHAT_MODEL.to_owned(), DEFAULT_EMBEDDING_MODEL.to_owned()]);
        }
        names.sort();
        names.dedup();
        names
    }
}

impl Models {
    /// Pulls those built-in models that are needed and absent. Blocks for as long as the downloads take: call it on a
    /// thread of its own at start.
    pub fn ensure_default(&self, progress: &dyn Progress) -> Result<(), FilesError> {
        for name in self.needed_local_models() {
            if crate::files::is_builtin(&name) && self.inner.files.find(&name)?.is_none() {
                self.inner.files.pull(&name, progress)?;
            }
        }
        self.refresh();
        Ok(())
    }
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directory: &Path = self.inner.files.directory();
        f.debug_struct("Models").field("files", &directory).finish_non_exhaustive()
    }
}

fn resolved(
    context: &RequestContext,
    invoked_id: &str,
    id: &str,
    entry: &Entry,
) -> Result<Resolved, ApiError> {
    let served = match &entry.serving {
        Serving::By(served) => served,
        Serving::NoAccess => return Err(no_access()),
        Serving::NotServed => return Err(not_served(&entry.model)),
    };
    let profile_arn =
        entry.geography.as_ref().map(|_| profiles::system_arn(&context.region, &context.account.id, id));
    Ok(Resolved {
        invoked_id: invoked_id.to_owned(),
        model: Arc::clone(&entry.model),
        profile_arn,
        target: served.target.clone(),
        served_by: served.served_by.clone(),
        stand_in: served.stand_in,
    })
}

/// The parts of a Bedrock ARN, borrowed.
pub(crate) struct ArnRef<'a> {
    pub region: &'a str,
    pub account: &'a str,
    pub kind: &'a str,
    pub id: &'a str,
}

impl<'a> ArnRef<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let (kind, id) = resource.split_once('/')?;
        let known = arn == "arn" && partition.starts_with("aws") && service == "bedrock" && !id.is_empty();
        known.then_some(Self { region, account, kind, id })
    }
}

pub(crate) fn invalid_identifier() -> ApiError {
    ApiError::validation("The provided model identifier is invalid.")
}

pub(crate) fn unresolved() -> ApiError {
    ApiError::not_found("Could not resolve the foundation model from the provided model identifier.")
}

fn no_access() -> ApiError {
    ApiError::access_denied("You don't have access to the model with the specified model ID.")
}

fn not_served(model: &FoundationModel) -> ApiError {
    let output = model.output_modalities.first().map_or("", |modality| modality.as_str());
    ApiError::validation(format!(
        "The model {} has {output} output, which this server does not serve. \
         It serves models with text or embedding output.",
        model.id
    ))
}
