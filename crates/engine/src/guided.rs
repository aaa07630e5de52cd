//! Following a guide beside the model.
//!
//! What a schema costs to follow is its author's doing: a token's mask takes microseconds or many milliseconds. So the
//! scheduler never computes one. It hands the guide and the token just chosen to a [`MaskPool`], goes on with the
//! other sequences, and takes up this one again when the mask is there; usually that is before the model has computed
//! the token. A mask that takes longer than [`MASK_BUDGET`] is given up, and so are those of clients that went away.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use llama_cpp_2::token::LlamaToken;
use llguidance::CancellationHandle;
use parking_lot::{Condvar, Mutex};
use toktrie::SimpleVob;

use crate::guide::Guide;

/// Longest time that one token's mask may take. The limits on a guide's work keep ordinary ones far under it.
const MASK_BUDGET: Duration = Duration::from_secs(3);
/// Threads of a model's pool, so that one costly schema does not hold up the next.
const WORKERS: usize = 2;

/// An answer's guide and the mask of its next token, there or on its way.
#[derive(Debug)]
pub(crate) struct Guided {
    state: State,
    /// Tokens that followed from the last one without choice, not yet taken.
    forced: Vec<LlamaToken>,
    complete: bool,
}

#[derive(Debug)]
enum State {
    Ready { guide: Guide, mask: Result<SimpleVob, String> },
    Working(Working),
    Failed(String),
}

/// Work under way; dropping it stops the work.
#[derive(Debug)]
struct Working {
    task: Arc<Task>,
    cancel: Option<CancellationHandle>,
    /// What followed from the tokens has been taken.
    advanced: bool,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Working {
    fn stop(&self) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
    }
}

#[derive(Debug, Default)]
struct Task {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    begun: Option<Instant>,
    advanced: Option<Result<Advanced, String>>,
    done: Option<(Guide, Result<SimpleVob, String>)>,
    failed: bool,
}

/// What an accepted token led to.
#[derive(Debug, Clone)]
struct Advanced {
    forced: Vec<LlamaToken>,
    complete: bool,
}

impl Guided {
    /// A guide at its first token. Computes the mask of that on this thread.
    pub(crate) fn begin(mut guide: Guide) -> Self {
        let forced = guide.take_forced();
        let complete = guide.is_complete();
        let mask = guide.allowed();
        Self { state: State::Ready { guide, mask }, forced, complete }
    }

    /// `guide` after `tokens`, which it may turn out not to allow.
    pub(crate) fn after(guide: Guide, tokens: Vec<u32>, pool: &MaskPool) -> Self {
        Self { state: State::Working(pool.submit(guide, tokens)), forced: Vec::new(), complete: false }
    }

    /// Goes on with a token chosen from [`Self::mask`].
    pub(crate) fn accept(&mut self, token: u32, pool: &MaskPool) {
        let before = std::mem::replace(&mut self.state, State::Failed("no token was due".to_owned()));
        if let State::Ready { guide, .. } = before {
            self.state = State::Working(pool.submit(guide, vec![token]));
        }
    }

    /// Whether the tokens given last were accepted; `None` when that is not known by `until`.
    pub(crate) fn advanced(&mut self, until: Instant) -> Option<Result<(), String>> {
        let working = match &mut self.state {
            State::Working(working) if working.advanced => return Some(Ok(())),
            State::Ready { .. } => return Some(Ok(())),
            State::Failed(reason) => return Some(Err(reason.clone())),
            State::Working(working) => working,
        };
        let advanced = working.await_until(until, |progress| progress.advanced.take())?;
        match advanced {
            Ok(Advanced { forced, complete }) => {
                working.advanced = true;
                self.forced = forced;
                self.complete = complete;
                Some(Ok(()))
            }
            Err(reason) => {
                self.state = State::Failed(reason.clone());
                Some(Err(reason))
            }
        }
    }

    /// The tokens that may come next; `None` when they are not known by `until`.
    pub(crate) fn mask(&mut self, until: Instant) -> Option<Result<&SimpleVob, String>> {
        if let State::Working(working) = &mut self.state {
            let (guide, mask) = match working.await_until(until, |progress| progress.done.take().map(Ok))? {
                Ok(done) => done,
                Err(reason) => {
                    self.state = State::Failed(reason.clone());
                    return Some(Err(reason));
                }
            };
            // The guide is here again and goes on.
            working.cancel = None;
            self.state = State::Ready { guide, mask };
        }
        match &self.state {
            State::Ready { mask, .. } => Some(mask.as_ref().map_err(Clone::clone)),
            State::Failed(reason) => Some(Err(reason.clone())),
            State::Working(_) => None,
        }
    }

