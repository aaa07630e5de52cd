//! CreateFlowVersion, GetFlowVersion, ListFlowVersions, DeleteFlowVersion.

use craton_api_bedrock_agent as api;
use craton_api_bedrock_agent::FlowStatus;
use craton_core::RequestContext;
use craton_store::Idempotency;
use craton_store::versions::Version;
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde_json::Value;

use crate::Flows;
use crate::error::{flow_not_found, store_error};
use crate::flow::{page, read, write};
use crate::identifier::{FlowRef, version_number};
use crate::quota::MOST_VERSIONS;

macro_rules! answer {
    ($name:ident, $flow:expr, $version:expr) => {{
        let (flow, version): (&FlowRef, &Version) = ($flow, $version);
        let body = read(&version.body)?;
        let number = version.number.to_string();
        api::$name {
            name: body.name,
            description: body.description,
            execution_role_arn: body.execution_role_arn,
            customer_encryption_key_arn: body.customer_encryption_key_arn,
            id: flow.id.clone(),
            arn: flow.version_arn(&number),
            status: body.status,
            created_at: Timestamp::from_ms(version.created_ms),
            version: number,
            definition: Some(body.definition),
        }
    }};
}

impl Flows {
    /// Keeps the draft as the next version. It must have been prepared as it is.
    pub async fn create_flow_version(
        &self,
        context: &RequestContext,
        input: api::CreateFlowVersionRequest,
    ) -> Result<api::CreateFlowVersionResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let scope = flow.scope();
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        let draft = transaction.get(&scope, &flow.id).await.map_err(store_error)?;
        let mut body = read(&draft.ok_or_else(|| flow_not_found(&input.flow_identifier))?.body)?;
        let request = serde_json::json!(input.description);
        body.description = input.description.or(body.description);
        let now_ms = self.parts.clock.now_ms();
        let version = transaction.publish(&scope, &flow.id, write(&body)?, now_ms).await;
        let version = version.map_err(store_error)?;
        if let Some(token) = input.client_token {
            // Tokens are one operation's, on one flow.
            let token = format!("{}/versions/{token}", flow.id);
            let idempotency = Idempotency::of(token, &request, Value::from(version.number));
            let first = transaction.claim(&scope, &flow.id, &idempotency, now_ms).await;
            if let Some(first) = first.map_err(store_error)? {
                drop(transaction);
                let first = self.version(&flow, &first.to_string()).await?;
                return Ok(answer!(CreateFlowVersionResponse, &flow, &first));
            }
        }
        let numbers = transaction.version_numbers(&scope, &flow.id).await.map_err(store_error)?;
        if numbers.len() > MOST_VERSIONS {
            return Err(ApiError::quota_exceeded(format!(
                "The flow {} has the {MOST_VERSIONS} versions it can have. Delete one first.",
                flow.id
            )));
        }
        // Asked last, so that a repeated request is answered whatever became of the draft since.
        if body.status != FlowStatus::Prepared {
            return Err(ApiError::validation(format!(
                "The flow {} is not prepared. Prepare it with PrepareFlow before you create a version.",
                flow.id
            )));
        }
        transaction.commit().await.map_err(store_error)?;
        Ok(answer!(CreateFlowVersionResponse, &flow, &version))
    }

    pub async fn get_flow_version(
        &self,
        context: &RequestContext,
        input: api::GetFlowVersionRequest,
    ) -> Result<api::GetFlowVersionResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let version = self.version(&flow, &input.flow_version).await?;
        let mut answer = answer!(GetFlowVersionResponse, &flow, &version);
        if matches!(input.included_data, Some(api::IncludedData::MetadataOnly)) {
            answer.definition = None;
        }
        Ok(answer)
    }

    /// Versions by number; the draft is the flow itself.
    pub async fn list_flow_versions(
        &self,
        context: &RequestContext,
        input: api::ListFlowVersionsRequest,
    ) -> Result<api::ListFlowVersionsResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        self.draft(&flow).await?;
        let versions = self.parts.store.list_versions(&flow.scope(), &flow.id).await.map_err(store_error)?;
        let page = page(input.next_token, input.max_results, versions, |it| format!("{:0>10}", it.number))?;
        let summaries = page.items.into_iter().map(|version| {
            let number = version.number.to_string();
            Ok(api::FlowVersionSummary {
                id: flow.id.clone(),
                arn: flow.version_arn(&number),
                status: read(&version.body)?.status,
                created_at: Timestamp::from_ms(version.created_ms),
                version: number,
            })
        });
        let flow_version_summaries = summaries.collect::<Result<_, ApiError>>()?;
        Ok(api::ListFlowVersionsResponse { flow_version_summaries, next_token: page.next_token })
    }

    pub async fn delete_flow_version(
        &self,
        context: &RequestContext,
        input: api::DeleteFlowVersionRequest,
    ) -> Result<api::DeleteFlowVersionResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let scope = flow.scope();
        let number = self.version(&flow, &input.flow_version).await?.number;
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        let aliases = transaction.aliases_of(&scope, &flow.id, number).await.map_err(store_error)?;
        if !aliases.is_empty() && input.skip_resource_in_use_check != Some(true) {
            return Err(ApiError::conflict(format!(
                "Version {number} of the flow {} is used by the aliases {}. Point them elsewhere first, or set \
                 skipResourceInUseCheck.",
                flow.id,
                aliases.join(", ")
            )));
        }
        if !transaction.delete_version(&scope, &flow.id, number).await.map_err(store_error)? {
            return Err(version_not_found(&flow, &input.flow_version));
        }
        transaction.commit().await.map_err(store_error)?;
        Ok(api::DeleteFlowVersionResponse { id: flow.id, version: input.flow_version })
    }

    pub(crate) async fn version(&self, flow: &FlowRef, version: &str) -> Result<Version, ApiError> {
        let not_found = || version_not_found(flow, version);
        let number = version_number(version)?.ok_or_else(not_found)?;
        let found = self.parts.store.version(&flow.scope(), &flow.id, number).await.map_err(store_error)?;
        found.ok_or_else(not_found)
    }
}

fn version_not_found(flow: &FlowRef, version: &str) -> ApiError {
    ApiError::not_found(format!("Could not find version {version} of the flow {}.", flow.id))
}
