//! Claims: who answers a run that waits, as a small record beside the run's, renewed for as long as the answer is worked
//! on. A server that dies lets go of it after a minute.

use std::time::Duration;

use craton_core::Clock;
use craton_store::{NewRecord, Scope, Store, StoreError, Transaction};
use serde::{Deserialize, Serialize};

use super::Place;

pub(super) const KIND: &str = "flow-conversation-claim";
/// How long a claim holds without word of whoever has it, and how often that gives word.
pub(super) const TAKEN_MS: i64 = 60_000;
pub(super) const RENEWED_EVERY: Duration = Duration::from_secs(20);

/// A claim as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    owner: String,
    until_ms: i64,
}

/// A claim of one owner, held or to be taken.
pub(super) struct Claim {
    pub(super) store: Store,
    scope: Scope,
    id: String,
    owner: String,
}

impl Claim {
    pub(super) fn new(store: Store, place: &Place, owner: String) -> Self {
        let Scope { account, region, .. } = place.scope.clone();
        Self { store, scope: Scope { kind: KIND, account, region }, id: place.id.clone(), owner }
    }

    async fn kept(&self, transaction: &mut Transaction) -> Result<Option<Kept>, StoreError> {
        let record = transaction.get(&self.scope, &self.id).await?;
        record.map(|record| Ok(serde_json::from_value(record.body)?)).transpose()
    }

    /// Whether somebody else has it.
    pub(super) async fn is_others(
        &self,
        transaction: &mut Transaction,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let kept = self.kept(transaction).await?;
        Ok(kept.is_some_and(|kept| kept.owner != self.owner && kept.until_ms > now_ms))
    }

    /// Whether it is this owner's, which it is then until the transaction ends.
    pub(super) async fn is_held(&self, transaction: &mut Transaction) -> Result<bool, StoreError> {
        Ok(self.kept(transaction).await?.is_some_and(|kept| kept.owner == self.owner))
    }

    /// Takes it from whoever had it. NameTaken where another server is quicker.
    pub(super) async fn take(&self, transaction: &mut Transaction, now_ms: i64) -> Result<(), StoreError> {
        let kept = Kept { owner: self.owner.clone(), until_ms: now_ms + TAKEN_MS };
        let body = serde_json::to_value(kept)?;
        transaction.delete(&self.scope, &self.id, None).await?;
        let id = self.id.clone();
        let new = NewRecord { id, name: None, body, now_ms, idempotency: None, tags: None };
        transaction.create(&self.scope, new).await.map(drop)
    }

    pub(super) async fn end(&self, transaction: &mut Transaction) -> Result<(), StoreError> {
        transaction.delete(&self.scope, &self.id, None).await.map(drop)
    }

    /// Gives word. False where it is this owner's no more.
    pub(super) async fn renew(&self, now_ms: i64) -> Result<bool, StoreError> {
        let mut transaction = self.store.begin().await?;
        if !self.is_held(&mut transaction).await? {
            return Ok(false);
        }
        self.take(&mut transaction, now_ms).await?;
        transaction.commit_unflushed().await?;
        Ok(true)
    }

    /// Renews it until it is lost.
    pub(super) async fn keep(&self, clock: &dyn Clock, every: Duration) {
        let mut until_ms = clock.now_ms() + TAKEN_MS;
        loop {
            tokio::time::sleep(every).await;
            let now_ms = clock.now_ms();
            match self.renew(now_ms).await {
                Ok(true) => until_ms = now_ms + TAKEN_MS,
                Ok(false) => return,
                Err(error) if now_ms >= until_ms => {
                    tracing::warn!(%error, "a flow's run that is being answered is given up");
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "a flow's run that is being answered was not kept for that yet");
                }
            }
        }
    }
}
