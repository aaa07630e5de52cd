//! StartFlowExecution and its companions: GetFlowExecution, ListFlowExecutions, ListFlowExecutionEvents,
//! GetExecutionFlowSnapshot, StopFlowExecution.
//!
//! An execution is a record and a job, written together. The record has the flow as it was at the start, so that
//! neither a changed draft nor a moved alias changes an execution that runs.

use craton_api_bedrock_agent_runtime as api;
use craton_api_bedrock_agent_runtime::FlowExecutionStatus as Status;
use craton_core::{DAY_MS, PageError, PageRequest, RequestContext};
use craton_store::jobs::NewJob;
use craton_store::{Ageing, NewRecord, Range, Record, Scope, StoreError, Transaction};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::store_error;
use crate::execution_job::Payload;
use crate::identifier::{FlowRef, execution_not_found};
use crate::run::Given;
use crate::run::event::RunEvent;
use crate::runnable::{entry, latency};
use crate::{Flows, StoredFlow};

/// The kind of the job that runs an execution.
pub(crate) const JOB: &str = "flow-execution";
const KIND: &str = "flow-execution";
const EVENT_KIND: &str = "flow-execution-event";
const NODE_KIND: &str = "flow-execution-node";
/// Events and executions on a page (the model's limit).
const PAGE: i32 = 10;

/// An execution as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredExecution {
    pub flow_id: String,
    pub alias_id: String,
    pub name: String,
    pub version: String,
    pub body: StoredFlow,
    pub input: Value,
    pub latency: Option<String>,
    pub concurrency: Option<usize>,
    pub status: Status,
    pub job_id: String,
    /// When its first attempt began.
    #[serde(default)]
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    /// Why it timed out.
    pub error: Option<String>,
}

/// What a run of a node gave, and the number of the next event then.
#[derive(Serialize, Deserialize)]
pub(crate) struct StoredNode {
    pub given: Given,
    pub next_event: u64,
}

pub(crate) fn scope(flow: &FlowRef) -> Scope {
    Scope::new(KIND, flow.account.clone(), flow.region.clone())
}

pub(crate) fn event_scope(flow: &FlowRef) -> Scope {
    Scope::new(EVENT_KIND, flow.account.clone(), flow.region.clone())
}

pub(crate) fn node_scope(flow: &FlowRef) -> Scope {
    Scope::new(NODE_KIND, flow.account.clone(), flow.region.clone())
}

/// Where an execution is kept; what belongs to it is under this and a `/`.
pub(crate) fn id(flow: &FlowRef, alias: &str, name: &str) -> String {
    format!("{}/{alias}/{name}", flow.id)
}

/// What the ids of an execution's events begin with: those of its nodes, and those of the flow.
pub(crate) fn events_of(execution: &str, of_node: bool) -> String {
    format!("{execution}/{}/", if of_node { "n" } else { "f" })
}

/// The row of an event, in the order in which it happened.
pub(crate) fn event_row(
    execution: &str,
    number: u64,
    event: &RunEvent,
    now_ms: i64,
) -> Result<NewRecord, StoreError> {
    row(format!("{}{number:012}", events_of(execution, event.is_of_node())), event, now_ms)
}

/// The row of what a run of a node gave.
pub(crate) fn node_row(
    execution: &str,
    key: &str,
    node: &StoredNode,
    now_ms: i64,
) -> Result<NewRecord, StoreError> {
    row(format!("{execution}/{key}"), node, now_ms)
}

fn row(id: String, body: &impl Serialize, now_ms: i64) -> Result<NewRecord, StoreError> {
    let body = serde_json::to_value(body)?;
    Ok(NewRecord { id, name: None, body, now_ms, idempotency: None, tags: None })
}

pub(crate) fn read(record: &Record) -> Result<StoredExecution, ApiError> {
    StoredExecution::deserialize(&record.body).map_err(|error| store_error(error.into()))
}

