//! From an agent and one of its aliases to the definition that a run works from.

use std::collections::HashSet;
use std::sync::Arc;

use craton_api_bedrock_agent as api;
use craton_core::{Arn, RequestContext};
use craton_models::Task;
use craton_wire::ApiError;
use futures::{StreamExt as _, future, stream};
use serde::Deserialize as _;

use super::records::{AgentArns as _, Kept, Place, Snapshot, TEST_ALIAS, kinds};
use super::{Agents, alias};
use crate::definition::AgentDefinition;
use crate::error::{from_store, internal, missing};
use crate::prepared::{Key, Prepared, State};

/// Agents that are looked at below one, which are fewer than are kept ready, and those looked up at the same time.
const MOST_BELOW: usize = 200;
const LOOKED_UP_AT_ONCE: usize = 8;

/// What an agent alias's ARN says, for aliases of the caller's account and region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRef {
    pub(super) place: Place,
    pub agent_id: String,
    pub alias_id: String,
}

impl AliasRef {
    /// Reads `arn:…:agent-alias/AGENT/ALIAS`.
    pub fn parse(context: &RequestContext, arn: &str) -> Result<Self, ApiError> {
        let none = || missing(arn);
        let parsed: Arn = arn.parse().map_err(|_| none())?;
        let ids = parsed.resource.strip_prefix("agent-alias/").and_then(|ids| ids.split_once('/'));
        let (agent_id, alias_id) = ids.ok_or_else(none)?;
        // What an agent works with is looked up where the request is: another region's would be other things.
        if parsed.service != "bedrock"
            || parsed.account != context.account.id
            || parsed.region != context.region
        {
            return Err(none());
        }
        let place = Place { account: parsed.account.clone(), region: parsed.region.clone() };
        Ok(Self { place, agent_id: agent_id.to_owned(), alias_id: alias_id.to_owned() })
    }

    /// The ARN of what is kept of it: the alias, or for the test alias, of which nothing is, its agent.
    pub fn kept_arn(&self) -> String {
        match self.alias_id.as_str() {
            TEST_ALIAS => self.place.agent_arn(&self.agent_id),
            alias_id => self.place.alias_arn(&self.agent_id, alias_id),
        }
    }
}

impl Agents {
    /// What the alias of an agent of the caller's account and region serves.
    pub async fn resolve(
        &self,
        context: &RequestContext,
        agent_id: &str,
        alias_id: &str,
    ) -> Result<Arc<Prepared>, ApiError> {
        self.resolve_in(&Place::of(context), agent_id, alias_id).await
    }

    /// Fails unless the agent is there.
    pub async fn check_agent(&self, context: &RequestContext, agent_id: &str) -> Result<(), ApiError> {
        self.agent(&Place::of(context), agent_id).await.map(drop)
    }

    /// Whether a knowledge base is there.
    pub(crate) async fn has_knowledge_base(
        &self,
        context: &RequestContext,
        id: &str,
    ) -> Result<bool, ApiError> {
        self.parts.knowledge_bases.exists(&Place::of(context), id).await
    }

    /// Fails unless a model is there and answers with text.
    pub(crate) async fn check_model(&self, context: &RequestContext, id: &str) -> Result<(), ApiError> {
        let resolved = self.parts.models.resolve(context, id).await?;
        if resolved.model.task() == Task::Chat {
            return Ok(());
        }
        Err(ApiError::validation(format!("The model {id} does not answer with text.")))
    }

    /// What an alias serves, by its ARN.
    pub async fn resolve_alias(
        &self,
        context: &RequestContext,
        alias_arn: &str,
    ) -> Result<Arc<Prepared>, ApiError> {
        let alias = AliasRef::parse(context, alias_arn)?;
        self.resolve_in(&alias.place, &alias.agent_id, &alias.alias_id).await
    }

    /// The agents that work for an agent, and for those, so many levels down: each once, the nearest first, and no more than
    /// a number of them. One that can't be asked is not among them: that is found when it is.
    pub(crate) async fn below(
        &self,
        context: &RequestContext,
        agent: &AgentDefinition,
        levels: u8,
    ) -> Vec<Arc<Prepared>> {
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        let mut level: Vec<String> = agent.aliases_below().map(str::to_owned).collect();
        for _ in 0..levels {
            level.retain(|arn| seen.insert(arn.clone()));
            level.truncate(MOST_BELOW - found.len());
            let resolved: Vec<Arc<Prepared>> = stream::iter(std::mem::take(&mut level))
                .map(|arn| async move { self.resolve_alias(context, &arn).await.ok() })
                .buffered(LOOKED_UP_AT_ONCE)
                .filter_map(future::ready)
                .collect()
                .await;
            level.extend(resolved.iter().flat_map(|it| it.aliases_below()).map(str::to_owned));
            found.extend(resolved);
        }
        found
    }

    async fn resolve_in(
        &self,
        place: &Place,
        agent_id: &str,
        alias_id: &str,
    ) -> Result<Arc<Prepared>, ApiError> {
        let scope = place.scope(kinds::AGENT);
        if alias_id == TEST_ALIAS {
            return self.resolve_draft(place, agent_id).await;
        }
        let found = self.alias(place, agent_id, alias_id).await?;
        if alias::read(&found)?.state == api::AliasInvocationState::RejectInvocations {
            return Err(ApiError::validation(format!(
                "The agent alias {alias_id} rejects invocations: its aliasInvocationState is REJECT_INVOCATIONS."
            )));
        }
        let number = found.number.unwrap_or_default();
        let is_there = self.parts.store.has_version(&scope, agent_id, number).await.map_err(from_store)?;
        let dissociated = || {
            ApiError::validation(format!(
                "The agent alias {alias_id} is dissociated: its version {number} was deleted. Point it at another \
                 version."
            ))
        };
        if !is_there {
            return Err(dissociated());
        }
        let key = key(place, agent_id, State::Version(number));
        if let Some(prepared) = self.prepared.get(&key) {
            return Ok(prepared);
        }
        let version = self.parts.store.version(&scope, agent_id, number).await.map_err(from_store)?;
        let mut definition = Kept::read(&version.ok_or_else(dissociated)?)?.snapshot.definition;
        definition.agent_version = number.to_string();
        let prepared = Arc::new(Prepared::from(definition));
        self.prepared.keep(key, &prepared);
        Ok(prepared)
    }

    /// What was prepared last.
    async fn resolve_draft(&self, place: &Place, agent_id: &str) -> Result<Arc<Prepared>, ApiError> {
        let scope = place.scope(kinds::PREPARED);
        let revision = self.parts.store.revision(&scope, agent_id).await.map_err(from_store)?;
        if let Some(prepared) =
            revision.and_then(|it| self.prepared.get(&key(place, agent_id, State::Draft(it))))
        {
            return Ok(prepared);
        }
        let Some(record) = self.parts.store.get(&scope, agent_id).await.map_err(from_store)? else {
            let agent = self.agent(place, agent_id).await?;
            return Err(ApiError::validation(format!(
                "The agent {agent_id} can't be invoked while its status is {}. Prepare the agent and try again.",
                agent.body.status.as_str()
            )));
        };
        let snapshot = Snapshot::deserialize(&record.body).map_err(|error| internal(&error))?;
        let prepared = Arc::new(Prepared::from(snapshot.definition));
        self.prepared.keep(key(place, agent_id, State::Draft(record.version)), &prepared);
        Ok(prepared)
    }
}

fn key(place: &Place, agent_id: &str, state: State) -> Key {
    Key { place: place.clone(), agent_id: agent_id.to_owned(), state }
}
