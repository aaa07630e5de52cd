use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use craton_backend::{
    BackendError, Block, ChatCapabilities, ChatModel, ChatRequest, ChatStream, EmbedRequest, EmbeddingModel,
    Embeddings, Message, RerankModel, RerankRequest, Reranked, Role,
};
use craton_engine::embed::BertEmbedder;
use craton_engine::{Engine, EngineConfig};
use craton_metering::{QueueDepth, QueueSource};
use craton_models::Task;
use craton_models::files::{InstalledModel, ModelFiles, Progress, is_builtin};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};

use super::lazy::{Lazy, Open};
use crate::health::Readiness;

/// How often the model store is looked at for models that were replaced or removed while in use.
const RESCAN: Duration = Duration::from_secs(2);

/// The models of the model store that this server uses. Each is opened at its first request, or before that by
/// [`Self::preload`]; the embedded ones are fetched first if they are not there yet.
pub(crate) struct LocalModels {
    files: ModelFiles,
    engine: Arc<Engine>,
    patience: Duration,
    chats: RwLock<HashMap<String, Arc<LazyChat>>>,
    embedders: RwLock<HashMap<String, Arc<LazyEmbedder>>>,
    /// What each open model was opened from.
    opened: Arc<Mutex<HashMap<String, InstalledModel>>>,
}

impl LocalModels {
    pub(crate) fn new(files: ModelFiles, config: EngineConfig) -> Arc<Self> {
        Arc::new(Self {
            files,
            patience: Duration::from_millis(config.load_timeout_ms),
            engine: Arc::new(Engine::open(config)),
            chats: RwLock::default(),
            embedders: RwLock::default(),
            opened: Arc::default(),
        })
    }

    pub(crate) fn chat(&self, name: &str) -> Arc<dyn ChatModel> {
        if let Some(chat) = self.chats.read().get(name) {
            return Arc::clone(chat) as Arc<dyn ChatModel>;
        }
        let mut chats = self.chats.write();
        let chat = chats.entry(name.to_owned()).or_insert_with(|| {
            let (engine, key, finding) = (Arc::clone(&self.engine), name.to_owned(), self.finding(name));
            let open: Open<dyn ChatModel> = Box::new(move || {
                let (engine, key, finding) = (Arc::clone(&engine), key.clone(), finding());
                async move {
                    let path = finding.await?;
                    let chat = engine.chat_model(&key, &path);
                    // The engine loads at the first request; counting tokens is the cheapest one, and says whether
                    // the load went well.
                    match chat.count_tokens(&ready_check()).await {
                        Err(BackendError::NotReady(reason)) => Err(reason),
                        _ => Ok(chat),
                    }
                }
                .boxed()
            });
            Arc::new(LazyChat(Lazy::new(name, self.patience, open)))
        });
        Arc::clone(chat) as Arc<dyn ChatModel>
    }

    fn embedder(&self, name: &str) -> Arc<LazyEmbedder> {
        if let Some(embedder) = self.embedders.read().get(name) {
            return Arc::clone(embedder);
        }
        let mut embedders = self.embedders.write();
        let embedder = embedders.entry(name.to_owned()).or_insert_with(|| {
            let finding = self.finding(name);
            let open: Open<BertEmbedder> = Box::new(move || {
                let finding = finding();
                async move {
                    let folder = finding.await?;
                    let loading = tokio::task::spawn_blocking(move || BertEmbedder::load(&folder)).await;
                    let loaded = loading.map_err(|error| error.to_string())?;
                    loaded.map(Arc::new).map_err(|error| error.to_string())
                }
                .boxed()
            });
            Arc::new(LazyEmbedder(Lazy::new(name, self.patience, open)))
        });
        Arc::clone(embedder)
    }

    pub(crate) fn embedding(&self, name: &str) -> Arc<dyn EmbeddingModel> {
        self.embedder(name)
    }

    pub(crate) fn rerank(&self, name: &str) -> Arc<dyn RerankModel> {
        self.embedder(name)
    }

    /// Begins to open models, and returns at once.
    pub(crate) fn preload(&self, names: &[String]) {
        for name in names {
            let embeds = match self.files.find(name) {
                Ok(Some(model)) => model.manifest.task != Task::Chat,
                _ => *name == craton_models::DEFAULT_EMBEDDING_MODEL,
            };
            if embeds {
                self.embedder(name).0.start();
            } else {
                self.chat(name);
                if let Some(chat) = self.chats.read().get(name) {
                    chat.0.start();
                }
            }
        }
    }

    pub(crate) fn parts(&self) -> Vec<(String, Readiness)> {
        let label = |name: &String| format!("local {name}");
        let chats = self.chats.read();
        let embedders = self.embedders.read();
        let chats = chats.iter().map(|(name, chat)| (label(name), chat.0.readiness()));
        let embedders = embedders.iter().map(|(name, embedder)| (label(name), embedder.0.readiness()));
        chats.chain(embedders).collect()
    }