pub(crate) fn write(execution: &StoredExecution) -> Result<Value, ApiError> {
    serde_json::to_value(execution).map_err(|error| store_error(error.into()))
}

/// An execution that was asked for, by whichever of its names.
struct Found {
    flow: FlowRef,
    record: Record,
    execution: StoredExecution,
}

impl Found {
    fn arn(&self) -> String {
        self.flow.execution_arn(&self.execution.alias_id, &self.execution.name)
    }
}

impl Flows {
    pub async fn start_flow_execution(
        &self,
        context: &RequestContext,
        input: api::StartFlowExecutionRequest,
    ) -> Result<api::StartFlowExecutionResponse, ApiError> {
        let runnable = self.runnable(context, &input.flow_identifier, &input.flow_alias_identifier).await?;
        let document = entry(&runnable.graph()?, &input.inputs)?;
        let name = input.flow_execution_name.filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| self.parts.ids.uuid());
        let (flow, now_ms) = (&runnable.flow, self.parts.clock.now_ms());
        let (id, job_id) = (id(flow, &runnable.alias_id, &name), self.parts.ids.uuid());
        let execution = StoredExecution {
            flow_id: flow.id.clone(),
            alias_id: runnable.alias_id.clone(),
            name: name.clone(),
            version: runnable.version.clone(),
            body: runnable.body.clone(),
            input: document.clone(),
            latency: latency(input.model_performance_configuration.as_ref()),
            concurrency: runnable.concurrency,
            status: Status::Running,
            job_id: job_id.clone(),
            started_ms: None,
            ended_ms: None,
            error: None,
        };
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        if transaction.get(&scope(flow), &id).await.map_err(store_error)?.is_some() {
            return Err(ApiError::conflict(format!(
                "An execution with the name {name} already exists under this alias. Choose another name."
            )));
        }
        let new = row(id.clone(), &execution, now_ms).map_err(store_error)?;
        transaction.create(&scope(flow), new).await.map_err(store_error)?;
        let begun = RunEvent::FlowInput {
            node: input.inputs.into_iter().next().map(|input| input.node_name).unwrap_or_default(),
            name: "document".to_owned(),
            value: document,
            at_ms: now_ms,
        };
        let event = event_row(&id, 0, &begun, now_ms).map_err(store_error)?;
        transaction.create(&event_scope(flow), event).await.map_err(store_error)?;
        let payload = Payload::of(flow, id);
        let payload = serde_json::to_value(payload).map_err(|error| store_error(error.into()))?;
        transaction.enqueue(NewJob::new(job_id, JOB, payload, now_ms)).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)?;
        let execution_arn = Some(flow.execution_arn(&runnable.alias_id, &name));
        Ok(api::StartFlowExecutionResponse { execution_arn })
    }

    pub async fn get_flow_execution(
        &self,
        context: &RequestContext,
        input: api::GetFlowExecutionRequest,
    ) -> Result<api::GetFlowExecutionResponse, ApiError> {
        let names = (&*input.flow_identifier, &*input.flow_alias_identifier, &*input.execution_identifier);
        let found = self.execution(context, names).await?;
        let execution_arn = found.arn();
        let Found { flow, record, execution } = found;
        let errors = execution.error.map(|message| {
            vec![api::FlowExecutionError {
                error: Some(api::FlowExecutionErrorType::ExecutionTimedOut),
                message: Some(message),
                node_name: None,
            }]
        });
        Ok(api::GetFlowExecutionResponse {
            ended_at: execution.ended_ms.map(Timestamp::from_ms),
            errors,
            execution_arn,
            flow_alias_identifier: flow.alias_arn(&execution.alias_id),
            flow_identifier: flow.arn(),
            flow_version: execution.version,
            started_at: Timestamp::from_ms(record.created_ms),
            status: execution.status,
        })
    }

    /// The newest first.
    pub async fn list_flow_executions(
        &self,
        context: &RequestContext,
        input: api::ListFlowExecutionsRequest,
    ) -> Result<api::ListFlowExecutionsResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        self.draft(&flow).await?;
        let prefix = match &input.flow_alias_identifier {
            Some(alias) => format!("{}/{}/", flow.id, flow.alias_id(alias)?),
            None => format!("{}/", flow.id),
        };
        let most = input.max_results.unwrap_or(PAGE).min(PAGE);
        let request = PageRequest::of(input.next_token, Some(most));
        let page = self.parts.store.newest(&scope(&flow), &prefix, &request).await.map_err(store_error)?;
        let page = page.ok_or_else(|| ApiError::validation(PageError.to_string()))?;
        let summaries = page.items.iter().map(|record| {
            let execution = read(record)?;
            Ok(api::FlowExecutionSummary {
                created_at: Timestamp::from_ms(record.created_ms),
                ended_at: execution.ended_ms.map(Timestamp::from_ms),
                execution_arn: flow.execution_arn(&execution.alias_id, &execution.name),
                flow_alias_identifier: flow.alias_arn(&execution.alias_id),
                flow_identifier: flow.arn(),
                flow_version: execution.version,
                status: execution.status,
            })
        });
        let flow_execution_summaries = summaries.collect::<Result<_, ApiError>>()?;
        Ok(api::ListFlowExecutionsResponse { flow_execution_summaries, next_token: page.next_token })
    }

    pub async fn list_flow_execution_events(
        &self,
        context: &RequestContext,
        input: api::ListFlowExecutionEventsRequest,
    ) -> Result<api::ListFlowExecutionEventsResponse, ApiError> {
        let names = (&*input.flow_identifier, &*input.flow_alias_identifier, &*input.execution_identifier);
        let Found { flow, record, .. } = self.execution(context, names).await?;
        let prefix = events_of(&record.id, input.event_type == api::FlowExecutionEventType::Node);
        let most = input.max_results.unwrap_or(PAGE).min(PAGE);
        let request = PageRequest::of(input.next_token, Some(most));
        let bad = |error: PageError| ApiError::validation(error.to_string());
        // One more than the page, to know whether there are more; those before it are not read.
        let limit = u32::try_from(request.size() + 1).unwrap_or(u32::MAX);
        let range = Range { after: request.after().map_err(bad)?, prefix, limit };
        let rows = self.parts.store.list(&event_scope(&flow), &range).await.map_err(store_error)?;
        let page = request.cut(rows, |row| row.id.clone()).map_err(bad)?;
        let mut flow_execution_events = Vec::with_capacity(page.items.len());
        for row in page.items {
            let event: RunEvent =
                serde_json::from_value(row.body).map_err(|error| store_error(error.into()))?;
            flow_execution_events.extend(event.into_execution_event());
        }
        Ok(api::ListFlowExecutionEventsResponse { flow_execution_events, next_token: page.next_token })
    }

    pub async fn get_execution_flow_snapshot(
        &self,
        context: &RequestContext,
        input: api::GetExecutionFlowSnapshotRequest,
    ) -> Result<api::GetExecutionFlowSnapshotResponse, ApiError> {
        let names = (&*input.flow_identifier, &*input.flow_alias_identifier, &*input.execution_identifier);
        let Found { flow, execution, .. } = self.execution(context, names).await?;
        let definition = serde_json::to_string(&execution.body.definition);
        Ok(api::GetExecutionFlowSnapshotResponse {
            customer_encryption_key_arn: execution.body.customer_encryption_key_arn,
            definition: definition.map_err(|error| store_error(error.into()))?,
            execution_role_arn: execution.body.execution_role_arn,
            flow_alias_identifier: flow.alias_arn(&execution.alias_id),
            flow_identifier: flow.arn(),
            flow_version: execution.version,
        })
    }

    pub async fn stop_flow_execution(
        &self,
        context: &RequestContext,
        input: api::StopFlowExecutionRequest,
    ) -> Result<api::StopFlowExecutionResponse, ApiError> {
        let names = (&*input.flow_identifier, &*input.flow_alias_identifier, &*input.execution_identifier);
        let found = self.execution(context, names).await?;
        let scope = scope(&found.flow);
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        let record = transaction.get(&scope, &found.record.id).await.map_err(store_error)?;
        let mut record = record.ok_or_else(|| execution_not_found(&input.execution_identifier))?;
        let mut execution = read(&record)?;
        if execution.status != Status::Running {
            return Err(ApiError::conflict(format!(
                "The execution {} has ended already; its status is {}.",
                execution.name,
                execution.status.as_str()
            )));
        }
        self.abort(&mut transaction, &found.flow, (&mut record, &mut execution)).await?;
        transaction.commit().await.map_err(store_error)?;
        Ok(api::StopFlowExecutionResponse { execution_arn: Some(found.arn()), status: Status::Aborted })
    }

    /// Stops what runs under a flow, or under one of its aliases (`FLOW/` or `FLOW/ALIAS/`), which is about to be deleted.
    pub(crate) async fn stop_all(
        &self,
        transaction: &mut Transaction,
        flow: &FlowRef,
        prefix: &str,
    ) -> Result<(), ApiError> {
        for job in transaction.unfinished(JOB).await.map_err(store_error)? {
            let payload: Payload =
                serde_json::from_value(job.payload).map_err(|error| store_error(error.into()))?;
            if payload.flow() != *flow || !payload.id.starts_with(prefix) {
                continue;
            }
            let record = transaction.get(&scope(flow), &payload.id).await.map_err(store_error)?;
            let Some(mut record) = record else { continue };
            let mut execution = read(&record)?;
            if execution.status == Status::Running {
                self.abort(transaction, flow, (&mut record, &mut execution)).await?;
            }
        }
        Ok(())
    }

    async fn abort(
        &self,
        transaction: &mut Transaction,
        flow: &FlowRef,
        (record, execution): (&mut Record, &mut StoredExecution),
    ) -> Result<(), ApiError> {
        let now_ms = self.parts.clock.now_ms();
        execution.status = Status::Aborted;
        execution.ended_ms = Some(now_ms);
        record.body = write(execution)?;
        transaction.update(&scope(flow), record, None, now_ms).await.map_err(store_error)?;
        transaction.request_stop(&execution.job_id).await.map_err(store_error)?;
        Ok(())
    }

    /// Deletes executions that ended long ago, and runs that waited for an answer for too long, in every account and
    /// region.
    pub async fn forget_old(&self) {
        self.conversations().forget_old().await;
        let days = self.parts.config.execution_retention_days;
        if days == 0 {
            return;
        }
        let before_ms = self.parts.clock.now_ms() - i64::from(days) * DAY_MS;
        let runs = |record: &Record| read(record).is_ok_and(|it| it.status == Status::Running);
        let executions = Ageing::of(KIND, before_ms).with_children(&[EVENT_KIND, NODE_KIND]).unless(&runs);
        self.parts.store.forget_old(&executions).await;
    }

    /// An execution by its flow's, its alias's and its own id or ARN.
    async fn execution(
        &self,
        context: &RequestContext,
        (flow, alias, execution): (&str, &str, &str),
    ) -> Result<Found, ApiError> {
        let flow = FlowRef::parse(context, flow)?;
        // The alias may have been deleted since.
        let alias_id = flow.alias_id(alias)?;
        let name = flow.execution_name(alias_id, execution)?;
        let record = self.parts.store.get(&scope(&flow), &id(&flow, alias_id, name)).await;
        let record = record.map_err(store_error)?.ok_or_else(|| execution_not_found(execution))?;
        Ok(Found { execution: read(&record)?, flow, record })
    }
}
