use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use craton_backend::{BackendError, ChatCapabilities, ChatModel, ChatRequest, ChatStream, ToolChoice};
use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use llama_cpp_2::context::params::LlamaContextParams;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::config::EngineConfig;
use crate::dialect::Dialect;
use crate::guide::{CallForm, Guide, MostCalls};
use crate::guided::Guided;
use crate::model::{LoadedModel, backend};
use crate::output::{OutputAssembler, OutputRules, ReasoningMarkers};
use crate::sampler::Sampler;
use crate::scheduler::{Constraint, Drafter, EventSender, ModelStats, Scheduler, Sequence, Shared};

/// A model whose load failed is tried again for a request that comes this much later.
const RETRY_LOAD_AFTER: Duration = Duration::from_secs(5);
const MAX_STOP_SEQUENCES: usize = 64;
const MAX_STOP_SEQUENCE_BYTES: usize = 1024;
/// Requests whose schemas are compiled at once: a costly one may take most of a second of a core.
static COMPILING: Semaphore = Semaphore::const_new(2);

/// The local models of this process.
pub struct Engine {
    config: EngineConfig,
    models: Mutex<HashMap<(String, PathBuf), Arc<LocalModel>>>,
}

impl Engine {
    /// Cheap: nothing is loaded until it is asked for.
    pub fn open(config: EngineConfig) -> Self {
        Self { config, models: Mutex::default() }
    }

    /// The model in the GGUF file at `path`. It is loaded in the background at its first request or by
    /// [`Self::preload`]; requests wait for that.
    pub fn chat_model(&self, name: &str, path: &Path) -> Arc<dyn ChatModel> {
        self.model(name, path)
    }

    /// Starts loading, and returns at once.
    pub fn preload(&self, name: &str, path: &Path) {
        self.model(name, path).start_loading();
    }

    /// Forgets a model: running requests end with an error and its memory is freed.
    pub fn unload(&self, name: &str) {
        self.models.lock().retain(|(known, _), model| {
            if known == name {
                model.close();
            }
            known != name
        });
    }

    /// Gauges and counters of every model asked for so far.
    pub fn stats(&self) -> Vec<ModelStats> {
        self.models.lock().values().map(|model| model.stats()).collect()
    }

    fn model(&self, name: &str, path: &Path) -> Arc<LocalModel> {
        let key = (name.to_owned(), path.to_owned());
        let mut models = self.models.lock();
        Arc::clone(
            models.entry(key).or_insert_with(|| Arc::new(LocalModel::new(name, path, self.config.clone()))),
        )
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A loaded model and the way to its scheduler.
struct Running {
    model: Arc<LoadedModel>,
    shared: Arc<Shared>,
}

#[derive(Clone)]
enum Status {
    Idle,
    Loading,
    Ready(Arc<Running>),
    Failed { reason: String, at: Instant },
}

struct LocalModel {
    name: String,
    path: PathBuf,
    config: EngineConfig,
    status: watch::Sender<Status>,
    next_request: AtomicU64,
}

impl Drop for LocalModel {
    fn drop(&mut self) {
        self.close();
    }
}

impl LocalModel {
    fn new(name: &str, path: &Path, config: EngineConfig) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            config,
            status: watch::Sender::new(Status::Idle),
            next_request: AtomicU64::new(0),
        }
    }

    fn close(&self) {
        if let Status::Ready(running) = &*self.status.borrow() {
            running.shared.close();
        }
    }

    fn stats(&self) -> ModelStats {
        match &*self.status.borrow() {
            Status::Ready(running) => running.shared.stats(&self.name),
            _ => ModelStats { model: self.name.clone(), ..ModelStats::default() },
        }
    }

    /// Starts the thread that loads the model and then runs it, unless there is one.
    fn start_loading(&self) {
        let started = self.status.send_if_modified(|status| {
            let start = match status {
                Status::Idle => true,
                Status::Failed { at, .. } => at.elapsed() >= RETRY_LOAD_AFTER,
                Status::Loading => false,
                Status::Ready(running) => running.shared.is_closed(),
            };
            if start {
                *status = Status::Loading;
            }
            start
        });
        if !started {
            return;
        }
        let (path, config, status) = (self.path.clone(), self.config.clone(), self.status.clone());
        let thread = std::thread::Builder::new().name(format!("engine {}", self.name));
        if let Err(error) = thread.spawn(move || run_model(&path, &config, &status)) {
            self.status.send_replace(failed(format!("no thread for the model: {error}")));
        }
    }

