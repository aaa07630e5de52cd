//! GetAgentVersion, ListAgentVersions, DeleteAgentVersion. Versions are made by CreateAgentAlias and UpdateAgentAlias.

use craton_api_bedrock_agent as api;
use craton_core::{PageRequest, RequestContext};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;

use super::records::{AgentArns as _, DRAFT, Kept, Place, bad_page, kinds};
use super::{Agents, prompt_overrides};
use crate::error::{from_store, missing};

impl Agents {
    pub async fn get_agent_version(
        &self,
        context: &RequestContext,
        input: api::GetAgentVersionRequest,
    ) -> Result<api::GetAgentVersionResponse, ApiError> {
        let place = Place::of(context);
        self.agent(&place, &input.agent_id).await?;
        let found = self.snapshot(&place, &input.agent_id, &input.agent_version).await?;
        Ok(api::GetAgentVersionResponse { agent_version: view(&place, &input.agent_id, found) })
    }

    /// The draft and all versions.
    pub async fn list_agent_versions(
        &self,
        context: &RequestContext,
        input: api::ListAgentVersionsRequest,
    ) -> Result<api::ListAgentVersionsResponse, ApiError> {
        let place = Place::of(context);
        let draft = self.agent(&place, &input.agent_id).await?;
        let mut summaries = vec![api::AgentVersionSummary {
            agent_name: draft.body.settings.name.clone(),
            agent_status: draft.body.status,
            agent_version: DRAFT.to_owned(),
            created_at: draft.created(),
            updated_at: draft.updated(),
            description: draft.body.settings.description,
            guardrail_configuration: draft.body.settings.guardrail,
        }];
        let versions = self.parts.store.list_versions(&place.scope(kinds::AGENT), &input.agent_id).await;
        for version in versions.map_err(from_store)? {
            let Kept { number, created_ms, snapshot } = Kept::read(&version)?;
            summaries.push(api::AgentVersionSummary {
                agent_name: snapshot.settings.name,
                agent_status: api::AgentStatus::Prepared,
                agent_version: number.to_string(),
                created_at: Timestamp::from_ms(created_ms),
                updated_at: Timestamp::from_ms(created_ms),
                description: snapshot.settings.description,
                guardrail_configuration: snapshot.settings.guardrail,
            });
        }
        // The draft comes first, then versions by number.
        let order = |it: &api::AgentVersionSummary| format!("{:0>10}", it.agent_version.replace(DRAFT, "0"));
        let page =
            PageRequest::of(input.next_token, input.max_results).cut(summaries, order).map_err(bad_page)?;
        Ok(api::ListAgentVersionsResponse {
            agent_version_summaries: page.items,
            next_token: page.next_token,
        })
    }

    /// A version that an alias points at stays, unless the request says otherwise: then the alias is dissociated.
    pub async fn delete_agent_version(
        &self,
        context: &RequestContext,
        input: api::DeleteAgentVersionRequest,
    ) -> Result<api::DeleteAgentVersionResponse, ApiError> {
        let (place, id) = (Place::of(context), input.agent_id);
        let scope = place.scope(kinds::AGENT);
        let number: i64 = input.agent_version.parse().map_err(|_| missing(&input.agent_version))?;
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        if transaction.get(&scope, &id).await.map_err(from_store)?.is_none() {
            return Err(missing(&id));
        }
        let aliases = transaction.aliases_of(&scope, &id, number).await.map_err(from_store)?;
        if !aliases.is_empty() && !input.skip_resource_in_use_check.unwrap_or_default() {
            return Err(ApiError::conflict(format!(
                "The version {number} of the agent {id} is used by the aliases {}. Point them at another version \
                 first, or set skipResourceInUseCheck.",
                aliases.join(", ")
            )));
        }
        if !transaction.delete_version(&scope, &id, number).await.map_err(from_store)? {
            return Err(missing(&input.agent_version));
        }
        transaction.commit().await.map_err(from_store)?;
        Ok(api::DeleteAgentVersionResponse {
            agent_id: id,
            agent_version: number.to_string(),
            agent_status: api::AgentStatus::Deleting,
        })
    }
}

fn view(place: &Place, agent_id: &str, found: Kept) -> api::AgentVersion {
    let Kept { number, created_ms, snapshot } = found;
    let settings = snapshot.settings;
    let prompts = prompt_overrides::shown(&settings);
    api::AgentVersion {
        agent_id: agent_id.to_owned(),
        agent_name: settings.name,
        agent_arn: place.agent_arn(agent_id),
        version: number.to_string(),
        instruction: settings.instruction,
        agent_status: api::AgentStatus::Prepared,
        foundation_model: settings.foundation_model,
        description: settings.description,
        idle_session_ttl_in_seconds: settings.idle_session_ttl_s,
        agent_resource_role_arn: settings.role_arn.unwrap_or_default(),
        customer_encryption_key_arn: settings.customer_encryption_key_arn,
        created_at: Timestamp::from_ms(created_ms),
        updated_at: Timestamp::from_ms(created_ms),
        failure_reasons: None,
        recommended_actions: None,
        prompt_override_configuration: Some(prompts),
        guardrail_configuration: settings.guardrail,
        memory_configuration: settings.memory,
        agent_collaboration: Some(settings.collaboration),
    }
}
