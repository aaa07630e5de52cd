//! The seam to functions: code that someone else wrote, asked with JSON and answering with JSON.

use bytes::Bytes;
use futures::future::BoxFuture;

/// One call of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionCall {
    /// The function's ARN, with a qualifier or without.
    pub arn: String,
    /// A JSON document.
    pub payload: Bytes,
}

/// What a function answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionAnswer {
    /// A JSON document: the function's result, or with `failed` an object with `errorMessage`, `errorType` and perhaps
    /// `stackTrace`.
    pub payload: Bytes,
    /// The function ran and failed: it raised, exited or ran out of time or memory.
    pub failed: bool,
    /// The end of what it printed during the call.
    pub log_tail: String,
    /// `$LATEST` or a number.
    pub executed_version: String,
}

/// Why a function was not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    #[error("Function not found: {0}")]
    NotFound(String),
    /// Too many calls run at once.
    #[error("{0}")]
    Throttled(String),
    /// The payload is too large or no JSON.
    #[error("{0}")]
    Invalid(String),
    /// What should run it can't: a missing interpreter, an endpoint that is down.
    #[error("{0}")]
    Unavailable(String),
}

/// Runs functions. Dropping the future gives the call up.
pub trait FunctionInvoker: Send + Sync {
    fn invoke(&self, call: FunctionCall) -> BoxFuture<'_, Result<FunctionAnswer, FunctionError>>;

    /// Whether there is a function of this ARN that could be called, without calling it.
    fn check<'a>(&'a self, arn: &'a str) -> BoxFuture<'a, Result<(), FunctionError>>;
}
