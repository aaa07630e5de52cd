//! Runs that wait for what a user must say first, kept under their execution's id until they are answered.

use std::collections::BTreeMap;

use craton_store::{NewRecord, Scope, values};
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::store_error;
use crate::identifier::FlowRef;
use crate::run::Given;
use crate::{Flows, StoredFlow};

const KIND: &str = "flow-conversation";
/// How long a question may stay unanswered.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// What a run that waits may have gathered, as JSON.
const MOST_BYTES: usize = 16 << 20;

/// A run that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Conversation {
    pub version: String,
    /// The flow as it was when the run began.
    pub body: StoredFlow,
    pub input: Value,
    pub done: BTreeMap<String, Given>,
    pub waiting: Vec<Waiting>,
}

/// A node that asked something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub key: String,
    pub node: String,
}

fn scope(flow: &FlowRef) -> Scope {
    Scope::new(KIND, flow.account.clone(), flow.region.clone())
}

fn id(flow: &FlowRef, alias: &str, execution_id: &str) -> String {
    format!("{}/{alias}/{execution_id}", flow.id)
}

impl Flows {
    /// The run of this id that waits for an answer of this node, which nobody else can then take up.
    pub(crate) async fn take_conversation(
        &self,
        (flow, alias): (&FlowRef, &str),
        execution_id: &str,
        node: &str,
    ) -> Result<Option<Conversation>, ApiError> {
        let (scope, id) = (scope(flow), id(flow, alias, execution_id));
        let record = self.parts.store.get(&scope, &id).await.map_err(store_error)?;
        let Some(record) = record.filter(|it| it.updated_ms + KEPT_MS > self.parts.clock.now_ms()) else {
            return Ok(None);
        };
        let conversation: Conversation =
            serde_json::from_value(record.body).map_err(|error| store_error(error.into()))?;
        if !conversation.waiting.iter().any(|waiting| waiting.node == node) {
            return Ok(None);
        }
        let taken = self.parts.store.delete(&scope, &id, None).await.map_err(store_error)?;
        Ok(taken.then_some(conversation))
    }

    pub(crate) async fn keep_conversation(
        &self,
        (flow, alias): (&FlowRef, &str),
        execution_id: &str,
        conversation: &Conversation,
    ) -> Result<(), ApiError> {
        let body = serde_json::to_value(conversation).map_err(|error| store_error(error.into()))?;
        if body.to_string().len() > MOST_BYTES {
            return Err(ApiError::validation(format!(
                "The flow waits for an answer and holds more than the {MOST_BYTES} bytes that can be kept until then."
            )));
        }
        let (scope, id) = (scope(flow), id(flow, alias, execution_id));
        let now_ms = self.parts.clock.now_ms();
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        let old = values![KIND, now_ms - KEPT_MS];
        let forget = "DELETE FROM resources WHERE kind = $1 AND updated_ms < $2";
        transaction.execute(forget, &old).await.map_err(store_error)?;
        transaction.delete(&scope, &id, None).await.map_err(store_error)?;
        let new = NewRecord { id, name: None, body, now_ms, idempotency: None, tags: None };
        transaction.create(&scope, new).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)
    }
}
