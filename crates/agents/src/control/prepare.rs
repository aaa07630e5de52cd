//! PrepareAgent.

use craton_api_bedrock_agent as api;
use craton_core::RequestContext;
use craton_store::{NewRecord, Record};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;

use super::Agents;
use super::compile::{Compiled, Draft};
use super::edit::put_agent;
use super::records::{DRAFT, Place, Snapshot, kinds, write};
use crate::error::from_store;

impl Agents {
    /// Checks the draft and settles it into what `TSTALIASID` serves.
    ///
    /// A draft that lacks something of its own is refused and stays as it is. What a draft leans on (a model, a schema's
    /// object, a guardrail, a role's rights) may be wrong without its owner's doing: then the agent's status is FAILED,
    /// with reasons, and what was prepared before goes on serving. Functions may be made later: where one is missing, the
    /// prepared agent has a recommended action that says so.
    pub async fn prepare_agent(
        &self,
        context: &RequestContext,
        input: api::PrepareAgentRequest,
    ) -> Result<api::PrepareAgentResponse, ApiError> {
        let (place, id) = (Place::of(context), input.agent_id);
        let draft = Draft {
            agent: self.agent(&place, &id).await?,
            action_groups: self.parts_of(&place.scope(kinds::ACTION_GROUP), &id).await?,
            knowledge_bases: self.parts_of(&place.scope(kinds::KNOWLEDGE_BASE), &id).await?,
            collaborators: self.parts_of(&place.scope(kinds::COLLABORATOR), &id).await?,
        };
        draft.check_complete()?;
        let now_ms = self.parts.clock.now_ms();
        let compiled = self.compile(context, &place, &draft).await?;
        let Draft { mut agent, action_groups, knowledge_bases, collaborators } = draft;
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        match compiled {
            Compiled::Definition { definition, advice } => {
                agent.body.status = api::AgentStatus::Prepared;
                agent.body.prepared_ms = Some(now_ms);
                agent.body.failure_reasons.clear();
                agent.body.recommended_actions = advice;
                let snapshot = Snapshot {
                    settings: agent.body.settings.clone(),
                    action_groups,
                    knowledge_bases,
                    collaborators,
                    definition: *definition,
                };
                let scope = place.scope(kinds::PREPARED);
                let body = write(&snapshot)?;
                match transaction.get(&scope, &id).await.map_err(from_store)? {
                    Some(record) => {
                        let record = Record { body, ..record };
                        transaction.update(&scope, &record, None, now_ms).await.map_err(from_store)?;
                    }
                    None => {
                        let new = NewRecord {
                            id: id.clone(),
                            name: None,
                            body,
                            now_ms,
                            idempotency: None,
                            tags: None,
                        };
                        transaction.create(&scope, new).await.map_err(from_store)?;
                    }
                }
            }
            Compiled::Failed { reasons, actions } => {
                agent.body.status = api::AgentStatus::Failed;
                agent.body.failure_reasons = reasons;
                agent.body.recommended_actions = actions;
            }
        }
        put_agent(&mut transaction, &place, &agent, now_ms).await?;
        transaction.commit().await.map_err(from_store)?;
        Ok(api::PrepareAgentResponse {
            agent_id: id,
            agent_status: api::AgentStatus::Preparing,
            agent_version: DRAFT.to_owned(),
            prepared_at: Timestamp::from_ms(now_ms),
        })
    }
}