    /// Takes the tokens that the guide left no choice about.
    pub(crate) fn take_forced(&mut self) -> Vec<LlamaToken> {
        std::mem::take(&mut self.forced)
    }

    /// Nothing can follow.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }
}

impl Working {
    fn await_until<T>(
        &self,
        until: Instant,
        mut take: impl FnMut(&mut Progress) -> Option<Result<T, String>>,
    ) -> Option<Result<T, String>> {
        let mut progress = self.task.progress.lock();
        loop {
            if let Some(found) = take(&mut progress) {
                return Some(found);
            }
            if progress.failed {
                return Some(Err("following the schema failed".to_owned()));
            }
            if progress.begun.is_some_and(|begun| begun.elapsed() > MASK_BUDGET) {
                self.stop();
                return Some(Err("it takes too long to follow".to_owned()));
            }
            if self.task.changed.wait_until(&mut progress, until).timed_out() {
                return take(&mut progress);
            }
        }
    }
}

/// The threads that follow a model's guides. They end when the pool is dropped.
pub(crate) struct MaskPool {
    queue: Arc<Queue>,
}

struct Queue {
    state: Mutex<QueueState>,
    work: Condvar,
    /// Called when a task has got on.
    ring: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    workers: usize,
    closed: bool,
}

struct Job {
    guide: Guide,
    tokens: Vec<u32>,
    task: Arc<Task>,
}

impl MaskPool {
    /// Threads are started when there is work for them. `ring` is called whenever a task has got on.
    pub(crate) fn new(ring: impl Fn() + Send + Sync + 'static) -> Self {
        let queue = Queue { state: Mutex::default(), work: Condvar::new(), ring: Box::new(ring) };
        Self { queue: Arc::new(queue) }
    }

    fn submit(&self, guide: Guide, tokens: Vec<u32>) -> Working {
        let task = Arc::new(Task::default());
        let cancel = guide.cancellation();
        let mut state = self.queue.state.lock();
        state.jobs.push_back(Job { guide, tokens, task: Arc::clone(&task) });
        if state.workers < WORKERS {
            let queue = Arc::clone(&self.queue);
            let thread = std::thread::Builder::new().name("engine masks".to_owned());
            match thread.spawn(move || queue.work()) {
                Ok(_) => state.workers += 1,
                Err(error) if state.workers == 0 => {
                    tracing::error!(%error, "no thread to follow schemas with");
                    task.progress.lock().failed = true;
                }
                Err(_) => {}
            }
        }
        self.queue.work.notify_one();
        Working { task, cancel, advanced: false }
    }
}

impl Drop for MaskPool {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.closed = true;
        state.jobs.clear();
        self.queue.work.notify_all();
    }
}

impl Queue {
    fn work(&self) {
        loop {
            let job = {
                let mut state = self.state.lock();
                loop {
                    if state.closed {
                        return;
                    }
                    if let Some(job) = state.jobs.pop_front() {
                        break job;
                    }
                    self.work.wait(&mut state);
                }
            };
            let task = Arc::clone(&job.task);
            if catch_unwind(AssertUnwindSafe(|| self.run(job))).is_err() {
                task.publish(|progress| progress.failed = true);
            }
            (self.ring)();
        }
    }

    fn run(&self, job: Job) {
        let Job { mut guide, tokens, task } = job;
        task.publish(|progress| progress.begun = Some(Instant::now()));
        if let Err(reason) = guide.accept_all(&tokens) {
            task.publish(|progress| progress.advanced = Some(Err(reason)));
            return;
        }
        let forced = guide.take_forced();
        let complete = guide.is_complete();
        task.publish(|progress| progress.advanced = Some(Ok(Advanced { forced, complete })));
        (self.ring)();
        let mask = guide.allowed();
        task.publish(|progress| progress.done = Some((guide, mask)));
    }
}

impl Task {
    fn publish(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock());
        self.changed.notify_all();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::HashSet;

    use craton_backend::{
        BackendError, Block, ChatEvent, ChatModel, ChatRequest, ChatStream, Message, Role, Sampling, Tool,
        ToolChoice,
    };
    use futures::StreamExt;
    use serde_json::json;

    use crate::{Engine, EngineConfig};

