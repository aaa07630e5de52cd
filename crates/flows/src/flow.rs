//! CreateFlow, GetFlow, ListFlows, UpdateFlow, DeleteFlow, PrepareFlow, ValidateFlowDefinition.

use craton_api_bedrock_agent as api;
use craton_api_bedrock_agent::{FlowStatus, FlowValidationSeverity};
use craton_core::{PageRequest, RequestContext};
use craton_store::{Created, Idempotency, NewRecord, Range, Record, Scope};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde_json::Value;

use crate::error::{flow_not_found, store_error};
use crate::identifier::{DRAFT, FlowRef, ID_LENGTH};
use crate::{Flows, StoredFlow, quota};

/// The answers of three operations are three types with the same fields.
macro_rules! answer {
    ($name:ident, $flow:expr, $record:expr $(, $field:ident: $value:expr)*) => {{
        let (flow, record): (&FlowRef, &Record) = ($flow, $record);
        let body = read(&record.body)?;
        api::$name {
            name: body.name,
            description: body.description,
            execution_role_arn: body.execution_role_arn,
            customer_encryption_key_arn: body.customer_encryption_key_arn,
            id: flow.id.clone(),
            arn: flow.arn(),
            status: body.status,
            created_at: Timestamp::from_ms(record.created_ms),
            updated_at: Timestamp::from_ms(record.updated_ms),
            version: DRAFT.to_owned(),
            definition: Some(body.definition),
            $($field: $value,)*
        }
    }};
}

impl Flows {
    pub async fn create_flow(
        &self,
        context: &RequestContext,
        input: api::CreateFlowRequest,
    ) -> Result<api::CreateFlowResponse, ApiError> {
        let name = input.name.clone();
        input.definition.as_ref().map_or(Ok(()), quota::check)?;
        let body = StoredFlow {
            name: input.name,
            description: input.description,
            execution_role_arn: input.execution_role_arn,
            customer_encryption_key_arn: input.customer_encryption_key_arn,
            definition: input.definition.unwrap_or_default(),
            status: FlowStatus::NotPrepared,
        };
        let id = self.parts.ids.short(ID_LENGTH);
        let flow = FlowRef::parse(context, &id)?;
        self.check_trust(&body.execution_role_arn, &flow.arn())?;
        let tags = input.tags.unwrap_or_default().into_iter().collect();
        let body = write(&body)?;
        let request = serde_json::json!([body, tags]);
        let new = NewRecord {
            id: id.clone(),
            name: Some(name),
            body,
            now_ms: self.parts.clock.now_ms(),
            idempotency: Idempotency::answering(input.client_token, &request, &id),
            tags: Some((flow.arn(), tags)),
        };
        let (flow, record) = match self.parts.store.create(&flow.scope(), new).await.map_err(store_error)? {
            Created::New(record) => (flow, record),
            Created::Repeated(first) => {
                let flow = FlowRef { id: first.as_str().unwrap_or_default().to_owned(), ..flow };
                let record = self.draft(&flow).await?;
                (flow, record)
            }
        };
        Ok(answer!(CreateFlowResponse, &flow, &record))
    }

