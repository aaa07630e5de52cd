//! Runs that wait for what a user must say first, kept under their execution's id until they are answered.
//!
//! Whoever answers takes the run up, and nobody else meanwhile: that is written into the record, so that it holds for
//! all servers of one database, and renewed for as long as the run goes on. A server that dies lets go of it after a
//! minute. A run that fails then, or whose client goes away, waits again, with all that its nodes gave until there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use craton_core::Clock;
use craton_store::{NewRecord, Record, Scope, Store, StoreError};
use craton_wire::ApiError;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::error::store_error;
use crate::identifier::FlowRef;
use crate::run::Given;
use crate::{Flows, StoredFlow};

const KIND: &str = "flow-conversation";
/// How long a question may stay unanswered.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// What a run that waits may have gathered, as JSON.
const MOST_BYTES: usize = 16 << 20;
/// How long a run that was taken up is nobody else's without word of whoever has it, and how often that gives word.
const TAKEN_MS: i64 = 60_000;
const RENEWED_EVERY: Duration = Duration::from_secs(20);

/// A run that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Conversation {
    pub version: String,
    /// The flow as it was when the run began.
    pub body: StoredFlow,
    pub input: Value,
    pub done: BTreeMap<String, Given>,
    pub waiting: Vec<Waiting>,
    /// Somebody answers it until then, if not for longer.
    #[serde(default)]
    pub taken_until_ms: i64,
}

/// A node that asked something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub key: String,
    pub node: String,
    pub question: String,
}

/// What a run has come to so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub done: Arc<Mutex<BTreeMap<String, Given>>>,
    /// What was asked in this run.
    pub asked: Arc<Mutex<Vec<Waiting>>>,
}

/// The right to take a run up. Dropping it lets go, and keeps what the run has come to.
pub(crate) struct Answering {
    claim: Arc<Claim>,
    progress: Progress,
    renewing: JoinHandle<()>,
    is_open: bool,
}

/// A run that this server has taken up.
struct Claim {
    store: Store,
    clock: Arc<dyn Clock>,
    scope: Scope,
    /// As it was last written, with what was taken up.
    kept: tokio::sync::Mutex<(Record, Conversation)>,
}

impl Claim {
    async fn write(&self, change: impl FnOnce(&mut Conversation) + Send) -> Result<(), StoreError> {
        let mut kept = self.kept.lock().await;
        change(&mut kept.1);
        let record = Record { body: serde_json::to_value(&kept.1)?, ..kept.0.clone() };
        let expected = Some(record.version);
        kept.0 = self.store.update(&self.scope, &record, expected, self.clock.now_ms()).await?;
        Ok(())
    }

    async fn keep_taken(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RENEWED_EVERY).await;
            let until_ms = self.clock.now_ms() + TAKEN_MS;
            if let Err(error) = self.write(|conversation| conversation.taken_until_ms = until_ms).await {
                tracing::warn!(%error, "a flow's run that is being answered could not be kept for that");
            }
        }
    }

    /// Lets go of a run that has not come to its end.
    async fn release(&self, progress: &Progress) {
        let (done, asked) = (progress.done.lock().clone(), progress.asked.lock().clone());
        let released = self.write(|conversation| {
            conversation.taken_until_ms = 0;
            let before = conversation.done.clone();
            conversation.done = done;
            if !fits(conversation) {
                conversation.done = before;
            }
            // What was asked again takes the place of what was asked before.
            conversation.waiting.retain(|it| !asked.iter().any(|newer| newer.key == it.key));
            conversation.waiting.extend(asked);
        });
        if let Err(error) = released.await {
            tracing::warn!(%error, "what a flow's run came to before it failed could not be kept");
        }
    }
}

impl Answering {
    fn new(claim: Claim, done: BTreeMap<String, Given>) -> Self {
        let claim = Arc::new(claim);
        let renewing = tokio::spawn(Arc::clone(&claim).keep_taken());
        let progress = Progress { done: Arc::new(Mutex::new(done)), ..Progress::default() };
        Self { claim, progress, renewing, is_open: true }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The run has come to its end.
    pub(crate) async fn forget(mut self) -> Result<(), ApiError> {
        self.is_open = false;
        self.renewing.abort();
        let kept = self.claim.kept.lock().await;
        self.claim.store.delete(&self.claim.scope, &kept.0.id, None).await.map_err(store_error)?;
        Ok(())
    }

    /// The run waits for another answer.
    pub(crate) async fn wait(mut self, conversation: Conversation) -> Result<(), ApiError> {
        check(&conversation)?;
        self.is_open = false;
        self.renewing.abort();
        self.claim.write(|kept| *kept = conversation).await.map_err(store_error)
    }

    /// The run has failed, and can be answered again.
    pub(crate) async fn release(mut self) {
        self.is_open = false;
        self.renewing.abort();
        self.claim.release(&self.progress).await;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.renewing.abort();
        if !self.is_open {
            return;
        }
        // The client has gone away.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (claim, progress) = (Arc::clone(&self.claim), self.progress.clone());
            runtime.spawn(async move { claim.release(&progress).await });
        }
    }
}

fn fits(conversation: &Conversation) -> bool {
    serde_json::to_string(conversation).is_ok_and(|text| text.len() <= MOST_BYTES)
}

fn check(conversation: &Conversation) -> Result<(), ApiError> {
    if fits(conversation) {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "The flow waits for an answer and holds more than the {MOST_BYTES} bytes that can be kept until then."
    )))
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
        let record = self.parts.store.get(&scope, &id).await.map_err(store_error)?;
        let now_ms = self.parts.clock.now_ms();
        let Some(record) = record.filter(|it| it.updated_ms + KEPT_MS > now_ms) else { return Ok(None) };
        let conversation: Conversation =
            serde_json::from_value(record.body.clone()).map_err(|error| store_error(error.into()))?;
        if !conversation.waiting.iter().any(|waiting| waiting.node == node) {
            return Ok(None);
        }
        let taken = || ApiError::conflict("The flow's question is being answered by another request.");
        if conversation.taken_until_ms > now_ms {
            return Err(taken());
        }
        let claim = Claim {
            store: self.parts.store.clone(),
            clock: Arc::clone(&self.parts.clock),
            scope,
            kept: tokio::sync::Mutex::new((record, conversation.clone())),
        };
        match claim.write(|conversation| conversation.taken_until_ms = now_ms + TAKEN_MS).await {
            Ok(()) => {}
            // Another request was quicker, with this answer or another one.
            Err(StoreError::VersionMismatch { .. } | StoreError::NotFound { .. }) => return Err(taken()),
            Err(error) => return Err(store_error(error)),
        }
        let answering = Answering::new(claim, conversation.done.clone());
        Ok(Some((conversation, answering)))
    }

    /// Keeps a run that waits for the first time.
    pub(crate) async fn keep_conversation(
        &self,
        (flow, alias): (&FlowRef, &str),
        execution_id: &str,
        conversation: &Conversation,
    ) -> Result<(), ApiError> {
        check(conversation)?;
        let body = serde_json::to_value(conversation).map_err(|error| store_error(error.into()))?;
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
