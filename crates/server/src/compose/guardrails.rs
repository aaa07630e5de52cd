//! The models that guardrails use.

use std::sync::Arc;
use std::time::Duration;

use craton_backend::{ChatEvent, ChatRequest, Delta};
use craton_core::{Account, Principal, RequestContext};
use craton_guardrails::ner::NameModel;
use craton_guardrails::policies::judge::{Asked, Judge};
use craton_guardrails::{GuardrailsConfig, NameModels, Vectors};
use craton_inference::Backends;
use craton_models::{Models, Target};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};

use super::lazy::{Lazy, Open};
use super::local::find_or_fetch;

/// Longest that a request waits for the model of names, which may have to be fetched.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn guardrail_models(
    config: &GuardrailsConfig,
    models: &Models,
    backends: &Arc<dyn Backends>,
    account: &Arc<Account>,
) -> Vectors {
    let files = models.files();
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
    let judge = (!config.guard_model.is_empty()).then(|| Judge {
        model: Arc::new(GuardModel {
            id: config.guard_model.clone(),
            models: models.clone(),
            backends: Arc::clone(backends),
            account: Arc::clone(account),
        }),
        format: config.guard_format,
        timeout: Duration::from_millis(config.guard_timeout_ms),
        on_failure: config.guard_on_failure,
    });
    let content_heads = config.sentence_model == craton_models::DEFAULT_EMBEDDING_MODEL;
    Vectors { embedder, content_heads, names, judge, ..Vectors::default() }
}

/// The model that judges harmful content, found anew for each question: the configuration says what serves its id.
struct GuardModel {
    id: String,
    models: Models,
    backends: Arc<dyn Backends>,
    account: Arc<Account>,
}

impl Asked for GuardModel {
    fn answer(&self, request: ChatRequest) -> BoxFuture<'_, Result<String, String>> {
        self.ask(request).boxed()
    }
}

impl GuardModel {
    async fn ask(&self, mut request: ChatRequest) -> Result<String, String> {
        let context = RequestContext {
            request_id: String::new(),
            account: Arc::clone(&self.account),
            region: self.account.home_region.clone(),
            principal: Arc::new(Principal::default()),
            source_ip: None,
            received_ms: 0,
        };
        let resolved = self.models.resolve(&context, &self.id).await.map_err(|error| error.message)?;
        if resolved.stand_in {
            return Err(format!("no model is configured for {}", self.id));
        }
        let (Target::Local { model } | Target::Upstream { model, .. }) = &resolved.target;
        request.model.clone_from(model);
        let chat = self.backends.chat(&resolved.target).map_err(|error| error.to_string())?;
        let mut events = chat.chat(request).await.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        while let Some(event) = events.next().await {
            match event.map_err(|error| error.to_string())? {
                ChatEvent::BlockDelta { delta: Delta::Text(text), .. } => answer.push_str(&text),
                ChatEvent::Finished(_) => return Ok(answer),
                _ => {}
            }
        }
        Err("the answer ended too early".to_owned())
    }
}

struct LazyNames(Arc<Lazy<NameModel>>);

impl NameModels for LazyNames {
    fn get(&self) -> BoxFuture<'_, Result<Arc<NameModel>, String>> {
        async move { self.0.get().await.map_err(|error| error.to_string()) }.boxed()
    }
}
