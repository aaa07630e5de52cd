//! Running a graph: every node once in each of its iterations, as soon as what it needs is there.
//!
//! * `engine`: the order of things: what runs when, iterations, loops, conditions.
//! * [`Worker`]: what a node does that is not about order. The real one is in `work`.
//! * [`Recorder`]: who is told of what happened, and remembers it. One for a client that listens, one for the records.
//! * [`event`]: what happened, and what the two operations call it.
//!
//! A run is one future. Dropping it drops everything that it waits for: calls of models, functions and agents end.

mod engine;
pub(crate) mod event;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use async_trait::async_trait;
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition::Node;
pub(crate) use engine::{Engine, Limits, failure};
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

    /// A node begins; `event` is its input.
    async fn begins(&self, key: &str, event: RunEvent) -> Result<(), ApiError>;

    /// A node has ended, and will not be run again once this returns.
    async fn ended(&self, key: &str, given: &Given, events: Vec<RunEvent>) -> Result<(), ApiError>;

    /// A node can't go on before it is answered.
    async fn asks(&self, key: &str, node: &Node, question: String) -> Result<(), ApiError>;
}

/// Why a run ended early.
#[derive(Debug, Clone)]
pub(crate) struct RunError {
    /// The node that failed; none where it was no node's fault.
    pub node: Option<String>,
    pub error: ApiError,
}

impl RunError {
    fn of(node: &Node, error: ApiError) -> Self {
        Self { node: Some(node.name.clone()), error }
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
