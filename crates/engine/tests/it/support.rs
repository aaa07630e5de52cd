use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use craton_backend::{
    BackendError, Block, BlockStart, ChatEvent, ChatModel, ChatRequest, ChatStream, Delta, Finished, Message,
    Role, Sampling,
};
use craton_engine::{Engine, EngineConfig};
use futures::StreamExt;

pub(crate) fn model_path() -> PathBuf {
    let path = std::env::var_os("CRATON_TEST_GGUF").map_or_else(
        || {
            let store = std::env::var_os("CRATON_MODELS_DIR").map_or_else(
                || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/craton/models"),
                PathBuf::from,
            );
            store.join("smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf")
        },
        PathBuf::from,
    );
    assert!(
        path.exists(),
        "{} is missing: run `craton models pull default`, or name a GGUF file in CRATON_TEST_GGUF",
        path.display()
    );
    path
}

/// A model of its own, for tests that count what it does.
pub(crate) fn own_model(config: EngineConfig) -> (Engine, Arc<dyn ChatModel>) {
    let engine = Engine::open(config);
    let model = engine.chat_model("test", &model_path());
    (engine, model)
}

/// The model that most tests share; loading it once saves seconds a test.
pub(crate) fn shared_model() -> Arc<dyn ChatModel> {
    static MODEL: OnceLock<(Engine, Arc<dyn ChatModel>)> = OnceLock::new();
    Arc::clone(&MODEL.get_or_init(|| own_model(small())).1)
}

pub(crate) fn small() -> EngineConfig {
    EngineConfig { max_sequences: 8, cached_sequences: 8, kv_budget_mib: Some(96), ..EngineConfig::default() }
}

pub(crate) fn user(text: &str) -> Message {
    Message { role: Role::User, content: vec![Block::Text(text.to_owned())] }
}

/// A greedy request.
pub(crate) fn ask(text: &str, max_tokens: u32) -> ChatRequest {
    ChatRequest {
        model: "test".to_owned(),
        messages: vec![user(text)],
        sampling: Sampling { max_tokens: Some(max_tokens), temperature: Some(0.0), ..Sampling::default() },
        stream: true,
        ..ChatRequest::default()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Call { name: String, input: String },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) parts: Vec<Part>,
    pub(crate) finished: Finished,
    pub(crate) deltas: usize,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        self.parts.iter().map(|part| if let Part::Text(text) = part { text.as_str() } else { "" }).collect()
    }

    pub(crate) fn calls(&self) -> Vec<(&str, serde_json::Value)> {
        self.parts
            .iter()
            .filter_map(|part| match part {
                Part::Call { name, input } => {
                    let value = serde_json::from_str(input)
                        .unwrap_or_else(|error| panic!("the input {input:?} is not JSON: {error}"));
                    Some((name.as_str(), value))
                }
                Part::Text(_) => None,
            })
            .collect()
    }
}

/// Reads a stream to its end and checks that it keeps the order that the seam promises.
pub(crate) async fn collect(mut stream: ChatStream) -> Result<Answer, BackendError> {
    let mut parts = Vec::new();
    let mut open = None;
    let mut started = false;
    let mut deltas = 0;
    let mut finished = None;
    while let Some(event) = stream.next().await {
        assert!(finished.is_none(), "an event after the last");
        match event? {
            ChatEvent::Started { .. } => {
                assert!(!started);
                started = true;
            }
            ChatEvent::BlockStart { index, block } => {
                assert!(started && open.is_none());
                assert_eq!(index as usize, parts.len());
                open = Some(index);
                parts.push(match block {
                    BlockStart::ToolUse { name, .. } => Part::Call { name, input: String::new() },
                    _ => Part::Text(String::new()),
                });
            }
            ChatEvent::BlockDelta { index, delta } => {
                assert_eq!(open, Some(index));
                deltas += 1;
                match (parts.last_mut().expect("a block is open"), delta) {
                    (Part::Text(text), Delta::Text(piece)) => text.push_str(&piece),
                    (Part::Call { input, .. }, Delta::ToolInput(piece)) => input.push_str(&piece),
                    (part, delta) => panic!("{delta:?} in {part:?}"),
                }
            }
            ChatEvent::BlockStop { index } => assert_eq!(open.take(), Some(index)),
            ChatEvent::Finished(end) => {
                assert_eq!(open, None);
                finished = Some(end);
            }
        }
    }
    Ok(Answer { parts, finished: finished.expect("a stream ends with Finished or an error"), deltas })
}

pub(crate) async fn answer(model: &Arc<dyn ChatModel>, request: ChatRequest) -> Result<Answer, BackendError> {
    collect(model.chat(request).await?).await
}
