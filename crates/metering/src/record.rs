use std::borrow::Cow;

use serde::Serialize;

/// Tokens of one call. `input` leaves out those read from or written to a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tokens {
    pub input: u32,
    pub output: u32,
    pub cache_read: u32,
    pub cache_write: u32,
    /// The call ended before the model reported its usage: `output` counts the increments that arrived.
    pub estimated: bool,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    Completed {
        stop_reason: &'static str,
    },
    /// An AWS error name, such as `ModelTimeoutException`.
    Failed {
        code: Cow<'static, str>,
    },
    /// The caller went away before the end.
    Cancelled,
}

/// One call to a model, once it is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageRecord {
    pub request_id: String,
    /// `Converse`, `InvokeModel`, …
    pub operation: &'static str,
    pub account_id: String,
    /// The region the client signed for.
    pub region: String,
    pub principal_arn: String,
    /// The foundation model's id.
    pub model_id: String,
    /// What the client asked for: a model id, an alias, a profile, an ARN.
    pub invoked_id: String,
    pub profile_arn: Option<String>,
    /// What answered, as the header `x-craton-served-by` names it.
    pub served_by: String,
    /// Milliseconds since the Unix epoch.
    pub started_ms: i64,
    pub latency_ms: u64,
    /// From the start to the first increment; none if nothing came, and for calls without increments.
    pub first_token_ms: Option<u64>,
    pub streamed: bool,
    pub tokens: Tokens,
    pub outcome: Outcome,
    /// The request's own key–value pairs (`requestMetadata`).
    pub metadata: Vec<(String, String)>,
}

/// Receives every usage record, on the thread that ended the call: hand it on, never block.
pub trait UsageSink: Send + Sync {
    fn record(&self, record: &UsageRecord);
}
