//! StartFlowExecution and its companions: GetFlowExecution, ListFlowExecutions, ListFlowExecutionEvents,
//! GetExecutionFlowSnapshot, StopFlowExecution.
//!
//! An execution is a record and a job, written together. The record has the flow as it was at the start, so that
//! neither a changed draft nor a moved alias changes an execution that runs.

use craton_api_bedrock_agent_runtime as api;
use craton_api_bedrock_agent_runtime::FlowExecutionStatus as Status;
use craton_core::RequestContext;
use craton_store::jobs::NewJob;
use craton_store::{NewRecord, Range, Record, Scope};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::store_error;
use crate::flow::page;
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
    pub ended_ms: Option<i64>,
    /// Why it timed out.
    pub error: Option<String>,
}

/// What is kept of one event.
#[derive(Serialize, Deserialize)]
struct StoredEvent {
    of_node: bool,
    event: RunEvent,
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

/// The row of an event, in the order in which it happened.
pub(crate) fn event_row(
    execution: &str,
    number: u64,
    event: &RunEvent,
    now_ms: i64,
) -> Result<NewRecord, ApiError> {
    let stored = StoredEvent { of_node: event.is_of_node(), event: event.clone() };
    row(format!("{execution}/{number:012}"), &stored, now_ms)
}

/// The row of what a run of a node gave.
pub(crate) fn node_row(
    execution: &str,
    key: &str,
    given: &Given,
    now_ms: i64,
) -> Result<NewRecord, ApiError> {
    row(format!("{execution}/{key}"), given, now_ms)
}

fn row(id: String, body: &impl Serialize, now_ms: i64) -> Result<NewRecord, ApiError> {
    let body = serde_json::to_value(body).map_err(|error| store_error(error.into()))?;
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
            ended_ms: None,
            error: None,
        };
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        if transaction.get(&scope(flow), &id).await.map_err(store_error)?.is_some() {
            return Err(ApiError::conflict(format!(
                "An execution with the name {name} already exists under this alias. Choose another name."
            )));
        }
        transaction.create(&scope(flow), row(id.clone(), &execution, now_ms)?).await.map_err(store_error)?;
        let begun = RunEvent::FlowInput {
            node: input.inputs.into_iter().next().map(|input| input.node_name).unwrap_or_default(),
            name: "document".to_owned(),
            value: document,
            at_ms: now_ms,
        };
        let event = event_row(&id, 0, &begun, now_ms)?;
        transaction.create(&event_scope(flow), event).await.map_err(store_error)?;
        let payload = json!({"id": id, "account": flow.account, "region": flow.region, "flow": flow.id});
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
            Some(alias) => format!("{}/{}/", flow.id, self.alias(&flow, alias).await?.id),
            None => format!("{}/", flow.id),
        };
        let range = Range { prefix, ..Range::default() };
        let mut records = self.parts.store.list(&scope(&flow), &range).await.map_err(store_error)?;
        let newest_first = |record: &Record| format!("{:020}/{}", i64::MAX - record.created_ms, record.id);
        records.sort_by_cached_key(newest_first);
        let most = input.max_results.unwrap_or(PAGE).min(PAGE);
        let page = page(input.next_token, Some(most), records, newest_first)?;
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
        let range = Range { prefix: format!("{}/", record.id), ..Range::default() };
        let rows = self.parts.store.list(&event_scope(&flow), &range).await.map_err(store_error)?;
        let of_node = input.event_type == api::FlowExecutionEventType::Node;
        let mut events = Vec::new();
        for row in rows {
            let stored = StoredEvent::deserialize(&row.body).map_err(|error| store_error(error.into()))?;
            if stored.of_node == of_node
                && let Some(event) = stored.event.into_execution_event()
            {
                events.push((row.id, event));
            }
        }
        let most = input.max_results.unwrap_or(PAGE).min(PAGE);
        let page = page(input.next_token, Some(most), events, |(id, _)| id.clone())?;
        let flow_execution_events = page.items.into_iter().map(|(_, event)| event).collect();
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
        let (scope, now_ms) = (scope(&found.flow), self.parts.clock.now_ms());
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
        execution.status = Status::Aborted;
        execution.ended_ms = Some(now_ms);
        record.body = write(&execution)?;
        transaction.update(&scope, &record, None, now_ms).await.map_err(store_error)?;
        transaction.request_stop(&execution.job_id).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)?;
        Ok(api::StopFlowExecutionResponse { execution_arn: Some(found.arn()), status: Status::Aborted })
    }

    /// An execution by its flow's, its alias's and its own id or ARN.
    async fn execution(
        &self,
        context: &RequestContext,
        (flow, alias, execution): (&str, &str, &str),
    ) -> Result<Found, ApiError> {
        let flow = FlowRef::parse(context, flow)?;
        let alias = self.alias(&flow, alias).await?;
        let name = flow.execution_name(&alias.id, execution)?;
        let record = self.parts.store.get(&scope(&flow), &id(&flow, &alias.id, name)).await;
        let record = record.map_err(store_error)?.ok_or_else(|| execution_not_found(execution))?;
        Ok(Found { execution: read(&record)?, flow, record })
    }
}
