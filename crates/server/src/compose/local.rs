use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use craton_backend::{
    BackendError, Block, ChatCapabilities, ChatModel, ChatRequest, ChatStream, EmbedRequest, EmbeddingModel,
    Embeddings, Message, RerankModel, RerankRequest, Reranked, Role,
};
use craton_engine::embed::BertEmbedder;
use craton_engine::{Engine, EngineConfig, fast_copy, memory_bytes, multiplies_blocks};
use craton_metering::{QueueDepth, QueueSource};
use craton_models::Task;
use craton_models::files::{InstalledModel, ModelFiles, Progress, is_builtin};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::StreamExt as _;
use parking_lot::{Mutex, RwLock};
use prometheus::Registry;

use super::lazy::{Lazy, Open};
use super::room::{Lease, Room};
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
    room: Arc<Room>,
    config: EngineConfig,
}

impl LocalModels {
    /// Fails only if another metric has the name of one of its own.
    pub(crate) fn new(
        files: ModelFiles,
        config: EngineConfig,
        registry: &Registry,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let room = Room::new(config.max_loaded_models, config.loaded_models_mib.map(|mib| mib << 20))?;
        room.register(registry)?;
        Ok(Arc::new(Self {
            files,
            patience: Duration::from_millis(config.load_timeout_ms),
            engine: Arc::new(Engine::open(config.clone())),
            chats: RwLock::default(),
            embedders: RwLock::default(),
            opened: Arc::default(),
            room,
            config,
        }))
    }

