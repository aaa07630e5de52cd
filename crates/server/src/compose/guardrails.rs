//! The models that guardrails use.

use std::sync::Arc;
use std::time::Duration;

use craton_guardrails::ner::NameModel;
use craton_guardrails::{GuardrailsConfig, NameModels, Vectors};
use craton_inference::Backends;
use craton_models::Target;
use craton_models::files::ModelFiles;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::lazy::{Lazy, Open};
use super::local::find_or_fetch;

/// Longest that a request waits for the model of names, which may have to be fetched.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn guardrail_models(
    config: &GuardrailsConfig,
    files: &ModelFiles,
    backends: &dyn Backends,
) -> Vectors {
    let names = (!config.name_model.is_empty()).then(|| {
        let (files, name) = (files.clone(), config.name_model.clone());
        let open: Open<NameModel> = Box::new(move || {
            let (files, name) = (files.clone(), name.clone());
            let load = move || {
                let model = find_or_fetch(&files, &name)?;
                NameModel::load(&model.path()).map(Arc::new).map_err(|error| error.to_string())
            };
            async move { tokio::task::spawn_blocking(load).await.map_err(|error| error.to_string())? }.boxed()
        });
        Arc::new(LazyNames(Lazy::new(&config.name_model, PATIENCE, open, |_| {}))) as Arc<dyn NameModels>
    });
    let sentences = Some(&config.sentence_model).filter(|name| !name.is_empty());
    let embedder = sentences.and_then(|name| backends.embedding(&Target::Local { model: name.clone() }).ok());
    Vectors { embedder, names }
}

struct LazyNames(Arc<Lazy<NameModel>>);

impl NameModels for LazyNames {
    fn get(&self) -> BoxFuture<'_, Result<Arc<NameModel>, String>> {
        async move { self.0.get().await.map_err(|error| error.to_string()) }.boxed()
    }
}
