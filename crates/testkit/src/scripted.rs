use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use craton_backend::{
    BackendError, BlockStart, ChatCapabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, Delta,
    EmbedRequest, EmbeddingModel, Embeddings, Finished, RerankModel, RerankRequest, Reranked, StopReason,
    Usage,
};
use craton_inference::Backends;
use craton_models::Target;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;

/// One thing a scripted model does.
#[derive(Debug, Clone)]
pub enum Step {
    Event(ChatEvent),
    /// Ends the answer with an error; as the first step, before it has begun.
    Fail(BackendError),
    /// Says nothing more until the client goes away.
    Hang,
    Panic,
}

/// The script of a plain text answer, a word a delta.
pub fn text(answer: &str) -> Vec<Step> {
    let words: Vec<&str> = answer.split_inclusive(' ').collect();
    let output_tokens = u32::try_from(words.len()).unwrap_or(u32::MAX);
    let usage = Usage { input_tokens: 5, ..Usage::default() };
    let delta = |word: &str| ChatEvent::BlockDelta { index: 0, delta: Delta::Text(word.to_owned()) };
    let finished = Finished {
        reason: StopReason::EndTurn,
        stop_sequence: None,
        usage: Usage { output_tokens, ..usage },
        extra: serde_json::Value::Null,
    };
    let mut events =
        vec![ChatEvent::Started { usage }, ChatEvent::BlockStart { index: 0, block: BlockStart::Text }];
    events.extend(words.into_iter().map(delta));
    events.extend([ChatEvent::BlockStop { index: 0 }, ChatEvent::Finished(finished)]);
    events.into_iter().map(Step::Event).collect()
}

/// The script of an answer that says something (or nothing) and calls tools: each a name and its input.
pub fn calls(saying: &str, tools: &[(&str, serde_json::Value)]) -> Vec<Step> {
    let usage = Usage { input_tokens: 7, ..Usage::default() };
    let mut events = vec![ChatEvent::Started { usage }];
    let mut index = 0;
    let mut block = |start: BlockStart, delta: Delta| {
        events.push(ChatEvent::BlockStart { index, block: start });
        events.push(ChatEvent::BlockDelta { index, delta });
        events.push(ChatEvent::BlockStop { index });
        index += 1;
    };
    if !saying.is_empty() {
        block(BlockStart::Text, Delta::Text(saying.to_owned()));
    }
    for (number, (name, input)) in tools.iter().enumerate() {
        let start = BlockStart::ToolUse { id: format!("call_{number}"), name: (*name).to_owned() };
        block(start, Delta::ToolInput(input.to_string()));
    }
    events.push(ChatEvent::Finished(Finished {
        reason: StopReason::ToolUse,
        stop_sequence: None,
        usage: Usage { output_tokens: 9, ..usage },
        extra: serde_json::Value::Null,
    }));
    events.into_iter().map(Step::Event).collect()
}

type Script = dyn Fn(&ChatRequest) -> Vec<Step> + Send + Sync;

/// A model that plays a script to every request, keeps the requests, and counts streams that were dropped unfinished.
#[derive(Clone)]
pub struct Scripted {
    script: Arc<Script>,
    requests: Arc<Mutex<Vec<ChatRequest>>>,
    cancelled: Arc<AtomicUsize>,
}

impl Scripted {
    pub fn playing(script: Vec<Step>) -> Self {
        Self::deciding(move |_| script.clone())
    }

    /// A model whose script depends on what it is asked.
    pub fn deciding(script: impl Fn(&ChatRequest) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), requests: Arc::default(), cancelled: Arc::default() }
    }

    pub fn saying(answer: &str) -> Self {
        Self::playing(text(answer))
    }

    /// What the model was asked so far.
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.requests.lock().clone()
    }

    /// Answers that were dropped before their last step.
    pub fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }
}

struct CountsDrop {
    cancelled: Arc<AtomicUsize>,
    finished: bool,
}

