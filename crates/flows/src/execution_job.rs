//! Executions at work: a run whose events and nodes' outcomes go to the records.
//!
//! What a node gave, and everything that is told of its run, is one transaction. A server that dies begins the job
//! again, and nodes whose outcome is in the records are not run again; those that were at work are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use craton_api_bedrock_agent_runtime::FlowExecutionStatus as Status;
use craton_core::{Account, Arn, Clock, Principal, RequestContext};
use craton_store::jobs::{Ended, Handler, Job, JobContext, JobError};
use craton_store::{Range, Store, StoreError, Transaction, crash};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Flows;
use crate::execution::{
    StoredExecution, StoredNode, event_row, event_scope, events_of, node_row, node_scope, read, scope, write,
};
use crate::identifier::FlowRef;
use crate::run::event::RunEvent;
use crate::run::{Engine, Given, RecordError, Recorder, RunError, failure};
use crate::runnable::{Caller, Runnable};

/// What a job is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Payload {
    /// Of the execution's record.
    pub(crate) id: String,
    account: String,
    region: String,
    flow: String,
}

impl Payload {
    pub(crate) fn of(flow: &FlowRef, id: String) -> Self {
        Self { id, account: flow.account.clone(), region: flow.region.clone(), flow: flow.id.clone() }
    }

    pub(crate) fn flow(&self) -> FlowRef {
        FlowRef { account: self.account.clone(), region: self.region.clone(), id: self.flow.clone() }
    }
}

/// Runs executions.
pub(crate) struct Executions(pub(crate) Flows);

#[async_trait]
impl Handler for Executions {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        let payload: Payload = job.payload()?;
        let flow = payload.flow();
        let record = job.store().get(&scope(&flow), &payload.id).await?;
        let Some(record) = record else { return Err(JobError::Stopped) };
        let execution = read(&record).map_err(|error| JobError::Fail(error.message))?;
        if execution.status != Status::Running {
            return Err(JobError::Stopped);
        }
        let keeper = Keeper::open(job, (&flow, &payload.id), Arc::clone(&self.0.parts.clock)).await?;
        let started_ms = self.begun(job.store(), &flow, &payload.id).await?;
        let most_ms =
            i64::try_from(self.0.parts.config.execution_timeout_s).unwrap_or(i64::MAX).saturating_mul(1000);
        let left_ms = started_ms.saturating_add(most_ms) - self.0.parts.clock.now_ms();
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or_default());
        tokio::select! {
            ended = self.execute(&flow, execution, &keeper) => match ended {
                Ok(()) => Ok(()),
                // The records are at fault, not the flow: what it has come to is in them, and it goes on from there.
                Err(RunError { fault: Some(fault), .. }) => Err(match &*fault {
                    StoreError::LeaseLost { .. } => JobError::Lost,
                    other => JobError::Retry(other.to_string()),
                }),
                Err(error) => {
                    let reason = error.clone().into_api().message;
                    keeper.failed(&error).await?;
                    Err(JobError::Fail(reason))
                }
            },
            () = tokio::time::sleep(left) => Err(JobError::Fail(TIMED_OUT.to_owned())),
            () = job.stopped() => Err(JobError::Stopped),
        }
    }

    async fn ended(&self, transaction: &mut Transaction, job: &Job, ended: &Ended) -> Result<(), StoreError> {
        let payload: Payload = serde_json::from_value(job.payload.clone())?;
        let scope = scope(&payload.flow());
        let Some(mut record) = transaction.get(&scope, &payload.id).await? else { return Ok(()) };
        let mut execution = StoredExecution::deserialize(&record.body)?;
        if execution.status != Status::Running {
            return Ok(());
        }
        let now_ms = self.0.parts.clock.now_ms();
        execution.status = match ended {
            Ended::Succeeded => Status::Succeeded,
            Ended::Stopped => Status::Aborted,
            Ended::Failed(reason) if reason == TIMED_OUT => {
                execution.error = Some("The execution took longer than it may.".to_owned());
                Status::TimedOut
            }
            Ended::Failed(_) => Status::Failed,
        };
        execution.ended_ms = Some(now_ms);
        record.body = serde_json::to_value(&execution)?;
        transaction.update(&scope, &record, None, now_ms).await?;
        Ok(())
    }
}

const TIMED_OUT: &str = "timed out";
impl Executions {
    /// When the first attempt began, which is now if it is this one. An execution may have waited for its turn.
    async fn begun(&self, store: &Store, flow: &FlowRef, id: &str) -> Result<i64, JobError> {
        let (scope, now_ms) = (scope(flow), self.0.parts.clock.now_ms());
        let mut transaction = store.begin().await?;
        let Some(mut record) = transaction.get(&scope, id).await? else { return Err(JobError::Stopped) };
        let mut execution = read(&record).map_err(|error| JobError::Fail(error.message))?;
        if let Some(started_ms) = execution.started_ms {
            return Ok(started_ms);
        }
        execution.started_ms = Some(now_ms);
        record.body = write(&execution).map_err(|error| JobError::Fail(error.message))?;
        transaction.update(&scope, &record, None, now_ms).await?;
        transaction.commit().await?;
        Ok(now_ms)
    }

