//! Memory of sessions that nobody ended: one that has a memory id and was not used for its agent's idle time is summed up
//! as `endSession` would have it, and ended. The job for that is written with the session when it gets its memory id; a
//! job whose session was used again waits for as long as that has left.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use craton_core::{Account, Principal, RequestContext};
use craton_store::jobs::{Ended, Handler, Job, JobContext, JobError, NewJob, Runner};
use craton_store::{Scope, StoreError, Transaction};
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::AgentRuns;
use super::events::Feed;
use super::session::{Session, SessionKey};
use super::trace::{Identity, Tracer};
use super::turn::Run;
use crate::prepared::Prepared;

const JOB: &str = "agent-memory";
/// Sessions that are summed up at the same time.
const AT_ONCE: usize = 2;

#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    account: String,
    region: String,
    /// Of the session's record: AGENT/ALIAS/SESSION.
    id: String,
}

/// The job that remembers a session which was just kept.
pub(super) fn job((scope, id): (&Scope, &str), job_id: String, (now_ms, idle_ms): (i64, i64)) -> NewJob {
    let payload = json!({ "account": scope.account, "region": scope.region, "id": id });
    NewJob { due_ms: now_ms + idle_ms, ..NewJob::new(job_id, JOB, payload, now_ms) }
}

impl AgentRuns {
    /// Has `runner` do this service's jobs.
    pub fn handle_jobs(&self, runner: Runner) -> Runner {
        runner.handle(JOB, AT_ONCE, Arc::new(Idle(self.clone())))
    }
}

struct Idle(AgentRuns);

#[async_trait]
impl Handler for Idle {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        let payload: Payload = job.payload()?;
        let mut ids = payload.id.splitn(3, '/');
        let (Some(agent_id), Some(alias_id), Some(session_id)) = (ids.next(), ids.next(), ids.next()) else {
            return Err(JobError::Fail("the session's id has not three parts".to_owned()));
        };
        let context = self.context(&payload, agent_id);
        let key = SessionKey { agent_id, alias_id, session_id };
        let (record, mut lease) = self.0.lease_session(&context, key).await.map_err(later)?;
        let Some(record) = record else { return Ok(()) };
        let session = Session::deserialize(&record.body).map_err(StoreError::from)?;
        let left_ms = record.updated_ms + session.idle_ms - self.0.parts.clock.now_ms();
        if left_ms > 0 {
            let reason = "the session was used again".to_owned();
            return Err(JobError::Later { reason, wait: Duration::from_millis(left_ms.unsigned_abs()) });
        }
        let agent = match self.0.parts.agents.resolve(&context, agent_id, alias_id).await {
            Ok(agent) => agent,
            Err(error) if error.code == "InternalServerException" => return Err(later(error)),
            // It is gone, or not to be invoked: nobody is left who could remember.
            Err(_) => return Ok(()),
        };
        self.sum_up(context, (agent, alias_id, session_id), session).await.map_err(later)?;
        self.0.end_session(&mut lease).await.map_err(later)
    }

    async fn ended(&self, _: &mut Transaction, _: &Job, _: &Ended) -> Result<(), StoreError> {
        Ok(())
    }
}

fn later(error: ApiError) -> JobError {
    JobError::Retry(error.message)
}

impl Idle {
    /// The agent's own: no client asks for this.
    fn context(&self, payload: &Payload, agent_id: &str) -> RequestContext {
        let Payload { account, region, .. } = payload;
        let agent = format!("arn:aws:bedrock:{region}:{account}:agent/{agent_id}");
        RequestContext {
            request_id: self.0.parts.ids.uuid(),
            account: Arc::new(Account { id: account.clone(), home_region: region.clone() }),
            region: region.clone(),
            principal: Arc::new(Principal::new(agent, "")),
            source_ip: None,
            received_ms: self.0.parts.clock.now_ms(),
        }
    }

    async fn sum_up(
        &self,
        context: RequestContext,
        (agent, alias_id, session_id): (Arc<Prepared>, &str, &str),
        session: Session,
    ) -> Result<(), ApiError> {
        let parts = &self.0.parts;
        let (Some(memory), Some(memory_id)) = (&agent.memory, &session.memory_id) else { return Ok(()) };
        let place = (agent.agent_id.as_str(), alias_id, memory_id.as_str());
        let remembered = self.0.remembered(&context, place, memory.max_recent_sessions).await?;
        let identity = Identity {
            agent_id: agent.agent_id.clone(),
            alias_id: alias_id.to_owned(),
            version: agent.agent_version.clone(),
            session_id: session_id.to_owned(),
            ..Identity::default()
        };
        let feed = Feed::default();
        let tracer = Tracer::new(feed.clone(), false, identity, (Arc::clone(&parts.clock), parts.ids.uuid()));
        let started = tracer.span();
        let mut run = Run::new(self.0.clone(), context, (feed, started));
        run.agent = agent;
        run.tracer = tracer;
        run.session = session;
        run.remembered = remembered;
        run.options.operation = "InvokeAgent";
        let limit = Duration::from_secs(parts.config.max_run_s);
        tokio::time::timeout(limit, run.remember())
            .await
            .unwrap_or_else(|_| Err(ApiError::throttling("the model took too long to sum the session up")))
    }
}
