//! AssociateAgentKnowledgeBase, GetAgentKnowledgeBase, ListAgentKnowledgeBases, UpdateAgentKnowledgeBase,
//! DisassociateAgentKnowledgeBase.

use craton_api_bedrock_agent as api;
use craton_core::{PageRequest, RequestContext};
use craton_wire::ApiError;

use super::Agents;
use super::edit::{Edit, NewPart};
use super::records::{DRAFT, KnowledgeBaseRecord, Place, StoredKnowledgeBase, bad_page, kinds};
use crate::error::missing;

/// Knowledge bases of an agent, as AWS's default quota has it.
pub(crate) const MOST: usize = 2;

impl Agents {
    pub async fn associate_agent_knowledge_base(
        &self,
        context: &RequestContext,
        input: api::AssociateAgentKnowledgeBaseRequest,
    ) -> Result<api::AssociateAgentKnowledgeBaseResponse, ApiError> {
        let place = Place::of(context);
        self.agent(&place, &input.agent_id).await?;
        let id = input.knowledge_base_id;
        if !self.parts.knowledge_bases.exists(&place, &id).await? {
            return Err(missing(&id));
        }
        let body = StoredKnowledgeBase {
            description: input.description,
            state: input.knowledge_base_state.unwrap_or(api::KnowledgeBaseState::Enabled),
        };
        let mut edit = Edit::begin(self, place, &input.agent_id).await?;
        edit.create(NewPart {
            kind: kinds::KNOWLEDGE_BASE,
            id: &id,
            name: &id,
            body: &body,
            idempotency: None,
        })
        .await?;
        if edit.parts::<StoredKnowledgeBase>(kinds::KNOWLEDGE_BASE).await?.len() > MOST {
            return Err(ApiError::quota_exceeded(format!(
                "The agent has the {MOST} knowledge bases it can have."
            )));
        }
        let found: KnowledgeBaseRecord = edit.part(kinds::KNOWLEDGE_BASE, &id).await?;
        edit.finish().await?;
        let agent_knowledge_base = view(&input.agent_id, DRAFT, &found);
        Ok(api::AssociateAgentKnowledgeBaseResponse { agent_knowledge_base })
    }

    pub async fn get_agent_knowledge_base(
        &self,
        context: &RequestContext,
        input: api::GetAgentKnowledgeBaseRequest,
    ) -> Result<api::GetAgentKnowledgeBaseResponse, ApiError> {
        let all =
            self.agent_knowledge_bases(&Place::of(context), &input.agent_id, &input.agent_version).await?;
        let found = all.into_iter().find(|it| it.id == input.knowledge_base_id);
        let found = found.ok_or_else(|| missing(&input.knowledge_base_id))?;
        let agent_knowledge_base = view(&input.agent_id, &input.agent_version, &found);
        Ok(api::GetAgentKnowledgeBaseResponse { agent_knowledge_base })
    }

    pub async fn list_agent_knowledge_bases(
        &self,
        context: &RequestContext,
        input: api::ListAgentKnowledgeBasesRequest,
    ) -> Result<api::ListAgentKnowledgeBasesResponse, ApiError> {
        let all =
            self.agent_knowledge_bases(&Place::of(context), &input.agent_id, &input.agent_version).await?;
        let page = PageRequest::of(input.next_token, input.max_results)
            .cut(all, |found| found.id.clone())
            .map_err(bad_page)?;
        let summary = |found: KnowledgeBaseRecord| api::AgentKnowledgeBaseSummary {
            updated_at: found.updated(),
            knowledge_base_id: found.id,
            description: Some(found.body.description),
            knowledge_base_state: found.body.state,
        };
        Ok(api::ListAgentKnowledgeBasesResponse {
            agent_knowledge_base_summaries: page.items.into_iter().map(summary).collect(),
            next_token: page.next_token,
        })
    }

    pub async fn update_agent_knowledge_base(
        &self,
        context: &RequestContext,
        input: api::UpdateAgentKnowledgeBaseRequest,
    ) -> Result<api::UpdateAgentKnowledgeBaseResponse, ApiError> {
        let mut edit = Edit::begin(self, Place::of(context), &input.agent_id).await?;
        let mut found: KnowledgeBaseRecord =
            edit.part(kinds::KNOWLEDGE_BASE, &input.knowledge_base_id).await?;
        if let Some(description) = input.description {
            found.body.description = description;
        }
        found.body.state = input.knowledge_base_state.unwrap_or(found.body.state);
        let found = edit.update(kinds::KNOWLEDGE_BASE, &found).await?;
        edit.finish().await?;
        let agent_knowledge_base = view(&input.agent_id, DRAFT, &found);
        Ok(api::UpdateAgentKnowledgeBaseResponse { agent_knowledge_base })
    }

    pub async fn disassociate_agent_knowledge_base(
        &self,
        context: &RequestContext,
        input: api::DisassociateAgentKnowledgeBaseRequest,
    ) -> Result<api::DisassociateAgentKnowledgeBaseResponse, ApiError> {
        let mut edit = Edit::begin(self, Place::of(context), &input.agent_id).await?;
        edit.delete(kinds::KNOWLEDGE_BASE, &input.knowledge_base_id).await?;
        edit.finish().await?;
        Ok(api::DisassociateAgentKnowledgeBaseResponse {})
    }

    /// Of the draft, or of a version.
    async fn agent_knowledge_bases(
        &self,
        place: &Place,
        agent_id: &str,
        version: &str,
    ) -> Result<Vec<KnowledgeBaseRecord>, ApiError> {
        self.agent(place, agent_id).await?;
        if version == DRAFT {
            return self.parts_of(&place.scope(kinds::KNOWLEDGE_BASE), agent_id).await;
        }
        Ok(self.snapshot(place, agent_id, version).await?.snapshot.knowledge_bases)
    }
}

fn view(agent_id: &str, version: &str, found: &KnowledgeBaseRecord) -> api::AgentKnowledgeBase {
    api::AgentKnowledgeBase {
        agent_id: agent_id.to_owned(),
        agent_version: version.to_owned(),
        knowledge_base_id: found.id.clone(),
        description: found.body.description.clone(),
        created_at: found.created(),
        updated_at: found.updated(),
        knowledge_base_state: found.body.state,
    }
}
