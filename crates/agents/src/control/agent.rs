//! CreateAgent, GetAgent, ListAgents, UpdateAgent, DeleteAgent.

use std::collections::BTreeMap;

use craton_api_bedrock_agent as api;
use craton_core::{Arn, PageRequest, RequestContext};
use craton_identity::ServiceUse;
use craton_store::{Created, Idempotency, NewRecord, Range, Transaction};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde_json::json;

use super::Agents;
use super::edit::Edit;
use super::prompt_overrides;
use super::records::{
    AgentArns as _, AgentRecord, CollaboratorRecord, DRAFT, ID_LENGTH, Part, Place, Settings, StoredAgent,
    bad_page, kinds, listed, write,
};
use crate::error::{from_store, missing};

/// Agents of an account in a region, as AWS's default quota has it.
const MOST: u64 = 1000;

impl Agents {
    pub async fn create_agent(
        &self,
        context: &RequestContext,
        input: api::CreateAgentRequest,
    ) -> Result<api::CreateAgentResponse, ApiError> {
        let place = Place::of(context);
        let scope = place.scope(kinds::AGENT);
        let mut input = input;
        let tags: BTreeMap<String, String> = input.tags.take().unwrap_or_default().into_iter().collect();
        let token = input.client_token.take();
        let settings = Settings::try_from(input)?;
        self.check_guardrail_exists(context, &settings).await?;
        let id = self.parts.ids.short(ID_LENGTH);
        self.check_role_trust(&place, &id, settings.role_arn.as_deref())?;
        let name = settings.name.clone();
        let request = json!([settings, tags]);
        let body = StoredAgent {
            settings,
            status: api::AgentStatus::NotPrepared,
            failure_reasons: Vec::new(),
            recommended_actions: Vec::new(),
            prepared_ms: None,
        };
        let record = NewRecord {
            id: id.clone(),
            name: Some(name),
            body: write(&body)?,
            now_ms: self.parts.clock.now_ms(),
            idempotency: Idempotency::answering(token.clone(), &request, &id),
            tags: Some((place.agent_arn(&id), tags)),
        };
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let id = match transaction.create(&scope, record).await.map_err(from_store)? {
            Created::New(_) => {
                if transaction.count(&scope).await.map_err(from_store)? > MOST {
                    return Err(ApiError::quota_exceeded(format!(
                        "The account has the {MOST} agents it can have."
                    )));
                }
                transaction.commit().await.map_err(from_store)?;
                id
            }
            Created::Repeated(first) => {
                transaction.rollback().await.map_err(from_store)?;
                first.as_str().unwrap_or_default().to_owned()
            }
        };
        let mut agent = view(&place, &self.agent(&place, &id).await?);
        agent.agent_status = api::AgentStatus::Creating;
        agent.client_token = token;
        Ok(api::CreateAgentResponse { agent })
    }

    pub async fn get_agent(
        &self,
        context: &RequestContext,
        input: api::GetAgentRequest,
    ) -> Result<api::GetAgentResponse, ApiError> {
        let place = Place::of(context);
        let found = self.agent(&place, &input.agent_id).await?;
        Ok(api::GetAgentResponse { agent: view(&place, &found) })
    }

    pub async fn list_agents(
        &self,
        context: &RequestContext,
        input: api::ListAgentsRequest,
    ) -> Result<api::ListAgentsResponse, ApiError> {
        let scope = Place::of(context).scope(kinds::AGENT);
        let records = self.parts.store.list(&scope, &Range::default()).await.map_err(from_store)?;
        let page = PageRequest::of(input.next_token, input.max_results)
            .cut(records, |record| record.id.clone())
            .map_err(bad_page)?;
        let versions = self.parts.store.latest_versions(&scope).await.map_err(from_store)?;
        let mut agent_summaries = Vec::with_capacity(page.items.len());
        for record in &page.items {
            let found: AgentRecord = Part::read(record)?;
            let latest = versions.get(&found.id).map_or(DRAFT.to_owned(), ToString::to_string);
            agent_summaries.push(summary(found, latest));
        }
        Ok(api::ListAgentsResponse { agent_summaries, next_token: page.next_token })
    }

