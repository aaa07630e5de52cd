//! What was said before, kept in the records so that a conversation outlives a restart.

use craton_core::RequestContext;
use craton_store::{Ageing, NewRecord, Record, Scope};
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::Retrieval;
use crate::error::{from_store, internal};

const KIND: &str = "retrieve-and-generate-session";
/// Turns remembered, the latest; earlier ones are forgotten.
const MOST_TURNS: usize = 10;
/// A session that nobody used for this long is gone.
const IDLE_MS: i64 = 24 * 3600 * 1000;

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turn {
    pub question: String,
    pub answer: String,
}

/// A conversation of one user or role about one knowledge base or external source.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub id: String,
    about: String,
    kms_key_arn: Option<String>,
    pub turns: Vec<Turn>,
    record: Option<Record>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    about: String,
    /// The id of the user or role who began it, who alone may go on.
    #[serde(default)]
    owner: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kms_key_arn: Option<String>,
    turns: Vec<Turn>,
}

impl Retrieval {
    /// The session a client goes on with, or a new one. `about` names what it is about: neither that nor its key can
    /// change.
    pub(super) async fn session(
        &self,
        context: &RequestContext,
        id: Option<String>,
        about: &str,
        kms_key_arn: Option<String>,
    ) -> Result<Session, ApiError> {
        let Some(id) = id else {
            let id = self.parts.ids.uuid();
            return Ok(Session { id, about: about.to_owned(), kms_key_arn, turns: Vec::new(), record: None });
        };
        let found = self.parts.store.get(&scope(context), &id).await.map_err(from_store)?;
        let oldest = self.parts.clock.now_ms() - IDLE_MS;
        let record = found.filter(|record| record.updated_ms >= oldest);
        let stored = record.as_ref().and_then(|record| Stored::deserialize(&record.body).ok());
        let owner = context.principal.owner_id();
        let Some(stored) = stored.filter(|stored| stored.owner == owner) else {
            return Err(ApiError::validation(format!(
                "Session with Id {id} is not valid. Please check and try again."
            )));
        };
        let another_key = kms_key_arn.is_some() && kms_key_arn != stored.kms_key_arn;
        if stored.about != about || another_key {
            return Err(ApiError::validation(
                "Knowledge base configurations cannot be modified for an ongoing session. Please start a new session or \
                 continue with same configuration.",
            ));
        }
        let Stored { about, kms_key_arn, turns, .. } = stored;
        Ok(Session { id, about, kms_key_arn, turns, record })
    }

    /// Keeps one more turn.
    pub(super) async fn remember(
        &self,
        context: &RequestContext,
        mut session: Session,
        turn: Turn,
    ) -> Result<(), ApiError> {
        session.turns.push(turn);
        let forgotten = session.turns.len().saturating_sub(MOST_TURNS);
        session.turns.drain(..forgotten);
        let Session { about, kms_key_arn, turns, .. } = session;
        let stored = Stored { about, owner: context.principal.owner_id().to_owned(), kms_key_arn, turns };
        let body = serde_json::to_value(&stored).map_err(|error| internal(&error))?;
        let (store, now_ms) = (&self.parts.store, self.parts.clock.now_ms());
        match session.record {
            Some(record) => {
                let record = Record { body, ..record };
                store.update(&scope(context), &record, None, now_ms).await.map_err(from_store)?;
            }
            None => {
                let new =
                    NewRecord { id: session.id, name: None, body, now_ms, idempotency: None, tags: None };
                store.create(&scope(context), new).await.map_err(from_store)?;
            }
        }
        Ok(())
    }

    /// Deletes sessions that nobody comes back to, in every account and region.
    pub async fn forget_old(&self) {
        let before_ms = self.parts.clock.now_ms() - IDLE_MS;
        self.parts.store.forget_old(&Ageing::of(KIND, before_ms)).await;
    }
}

fn scope(context: &RequestContext) -> Scope {
    Scope::new(KIND, &context.account.id, &context.region)
}