    pub async fn get_flow(
        &self,
        context: &RequestContext,
        input: api::GetFlowRequest,
    ) -> Result<api::GetFlowResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let record = self.draft(&flow).await?;
        let mut answer = answer!(GetFlowResponse, &flow, &record, validations: None);
        if matches!(input.included_data, Some(api::IncludedData::MetadataOnly)) {
            answer.definition = None;
        } else if let Some(definition) = &answer.definition {
            // What can't be looked up keeps nobody from reading the flow.
            let (findings, looked_up) = self.findings(context, definition).await;
            if let Err(error) = looked_up {
                tracing::warn!(
                    why = error.message,
                    flow = flow.id,
                    "what a flow names could not be looked up"
                );
            }
            answer.validations = Some(findings);
        }
        Ok(answer)
    }

    pub async fn list_flows(
        &self,
        context: &RequestContext,
        input: api::ListFlowsRequest,
    ) -> Result<api::ListFlowsResponse, ApiError> {
        let scope = Scope::new("flow", context.account.id.clone(), context.region.clone());
        let records = self.parts.store.list(&scope, &Range::default()).await.map_err(store_error)?;
        let page = page(input.next_token, input.max_results, records, |record| record.id.clone())?;
        let summaries = page.items.into_iter().map(|record| {
            let flow = FlowRef::parse(context, &record.id)?;
            let body = read(&record.body)?;
            Ok(api::FlowSummary {
                name: body.name,
                description: body.description,
                arn: flow.arn(),
                id: flow.id,
                status: body.status,
                created_at: Timestamp::from_ms(record.created_ms),
                updated_at: Timestamp::from_ms(record.updated_ms),
                version: DRAFT.to_owned(),
            })
        });
        let flow_summaries = summaries.collect::<Result<_, ApiError>>()?;
        Ok(api::ListFlowsResponse { flow_summaries, next_token: page.next_token })
    }

    /// Replaces the draft, which must then be prepared again.
    pub async fn update_flow(
        &self,
        context: &RequestContext,
        input: api::UpdateFlowRequest,
    ) -> Result<api::UpdateFlowResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let mut record = self.draft(&flow).await?;
        self.check_trust(&input.execution_role_arn, &flow.arn())?;
        input.definition.as_ref().map_or(Ok(()), quota::check)?;
        record.name = Some(input.name.clone());
        record.body = write(&StoredFlow {
            name: input.name,
            description: input.description,
            execution_role_arn: input.execution_role_arn,
            customer_encryption_key_arn: input.customer_encryption_key_arn,
            definition: input.definition.unwrap_or_default(),
            status: FlowStatus::NotPrepared,
        })?;
        let now_ms = self.parts.clock.now_ms();
        let expected = Some(record.version);
        let updated = self.parts.store.update(&flow.scope(), &record, expected, now_ms).await;
        let record = updated.map_err(store_error)?;
        Ok(answer!(UpdateFlowResponse, &flow, &record))
    }

    /// Deletes a flow with its versions, and stops its executions. While it has aliases, only if the client says so.
    pub async fn delete_flow(
        &self,
        context: &RequestContext,
        input: api::DeleteFlowRequest,
    ) -> Result<api::DeleteFlowResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let scope = flow.scope();
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        let aliases = transaction.list_aliases(&scope, &flow.id).await.map_err(store_error)?;
        if !aliases.is_empty() && input.skip_resource_in_use_check != Some(true) {
            return Err(ApiError::conflict(format!(
                "The flow {} has aliases. Delete them first, or set skipResourceInUseCheck.",
                flow.id
            )));
        }
        for alias in aliases {
            transaction.forget_tags(&flow.alias_arn(&alias.id)).await.map_err(store_error)?;
        }
        self.stop_all(&mut transaction, &flow, &format!("{}/", flow.id)).await?;
        let deleted = transaction.delete(&scope, &flow.id, Some(&flow.arn())).await;
        if !deleted.map_err(store_error)? {
            return Err(flow_not_found(&input.flow_identifier));
        }
        transaction.commit().await.map_err(store_error)?;
        Ok(api::DeleteFlowResponse { id: flow.id })
    }

    /// Makes the draft ready to be invoked, or marks it as failed where its definition has errors; GetFlow says which.
    pub async fn prepare_flow(
        &self,
        context: &RequestContext,
        input: api::PrepareFlowRequest,
    ) -> Result<api::PrepareFlowResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let scope = flow.scope();
        let record = self.parts.store.get(&scope, &flow.id).await.map_err(store_error)?;
        let mut record = record.ok_or_else(|| flow_not_found(&input.flow_identifier))?;
        let mut body = read(&record.body)?;
        let (findings, looked_up) = self.findings(context, &body.definition).await;
        looked_up?;
        let failed = findings.iter().any(|finding| finding.severity == FlowValidationSeverity::Error);
        body.status = if failed { FlowStatus::Failed } else { FlowStatus::Prepared };
        record.body = write(&body)?;
        let (expected, now_ms) = (Some(record.version), self.parts.clock.now_ms());
        self.parts.store.update(&scope, &record, expected, now_ms).await.map_err(store_error)?;
        Ok(api::PrepareFlowResponse { id: flow.id, status: body.status })
    }

    pub async fn validate_flow_definition(
        &self,
        context: &RequestContext,
        input: api::ValidateFlowDefinitionRequest,
    ) -> Result<api::ValidateFlowDefinitionResponse, ApiError> {
        let (validations, looked_up) = self.findings(context, &input.definition).await;
        looked_up?;
        Ok(api::ValidateFlowDefinitionResponse { validations })
    }

    /// Whether `arn` is a flow's, or one of its aliases', that is there.
    pub async fn has_flow(&self, context: &RequestContext, arn: &str) -> Result<bool, ApiError> {
        let (flow_arn, alias) = match arn.split_once("/alias/") {
            Some((flow, alias)) => (flow, Some(alias)),
            None => (arn, None),
        };
        let Ok(flow) = FlowRef::parse(context, flow_arn) else { return Ok(false) };
        let there = self.parts.store.get(&flow.scope(), &flow.id).await.map_err(store_error)?.is_some();
        match alias {
            Some(alias) if there => {
                let alias = self.parts.store.alias(&flow.scope(), &flow.id, alias).await;
                Ok(alias.map_err(store_error)?.is_some())
            }
            _ => Ok(there && flow.arn() == arn),
        }
    }

    pub(crate) async fn draft(&self, flow: &FlowRef) -> Result<Record, ApiError> {
        let record = self.parts.store.get(&flow.scope(), &flow.id).await.map_err(store_error)?;
        record.ok_or_else(|| flow_not_found(&flow.id))
    }
}

pub(crate) fn write(body: &StoredFlow) -> Result<Value, ApiError> {
    serde_json::to_value(body).map_err(|error| store_error(error.into()))
}

pub(crate) fn read(body: &Value) -> Result<StoredFlow, ApiError> {
    use serde::Deserialize as _;
    StoredFlow::deserialize(body).map_err(|error| store_error(error.into()))
}

/// A page of a list, as a client asks for it.
pub(crate) fn page<T>(
    next_token: Option<String>,
    max_results: Option<i32>,
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
) -> Result<craton_core::Page<T>, ApiError> {
    let request = PageRequest::of(next_token, max_results);
    request.cut(items, key).map_err(|error| ApiError::validation(error.to_string()))
}