    /// The loaded model, waiting for it within the configured time.
    async fn ready(&self) -> Result<Arc<Running>, BackendError> {
        self.start_loading();
        let mut status = self.status.subscribe();
        let settled = status.wait_for(|status| matches!(status, Status::Ready(_) | Status::Failed { .. }));
        let limit = Duration::from_millis(self.config.load_timeout_ms);
        match tokio::time::timeout(limit, settled).await {
            Ok(Ok(status)) => match &*status {
                Status::Ready(running) => Ok(Arc::clone(running)),
                Status::Failed { reason, .. } => Err(BackendError::NotReady(reason.clone())),
                Status::Idle | Status::Loading => {
                    Err(BackendError::Internal("a model in no state".to_owned()))
                }
            },
            Ok(Err(_)) => Err(BackendError::Internal("the model has gone away".to_owned())),
            Err(_) => Err(BackendError::NotReady(format!("{} is still being loaded", self.name))),
        }
    }

    async fn start(&self, request: ChatRequest) -> Result<ChatStream, BackendError> {
        let running = self.ready().await?;
        let number = self.next_request.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::unbounded_channel();
        let model = Arc::clone(&running.model);
        let compiles = !request.tools.is_empty() || request.response_schema.is_some();
        let _turn = if compiles { COMPILING.acquire().await.ok() } else { None };
        // Rendering, tokenising and compiling schemas is CPU work.
        let sequence = tokio::task::spawn_blocking(move || prepare(&model, &request, number, sender))
            .await
            .map_err(|error| BackendError::Internal(format!("preparing the request failed: {error}")))??;
        running.shared.submit(sequence)?;
        Ok(Box::pin(stream::unfold(Some(receiver), |receiver| async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Ok(event)) => {
                    let last = matches!(event, craton_backend::ChatEvent::Finished(_));
                    Some((Ok(event), (!last).then_some(receiver)))
                }
                Some(Err(error)) => Some((Err(error), None)),
                None => Some((Err(BackendError::NotReady("the model was unloaded".to_owned())), None)),
            }
        })))
    }
}

fn failed(reason: String) -> Status {
    Status::Failed { reason, at: Instant::now() }
}

/// The life of a model's thread: load, say so, run until closed.
fn run_model(path: &Path, config: &EngineConfig, status: &watch::Sender<Status>) {
    let model = match LoadedModel::load(path, config) {
        Ok(model) => Arc::new(model),
        Err(reason) => {
            tracing::warn!(reason, "a model can't be loaded");
            status.send_replace(failed(reason));
            return;
        }
    };
    let shared = Arc::new(Shared::new(config.max_queued));
    let run = std::panic::AssertUnwindSafe(|| -> Result<(), String> {
        let context = new_context(&model, config)?;
        let scheduler = Scheduler::new(&model, context, config, Arc::clone(&shared));
        let running = Running { model: Arc::clone(&model), shared: Arc::clone(&shared) };
        status.send_replace(Status::Ready(Arc::new(running)));
        scheduler.run();
        Ok(())
    });
    let reason = match std::panic::catch_unwind(run) {
        Ok(Ok(())) => return,
        Ok(Err(reason)) => reason,
        Err(_) => "the model's scheduler failed".to_owned(),
    };
    tracing::error!(reason, "a model has stopped");
    shared.close();
    status.send_replace(failed(reason));
}

fn new_context<'m>(
    model: &'m LoadedModel,
    config: &EngineConfig,
) -> Result<llama_cpp_2::context::LlamaContext<'m>, String> {
    let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let threads = config.context_threads();
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(narrow(model.kv_tokens)))
        .with_n_batch(narrow(config.step_tokens()))
        .with_n_ubatch(narrow(config.step_tokens()))
        .with_n_seq_max(narrow(config.sequence_count()))
        .with_kv_unified(true)
        .with_no_perf(true)
        .with_flash_attention_policy(match config.flash_attention {
            true => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_AUTO,
            false => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED,
        })
        .with_n_threads(threads)
        .with_n_threads_batch(threads);
    model
        .weights
        .new_context(backend()?, params)
        .map_err(|error| format!("no context for the model: {error}"))
}