    pub async fn update_agent(
        &self,
        context: &RequestContext,
        input: api::UpdateAgentRequest,
    ) -> Result<api::UpdateAgentResponse, ApiError> {
        let place = Place::of(context);
        let id = input.agent_id.clone();
        let settings = Settings::try_from(input)?;
        self.check_guardrail_exists(context, &settings).await?;
        self.check_role_trust(&place, &id, settings.role_arn.as_deref())?;
        let mut edit = Edit::begin(self, place.clone(), &id).await?;
        let collaborators: Vec<CollaboratorRecord> = edit.parts(kinds::COLLABORATOR).await?;
        if settings.collaboration == api::AgentCollaboration::Disabled && !collaborators.is_empty() {
            return Err(ApiError::validation(
                "The agent has collaborators. Disassociate them before its agentCollaboration is DISABLED.",
            ));
        }
        edit.agent.body.settings = settings;
        let mut agent = view(&place, &edit.finish().await?);
        agent.agent_status = api::AgentStatus::Updating;
        Ok(api::UpdateAgentResponse { agent })
    }

    /// Deletes an agent with all that hangs on it. In use it stays, unless the request says otherwise.
    pub async fn delete_agent(
        &self,
        context: &RequestContext,
        input: api::DeleteAgentRequest,
    ) -> Result<api::DeleteAgentResponse, ApiError> {
        let (place, id) = (Place::of(context), input.agent_id);
        let scope = place.scope(kinds::AGENT);
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        if transaction.get(&scope, &id).await.map_err(from_store)?.is_none() {
            return Err(missing(&id));
        }
        let aliases = transaction.list_aliases(&scope, &id).await.map_err(from_store)?;
        if !input.skip_resource_in_use_check.unwrap_or_default() {
            let aliases: Vec<&str> = aliases.iter().map(|alias| alias.name.as_str()).collect();
            check_unused(&mut transaction, &place, &id, &aliases).await?;
        }
        for alias in &aliases {
            transaction.forget_tags(&place.alias_arn(&id, &alias.id)).await.map_err(from_store)?;
        }
        let own = super::records::within(&id, "");
        for kind in [kinds::ACTION_GROUP, kinds::KNOWLEDGE_BASE, kinds::COLLABORATOR] {
            for record in transaction
                .list(&place.scope(kind), &Range { prefix: own.clone(), ..Range::default() })
                .await
                .map_err(from_store)?
            {
                transaction.delete(&place.scope(kind), &record.id, None).await.map_err(from_store)?;
            }
        }
        forget_users(&mut transaction, &place, &format!("{id}/")).await?;
        transaction.delete(&place.scope(kinds::PREPARED), &id, None).await.map_err(from_store)?;
        transaction.delete(&scope, &id, Some(&place.agent_arn(&id))).await.map_err(from_store)?;
        transaction.commit().await.map_err(from_store)?;
        Ok(api::DeleteAgentResponse { agent_id: id, agent_status: api::AgentStatus::Deleting })
    }

    /// Whether the role that is handed over lets agents act with it.
    fn check_role_trust(&self, place: &Place, id: &str, role_arn: Option<&str>) -> Result<(), ApiError> {
        let Some(role_arn) = role_arn.filter(|arn| !arn.is_empty()) else { return Ok(()) };
        let source_arn = place.agent_arn(id);
        self.parts.permissions.check_trust(&ServiceUse {
            role_arn,
            service: "bedrock.amazonaws.com",
            source_arn: Some(&source_arn),
        })
    }