impl Drop for CountsDrop {
    fn drop(&mut self) {
        if !self.finished {
            self.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl ChatModel for Scripted {
    fn capabilities(&self, _model: &str) -> ChatCapabilities {
        ChatCapabilities { images: false, documents: false, tools: true, context_tokens: Some(8192) }
    }

    fn chat(&self, request: ChatRequest) -> BoxFuture<'_, Result<ChatStream, BackendError>> {
        let script = (self.script)(&request);
        self.requests.lock().push(request);
        if let Some(Step::Fail(error)) = script.first() {
            return std::future::ready(Err(error.clone())).boxed();
        }
        let guard = CountsDrop { cancelled: Arc::clone(&self.cancelled), finished: false };
        let steps = futures::stream::unfold((script, 0, guard), |(script, at, mut guard)| async move {
            // Other tasks run between two steps, as with a model that takes its time.
            tokio::task::yield_now().await;
            let step = script.get(at).cloned()?;
            let item = match step {
                Step::Event(event) => Ok(event),
                Step::Fail(error) => Err(error),
                Step::Hang => std::future::pending().await,
                Step::Panic => panic!("the script says so"),
            };
            guard.finished = at + 1 == script.len();
            Some((item, (script, at + 1, guard)))
        });
        std::future::ready(Ok(steps.boxed() as ChatStream)).boxed()
    }

    /// A token a word.
    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<u32, BackendError>> {
        let words = format!("{:?}", request.messages).split_whitespace().count();
        std::future::ready(Ok(u32::try_from(words).unwrap_or(u32::MAX))).boxed()
    }
}

/// Vectors made from a text's letters: equal texts have equal ones.
impl EmbeddingModel for Scripted {
    fn dimensions(&self) -> usize {
        26
    }

    fn max_tokens(&self) -> u32 {
        256
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        let vector = |text: &String| {
            let mut vector = [0.01_f32; 26];
            for letter in text.to_lowercase().bytes().filter(u8::is_ascii_lowercase) {
                vector[usize::from(letter - b'a')] += 1.0;
            }
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vector.iter().map(|x| x / length).collect()
        };
        let tokens = |text: &String| u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX);
        let answer = Embeddings {
            vectors: request.texts.iter().map(vector).collect(),
            input_tokens: request.texts.iter().map(tokens).collect(),
        };
        std::future::ready(Ok(answer)).boxed()
    }

    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
        let words = text.split_whitespace().count();
        std::future::ready(Ok(u32::try_from(words).unwrap_or(u32::MAX))).boxed()
    }
}

/// The share of the query's words that a document has.
impl RerankModel for Scripted {
    fn rerank(&self, request: RerankRequest) -> BoxFuture<'_, Result<Reranked, BackendError>> {
        let query: Vec<&str> = request.query.split_whitespace().collect();
        #[allow(clippy::cast_precision_loss)]
        let score = |document: &String| {
            let found = query.iter().filter(|word| document.contains(**word)).count();
            found as f32 / query.len().max(1) as f32
        };
        let scores = request.documents.iter().map(score).collect();
        let texts = request.documents.iter().chain([&request.query]);
        let words = texts.map(|text| text.split_whitespace().count()).sum::<usize>();
        let input_tokens = u32::try_from(words).unwrap_or(u32::MAX);
        std::future::ready(Ok(Reranked { scores, input_tokens })).boxed()
    }
}

impl Backends for Scripted {
    fn chat(&self, _target: &Target) -> Result<Arc<dyn ChatModel>, BackendError> {
        Ok(Arc::new(self.clone()))
    }

    fn embedding(&self, _target: &Target) -> Result<Arc<dyn EmbeddingModel>, BackendError> {
        Ok(Arc::new(self.clone()))
    }

    fn rerank(&self, _target: &Target) -> Result<Arc<dyn RerankModel>, BackendError> {
        Ok(Arc::new(self.clone()))
    }
}
