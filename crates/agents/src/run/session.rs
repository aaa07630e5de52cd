//! Sessions: what an agent keeps of a conversation between two calls.
//!
//! A session belongs to an account, a region, an agent and an alias; an id that another agent uses is another session.
//! It lives in the records until nobody used it for the agent's idle time; its files lie beside it (`files`). One call at a time works on a session: the
//! next one waits a while and is then refused with ConflictException.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use craton_core::{DAY_MS, RequestContext};
use craton_store::{Ageing, Created, NewRecord, Record, Scope, StoreError};
use craton_wire::ApiError;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::AgentRuns;
use super::conversation::{Exchange, Part, Turn, shorten};
use super::files::{self, File};
use super::idle;
use super::knowledge::Found;
use crate::control::kinds;

const KIND: &str = kinds::SESSION;
/// How long a call waits for another one of the same session, and how often it looks.
const MOST_WAIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// No session outlives this, whatever its agent says.
const LONGEST_IDLE_MS: i64 = 24 * 3600 * 1000;
/// How long one that is to be summed up waits for that, where the server or the model is away.
const SUMMED_UP_WITHIN_MS: i64 = 7 * DAY_MS;

/// What is kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
    /// Where its record is; none before it was opened.
    #[serde(skip)]
    pub place: (Option<Scope>, String),
}

/// A turn that waits for its caller to carry actions out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Pending {
    pub invocation_id: String,
    pub question: String,
    pub prompt_attributes: BTreeMap<String, String>,
    pub scratchpad: Vec<Turn>,
    /// Documents that came with the question.
    pub attached: Vec<File>,
    /// What knowledge bases gave before.
    pub found: Vec<Found>,
    /// Results of calls of the same answer that needed nobody.
    pub done: Vec<Part>,
    pub waiting: Vec<Waiting>,
    /// What the caller brought back, as it did when that was first begun with: the calls have theirs from it, and whoever
    /// tries again brings the same.
    pub returned: Option<Value>,
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
    /// What that collaborator, or one below it, asked of the caller.
    #[serde(default)]
    pub asked: Vec<Asked>,
    /// The user agreed, and the function was called. It is not called again, whatever became of that.
    #[serde(default)]
    pub begun: bool,
    /// The results that are this call's.
    #[serde(default)]
    pub bound: Vec<Value>,
    /// What a collaborator that took its results asks of the caller next, while other calls that waited with it are not
    /// done yet: it is not given its results again.
    #[serde(default)]
    pub next: Vec<Value>,
}

/// An action that the caller was asked for, as far as its result names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// The collaborator's; none for the agent at the top.
    pub agent_id: Option<String>,
    pub group: String,
    /// The function's name or the operation's id.
    pub function: String,
    /// Path and verb of an operation.
    pub operation: Option<(String, String)>,
}

impl Asked {
    /// As its results name it.
    pub(super) fn name(&self) -> String {
        match &self.operation {
            Some((path, verb)) => format!("{}/{verb} {path}", self.group),
            None => format!("{}/{}", self.group, self.function),
        }
    }
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
    /// Its own id, as it is kept under its agent and alias.
    pub(super) fn own_id(&self) -> &str {
        self.place.1.splitn(3, '/').nth(2).unwrap_or_default()
    }

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
}