    /// Whether `arn` is, in its only spelling, an agent or an agent alias that is there.
    pub async fn has_resource(&self, context: &RequestContext, arn: &str) -> Result<bool, ApiError> {
        let Ok(parsed) = arn.parse::<Arn>() else { return Ok(false) };
        let place = Place { account: context.account.id.clone(), region: parsed.region.clone() };
        let (kind, rest) = parsed.resource_parts();
        let (agent_id, alias_id) = match rest.split_once('/') {
            Some((agent_id, alias_id)) if kind == "agent-alias" => (agent_id, Some(alias_id)),
            None if kind == "agent" => (rest, None),
            _ => return Ok(false),
        };
        let own = match alias_id {
            Some(alias_id) => place.alias_arn(agent_id, alias_id),
            None => place.agent_arn(agent_id),
        };
        if own != arn {
            return Ok(false);
        }
        let scope = place.scope(kinds::AGENT);
        Ok(match alias_id {
            Some(id) => self.parts.store.alias(&scope, agent_id, id).await.map_err(from_store)?.is_some(),
            None => self.parts.store.get(&scope, agent_id).await.map_err(from_store)?.is_some(),
        })
    }
}

/// An agent is in use while it has aliases or is a collaborator of another.
async fn check_unused(
    transaction: &mut Transaction,
    place: &Place,
    id: &str,
    aliases: &[&str],
) -> Result<(), ApiError> {
    if !aliases.is_empty() {
        return Err(ApiError::conflict(format!(
            "The agent {id} has the aliases {}. Delete them first, or set skipResourceInUseCheck.",
            aliases.join(", ")
        )));
    }
    let prefix = place.alias_arn(id, "");
    let all = transaction.list(&place.scope(kinds::COLLABORATOR), &Range::default()).await;
    for record in all.map_err(from_store)? {
        let supervisor = record.id.split('/').next().unwrap_or_default().to_owned();
        let collaborator: CollaboratorRecord = Part::read(&record)?;
        if supervisor != id && collaborator.body.alias_arn.starts_with(&prefix) {
            return Err(ApiError::conflict(format!(
                "The agent {id} is a collaborator of the agent {supervisor}. Disassociate it first, or set \
                 skipResourceInUseCheck."
            )));
        }
    }
    Ok(())
}

fn summary(found: AgentRecord, latest: String) -> api::AgentSummary {
    let updated_at = found.updated();
    api::AgentSummary {
        agent_id: found.id,
        agent_name: found.body.settings.name,
        agent_status: found.body.status,
        description: found.body.settings.description,
        updated_at,
        latest_agent_version: Some(latest),
        guardrail_configuration: found.body.settings.guardrail,
    }
}

pub(super) fn view(place: &Place, found: &AgentRecord) -> api::Agent {
    let settings = found.body.settings.clone();
    let prompts = prompt_overrides::shown(&settings);
    api::Agent {
        agent_id: found.id.clone(),
        agent_name: settings.name,
        agent_arn: place.agent_arn(&found.id),
        agent_version: DRAFT.to_owned(),
        client_token: None,
        instruction: settings.instruction,
        agent_status: found.body.status,
        foundation_model: settings.foundation_model,
        description: settings.description,
        orchestration_type: Some(api::OrchestrationType::Default),
        custom_orchestration: None,
        idle_session_ttl_in_seconds: settings.idle_session_ttl_s,
        agent_resource_role_arn: settings.role_arn.unwrap_or_default(),
        customer_encryption_key_arn: settings.customer_encryption_key_arn,
        created_at: found.created(),
        updated_at: found.updated(),
        prepared_at: found.body.prepared_ms.map(Timestamp::from_ms),
        failure_reasons: listed(&found.body.failure_reasons),
        recommended_actions: listed(&found.body.recommended_actions),
        prompt_override_configuration: Some(prompts),
        guardrail_configuration: settings.guardrail,
        memory_configuration: settings.memory,
        agent_collaboration: Some(settings.collaboration),
    }
}

/// Deletes what an agent, or one of its aliases, keeps of its users: sessions and memory.
pub(super) async fn forget_users(
    transaction: &mut Transaction,
    place: &Place,
    prefix: &str,
) -> Result<(), ApiError> {
    for kind in [kinds::SESSION, kinds::SESSION_FILE, kinds::MEMORY] {
        transaction.delete_within(&place.scope(kind), prefix).await.map_err(from_store)?;
    }
    Ok(())
}