/// Everything about a request that can be settled before it is queued.
fn prepare(
    model: &LoadedModel,
    request: &ChatRequest,
    number: u64,
    events: EventSender,
) -> Result<Sequence, BackendError> {
    check_request(request)?;
    let prompt = model.prompts().build(request)?;
    let prompt_tokens = prompt.tokens.len();
    if prompt_tokens >= model.context_tokens {
        let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        return Err(BackendError::ContextOverflow {
            tokens: narrow(prompt_tokens),
            limit: narrow(model.context_tokens),
        });
    }
    let tool_names = match &request.tool_choice {
        ToolChoice::None => Vec::new(),
        _ => request.tools.iter().map(|tool| tool.name.clone()).collect(),
    };
    let reasons = model.template.mentions_reasoning() || prompt.inside_reasoning;
    let reasoning = reasons.then_some(ReasoningMarkers {
        open: "<think>",
        close: "</think>",
        begins_inside: prompt.inside_reasoning,
    });
    let mut constraint = constraint(model, request)?;
    let dialect = Some(model.template.dialect())
        .filter(|dialect| *dialect != Dialect::Hermes && matches!(constraint, Constraint::Free));
    let rules = OutputRules {
        stop_sequences: request.sampling.stop_sequences.clone(),
        tool_names,
        reasoning,
        dialect,
        one_call: request.one_tool_call,
    };
    let seed = rand_seed(number);
    let settings = model.sampler_settings(&request.sampling, seed)?;
    let mut tokens = prompt.tokens;
    if let Constraint::Active(guided) = &mut constraint {
        tokens.append(&mut guided.take_forced());
    }
    Ok(Sequence {
        priority: request.priority,
        tokens,
        prompt_tokens,
        computed: 0,
        cache_tokens: prompt.cache_tokens,
        max_new_tokens: model.max_new_tokens(&request.sampling),
        context_tokens: model.context_tokens,
        sampler: Sampler::new(settings),
        constraint,
        output: OutputAssembler::new(rules, format!("tooluse_{seed:016x}")),
        events,
        emitted: prompt_tokens,
        id: -1,
        usage: None,
        waiting: false,
        choosing: None,
        following: false,
        drafter: Drafter::default(),
    })
}

fn check_request(request: &ChatRequest) -> Result<(), BackendError> {
    let stops = &request.sampling.stop_sequences;
    if stops.len() > MAX_STOP_SEQUENCES {
        return Err(BackendError::Invalid(format!(
            "at most {MAX_STOP_SEQUENCES} stop sequences are accepted"
        )));
    }
    if stops.iter().any(|stop| stop.is_empty() || stop.len() > MAX_STOP_SEQUENCE_BYTES) {
        return Err(BackendError::Invalid(format!(
            "a stop sequence has 1 to {MAX_STOP_SEQUENCE_BYTES} bytes"
        )));
    }
    Ok(())
}

fn constraint(model: &LoadedModel, request: &ChatRequest) -> Result<Constraint, BackendError> {
    let active = |guide: Guide| Constraint::Active(Box::new(Guided::begin(guide)));
    let tools = &request.tools;
    let dialect = model.template.dialect();
    let most = if request.one_tool_call { MostCalls::One } else { MostCalls::Several };
    let response = request.response_schema.as_ref();
    match &request.tool_choice {
        ToolChoice::Tool(name) => {
            let Some(tool) = tools.iter().find(|tool| tool.name == *name) else {
                return Err(BackendError::Invalid(format!(
                    "the tool {name:?} that must be called is not declared"
                )));
            };
            Ok(active(model.guides()?.calls(std::slice::from_ref(tool), CallForm::Single, most)?))
        }
        ToolChoice::Any if tools.is_empty() => {
            Err(BackendError::Invalid("a tool must be called, but none is declared".to_owned()))
        }
        ToolChoice::Any => Ok(active(model.guides()?.calls(tools, CallForm::FromStart, most)?)),
        ToolChoice::Auto if !tools.is_empty() => {
            let guides = model.guides()?;
            match response {
                Some(response) => Ok(active(guides.calls_or_json(tools, &response.schema, most)?)),
                None => {
                    let guide = guides.calls(tools, CallForm::AfterMarker, most)?;
                    // In a form of its own the model writes calls unguided; the schemas have been checked all the same.
                    let own_form = model.template.native_tools() && dialect != Dialect::Hermes;
                    Ok(if own_form { Constraint::Free } else { Constraint::AfterMarker(guide) })
                }
            }
        }
        ToolChoice::Auto | ToolChoice::None => match response {
            Some(response) => Ok(active(model.guides()?.json(&response.schema, "the response schema")?)),
            None => Ok(Constraint::Free),
        },
    }
}

/// Different for every request of every process.
fn rand_seed(number: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(number)
}

impl ChatModel for LocalModel {
    fn capabilities(&self, _model: &str) -> ChatCapabilities {
        let context_tokens = match &*self.status.borrow() {
            Status::Ready(running) => u32::try_from(running.model.context_tokens).ok(),
            _ => None,
        };
        ChatCapabilities { images: false, documents: false, tools: true, context_tokens }
    }

    fn chat(&self, request: ChatRequest) -> BoxFuture<'_, Result<ChatStream, BackendError>> {
        self.start(request).boxed()
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<u32, BackendError>> {
        async move {
            let running = self.ready().await?;
            let (model, request) = (Arc::clone(&running.model), request.clone());
            let prompt = tokio::task::spawn_blocking(move || model.prompts().build(&request))
                .await
                .map_err(|error| BackendError::Internal(format!("counting tokens failed: {error}")))??;
            Ok(u32::try_from(prompt.tokens.len()).unwrap_or(u32::MAX))
        }
        .boxed()
    }
}
