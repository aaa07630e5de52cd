//! Runs that wait for what a user must say first, kept under their execution's id until they are answered.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use craton_store::{NewRecord, Scope};
use craton_wire::ApiError;
use parking_lot::Mutex;
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
    pub question: String,
}

/// Runs that are being taken up again.
pub(crate) type Answers = Arc<Mutex<HashSet<String>>>;

/// The right to take a run up, until it is dropped. A run that fails then, or whose client goes away, still waits.
pub(crate) struct Answering {
    answers: Answers,
    key: String,
    scope: Scope,
    id: String,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.answers.lock().remove(&self.key);
    }
}

fn scope(flow: &FlowRef) -> Scope {
    Scope::new(KIND, flow.account.clone(), flow.region.clone())
}

fn id(flow: &FlowRef, alias: &str, execution_id: &str) -> String {
    format!("{}/{alias}/{execution_id}", flow.id)
}

impl Flows {
    /// The run of this id that waits for an answer to this node, which nobody else can take up meanwhile.
    pub(crate) async fn take_conversation(
        &self,
        (flow, alias): (&FlowRef, &str),
        execution_id: &str,
        node: &str,
    ) -> Result<Option<(Conversation, Answering)>, ApiError> {
        let (scope, id) = (scope(flow), id(flow, alias, execution_id));
        let key = format!("{}/{}/{id}", flow.account, flow.region);
        if !self.answers.lock().insert(key.clone()) {
            return Err(ApiError::conflict("The flow's question is being answered by another request."));
        }
        let answering = Answering { answers: Arc::clone(&self.answers), key, scope, id };
        let record = self.parts.store.get(&answering.scope, &answering.id).await.map_err(store_error)?;
        let Some(record) = record.filter(|it| it.updated_ms + KEPT_MS > self.parts.clock.now_ms()) else {
            return Ok(None);
        };
        let conversation: Conversation =
            serde_json::from_value(record.body).map_err(|error| store_error(error.into()))?;
        let asked = conversation.waiting.iter().any(|waiting| waiting.node == node);
        Ok(asked.then_some((conversation, answering)))
    }

    /// Forgets a run that has come to its end.
    pub(crate) async fn forget_conversation(&self, answering: &Answering) -> Result<(), ApiError> {
        self.parts.store.delete(&answering.scope, &answering.id, None).await.map_err(store_error)?;
        Ok(())
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
        self.parts.store.forget(KIND, now_ms - KEPT_MS).await;
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        transaction.delete(&scope, &id, None).await.map_err(store_error)?;
        let new = NewRecord { id, name: None, body, now_ms, idempotency: None, tags: None };
        transaction.create(&scope, new).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)
    }
}
