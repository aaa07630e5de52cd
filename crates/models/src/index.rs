//! Every id that resolves without asking the records, with what serves it. Rebuilt as a whole when model files come or
//! go, and read without locks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::catalogue::{Catalogue, FoundationModel, Geography, InferenceType, Lifecycle, Modality};
use crate::config::{ModelConfig, ModelsConfig, UpstreamKind};
use crate::family::{Family, Task};
use crate::files::InstalledModel;
use crate::resolve::Target;

/// The embedded instruct model, which stands in for every text model.
pub const DEFAULT_CHAT_MODEL: &str = "smollm2-135m-instruct";
/// The embedded embedding model, which stands in for every embedding and rerank model.
pub const DEFAULT_EMBEDDING_MODEL: &str = "all-minilm-l6-v2";
/// The embedded model of names and places, which guardrails use. No model id stands for it.
pub const DEFAULT_NAME_MODEL: &str = "en-core-web-sm";

/// What one id comes to.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub model: Arc<FoundationModel>,
    /// Set when the id is a system-defined inference profile's.
    pub geography: Option<Arc<Geography>>,
    pub serving: Serving,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Serving {
    By(Arc<Served>),
    /// Stand-ins are off and nothing is configured.
    NoAccess,
    /// No backend here does what the model does.
    NotServed,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Served {
    pub target: Target,
    pub served_by: String,
    pub stand_in: bool,
}

/// One line of the table printed at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingRow {
    pub id: String,
    pub name: String,
    pub provider: String,
    /// `local/smollm2-135m-instruct`, `vllm/qwen`; nothing when the id answers an error.
    pub served_by: Option<String>,
    pub stand_in: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: HashMap<String, Entry>,
    /// Foundation models in listing order: the catalogue's, then configured, then imported ones.
    pub models: Vec<Arc<FoundationModel>>,
    /// Wildcard configuration for ids outside the catalogue, longest first.
    patterns: Vec<ModelConfig>,
}

impl Index {
    pub(crate) fn build(config: &ModelsConfig, installed: &[InstalledModel]) -> Self {
        let catalogue = Catalogue::shipped();
        let mut index = Self { patterns: patterns(config), ..Self::default() };
        let patterns = index.patterns.clone();
        let imported = registrations(installed);
        let said = Said { config, patterns: &patterns, imported: &imported };
        for model in &catalogue.models {
            let serving = said.serving(&model.id, model, None);
            let priced = with_configured_price(config, model);
            index.add_profiles(&said, &priced, &serving);
            index.insert_model(priced, serving);
        }
        for (alias, at) in &catalogue.aliases {
            let Some(entry) = index.entries.get(&catalogue.models[*at].id).cloned() else { continue };
            index.entries.insert(alias.clone(), entry);
        }
        for model in &config.models {
            if !model.id.ends_with('*') && !index.entries.contains_key(&model.id) {
                let custom = Arc::new(configured_model(model, &model.id));
                index.insert_model(custom, Serving::By(Arc::new(served(model, &model.id))));
            }
        }
        for (id, installed) in &imported {
            if !index.entries.contains_key(*id) {
                let custom = Arc::new(imported_model(id, installed));
                index.insert_model(custom, Serving::By(Arc::new(local(&installed.name, false))));
            }
        }
        index
    }

    fn add_profiles(&mut self, said: &Said<'_>, model: &Arc<FoundationModel>, inherited: &Serving) {
        for prefix in &model.profiles {
            let Some(geography) = Catalogue::shipped().geographies.get(prefix) else { continue };
            let id = format!("{prefix}.{}", model.id);
            let serving = said.serving(&id, model, Some(inherited));
            let entry = Entry { model: Arc::clone(model), geography: Some(Arc::clone(geography)), serving };
            self.entries.insert(id, entry);
        }
    }

    fn insert_model(&mut self, model: Arc<FoundationModel>, serving: Serving) {
        self.models.push(Arc::clone(&model));
        self.entries.insert(model.id.clone(), Entry { model, geography: None, serving });
    }