    /// Finds the files of a model, fetching them first if it is an embedded one.
    fn finding(
        &self,
        name: &str,
    ) -> impl Fn() -> BoxFuture<'static, Result<PathBuf, String>> + Send + Sync + use<> {
        let (files, name, opened) = (self.files.clone(), name.to_owned(), Arc::clone(&self.opened));
        move || {
            let (files, name, opened) = (files.clone(), name.clone(), Arc::clone(&opened));
            async move {
                let find = move || {
                    let model = find_or_fetch(&files, &name)?;
                    let path = model.path();
                    opened.lock().insert(name, model);
                    Ok(path)
                };
                tokio::task::spawn_blocking(find).await.map_err(|error| error.to_string())?
            }
            .boxed()
        }
    }

    /// Lets go of models that were removed or replaced in the store, now and then, for as long as the server lives.
    pub(crate) async fn watch_store(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RESCAN).await;
            let opened: Vec<(String, InstalledModel)> =
                self.opened.lock().iter().map(|(name, model)| (name.clone(), model.clone())).collect();
            let files = self.files.clone();
            let changed = tokio::task::spawn_blocking(move || {
                let unchanged = |name: &str, model: &InstalledModel| match files.find(name) {
                    Ok(found) => found.as_ref() == Some(model),
                    // A store that can't be read now says nothing about its models.
                    Err(_) => true,
                };
                let changed = opened.into_iter().filter(|(name, model)| !unchanged(name, model));
                changed.map(|(name, _)| name).collect::<Vec<_>>()
            });
            for name in changed.await.unwrap_or_default() {
                tracing::info!(model = name, "the model was replaced or removed; letting go of it");
                self.opened.lock().remove(&name);
                self.chats.write().remove(&name);
                self.embedders.write().remove(&name);
                self.engine.unload(&name);
            }
        }
    }
}

impl QueueSource for LocalModels {
    fn depths(&self) -> Vec<QueueDepth> {
        let depth = |stats: craton_engine::ModelStats| QueueDepth {
            model: stats.model,
            queued: stats.queued,
            running: stats.active,
        };
        self.engine.stats().into_iter().map(depth).collect()
    }
}

fn ready_check() -> ChatRequest {
    let content = vec![Block::Text("ready?".to_owned())];
    ChatRequest { messages: vec![Message { role: Role::User, content }], ..ChatRequest::default() }
}

fn find_or_fetch(files: &ModelFiles, name: &str) -> Result<InstalledModel, String> {
    if let Some(model) = files.find(name).map_err(|error| error.to_string())? {
        return Ok(model);
    }
    if !is_builtin(name) {
        return Err("it is not in the model store; `craton models list` shows what is".to_owned());
    }
    tracing::info!(model = name, "fetching the embedded model, this once");
    let fetched = files.pull(name, &Logged).map_err(|error| error.to_string())?;
    fetched.into_iter().next().ok_or_else(|| "nothing was fetched".to_owned())
}

/// Installation told in the log.
struct Logged;

impl Progress for Logged {
    fn note(&self, message: &str) {
        tracing::info!("{message}");
    }
}

struct LazyChat(Arc<Lazy<dyn ChatModel>>);

impl ChatModel for LazyChat {
    fn capabilities(&self, model: &str) -> ChatCapabilities {
        match self.0.ready() {
            Some(chat) => chat.capabilities(model),
            None => ChatCapabilities { images: false, documents: false, tools: true, context_tokens: None },
        }
    }

    fn chat(&self, request: ChatRequest) -> BoxFuture<'_, Result<ChatStream, BackendError>> {
        async move { self.0.get().await?.chat(request).await }.boxed()
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<u32, BackendError>> {
        async move { self.0.get().await?.count_tokens(request).await }.boxed()
    }
}

struct LazyEmbedder(Arc<Lazy<BertEmbedder>>);

impl EmbeddingModel for LazyEmbedder {
    /// 0 until the model is open: what a vector's width is, its own length says best.
    fn dimensions(&self) -> usize {
        self.0.ready().map_or(0, |embedder| embedder.dimensions())
    }

    fn max_tokens(&self) -> u32 {
        self.0.ready().map_or(u32::MAX, |embedder| embedder.max_tokens())
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        async move { self.0.get().await?.embed(request).await }.boxed()
    }

    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
        async move { EmbeddingModel::count_tokens(&*self.0.get().await?, text).await }.boxed()
    }
}

impl RerankModel for LazyEmbedder {
    fn rerank(&self, request: RerankRequest) -> BoxFuture<'_, Result<Reranked, BackendError>> {
        async move { self.0.get().await?.rerank(request).await }.boxed()
    }
}
