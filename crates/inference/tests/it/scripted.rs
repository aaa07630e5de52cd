//! A model that says what the test wrote, and remembers what it was asked.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use craton_backend::{
    BackendError, Block, ChatCapabilities, ChatEvent, ChatModel, ChatRequest, ChatStream, EmbedRequest,
    EmbeddingModel, Embeddings, Finished, RerankModel, RerankRequest, Reranked, StopReason, Usage,
};
use craton_core::{Account, Principal, RandomIds, RequestContext, SystemClock};
use craton_inference::answer::{self, Answer};
use craton_inference::{Backends, Inference};
use craton_metering::{Metering, UsageRecord, UsageSink};
use craton_models::files::ModelFiles;
use craton_models::{Models, ModelsConfig, Target};
use craton_store::Store;
use craton_wire::eventstream::HeaderValue;
use craton_wire::operation::{Output, ReplyBody};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::Stream;
use parking_lot::Mutex;
use serde_json::{Value, json};

pub(crate) const CLAUDE: &str = "anthropic.claude-3-5-sonnet-20241022-v2:0";

/// What happens next in an answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Event(ChatEvent),
    Error(BackendError),
    /// The answer never goes on.
    Hang,
}

pub(crate) struct Scripted {
    pub(crate) capabilities: Mutex<ChatCapabilities>,
    answers: Mutex<VecDeque<Result<Vec<Step>, BackendError>>>,
    pub(crate) requests: Mutex<Vec<ChatRequest>>,
    /// Streams that have been dropped.
    pub(crate) dropped: Arc<AtomicUsize>,
}

impl Scripted {
    pub(crate) fn answer(&self, answer: Answer) {
        self.steps(answer::events(answer).into_iter().map(Step::Event).collect());
    }

    pub(crate) fn steps(&self, steps: Vec<Step>) {
        self.answers.lock().push_back(Ok(steps));
    }

    pub(crate) fn refuse(&self, error: BackendError) {
        self.answers.lock().push_back(Err(error));
    }

    pub(crate) fn asked(&self) -> ChatRequest {
        self.requests.lock().last().cloned().expect("nothing was asked")
    }

    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }
}

/// Tokens as the scripted model counts them: words.
fn words(request: &ChatRequest) -> u32 {
    let count = |blocks: &[Block]| -> usize {
        let texts = blocks.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.split_whitespace().count()),
            _ => None,
        });
        texts.sum()
    };
    let messages: usize = request.messages.iter().map(|message| count(&message.content)).sum();
    u32::try_from(count(&request.system) + messages).unwrap()
}

impl ChatModel for Scripted {
    fn capabilities(&self, _model: &str) -> ChatCapabilities {
        *self.capabilities.lock()
    }

    fn chat(&self, request: ChatRequest) -> BoxFuture<'_, Result<ChatStream, BackendError>> {
        let counted = words(&request);
        self.requests.lock().push(request);
        let answer = self.answers.lock().pop_front();
        Box::pin(async move {
            let steps = match answer {
                Some(answer) => answer?,
                None => answer::events(said("ok", counted)).into_iter().map(Step::Event).collect(),
            };
            Ok(Box::pin(Playing { steps: steps.into(), dropped: self.dropped.clone() }) as ChatStream)
        })
    }

    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<u32, BackendError>> {
        Box::pin(async move { Ok(words(request)) })
    }
}

struct Playing {
    steps: VecDeque<Step>,
    dropped: Arc<AtomicUsize>,
}

impl Stream for Playing {
    type Item = Result<ChatEvent, BackendError>;

    fn poll_next(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.steps.pop_front() {
            Some(Step::Event(event)) => Poll::Ready(Some(Ok(event))),
            Some(Step::Error(error)) => Poll::Ready(Some(Err(error))),
            Some(Step::Hang) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// An embedder whose vectors are the counts of letters, 26 wide; a text may have 8 words.
struct Letters;

impl EmbeddingModel for Letters {
    fn dimensions(&self) -> usize {
        26
    }

    fn max_tokens(&self) -> u32 {
        8
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(async move {
            let mut embeddings = Embeddings::default();
            for text in &request.texts {
                let tokens = u32::try_from(text.split_whitespace().count()).unwrap();
                if tokens > 8 && !request.truncate {
                    return Err(BackendError::ContextOverflow { tokens, limit: 8 });
                }
                let mut vector = vec![0.0_f32; 26];
                for letter in text.to_lowercase().bytes().filter(u8::is_ascii_lowercase) {
                    vector[usize::from(letter - b'a')] += 1.0;
                }
                let length = vector.iter().map(|count| count * count).sum::<f32>().sqrt();
                vector.iter_mut().for_each(|count| *count /= length);
                embeddings.vectors.push(vector);
                embeddings.input_tokens.push(tokens.min(8));
            }
            Ok(embeddings)
        })
    }

    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
        Box::pin(async move { Ok(u32::try_from(text.split_whitespace().count()).unwrap()) })
    }
}

/// Scores a document by how many of the query's words it has.
struct SharedWords;

impl RerankModel for SharedWords {
    fn rerank(&self, request: RerankRequest) -> BoxFuture<'_, Result<Reranked, BackendError>> {
        Box::pin(async move {
            let words: Vec<&str> = request.query.split_whitespace().collect();
            let score = |document: &String| {
                let shared = words.iter().filter(|word| document.contains(**word)).count();
                shared as f32 / words.len() as f32
            };
            let scores = request.documents.iter().map(score).collect();
            Ok(Reranked { scores, input_tokens: 9 })
        })
    }
}

struct Only(Arc<Scripted>);

impl Backends for Only {
    fn chat(&self, _target: &Target) -> Result<Arc<dyn ChatModel>, BackendError> {
        Ok(self.0.clone())
    }