    /// The entry of an id, also under its longer spellings (`…:0:200k`, `…-v1:0`).
    pub(crate) fn get(&self, id: &str) -> Option<&Entry> {
        if let Some(entry) = self.entries.get(id) {
            return Some(entry);
        }
        let mut rest = id;
        while let Some((head, version)) = rest.rsplit_once(':') {
            if !is_variant(version) {
                return None;
            }
            if let Some(entry) = self.entries.get(head) {
                return Some(entry);
            }
            rest = head;
        }
        None
    }

    /// What a wildcard says about an id that is in no list.
    pub(crate) fn match_pattern(&self, id: &str) -> Option<Entry> {
        let config = self.patterns.iter().find(|config| matches(&config.id, id))?;
        Some(Entry {
            model: Arc::new(configured_model(config, id)),
            geography: None,
            serving: Serving::By(Arc::new(served(config, id))),
        })
    }

    pub(crate) fn serving_table(&self) -> Vec<ServingRow> {
        let mut rows: Vec<ServingRow> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.geography.is_none() || !self.inherits(entry))
            .map(|(id, entry)| {
                let by = match &entry.serving {
                    Serving::By(served) => Some(served),
                    Serving::NoAccess | Serving::NotServed => None,
                };
                ServingRow {
                    id: id.clone(),
                    name: entry.model.name.clone(),
                    provider: entry.model.provider.clone(),
                    served_by: by.map(|served| served.served_by.clone()),
                    stand_in: by.is_some_and(|served| served.stand_in),
                }
            })
            .collect();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows
    }

    /// Whether a profile is served exactly as its model, and so needs no line of its own.
    fn inherits(&self, entry: &Entry) -> bool {
        self.entries.get(&entry.model.id).is_some_and(|base| base.serving == entry.serving)
    }

    pub(crate) fn profiles(&self) -> impl Iterator<Item = (&str, &Arc<FoundationModel>, &Arc<Geography>)> {
        self.entries.iter().filter_map(|(id, entry)| {
            entry.geography.as_ref().map(|geography| (id.as_str(), &entry.model, geography))
        })
    }
}

/// A suffix that names a variant of the same model: a context size (`200k`, `8k`), `mm`, `512`, or the first revision.
fn is_variant(version: &str) -> bool {
    let digits = version.strip_suffix('k').unwrap_or(version);
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    version == "mm" || (number && (version.ends_with('k') || version == "0" || version == "512"))
}

fn patterns(config: &ModelsConfig) -> Vec<ModelConfig> {
    let mut patterns: Vec<ModelConfig> =
        config.models.iter().filter(|model| model.id.ends_with('*')).cloned().collect();
    patterns.sort_by_key(|model| std::cmp::Reverse(model.id.len()));
    patterns
}

fn matches(pattern: &str, id: &str) -> bool {
    pattern.strip_suffix('*').is_some_and(|stem| id.starts_with(stem))
}

/// Ids that installed models were registered under.
fn registrations(installed: &[InstalledModel]) -> BTreeMap<&str, &InstalledModel> {
    installed.iter().flat_map(|model| model.manifest.ids.iter().map(move |id| (id.as_str(), model))).collect()
}

/// All that is said about who serves what.
struct Said<'a> {
    config: &'a ModelsConfig,
    /// Longest first.
    patterns: &'a [ModelConfig],
    imported: &'a BTreeMap<&'a str, &'a InstalledModel>,
}

