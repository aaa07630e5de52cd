//! Sessions: what an agent keeps of a conversation between two calls.
//!
//! A session belongs to an account, a region, an agent and an alias; an id that another agent uses is another session.
//! It lives in the records until nobody used it for the agent's idle time. One call at a time works on a session: the
//! next one waits a while and is then refused with ConflictException.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use craton_core::RequestContext;
use craton_store::{NewRecord, Record, Scope, StoreError, values};
use craton_wire::ApiError;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AgentRuns;
use super::conversation::{Exchange, Part, Turn, shorten};

const KIND: &str = "agent-session";
/// How long a call waits for another one of the same session, and how often it looks.
const MOST_WAIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// No session outlives this, whatever its agent says.
const LONGEST_IDLE_MS: i64 = 24 * 3600 * 1000;
const SWEEP_EVERY_MS: i64 = 10 * 60 * 1000;

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Session {
    pub attributes: BTreeMap<String, String>,
    pub exchanges: Vec<Exchange>,
    /// Retrieval configurations that override the agent's, by knowledge base.
    pub knowledge_bases: BTreeMap<String, Value>,
    pub files: Vec<File>,
    pub pending: Option<Pending>,
    pub memory_id: Option<String>,
    pub started_ms: i64,
    /// Milliseconds until an unused session is gone.
    pub idle_ms: i64,
}

/// A file that code may read, as it came or was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct File {
    pub name: String,
    pub media_type: String,
    /// Base64.
    pub data: String,
}

/// A turn that waits for its caller to carry actions out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Pending {
    pub invocation_id: String,
    pub question: String,
    pub prompt_attributes: BTreeMap<String, String>,
    pub scratchpad: Vec<Turn>,
    /// Results of calls of the same answer that needed nobody.
    pub done: Vec<Part>,
    pub waiting: Vec<Waiting>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub call_id: String,
    /// The tool's name.
    pub tool: String,
    /// The tool's checked input.
    pub input: Value,
    pub want: Want,
    /// The collaborator that waits, and the id it gave.
    #[serde(default)]
    pub collaborator: Option<(String, String)>,
}

/// What the caller is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Want {
    Result,
    /// The function is called once the user has agreed.
    Confirmation,
    ConfirmationAndResult,
}

impl Session {
    /// Ends a turn.
    pub(super) fn conclude(&mut self, exchange: Exchange) {
        self.exchanges.push(exchange);
        shorten(&mut self.exchanges);
        self.pending = None;
    }
}

/// Sessions that are being worked on.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy {
    keys: Arc<Mutex<HashSet<String>>>,
    /// When old sessions were last cleared away.
    swept_ms: Arc<AtomicI64>,
}

/// A session that this call alone works on, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    busy: Busy,
    key: String,
    scope: Scope,
    id: String,
    record: Option<Record>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.busy.keys.lock().remove(&self.key);
    }
}

/// Which session a call is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionKey<'a> {
    pub agent_id: &'a str,
    pub alias_id: &'a str,
    pub session_id: &'a str,
}

impl AgentRuns {
    /// The session, and the right to work on it.
    pub(super) async fn open_session(
        &self,
        context: &RequestContext,
        key: SessionKey<'_>,
        idle_s: u32,
    ) -> Result<(Session, Lease), ApiError> {
        let scope = Scope::new(KIND, &context.account.id, &context.region);
        let id = format!("{}/{}/{}", key.agent_id, key.alias_id, key.session_id);
        let mut lease = self.lease(scope, id).await?;
        let now_ms = self.parts.clock.now_ms();
        let found = self.parts.store.get(&lease.scope, &lease.id).await.map_err(from_store)?;
        let stored = found.as_ref().and_then(|record| Session::deserialize(&record.body).ok());
        lease.record = found;
        let fresh = |session: &Session, record: &Record| record.updated_ms + session.idle_ms >= now_ms;
        let kept = stored.zip(lease.record.as_ref()).filter(|(session, record)| fresh(session, record));
        let mut session = match kept {
            Some((session, _)) => session,
            None => Session { started_ms: now_ms, ..Session::default() },
        };
        session.idle_ms = (i64::from(idle_s) * 1000).clamp(1000, LONGEST_IDLE_MS);
        Ok((session, lease))
    }

    async fn lease(&self, scope: Scope, id: String) -> Result<Lease, ApiError> {
        let key = format!("{}/{}/{id}", scope.account, scope.region);
        let deadline = tokio::time::Instant::now() + MOST_WAIT;
        while !self.busy.keys.lock().insert(key.clone()) {
            if tokio::time::Instant::now() >= deadline {
                return Err(ApiError::conflict(
                    "Another request is working on this session. Wait until it is answered and try again.",
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(Lease { busy: self.busy.clone(), key, scope, id, record: None })
    }

    /// Keeps what became of a session.
    pub(super) async fn save_session(&self, lease: &mut Lease, session: &Session) -> Result<(), ApiError> {
        let body = serde_json::to_value(session).map_err(|error| internal(&error))?;
        let (store, now_ms) = (&self.parts.store, self.parts.clock.now_ms());
        match lease.record.take() {
            Some(record) => {
                let expected = Some(record.version);
                let record = Record { body, ..record };
                let kept = store.update(&lease.scope, &record, expected, now_ms).await;
                lease.record = Some(kept.map_err(from_store)?);
            }
            None => {
                let id = lease.id.clone();
                let new = NewRecord { id, name: None, body, now_ms, idempotency: None, tags: None };
                if let craton_store::Created::New(record) =
                    store.create(&lease.scope, new).await.map_err(from_store)?
                {
                    lease.record = Some(record);
                }
                self.forget_old(now_ms).await?;
            }
        }
        Ok(())
    }

    /// Now and then whoever begins a session clears away those that nobody comes back to.
    async fn forget_old(&self, now_ms: i64) -> Result<(), ApiError> {
        if now_ms - self.busy.swept_ms.load(Ordering::Relaxed) < SWEEP_EVERY_MS {
            return Ok(());
        }
        self.busy.swept_ms.store(now_ms, Ordering::Relaxed);
        let forget = "DELETE FROM resources WHERE kind = $1 AND updated_ms < $2";
        let old = values![KIND, now_ms - LONGEST_IDLE_MS];
        self.parts.store.execute(forget, &old).await.map_err(from_store)?;
        Ok(())
    }

    pub(super) async fn end_session(&self, lease: &mut Lease) -> Result<(), ApiError> {
        lease.record = None;
        self.parts.store.delete(&lease.scope, &lease.id, None).await.map_err(from_store)?;
        Ok(())
    }
}

pub(super) fn from_store(error: StoreError) -> ApiError {
    match error {
        StoreError::VersionMismatch { .. } | StoreError::NameTaken { .. } | StoreError::NotFound { .. } => {
            ApiError::conflict("Another request has worked on this session meanwhile. Try again.")
        }
        other => internal(&other),
    }
}

/// Details of a fault of ours go to the log, not to the client.
pub(super) fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "an agent's run failed");
    ApiError::internal("The server could not complete the request. See its log.")
}