    /// Gates at which guides wait, by the name that their errors have.
    static SHUT: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    static OPENED: Condvar = Condvar::new();

    pub(crate) fn pass(gate: Option<&str>) {
        let mut shut = SHUT.lock();
        while gate.is_some_and(|gate| shut.as_ref().is_some_and(|shut| shut.contains(gate))) {
            OPENED.wait(&mut shut);
        }
    }

    fn shut(gate: &str) {
        SHUT.lock().get_or_insert_default().insert(gate.to_owned());
    }

    fn open(gate: &str) {
        SHUT.lock().get_or_insert_default().remove(gate);
        OPENED.notify_all();
    }

    fn model() -> (Engine, Arc<dyn ChatModel>) {
        let home = std::env::var_os("HOME").unwrap();
        let store = std::env::var_os("CRATON_MODELS_DIR")
            .map_or_else(|| std::path::Path::new(&home).join(".cache/craton/models"), Into::into);
        let path = store.join("smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
        let engine = Engine::open(EngineConfig {
            max_sequences: 4,
            kv_budget_mib: Some(64),
            ..EngineConfig::default()
        });
        let model = engine.chat_model("test", &path);
        (engine, model)
    }

    fn ask(text: &str, max_tokens: u32) -> ChatRequest {
        ChatRequest {
            messages: vec![Message { role: Role::User, content: vec![Block::Text(text.to_owned())] }],
            sampling: Sampling {
                max_tokens: Some(max_tokens),
                temperature: Some(0.0),
                ..Sampling::default()
            },
            ..ChatRequest::default()
        }
    }

    /// A request that must call the tool `name`, whose guide waits at its gate.
    fn call(name: &str) -> ChatRequest {
        let schema = json!({
            "type": "object", "properties": {"unit": {"enum": ["metre", "mile"]}, "n": {"type": "integer", "maximum": 9}},
            "required": ["unit", "n"], "additionalProperties": false
        });
        ChatRequest {
            tools: vec![Tool {
                name: name.to_owned(),
                description: None,
                input_schema: schema,
                strict: false,
            }],
            tool_choice: ToolChoice::Tool(name.to_owned()),
            ..ask("Measure it.", 60)
        }
    }

    fn gate_of(name: &str) -> String {
        format!("the input schema of tool {name:?}")
    }

    async fn end(mut stream: ChatStream) -> Result<u32, BackendError> {
        while let Some(event) = stream.next().await {
            if let ChatEvent::Finished(finished) = event? {
                return Ok(finished.usage.output_tokens);
            }
        }
        panic!("a stream without an end")
    }

    #[tokio::test]
    async fn others_go_on_while_a_guide_is_slow() {
        let (_engine, model) = model();
        shut(&gate_of("slow"));
        let running = model.chat(ask("Write a long story about the sea.", 30)).await.unwrap();
        let mut held = tokio::spawn(end(model.chat(call("slow")).await.unwrap()));
        assert_eq!(end(running).await.unwrap(), 30);
        // One that comes later, too.
        let later =
            tokio::spawn(end(model.chat(ask("Write a long story about the hills.", 20)).await.unwrap()));
        assert_eq!(later.await.unwrap().unwrap(), 20);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut held).await.is_err());
        open(&gate_of("slow"));
        assert!(held.await.unwrap().unwrap() > 5);
    }

    #[tokio::test]
    async fn a_guide_that_takes_too_long_is_the_callers_mistake() {
        let (_engine, model) = model();
        shut(&gate_of("endless"));
        let held = end(model.chat(call("endless")).await.unwrap());
        let refused = tokio::time::timeout(MASK_BUDGET * 5, held).await.unwrap();
        open(&gate_of("endless"));
        let Err(BackendError::Invalid(message)) = refused else { panic!("{refused:?}") };
        assert!(message.contains("too long"), "{message}");
        // Its place is free again, and so is its worker.
        assert!(end(model.chat(call("other")).await.unwrap()).await.unwrap() > 5);
    }

    #[tokio::test]
    async fn a_client_that_goes_away_frees_the_place_of_a_slow_guide() {
        let (engine, model) = model();
        shut(&gate_of("left"));
        drop(model.chat(call("left")).await.unwrap());
        for _ in 0..400 {
            let stats = engine.stats().remove(0);
            if stats.active == 0 && stats.queued == 0 {
                open(&gate_of("left"));
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the place is still taken");
    }
}