impl Said<'_> {
    /// Who serves `id`: exact configuration, then a pattern, then an import under that id, then `inherited` (a
    /// profile's model), then a stand-in.
    fn serving(&self, id: &str, model: &FoundationModel, inherited: Option<&Serving>) -> Serving {
        let Self { config, patterns, imported } = self;
        if model.task() == Task::Image {
            return Serving::NotServed;
        }
        if let Some(configured) = config.models.iter().find(|configured| configured.id == id) {
            return Serving::By(Arc::new(served(configured, id)));
        }
        if let Some(installed) = imported.get(id) {
            return Serving::By(Arc::new(local(&installed.name, false)));
        }
        let exact_base =
            inherited.is_some() && config.models.iter().any(|configured| configured.id == model.id);
        if !exact_base && let Some(pattern) = patterns.iter().find(|pattern| matches(&pattern.id, id)) {
            return Serving::By(Arc::new(served(pattern, id)));
        }
        match inherited {
            Some(Serving::By(base)) => Serving::By(self.through_profile(base, model, id)),
            Some(other) => other.clone(),
            None if config.stand_ins => Serving::By(Arc::new(local(stand_in(model.task()), true))),
            None => Serving::NoAccess,
        }
    }

    /// What serves a model, asked through the profile `id`. Bedrock itself knows the profile, and many of its models by
    /// profiles only; to every other upstream it means nothing.
    fn through_profile(&self, base: &Arc<Served>, model: &FoundationModel, id: &str) -> Arc<Served> {
        let Target::Upstream { upstream, model: name } = &base.target else { return Arc::clone(base) };
        let is_bedrock = self
            .config
            .upstreams
            .iter()
            .any(|known| known.name == *upstream && known.kind == UpstreamKind::Bedrock);
        if !is_bedrock || *name != model.id {
            return Arc::clone(base);
        }
        let target = Target::Upstream { upstream: upstream.clone(), model: id.to_owned() };
        Arc::new(Served { target, served_by: format!("{upstream}/{id}"), stand_in: false })
    }
}

fn stand_in(task: Task) -> &'static str {
    match task {
        Task::Chat | Task::Image | Task::Names => DEFAULT_CHAT_MODEL,
        Task::Embedding | Task::Rerank => DEFAULT_EMBEDDING_MODEL,
    }
}

fn local(name: &str, stand_in: bool) -> Served {
    Served { target: Target::Local { model: name.to_owned() }, served_by: format!("local/{name}"), stand_in }
}

fn served(config: &ModelConfig, model_id: &str) -> Served {
    match (&config.local, &config.upstream) {
        (None, Some(upstream)) => {
            let model = config.upstream_model.clone().unwrap_or_else(|| model_id.to_owned());
            let served_by = format!("{upstream}/{model}");
            Served {
                target: Target::Upstream { upstream: upstream.clone(), model },
                served_by,
                stand_in: false,
            }
        }
        (name, _) => local(name.as_deref().unwrap_or_default(), false),
    }
}

fn with_configured_price(config: &ModelsConfig, model: &Arc<FoundationModel>) -> Arc<FoundationModel> {
    let configured = config.models.iter().find(|configured| configured.id == model.id);
    match configured.and_then(|configured| configured.price) {
        Some(price) => {
            Arc::new(FoundationModel { price: Some(price.into()), ..FoundationModel::clone(model) })
        }
        None => Arc::clone(model),
    }
}

/// A model that only the configuration knows.
fn configured_model(config: &ModelConfig, id: &str) -> FoundationModel {
    let task = config.task.or(config.family.map(Family::task)).unwrap_or(Task::Chat);
    let mut model = plain_model(id, task);
    if let Some(family) = config.family {
        model.family = family;
    }
    if config.images {
        model.input_modalities.push(Modality::Image);
    }
    if let Some(name) = &config.name {
        model.name.clone_from(name);
    }
    if let Some(provider) = &config.provider {
        model.provider.clone_from(provider);
    }
    model.context_tokens = config.context_tokens;
    model.max_output_tokens = config.max_output_tokens;
    model.price = config.price.map(Into::into);
    model
}

fn imported_model(id: &str, installed: &InstalledModel) -> FoundationModel {
    let mut model = plain_model(id, installed.manifest.task);
    model.name.clone_from(&installed.name);
    model
}

fn plain_model(id: &str, task: Task) -> FoundationModel {
    let output = if task == Task::Embedding { Modality::Embedding } else { Modality::Text };
    FoundationModel {
        id: id.to_owned(),
        name: id.to_owned(),
        provider: "Craton".to_owned(),
        family: Family::guess(id, task),
        input_modalities: vec![Modality::Text],
        output_modalities: vec![output],
        context_tokens: None,
        max_output_tokens: None,
        thinking: None,
        streaming: task == Task::Chat,
        customizations: Vec::new(),
        inference_types: vec![InferenceType::OnDemand],
        lifecycle: Lifecycle::Active,
        embedding_dimensions: Vec::new(),
        price: None,
        profiles: Vec::new(),
    }
}
