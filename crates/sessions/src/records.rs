//! What is kept: sessions, their invocations, and steps with their contents, each under the id of what it belongs to.

use std::collections::BTreeMap;

use craton_core::RequestContext;
use craton_store::{Record, Scope};
use craton_wire::ApiError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::internal;

/// A session's own record, under its id.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct StoredSession {
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    pub encryption_key_arn: Option<String>,
    /// EndSession was called.
    #[serde(default)]
    pub ended: bool,
    #[serde(default)]
    pub invocations: u32,
    #[serde(default)]
    pub steps: u32,
}

/// An invocation, under `SESSION/INVOCATION`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredInvocation {
    pub description: Option<String>,
}

/// A step without its content, under `SESSION/INVOCATION/STEP`; the content is under the same name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredStep {
    /// When it was, as its writer says; milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// The kinds of records, in the order in which they are deleted: what is below a session first.
pub(crate) const CHILDREN: [&str; 3] = [CONTENT, STEP, INVOCATION];
pub(crate) const SESSION: &str = "session";
pub(crate) const INVOCATION: &str = "session-invocation";
pub(crate) const STEP: &str = "session-step";
pub(crate) const CONTENT: &str = "session-step-content";

pub(crate) fn scope(kind: &'static str, context: &RequestContext) -> Scope {
    Scope::new(kind, &context.account.id, &context.region)
}

pub(crate) fn read<T: DeserializeOwned>(record: &Record) -> Result<T, ApiError> {
    T::deserialize(&record.body).map_err(|error| internal(&error))
}

pub(crate) fn write<T: Serialize>(body: &T) -> Result<Value, ApiError> {
    serde_json::to_value(body).map_err(|error| internal(&error))
}

/// `INVOCATION` and `STEP` of a record's `SESSION/INVOCATION/STEP`.
pub(crate) fn parts(id: &str) -> (&str, &str) {
    let rest = id.split_once('/').map_or("", |(_, rest)| rest);
    rest.split_once('/').unwrap_or((rest, ""))
}

/// Sorts the newest first: ascending, and unique with the id.
pub(crate) fn newest_first(time_ms: i64, id: &str) -> String {
    format!("{:020}:{id}", i128::from(i64::MAX) - i128::from(time_ms))
}
