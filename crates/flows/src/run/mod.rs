//! Running a graph: every node once in each of its iterations, as soon as what it needs is there.
//!
//! * `engine`: the order of things: what runs when, iterations, loops; `decide`: conditions and sizes.
//! * [`Worker`]: what a node does that is not about order. The real one is in `work`.
//! * [`Recorder`]: who is told of what happened, and remembers it. One for a client that listens, one for the records.
//! * [`event`]: what happened, and what the two operations call it.
//!
//! A run is one future. Dropping it drops everything that it waits for: calls of models, functions and agents end.

mod decide;
mod engine;
pub(crate) mod event;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use craton_store::StoreError;
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition::Node;
use crate::error::internal;
pub(crate) use decide::failure;
pub(crate) use engine::{Engine, Limits};
use event::{Action, Link, RunEvent, Traces};

/// What one run of a node gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Given {
    pub outputs: BTreeMap<String, Value>,
    /// Of a condition node: the condition that was met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met: Option<String>,
}

impl Given {
    pub(crate) fn one(name: &str, value: Value) -> Self {
        Self { outputs: BTreeMap::from([(name.to_owned(), value)]), met: None }
    }
}

/// One run of a node, for whoever does its work.
pub(crate) struct Call<'c> {
    pub node: &'c Node,
    /// Unique in the run: the node's name after the iterations around it, `Items[2]/Ask`.
    pub key: &'c str,
    pub inputs: &'c BTreeMap<String, Value>,
    /// What a user answered to what this node asked before.
    pub reply: Option<Value>,
}

/// What became of a node's work.
pub(crate) enum Worked {
    Given(Given),
    /// Someone must answer this question first.
    Asks(String),
}

/// A node's work, and what it called for it.
pub(crate) struct Work {
    pub worked: Worked,
    pub actions: Vec<Action>,
    pub traces: Traces,
}

impl Work {
    pub(crate) fn gave(given: Given) -> Self {
        Self { worked: Worked::Given(given), actions: Vec::new(), traces: Traces::default() }
    }
}

/// Does what nodes are for.
#[async_trait]
pub(crate) trait Worker: Send + Sync {
    async fn work(&self, call: Call<'_>) -> Result<Work, ApiError>;
}

/// Is told what happens, and knows what happened before.
#[async_trait]
pub(crate) trait Recorder: Send + Sync {
    /// What a run of a node gave, where it ended before this run of the flow began.
    fn recall(&self, key: &str) -> Option<Given>;

    /// What a user answered to what a node asked.
    fn reply(&self, key: &str) -> Option<Value>;

    /// Whether a node asked before this run began, and nobody has answered yet.
    fn waits(&self, _key: &str) -> bool {
        false
    }

    /// Whether it wants to know of more than what flows give out. Where not, the rest is not put together.
    fn keeps_events(&self) -> bool {
        true
    }

    /// A node begins; `event` is its input.
    async fn begins(&self, key: &str, event: RunEvent) -> Result<(), RecordError>;

    /// A node has ended, and will not be run again once this returns.
    async fn ended(&self, key: &str, given: &Given, events: Vec<RunEvent>) -> Result<(), RecordError>;

    /// A node can't go on before it is answered. For runs that have somebody to answer.
    async fn asks(&self, _key: &str, _node: &Node, _question: String) -> Result<(), RecordError> {
        Err(RecordError::Refused(ApiError::internal("a run without a user was asked something")))
    }
}

/// Why something can't be recorded.
#[derive(Debug)]
pub(crate) enum RecordError {
    /// The run can't go on so: it fails.
    Refused(ApiError),
    /// The records are at fault. The run has not failed, and can be taken up again later.
    Store(StoreError),
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why a run ended early.
#[derive(Debug, Clone)]
pub(crate) struct RunError {
    /// The node that failed; none where it was no node's fault.
    pub node: Option<String>,
    pub error: ApiError,
    /// The fault of the records that it was, where it was one.
    pub fault: Option<Arc<StoreError>>,
}

impl RunError {
    fn of(node: &Node, error: ApiError) -> Self {
        Self { node: Some(node.name.clone()), error, fault: None }
    }

    /// Of no node.
    pub(crate) fn whole(error: ApiError) -> Self {
        Self { node: None, error, fault: None }
    }

    fn recording(node: &Node, error: RecordError) -> Self {
        match error {
            RecordError::Refused(error) => Self::of(node, error),
            RecordError::Store(fault) => {
                let fault = Arc::new(fault);
                Self { node: None, error: internal(&*fault), fault: Some(fault) }
            }
        }
    }

    /// What a client is told, with the node's name.
    pub(crate) fn into_api(self) -> ApiError {
        let mut error = self.error;
        if let Some(node) = self.node {
            error.message = format!("The node {node} failed: {}", error.message);
        }
        error
    }
}

/// The key of a node's run.
fn key(chain: &[Link], name: &str) -> String {
    let mut key = String::new();
    for link in chain {
        key.push_str(&format!("{}[{}]/", link.node, link.index));
    }
    key + name
}