    pub(crate) fn chat(&self, name: &str) -> Arc<dyn ChatModel> {
        if let Some(chat) = self.chats.read().get(name) {
            return Arc::clone(chat) as Arc<dyn ChatModel>;
        }
        let mut chats = self.chats.write();
        let chat = chats.entry(name.to_owned()).or_insert_with(|| {
            let (engine, key, finding) = (Arc::clone(&self.engine), name.to_owned(), self.finding(name));
            let (room, config) = (Arc::clone(&self.room), self.config.clone());
            let open: Open<dyn ChatModel> = Box::new(move || {
                let (engine, key, finding) = (Arc::clone(&engine), key.clone(), finding());
                let (room, config) = (Arc::clone(&room), config.clone());
                async move {
                    let (path, _) = finding.await?;
                    let prepared = tokio::task::spawn_blocking(move || prepared(path, &config)).await;
                    let (path, bytes) = prepared.map_err(|error| error.to_string())??;
                    room.make(&key, bytes).await?;
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
            let lazy = Lazy::new(name, self.patience, open, self.settled(name));
            let (held, engine, key) = (Arc::downgrade(&lazy), Arc::clone(&self.engine), name.to_owned());
            self.room.add(name, move || {
                if let Some(lazy) = held.upgrade() {
                    lazy.close();
                }
                engine.unload(&key);
            });
            Arc::new(LazyChat { lazy, name: name.to_owned(), room: Arc::clone(&self.room) })
        });
        Arc::clone(chat) as Arc<dyn ChatModel>
    }

    fn embedder(&self, name: &str) -> Arc<LazyEmbedder> {
        if let Some(embedder) = self.embedders.read().get(name) {
            return Arc::clone(embedder);
        }
        let mut embedders = self.embedders.write();
        let embedder = embedders.entry(name.to_owned()).or_insert_with(|| {
            let (finding, room, key) = (self.finding(name), Arc::clone(&self.room), name.to_owned());
            let open: Open<BertEmbedder> = Box::new(move || {
                let (finding, room, key) = (finding(), Arc::clone(&room), key.clone());
                async move {
                    let (folder, bytes) = finding.await?;
                    room.make(&key, bytes).await?;
                    let loading = tokio::task::spawn_blocking(move || BertEmbedder::load(&folder)).await;
                    let loaded = loading.map_err(|error| error.to_string())?;
                    loaded.map(Arc::new).map_err(|error| error.to_string())
                }
                .boxed()
            });
            let lazy = Lazy::new(name, self.patience, open, self.settled(name));
            let held = Arc::downgrade(&lazy);
            self.room.add(name, move || {
                if let Some(lazy) = held.upgrade() {
                    lazy.close();
                }
            });
            Arc::new(LazyEmbedder { lazy, name: name.to_owned(), room: Arc::clone(&self.room) })
        });
        Arc::clone(embedder)
    }

    /// Tells the room how an opening ended.
    fn settled(&self, name: &str) -> impl Fn(bool) + Send + Sync + use<> {
        let (room, name) = (Arc::clone(&self.room), name.to_owned());
        move |open| room.settle(&name, open)
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
                self.embedder(name).lazy.start();
            } else {
                self.chat(name);
                if let Some(chat) = self.chats.read().get(name) {
                    chat.lazy.start();
                }
            }
        }
    }

    pub(crate) fn parts(&self) -> Vec<(String, Readiness)> {
        let label = |name: &String| format!("local {name}");
        let chats = self.chats.read();
        let embedders = self.embedders.read();
        let chats = chats.iter().map(|(name, chat)| (label(name), chat.lazy.readiness()));
        let embedders = embedders.iter().map(|(name, embedder)| (label(name), embedder.lazy.readiness()));
        chats.chain(embedders).collect()
    }

    /// Finds the files of a model and their size, fetching them first if it is an embedded one.
    fn finding(
        &self,
        name: &str,
    ) -> impl Fn() -> BoxFuture<'static, Result<(PathBuf, u64), String>> + Send + Sync + use<> {
        let (files, name, opened) = (self.files.clone(), name.to_owned(), Arc::clone(&self.opened));
        move || {
            let (files, name, opened) = (files.clone(), name.clone(), Arc::clone(&opened));
            async move {
                let find = move || {
                    let model = find_or_fetch(&files, &name)?;
                    let found = (model.path(), model.bytes());
                    opened.lock().insert(name, model);
                    Ok(found)
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
                self.room.remove(&name);
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

/// The file to load for a chat model, and the memory that it will take.
fn prepared(original: PathBuf, config: &EngineConfig) -> Result<(PathBuf, u64), String> {
    // Where blocks are multiplied as they are, the smaller file is the faster one.
    let wanted = config.fast_format && !multiplies_blocks();
    let copy = if wanted { fast_copy(&original) } else { Ok(None) };
    let path = match copy {
        Ok(copy) => copy.unwrap_or(original),
        Err(reason) => {
            tracing::warn!(reason, "no faster copy could be made; the model runs as it is");
            original
        }
    };
    let bytes = memory_bytes(&path, config)?;
    Ok((path, bytes))
}

fn ready_check() -> ChatRequest {
    let content = vec![Block::Text("ready?".to_owned())];
    ChatRequest { messages: vec![Message { role: Role::User, content }], ..ChatRequest::default() }
}

pub(super) fn find_or_fetch(files: &ModelFiles, name: &str) -> Result<InstalledModel, String> {
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

struct LazyChat {
    lazy: Arc<Lazy<dyn ChatModel>>,
    name: String,
    room: Arc<Room>,
}

impl LazyChat {
    /// The open model, which stays so while the lease lives.
    async fn open(&self) -> Result<(Lease, Arc<dyn ChatModel>), BackendError> {
        let lease = self.room.enter(&self.name);
        Ok((lease, self.lazy.get().await?))
    }
}

impl ChatModel for LazyChat {
    fn capabilities(&self, model: &str) -> ChatCapabilities {
        match self.lazy.ready() {
            Some(chat) => chat.capabilities(model),
            None => ChatCapabilities { images: false, documents: false, tools: true, context_tokens: None },
        }
    }

    fn chat(&self, request: ChatRequest) -> BoxFuture<'_, Result<ChatStream, BackendError>> {
        async move {
            let (lease, chat) = self.open().await?;
            let stream = chat.chat(request).await?;
            let leased = stream.map(move |event| {
                let _in_use = &lease;
                event
            });
            Ok(Box::pin(leased) as ChatStream)
        }
        .boxed()
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<u32, BackendError>> {
        async move {
            let (_lease, chat) = self.open().await?;
            chat.count_tokens(request).await
        }
        .boxed()
    }
}

struct LazyEmbedder {
    lazy: Arc<Lazy<BertEmbedder>>,
    name: String,
    room: Arc<Room>,
}

impl LazyEmbedder {
    async fn open(&self) -> Result<(Lease, Arc<BertEmbedder>), BackendError> {
        let lease = self.room.enter(&self.name);
        Ok((lease, self.lazy.get().await?))
    }
}

impl EmbeddingModel for LazyEmbedder {
    /// 0 until the model is open: what a vector's width is, its own length says best.
    fn dimensions(&self) -> usize {
        self.lazy.ready().map_or(0, |embedder| embedder.dimensions())
    }

    fn max_tokens(&self) -> u32 {
        self.lazy.ready().map_or(u32::MAX, |embedder| embedder.max_tokens())
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        async move {
            let (_lease, embedder) = self.open().await?;
            embedder.embed(request).await
        }
        .boxed()
    }

    fn embed_raw(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        async move {
            let (_lease, embedder) = self.open().await?;
            embedder.embed_raw(request).await
        }
        .boxed()
    }

    fn embed_quick(
        &self,
        request: EmbedRequest,
        layers: Option<usize>,
    ) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        async move {
            let (_lease, embedder) = self.open().await?;
            embedder.embed_quick(request, layers).await
        }
        .boxed()
    }

    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
        async move {
            let (_lease, embedder) = self.open().await?;
            EmbeddingModel::count_tokens(&*embedder, text).await
        }
        .boxed()
    }

    fn count_each(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<u32>, BackendError>> {
        async move {
            let (_lease, embedder) = self.open().await?;
            embedder.count_each(texts).await
        }
        .boxed()
    }
}

impl RerankModel for LazyEmbedder {
    fn rerank(&self, request: RerankRequest) -> BoxFuture<'_, Result<Reranked, BackendError>> {
        async move {
            let (_lease, embedder) = self.open().await?;
            embedder.rerank(request).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use craton_backend::{ChatEvent, Sampling};

    use super::*;

    const CHAT: &str = craton_models::DEFAULT_CHAT_MODEL;
    const EMBED: &str = craton_models::DEFAULT_EMBEDDING_MODEL;

    /// The real embedded models, of which one may be loaded at a time.
    fn one_at_a_time() -> (Arc<LocalModels>, Registry) {
        let registry = Registry::new();
        let config =
            EngineConfig { max_loaded_models: 1, kv_budget_mib: Some(32), ..EngineConfig::default() };
        (LocalModels::new(ModelFiles::from_environment().unwrap(), config, &registry).unwrap(), registry)
    }

    fn metric(registry: &Registry, name: &str) -> f64 {
        let families = registry.gather();
        let metric = families.iter().find(|family| family.name() == name).unwrap().get_metric()[0].clone();
        metric.get_gauge().get_value() + metric.get_counter().get_value()
    }

    async fn embed(models: &LocalModels) -> usize {
        let request = EmbedRequest { texts: vec!["a".to_owned()], ..EmbedRequest::default() };
        models.embedding(EMBED).embed(request).await.unwrap().vectors[0].len()
    }

    #[tokio::test]
    async fn models_take_turns_and_one_that_answers_is_not_unloaded() {
        let (models, registry) = one_at_a_time();
        assert_eq!(embed(&models).await, 384);
        let sampling = Sampling { max_tokens: Some(12), ..Sampling::default() };
        let mut stream = models.chat(CHAT).chat(ChatRequest { sampling, ..ready_check() }).await.unwrap();
        assert!(models.embedder(EMBED).lazy.ready().is_none());
        assert_eq!(metric(&registry, "craton_local_models_loaded"), 1.0);

        let other = tokio::spawn({
            let models = Arc::clone(&models);
            async move { embed(&models).await }
        });
        let mut ended = false;
        while let Some(event) = stream.next().await {
            assert!(!other.is_finished());
            ended = matches!(event.unwrap(), ChatEvent::Finished(_));
        }
        assert!(ended);
        drop(stream);
        assert_eq!(other.await.unwrap(), 384);
        // And back again.
        assert!(models.chat(CHAT).count_tokens(&ready_check()).await.unwrap() > 0);
        assert_eq!(metric(&registry, "craton_local_model_unloads_total"), 3.0);
    }
}
