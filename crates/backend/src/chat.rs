use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use serde_json::{Map, Value};

use crate::BackendError;

/// One chat call, complete: a backend keeps nothing between calls but caches.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChatRequest {
    /// The name the backend knows the model by (an upstream's model name, a local model's name).
    pub model: String,
    /// [`Block::Text`] and [`Block::CachePoint`] only.
    pub system: Vec<Block>,
    /// Alternating turns are not required here; a backend merges where its model needs it.
    pub messages: Vec<Message>,
    pub sampling: Sampling,
    pub tools: Vec<Tool>,
    pub tool_choice: ToolChoice,
    /// The answer may call at most one tool.
    pub one_tool_call: bool,
    /// The answer must be JSON that satisfies this schema.
    pub response_schema: Option<ResponseSchema>,
    /// Token budget for visible reasoning, where the model reasons and the caller asked for it.
    pub reasoning_budget_tokens: Option<u32>,
    /// How hard the model may think, for models that have such a setting; others answer as they do.
    pub effort: Option<Effort>,
    /// Provider fields passed through untouched (`additionalModelRequestFields`); unknown ones are ignored by
    /// backends that have no use for them.
    pub extra: Map<String, Value>,
    pub priority: Priority,
    /// Whether the caller relays increments. When false a backend may fetch the whole answer first and emit its
    /// events at once.
    pub stream: bool,
}

/// Order in which queued requests are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    Flex,
    #[default]
    Default,
    Priority,
}

/// How hard a model may think, in the words that Converse and Anthropic have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    pub const ALL: [Self; 5] = [Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }

    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.as_str() == word)
    }
}

/// Generation parameters. `None` leaves the model's own default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    /// Most tokens to generate.
    pub max_tokens: Option<u32>,
    /// 0 is greedy.
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<u32>,
    /// Generation ends before any of these; none of them is ever part of the answer.
    pub stop_sequences: Vec<String>,
    pub seed: Option<u64>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    User,
    Assistant,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub role: Role,
    pub content: Vec<Block>,
}

/// A piece of content in a system prompt, a message or a tool's result.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    Text(String),
    Image(Image),
    /// Extracted to text before a backend sees it, unless the backend says it reads documents itself.
    Document(Document),
    ToolUse(ToolUse),
    ToolResult(ToolResult),
    Reasoning(Reasoning),
    /// Everything before this point may be kept for reuse, and its tokens reported as cache reads or writes.
    CachePoint,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// `png`, `jpeg`, `gif` or `webp`.
    pub format: String,
    pub bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub name: String,
    /// `pdf`, `csv`, `doc`, `docx`, `xls`, `xlsx`, `html`, `txt` or `md`.
    pub format: String,
    pub bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ToolUse {
    pub id: String,
    pub name: String,
    /// A JSON object.
    pub input: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    pub tool_use_id: String,
    /// Text, images and documents. JSON results arrive as text holding the JSON.
    pub content: Vec<Block>,
    pub is_error: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reasoning {
    Text { text: String, signature: Option<String> },
    Redacted(Bytes),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// JSON schema of the input object.
    pub input_schema: Value,
    /// The schema must be satisfied exactly. Local models always are held to it.
    pub strict: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum ToolChoice {
    #[default]
    Auto,
    /// Some tool must be called.
    Any,
    /// No tool may be called, although some are declared.
    None,
    Tool(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct ResponseSchema {
    pub name: Option<String>,
    pub schema: Value,
}

/// What a chat answer is made of, in order: one `Started`; for each block `BlockStart`, its deltas, `BlockStop`, with
/// indices counting up from 0 and one block open at a time; one `Finished`, last. An error ends the stream at any
/// point, and nothing follows it.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// The prompt has been accepted; what is known of its size. Upstreams that report usage only at the end give 0.
    Started {
        usage: Usage,
    },
    BlockStart {
        index: u32,
        block: BlockStart,
    },
    BlockDelta {
        index: u32,
        delta: Delta,
    },
    BlockStop {
        index: u32,
    },
    Finished(Finished),
}

#[derive(Debug, Clone, PartialEq)]
pub enum BlockStart {
    Text,
    Reasoning,
    ToolUse { id: String, name: String },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    Text(String),
    /// A piece of the input's JSON text; the pieces together are one JSON object (or empty, for `{}`).
    ToolInput(String),
    Reasoning(String),
    ReasoningSignature(String),
    ReasoningRedacted(Bytes),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    pub reason: StopReason,
    /// Which stop sequence ended the answer, when one did.
    pub stop_sequence: Option<String>,
    pub usage: Usage,
    /// What else the model's provider said, for response field paths. An object or null.
    pub extra: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopReason {
    EndTurn,
    ToolUse,
    MaxTokens,
    StopSequence,
    ContentFiltered,
    ContextWindowExceeded,
    MalformedToolUse,
    MalformedOutput,
    /// A guardrail put its own words in place of the answer, or of parts of it.
    GuardrailIntervened,
}

/// Tokens of one call. `input_tokens` leaves out those counted as cache reads and writes, as Converse does; both are 0
/// unless the request had cache points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub input_tokens: u32,
    pub output_tokens: u32,
    pub cache_read_tokens: u32,
    pub cache_write_tokens: u32,
}

pub type ChatStream = Pin<Box<dyn Stream<Item = Result<ChatEvent, BackendError>> + Send>>;

/// What a chat backend can take, so that a request it can't serve is refused before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatCapabilities {
    pub images: bool,
    /// Reads document blocks itself; otherwise they reach it as text.
    pub documents: bool,
    pub tools: bool,
    /// Prompt and answer together, where known.
    pub context_tokens: Option<u32>,
}

/// Generates text, calls tools, reasons.
pub trait ChatModel: Send + Sync {
    fn capabilities(&self, model: &str) -> ChatCapabilities;

    /// Starts an answer. Errors that can be known before the first token are returned here, later ones in the stream.
    fn chat(&self, request: ChatRequest) -> BoxFuture<'_, Result<ChatStream, BackendError>>;

    /// Input tokens that [`Self::chat`] would report for this request: the sum of input, cache read and cache write.
    fn count_tokens<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<u32, BackendError>>;
}