    async fn execute(
        &self,
        flow: &FlowRef,
        execution: StoredExecution,
        keeper: &Keeper<'_>,
    ) -> Result<(), RunError> {
        let input = execution.input.clone();
        let parts = &self.0.parts;
        let runnable = Runnable {
            flow: flow.clone(),
            alias_id: execution.alias_id,
            version: execution.version,
            body: execution.body,
            concurrency: execution.concurrency,
        };
        let arn = Arn::new("bedrock", &flow.region, &flow.account, format!("flow/{}", flow.id)).to_string();
        let context = RequestContext {
            request_id: parts.ids.uuid(),
            account: Arc::new(Account { id: flow.account.clone(), home_region: flow.region.clone() }),
            region: flow.region.clone(),
            principal: Arc::new(Principal::new(arn, "")),
            source_ip: None,
            received_ms: parts.clock.now_ms(),
        };
        let caller = Caller {
            context,
            execution_id: execution.name,
            traced: false,
            latency: execution.latency,
            answers: false,
        };
        let graph = runnable.graph().map_err(RunError::whole)?;
        let nodes = self.0.nodes(&runnable, caller);
        let engine = Engine::new(&nodes, keeper, &*parts.clock, parts.config.limits(runnable.concurrency));
        engine.run(&graph, input).await.map(drop)
    }
}

/// Keeps what happens in the records.
struct Keeper<'j> {
    job: &'j JobContext,
    flow: &'j FlowRef,
    execution: &'j str,
    clock: Arc<dyn Clock>,
    done: BTreeMap<String, Given>,
    next_event: AtomicU64,
    /// Inputs of nodes that are at work; written with what the node gives.
    begun: Mutex<BTreeMap<String, RunEvent>>,
}

impl<'j> Keeper<'j> {
    /// With what earlier attempts left.
    async fn open(
        job: &'j JobContext,
        (flow, execution): (&'j FlowRef, &'j str),
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JobError> {
        let prefix = format!("{execution}/");
        let range = Range { prefix: prefix.clone(), ..Range::default() };
        let mut done = BTreeMap::new();
        let mut next = 0;
        for row in job.store().list(&node_scope(flow), &range).await? {
            let node: StoredNode = serde_json::from_value(row.body).map_err(StoreError::from)?;
            next = next.max(node.next_event);
            done.insert(row.id[prefix.len()..].to_owned(), node.given);
        }
        // An attempt that failed at its very end has told of that and of no node more.
        for of_node in [false, true] {
            let prefix = events_of(execution, of_node);
            let range =
                Range { after: Some(format!("{prefix}{next:012}")), prefix: prefix.clone(), limit: 0 };
            for row in job.store().list(&event_scope(flow), &range).await? {
                let number = row.id[prefix.len()..].parse::<u64>().unwrap_or_default();
                next = next.max(number + 1);
            }
        }
        // The first is the execution's input.
        let next_event = AtomicU64::new(next.max(1));
        Ok(Self { job, flow, execution, clock, done, next_event, begun: Mutex::default() })
    }

    async fn keep(&self, node: Option<(&str, &Given)>, events: Vec<RunEvent>) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        let mut transaction = self.job.store().begin().await?;
        self.job.fence(&mut transaction).await?;
        for event in events {
            let number = self.next_event.fetch_add(1, Ordering::SeqCst);
            let row = event_row(self.execution, number, &event, now_ms)?;
            transaction.create(&event_scope(self.flow), row).await?;
        }
        if let Some((key, given)) = node {
            let next_event = self.next_event.load(Ordering::SeqCst);
            let row =
                node_row(self.execution, key, &StoredNode { given: given.clone(), next_event }, now_ms)?;
            transaction.create(&node_scope(self.flow), row).await?;
        }
        transaction.commit().await
    }

    async fn failed(&self, error: &RunError) -> Result<(), StoreError> {
        let mut events: Vec<RunEvent> = std::mem::take(&mut *self.begun.lock()).into_values().collect();
        events.extend(failure(error, self.clock.now_ms()));
        self.keep(None, events).await
    }
}

#[async_trait]
impl Recorder for Keeper<'_> {
    fn recall(&self, key: &str) -> Option<Given> {
        self.done.get(key).cloned()
    }

    fn reply(&self, _key: &str) -> Option<Value> {
        None
    }

    async fn begins(&self, key: &str, event: RunEvent) -> Result<(), RecordError> {
        crash::point("flows.begins");
        self.begun.lock().insert(key.to_owned(), event);
        Ok(())
    }

    async fn ended(&self, key: &str, given: &Given, events: Vec<RunEvent>) -> Result<(), RecordError> {
        crash::point("flows.ended");
        let begun = self.begun.lock().remove(key);
        let events = begun.into_iter().chain(events).collect();
        self.keep(Some((key, given)), events).await?;
        crash::point("flows.kept");
        Ok(())
    }
}