    fn embedding(&self, _target: &Target) -> Result<Arc<dyn EmbeddingModel>, BackendError> {
        Ok(Arc::new(Letters))
    }

    fn rerank(&self, _target: &Target) -> Result<Arc<dyn RerankModel>, BackendError> {
        Ok(Arc::new(SharedWords))
    }
}

#[derive(Default)]
pub(crate) struct Records(pub(crate) Mutex<Vec<UsageRecord>>);

impl UsageSink for Records {
    fn record(&self, record: &UsageRecord) {
        self.0.lock().push(record.clone());
    }
}

pub(crate) struct World {
    pub(crate) inference: Inference,
    pub(crate) model: Arc<Scripted>,
    pub(crate) records: Arc<Records>,
    pub(crate) context: RequestContext,
}

/// A server's inference path with the shipped catalogue, every id served by the scripted model.
pub(crate) async fn world() -> World {
    let files = ModelFiles::at("/nonexistent/craton-tests");
    let models = Models::open(ModelsConfig::default(), files, Store::in_memory().await.unwrap()).unwrap();
    let model = Arc::new(Scripted {
        capabilities: Mutex::new(ChatCapabilities {
            images: false,
            documents: false,
            tools: true,
            context_tokens: Some(8192),
        }),
        answers: Mutex::default(),
        requests: Mutex::default(),
        dropped: Arc::default(),
    });
    let metering = Metering::new().unwrap();
    let records = Arc::new(Records::default());
    metering.add_sink(records.clone());
    let backends = Arc::new(Only(model.clone()));
    let inference =
        Inference::new(Arc::new(models), backends, metering, Arc::new(SystemClock), Arc::new(RandomIds));
    let context = RequestContext {
        request_id: "11111111-2222-3333-4444-555555555555".into(),
        account: Arc::new(Account::default()),
        region: "us-east-1".into(),
        principal: Arc::new(Principal::new("arn:aws:iam::123456789012:root", "AK")),
        source_ip: None,
        received_ms: 1_000,
    };
    World { inference, model, records, context }
}

pub(crate) fn said(text: &str, input_tokens: u32) -> Answer {
    Answer { content: vec![Block::Text(text.into())], finished: finished(StopReason::EndTurn, input_tokens) }
}

pub(crate) fn finished(reason: StopReason, input_tokens: u32) -> Finished {
    let usage = Usage { input_tokens, output_tokens: 3, ..Usage::default() };
    Finished { reason, stop_sequence: None, usage, extra: Value::Null }
}

/// A Converse request from its JSON, as the server binds it.
pub(crate) fn input<T: serde::de::DeserializeOwned>(mut fields: Value) -> T {
    if fields.get("modelId").is_none() {
        fields["modelId"] = json!(CLAUDE);
    }
    serde_json::from_value(fields).unwrap()
}

pub(crate) fn user(text: &str) -> Value {
    json!([{"role": "user", "content": [{"text": text}]}])
}

/// An output's body and headers as they would be sent. Latencies are set to 0.
pub(crate) fn sent(output: impl Output) -> (Value, Vec<(String, String)>) {
    let reply = output.into_reply().unwrap();
    let ReplyBody::Bytes(body) = reply.body else { panic!("a stream") };
    let mut body: Value = serde_json::from_slice(&body).unwrap();
    if let Some(latency) = body.pointer_mut("/metrics/latencyMs") {
        *latency = json!(0);
    }
    let headers =
        reply.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (body, headers.collect())
}

/// A streamed output's frames: event type and payload, or the error that ended it.
pub(crate) async fn frames(output: impl Output) -> Vec<(String, Value)> {
    let ReplyBody::Events(mut frames) = output.into_reply().unwrap().body else { panic!("not a stream") };
    let mut seen = Vec::new();
    while let Some(frame) = frames.next().await {
        seen.push(match frame {
            Ok(frame) => {
                let named = frame.headers.iter().find_map(|(name, value)| match value {
                    HeaderValue::String(value) if name == ":event-type" => Some(value.to_string()),
                    _ => None,
                });
                let mut payload: Value = serde_json::from_slice(&frame.payload).unwrap();
                if let Some(latency) = payload.pointer_mut("/metrics/latencyMs") {
                    *latency = json!(0);
                }
                (named.unwrap(), payload)
            }
            Err(error) => {
                (error.code.to_string(), json!({"message": error.message, "fields": *error.fields}))
            }
        });
    }
    seen
}
