//! Runs that wait for what a user must say first, kept under their execution's id until they are answered.
//!
//! Whoever answers takes the run up, and nobody else meanwhile. That is a record of its own, the claim ([`claim`]), so
//! that it holds for all servers of one database; what the run has come to is written when it begins to wait, and at
//! the end of an answer, in one transaction with the end of the claim. A run that fails then, or whose client goes
//! away, waits again, with all that its nodes gave until there; one that has lost its claim ends, and writes nothing.

mod claim;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use craton_core::{Clock, DAY_MS, IdSource};
use craton_store::{Ageing, NewRecord, Record, Scope, Store, StoreError, Transaction, fits};
use craton_wire::ApiError;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::error::store_error;
use crate::identifier::FlowRef;
use crate::run::Given;
use crate::{Flows, StoredFlow};
use claim::{Claim, RENEWED_EVERY};

const KIND: &str = "flow-conversation";
/// How long a question may stay unanswered.
const KEPT_MS: i64 = DAY_MS;
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

/// What a run has come to so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub done: Arc<Mutex<BTreeMap<String, Given>>>,
    /// What was asked in this run.
    pub asked: Arc<Mutex<Vec<Waiting>>>,
}

/// Where a run waits.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    scope: Scope,
    id: String,
}

impl Place {
    pub(crate) fn of((flow, alias): (&FlowRef, &str), execution_id: &str) -> Self {
        let scope = Scope::new(KIND, flow.account.clone(), flow.region.clone());
        Self { scope, id: format!("{}/{alias}/{execution_id}", flow.id) }
    }
}

/// The runs that wait.
#[derive(Clone)]
pub(crate) struct Conversations {
    store: Store,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl Flows {
    pub(crate) fn conversations(&self) -> Conversations {
        let parts = &self.parts;
        Conversations {
            store: parts.store.clone(),
            clock: Arc::clone(&parts.clock),
            ids: Arc::clone(&parts.ids),
        }
    }
}

impl Conversations {
    /// The run that waits here for an answer to this node, which nobody else can take up meanwhile. ConflictException
    /// while somebody has it.
    pub(crate) async fn take(
        &self,
        place: &Place,
        node: &str,
    ) -> Result<Option<(Conversation, Answering)>, ApiError> {
        let now_ms = self.clock.now_ms();
        let record = self.store.get(&place.scope, &place.id).await.map_err(store_error)?;
        let Some(record) = record.filter(|it| it.updated_ms + KEPT_MS > now_ms) else { return Ok(None) };
        let conversation: Conversation =
            serde_json::from_value(record.body).map_err(|error| store_error(error.into()))?;
        let claim = Claim::new(self.store.clone(), place, self.ids.uuid());
        let mut transaction = self.store.begin().await.map_err(store_error)?;
        if claim.is_others(&mut transaction, now_ms).await.map_err(store_error)? {
            return Err(taken());
        }
        if !conversation.waiting.iter().any(|waiting| waiting.node == node) {
            return Ok(None);
        }
        let revision = transaction.revision(&place.scope, &place.id).await.map_err(store_error)?;
        // Another request was quicker, and has come to its end.
        if revision != Some(record.version) {
            return Err(taken());
        }
        match claim.take(&mut transaction, now_ms).await {
            Ok(()) => {}
            Err(StoreError::VersionMismatch { .. } | StoreError::NameTaken { .. }) => return Err(taken()),
            Err(error) => return Err(store_error(error)),
        }
        transaction.commit().await.map_err(store_error)?;
        let held = Held { claim, clock: Arc::clone(&self.clock), place: place.clone() };
        let answering = Answering::new(held, conversation.done.clone(), RENEWED_EVERY);
        Ok(Some((conversation, answering)))
    }

    /// Keeps a run that waits for the first time. One that waited here before and is not being answered goes.
    pub(crate) async fn keep(&self, place: &Place, conversation: &Conversation) -> Result<(), ApiError> {
        let body = body(conversation)?;
        let now_ms = self.clock.now_ms();
        let claim = Claim::new(self.store.clone(), place, String::new());
        let mut transaction = self.store.begin().await.map_err(store_error)?;
        if claim.is_others(&mut transaction, now_ms).await.map_err(store_error)? {
            return Err(taken());
        }
        claim.end(&mut transaction).await.map_err(store_error)?;
        transaction.delete(&place.scope, &place.id, None).await.map_err(store_error)?;
        let id = place.id.clone();
        let new = NewRecord { id, name: None, body, now_ms, idempotency: None, tags: None };
        transaction.create(&place.scope, new).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)
    }

    /// Deletes runs whose answer nobody waits for any more, in every account and region.
    pub(crate) async fn forget_old(&self) {
        // An answer may have come at the last moment, and be worked on for long.
        let before_ms = self.clock.now_ms() - 2 * KEPT_MS;
        for kind in [KIND, claim::KIND] {
            self.store.forget_old(&Ageing::of(kind, before_ms)).await;
        }
    }
}

fn taken() -> ApiError {
    ApiError::conflict("The flow's question is being answered by another request.")
}

