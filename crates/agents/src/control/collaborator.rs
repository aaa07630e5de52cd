//! AssociateAgentCollaborator, GetAgentCollaborator, ListAgentCollaborators, UpdateAgentCollaborator,
//! DisassociateAgentCollaborator.

use craton_api_bedrock_agent as api;
use craton_core::{PageRequest, RequestContext};
use craton_store::Idempotency;
use craton_wire::ApiError;
use serde_json::json;

use super::edit::{Edit, NewPart};
use super::records::{
    CollaboratorRecord, DRAFT, ID_LENGTH, Place, StoredCollaborator, TEST_ALIAS, bad_page, kinds,
};
use super::{Agents, AliasRef};
use crate::error::missing;

/// Collaborators of an agent, as AWS's default quota has it.
const MOST: usize = 1000;

impl Agents {
    pub async fn associate_agent_collaborator(
        &self,
        context: &RequestContext,
        input: api::AssociateAgentCollaboratorRequest,
    ) -> Result<api::AssociateAgentCollaboratorResponse, ApiError> {
        let place = Place::of(context);
        let alias_arn = self.check_collaborator(context, &input.agent_id, input.agent_descriptor).await?;
        let body = StoredCollaborator {
            alias_arn,
            instruction: input.collaboration_instruction,
            relay: input.relay_conversation_history.unwrap_or(api::RelayConversationHistory::Disabled),
        };
        let id = self.parts.ids.short(ID_LENGTH);
        let token = input.client_token;
        let request = json!([input.agent_id, input.collaborator_name, body]);
        let mut edit = Edit::begin(self, place, &input.agent_id).await?;
        if edit.agent.body.settings.collaboration == api::AgentCollaboration::Disabled {
            return Err(ApiError::validation(format!(
                "The agent {} can't have collaborators: its agentCollaboration is DISABLED. Set it to SUPERVISOR or \
                 SUPERVISOR_ROUTER first.",
                input.agent_id
            )));
        }
        let created = edit
            .create(NewPart {
                kind: kinds::COLLABORATOR,
                id: &id,
                name: &input.collaborator_name,
                body: &body,
                idempotency: Idempotency::answering(token.clone(), &request, &id),
            })
            .await?;
        let found: CollaboratorRecord = edit.part(kinds::COLLABORATOR, &created).await?;
        if created == id {
            if edit.parts::<StoredCollaborator>(kinds::COLLABORATOR).await?.len() > MOST {
                return Err(ApiError::quota_exceeded(format!(
                    "The agent has the {MOST} collaborators it can have."
                )));
            }
            edit.finish().await?;
        } else {
            edit.leave().await?;
        }
        let mut agent_collaborator = view(&input.agent_id, DRAFT, &found);
        agent_collaborator.client_token = token;
        Ok(api::AssociateAgentCollaboratorResponse { agent_collaborator })
    }

    pub async fn get_agent_collaborator(
        &self,
        context: &RequestContext,
        input: api::GetAgentCollaboratorRequest,
    ) -> Result<api::GetAgentCollaboratorResponse, ApiError> {
        let all = self.collaborators(&Place::of(context), &input.agent_id, &input.agent_version).await?;
        let found = all.into_iter().find(|it| it.id == input.collaborator_id);
        let found = found.ok_or_else(|| missing(&input.collaborator_id))?;
        let agent_collaborator = view(&input.agent_id, &input.agent_version, &found);
        Ok(api::GetAgentCollaboratorResponse { agent_collaborator })
    }

    pub async fn list_agent_collaborators(
        &self,
        context: &RequestContext,
        input: api::ListAgentCollaboratorsRequest,
    ) -> Result<api::ListAgentCollaboratorsResponse, ApiError> {
        let all = self.collaborators(&Place::of(context), &input.agent_id, &input.agent_version).await?;
        let page = PageRequest::of(input.next_token, input.max_results)
            .cut(all, |found| found.id.clone())
            .map_err(bad_page)?;
        let summary = |found: CollaboratorRecord| {
            let found = view(&input.agent_id, &input.agent_version, &found);
            api::AgentCollaboratorSummary {
                agent_id: found.agent_id,
                agent_version: found.agent_version,
                collaborator_id: found.collaborator_id,
                agent_descriptor: found.agent_descriptor,
                collaboration_instruction: found.collaboration_instruction,
                relay_conversation_history: found
                    .relay_conversation_history
                    .unwrap_or(api::RelayConversationHistory::Disabled),
                collaborator_name: found.collaborator_name,
                created_at: found.created_at,
                last_updated_at: found.last_updated_at,
            }
        };
        Ok(api::ListAgentCollaboratorsResponse {
            agent_collaborator_summaries: page.items.into_iter().map(summary).collect(),
            next_token: page.next_token,
        })
    }