/// A session that this call alone works on, until it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    busy: Busy,
    key: String,
    scope: Scope,
    id: String,
    record: Option<Record>,
    /// Records of files that are there.
    files: HashSet<String>,
    /// There is a job that sums the session up once nobody uses it.
    remembers: bool,
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
        let (found, mut lease) = self.lease_session(context, key).await?;
        let now_ms = self.parts.clock.now_ms();
        let stored = found.as_ref().and_then(|record| Session::deserialize(&record.body).ok());
        lease.record = found;
        lease.files = stored.as_ref().map(Session::rows).unwrap_or_default();
        let fresh = |session: &Session, record: &Record| record.updated_ms + session.idle_ms >= now_ms;
        let kept = stored.zip(lease.record.as_ref()).filter(|(session, record)| fresh(session, record));
        let mut session = match kept {
            Some((session, _)) => {
                lease.remembers = session.memory_id.is_some();
                session
            }
            None => Session { started_ms: now_ms, ..Session::default() },
        };
        session.place = (Some(lease.scope.clone()), lease.id.clone());
        session.idle_ms = (i64::from(idle_s) * 1000).clamp(1000, LONGEST_IDLE_MS);
        Ok((session, lease))
    }

    /// A session as it is kept, however old, and the right to work on it.
    pub(super) async fn lease_session(
        &self,
        context: &RequestContext,
        key: SessionKey<'_>,
    ) -> Result<(Option<Record>, Lease), ApiError> {
        let scope = Scope::new(KIND, &context.account.id, &context.region);
        let id = format!("{}/{}/{}", key.agent_id, key.alias_id, key.session_id);
        let lease = self.lease(scope, id).await?;
        let found = self.parts.store.get(&lease.scope, &lease.id).await.map_err(from_store)?;
        Ok((found, lease))
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
        Ok(Lease {
            busy: self.busy.clone(),
            key,
            scope,
            id,
            record: None,
            files: HashSet::new(),
            remembers: false,
        })
    }

    /// Keeps what became of a session.
    pub(super) async fn save_session(
        &self,
        lease: &mut Lease,
        session: &mut Session,
    ) -> Result<(), ApiError> {
        let now_ms = self.parts.clock.now_ms();
        let body = serde_json::to_value(&*session).map_err(|error| internal(&error))?;
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let kept = match lease.record.take() {
            Some(record) => {
                let expected = Some(record.version);
                let record = Record { body, ..record };
                transaction.update(&lease.scope, &record, expected, now_ms).await
            }
            None => {
                let id = lease.id.clone();
                let new = NewRecord { id, name: None, body, now_ms, idempotency: None, tags: None };
                match transaction.create(&lease.scope, new).await {
                    Ok(Created::New(record)) => Ok(record),
                    Ok(Created::Repeated(_)) => Err(StoreError::TokenReused),
                    Err(error) => Err(error),
                }
            }
        };
        let kept = kept.map_err(from_store)?;
        let place = (&lease.scope, lease.id.as_str());
        files::write(&mut transaction, place, &*session, (&lease.files, now_ms)).await.map_err(from_store)?;
        let remembers = session.memory_id.is_some();
        if remembers && !lease.remembers {
            let place = (&lease.scope, lease.id.as_str());
            let job = idle::job(place, self.parts.ids.uuid(), (now_ms, session.idle_ms));
            transaction.enqueue(job).await.map_err(from_store)?;
        }
        // It outlives the server; a flush would take longer than all else that a step adds.
        transaction.commit_unflushed().await.map_err(from_store)?;
        lease.record = Some(kept);
        lease.files = session.rows();
        lease.remembers = remembers;
        Ok(())
    }

    /// Deletes sessions that nobody comes back to, with their files, and memories past their time, in every account and
    /// region.
    pub async fn forget_old(&self) {
        let now_ms = self.parts.clock.now_ms();
        // A session with a memory id is summed up by a job, which ends it.
        let waits = |record: &Record| {
            record.updated_ms > now_ms - SUMMED_UP_WITHIN_MS
                && Session::deserialize(&record.body).is_ok_and(|session| session.memory_id.is_some())
        };
        let sessions = Ageing::of(KIND, now_ms - LONGEST_IDLE_MS).with_children(&[kinds::SESSION_FILE]);
        self.parts.store.forget_old(&sessions.unless(&waits)).await;
        self.forget_memories(now_ms).await;
    }

    pub(super) async fn end_session(&self, lease: &mut Lease) -> Result<(), ApiError> {
        lease.record = None;
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        transaction.delete(&lease.scope, &lease.id, None).await.map_err(from_store)?;
        files::forget(&mut transaction, (&lease.scope, &lease.id)).await.map_err(from_store)?;
        transaction.commit().await.map_err(from_store)
    }
}

pub(super) fn from_store(error: StoreError) -> ApiError {
    match error {
        StoreError::VersionMismatch { .. } | StoreError::NameTaken { .. } | StoreError::NotFound { .. } => {
            ApiError::conflict("Another request has worked on this session meanwhile. Try again.")
        }
        full if full.is_full() => ApiError::no_space(),
        other => internal(&other),
    }
}

/// Details of a fault of ours go to the log, not to the client.
pub(super) fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "an agent's run failed");
    ApiError::internal("The server could not complete the request. See its log.")
}