/// The right to take a run up. Dropping it lets go, and keeps what the run has come to.
pub(crate) struct Answering {
    held: Arc<Held>,
    progress: Progress,
    lost: CancellationToken,
    is_open: bool,
    _renewing: AbortOnDropHandle<()>,
}

/// A run that this server has taken up.
struct Held {
    claim: Claim,
    clock: Arc<dyn Clock>,
    place: Place,
}

impl Held {
    /// A transaction in which the claim comes to its end. ConflictException where it has already.
    async fn end(&self) -> Result<Transaction, ApiError> {
        let mut transaction = self.claim.store.begin().await.map_err(store_error)?;
        if !self.claim.is_held(&mut transaction).await.map_err(store_error)? {
            return Err(lost());
        }
        self.claim.end(&mut transaction).await.map_err(store_error)?;
        Ok(transaction)
    }

    /// Writes what the run has come to over what was kept of it.
    async fn put(&self, transaction: &mut Transaction, body: Value) -> Result<(), ApiError> {
        let Place { scope, id } = &self.place;
        let (now_ms, name) = (self.clock.now_ms(), None);
        let record =
            Record { id: id.clone(), name, body, created_ms: now_ms, updated_ms: now_ms, version: 0 };
        transaction.update(scope, &record, None, now_ms).await.map(drop).map_err(store_error)
    }

    /// Lets go of a run that has not come to its end.
    async fn release(&self, progress: &Progress) {
        if let Err(error) = self.try_release(progress).await {
            let why = error.message;
            tracing::warn!(why, "what a flow's run came to before it failed could not be kept");
        }
    }

    async fn try_release(&self, progress: &Progress) -> Result<(), ApiError> {
        let mut transaction = self.end().await?;
        let Place { scope, id } = &self.place;
        let record = transaction.get(scope, id).await.map_err(store_error)?;
        if let Some(record) = record {
            let mut conversation: Conversation =
                serde_json::from_value(record.body).map_err(|error| store_error(error.into()))?;
            conversation.done.clone_from(&*progress.done.lock());
            // What was asked again takes the place of what was asked before.
            let asked = progress.asked.lock().clone();
            conversation.waiting.retain(|it| !asked.iter().any(|newer| newer.key == it.key));
            conversation.waiting.extend(asked);
            match body(&conversation) {
                Ok(body) => self.put(&mut transaction, body).await?,
                // It waits as it did before, and does again what is too much to keep.
                Err(error) => tracing::warn!(why = error.message, "a flow's run is kept as it was"),
            }
        }
        transaction.commit().await.map_err(store_error)
    }
}

/// The claim is gone: what the run came to is nobody's.
fn lost() -> ApiError {
    ApiError::conflict("The answer to the flow's question was taken over by another request.")
}

impl Answering {
    fn new(held: Held, done: BTreeMap<String, Given>, renewed_every: Duration) -> Self {
        let (held, lost) = (Arc::new(held), CancellationToken::new());
        let (renewed, told) = (Arc::clone(&held), lost.clone());
        let renewing = tokio::spawn(async move {
            renewed.claim.keep(&*renewed.clock, renewed_every).await;
            told.cancel();
        });
        let progress = Progress { done: Arc::new(Mutex::new(done)), ..Progress::default() };
        Self { held, progress, lost, is_open: true, _renewing: AbortOnDropHandle::new(renewing) }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Waits until the run is somebody else's, and says so. Not before the end otherwise.
    pub(crate) fn lost(&self) -> impl Future<Output = ApiError> + Send + 'static {
        let gone = self.lost.clone();
        async move {
            gone.cancelled().await;
            lost()
        }
    }

    /// The run has come to its end.
    pub(crate) async fn forget(mut self) -> Result<(), ApiError> {
        let mut transaction = self.held.end().await?;
        let Place { scope, id } = &self.held.place;
        transaction.delete(scope, id, None).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)?;
        self.is_open = false;
        Ok(())
    }

    /// The run waits for another answer. Where that can't be kept, it waits as it did before.
    pub(crate) async fn wait(mut self, conversation: &Conversation) -> Result<(), ApiError> {
        let body = body(conversation)?;
        let mut transaction = self.held.end().await?;
        self.held.put(&mut transaction, body).await?;
        transaction.commit().await.map_err(store_error)?;
        self.is_open = false;
        Ok(())
    }

    /// The run has failed, and can be answered again.
    pub(crate) async fn release(mut self) {
        self.is_open = false;
        self.held.release(&self.progress).await;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        // The client has gone away, or the run's end could not be kept.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (held, progress) = (Arc::clone(&self.held), self.progress.clone());
            runtime.spawn(async move { held.release(&progress).await });
        }
    }
}

/// What is kept of a run that waits.
fn body(conversation: &Conversation) -> Result<Value, ApiError> {
    if !fits(conversation, MOST_BYTES) {
        return Err(ApiError::validation(format!(
            "The flow waits for an answer and holds more than the {MOST_BYTES} bytes that can be kept until then."
        )));
    }
    serde_json::to_value(conversation).map_err(|error| store_error(error.into()))
}