    pub async fn update_agent_collaborator(
        &self,
        context: &RequestContext,
        input: api::UpdateAgentCollaboratorRequest,
    ) -> Result<api::UpdateAgentCollaboratorResponse, ApiError> {
        let alias_arn = self.check_collaborator(context, &input.agent_id, input.agent_descriptor).await?;
        let mut edit = Edit::begin(self, Place::of(context), &input.agent_id).await?;
        let mut found: CollaboratorRecord = edit.part(kinds::COLLABORATOR, &input.collaborator_id).await?;
        found.name = input.collaborator_name;
        found.body = StoredCollaborator {
            alias_arn,
            instruction: input.collaboration_instruction,
            relay: input.relay_conversation_history.unwrap_or(api::RelayConversationHistory::Disabled),
        };
        let found = edit.update(kinds::COLLABORATOR, &found).await?;
        edit.finish().await?;
        let agent_collaborator = view(&input.agent_id, DRAFT, &found);
        Ok(api::UpdateAgentCollaboratorResponse { agent_collaborator })
    }

    pub async fn disassociate_agent_collaborator(
        &self,
        context: &RequestContext,
        input: api::DisassociateAgentCollaboratorRequest,
    ) -> Result<api::DisassociateAgentCollaboratorResponse, ApiError> {
        let mut edit = Edit::begin(self, Place::of(context), &input.agent_id).await?;
        edit.delete(kinds::COLLABORATOR, &input.collaborator_id).await?;
        edit.finish().await?;
        Ok(api::DisassociateAgentCollaboratorResponse {})
    }

    /// Of the draft, or of a version.
    async fn collaborators(
        &self,
        place: &Place,
        agent_id: &str,
        version: &str,
    ) -> Result<Vec<CollaboratorRecord>, ApiError> {
        self.agent(place, agent_id).await?;
        if version == DRAFT {
            return self.parts_of(&place.scope(kinds::COLLABORATOR), agent_id).await;
        }
        Ok(self.snapshot(place, agent_id, version).await?.snapshot.collaborators)
    }

    /// The alias that is to collaborate is there, is not one of the agent's own, and the agent's role may see it.
    async fn check_collaborator(
        &self,
        context: &RequestContext,
        agent_id: &str,
        descriptor: api::AgentDescriptor,
    ) -> Result<String, ApiError> {
        let arn = descriptor.alias_arn.ok_or_else(|| {
            ApiError::validation("The agentDescriptor needs an aliasArn of an agent alias.")
        })?;
        let alias = AliasRef::parse(context, &arn)?;
        if alias.agent_id == agent_id {
            return Err(ApiError::validation("An agent can't be its own collaborator."));
        }
        self.check_alias(&alias).await?;
        let supervisor = self.agent(&Place::of(context), agent_id).await?;
        self.check_role(context, &supervisor, ("bedrock:GetAgentAlias", &arn)).await?;
        Ok(arn)
    }

    /// Fails unless the alias is there.
    pub(super) async fn check_alias(&self, alias: &AliasRef) -> Result<(), ApiError> {
        self.agent(&alias.place, &alias.agent_id).await?;
        if alias.alias_id != TEST_ALIAS {
            self.alias(&alias.place, &alias.agent_id, &alias.alias_id).await?;
        }
        Ok(())
    }
}

fn view(agent_id: &str, version: &str, found: &CollaboratorRecord) -> api::AgentCollaborator {
    api::AgentCollaborator {
        agent_id: agent_id.to_owned(),
        agent_version: version.to_owned(),
        agent_descriptor: api::AgentDescriptor { alias_arn: Some(found.body.alias_arn.clone()) },
        collaborator_id: found.id.clone(),
        collaboration_instruction: found.body.instruction.clone(),
        collaborator_name: found.name.clone(),
        created_at: found.created(),
        last_updated_at: found.updated(),
        relay_conversation_history: Some(found.body.relay),
        client_token: None,
    }
}
