//! CreateAgentAlias, GetAgentAlias, ListAgentAliases, UpdateAgentAlias, DeleteAgentAlias.
//!
//! An alias that is created without a routing configuration gets a new version, made of what was last prepared. One
//! that is updated without it gets one where what is prepared differs from the version it has.

use std::collections::BTreeMap;

use craton_api_bedrock_agent as api;
use craton_core::{PageRequest, RequestContext};
use craton_store::versions::Alias;
use craton_store::{Idempotency, Transaction};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Agents;
use super::agent::forget_users;
use super::records::{
    AgentArns as _, AgentRecord, DRAFT, ID_LENGTH, Part, Place, TEST_ALIAS, bad_page, kinds, write,
};
use crate::error::{from_store, internal, missing};

/// Aliases and versions of an agent, as AWS's default quotas have it.
const MOST_ALIASES: usize = 10;
const MOST_VERSIONS: usize = 10;

/// Events that an alias's answers tell.
const MOST_EVENTS: usize = 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredAlias {
    description: Option<String>,
    provisioned_throughput: Option<String>,
    pub(super) state: api::AliasInvocationState,
    /// What it pointed at, the newest first.
    #[serde(default)]
    history: Vec<Event>,
    /// Of the request that made it, so that its repetition makes nothing.
    #[serde(default)]
    client_token: Option<String>,
    #[serde(default)]
    request_hash: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Event {
    version: String,
    start_ms: i64,
    end_ms: Option<i64>,
}

impl StoredAlias {
    /// From now on the alias points at another version.
    fn move_to(&mut self, version: i64, now_ms: i64) {
        let version = version.to_string();
        if let Some(last) = self.history.first_mut() {
            if last.version == version {
                return;
            }
            last.end_ms = Some(now_ms);
        }
        self.history.insert(0, Event { version, start_ms: now_ms, end_ms: None });
        self.history.truncate(MOST_EVENTS);
    }
}

impl Agents {
    pub async fn create_agent_alias(
        &self,
        context: &RequestContext,
        input: api::CreateAgentAliasRequest,
    ) -> Result<api::CreateAgentAliasResponse, ApiError> {
        let place = Place::of(context);
        let scope = place.scope(kinds::AGENT);
        let tags: BTreeMap<String, String> = input.tags.unwrap_or_default().into_iter().collect();
        let token = input.client_token;
        let asked = json!([input.agent_alias_name, input.description, input.routing_configuration, tags]);
        let routing = route(input.routing_configuration)?;
        let (agent_id, now_ms) = (input.agent_id, self.parts.clock.now_ms());
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let agent = held_agent(&mut transaction, &place, &agent_id).await?;
        let aliases = transaction.list_aliases(&scope, &agent_id).await.map_err(from_store)?;
        let hash = Idempotency::of(String::new(), &asked, Value::Null).request_hash;
        if let Some(first) = repeated(&aliases, token.as_deref(), &hash)? {
            transaction.rollback().await.map_err(from_store)?;
            return Ok(api::CreateAgentAliasResponse {
                agent_alias: self.found(&place, &agent_id, first).await?,
            });
        }
        if aliases.len() >= MOST_ALIASES {
            return Err(ApiError::quota_exceeded(format!(
                "The agent has the {MOST_ALIASES} aliases it can have."
            )));
        }
        let number = match routing.version {
            Some(number) => number,
            None => new_version(&mut transaction, &place, &agent, now_ms).await?,
        };
        let mut body = StoredAlias {
            description: input.description,
            provisioned_throughput: routing.provisioned_throughput,
            state: api::AliasInvocationState::AcceptInvocations,
            history: Vec::new(),
            client_token: token,
            request_hash: hash,
        };
        body.move_to(number, now_ms);
        let alias = Alias {
            id: self.parts.ids.short(ID_LENGTH),
            name: input.agent_alias_name,
            number: Some(number),
            body: write(&body)?,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        transaction.create_alias(&scope, &agent_id, &alias).await.map_err(from_store)?;
        transaction.tag(&place.alias_arn(&agent_id, &alias.id), &tags).await.map_err(from_store)?;
        transaction.commit().await.map_err(from_store)?;
        let mut agent_alias = view(&place, &agent_id, &alias, true)?;
        agent_alias.agent_alias_status = api::AgentAliasStatus::Creating;
        Ok(api::CreateAgentAliasResponse { agent_alias })
    }

    pub async fn get_agent_alias(
        &self,
        context: &RequestContext,
        input: api::GetAgentAliasRequest,
    ) -> Result<api::GetAgentAliasResponse, ApiError> {
        let place = Place::of(context);
        let agent = self.agent(&place, &input.agent_id).await?;
        if input.agent_alias_id == TEST_ALIAS {
            return Ok(api::GetAgentAliasResponse { agent_alias: test_alias(&place, &agent) });
        }
        let alias = self.alias(&place, &input.agent_id, &input.agent_alias_id).await?;
        Ok(api::GetAgentAliasResponse { agent_alias: self.found(&place, &input.agent_id, &alias).await? })
    }

    /// The built-in alias of the draft, then the others by id.
    pub async fn list_agent_aliases(
        &self,
        context: &RequestContext,
        input: api::ListAgentAliasesRequest,
    ) -> Result<api::ListAgentAliasesResponse, ApiError> {
        let place = Place::of(context);
        let scope = place.scope(kinds::AGENT);
        let agent = self.agent(&place, &input.agent_id).await?;
        let aliases = self.parts.store.list_aliases(&scope, &agent.id).await.map_err(from_store)?;
        let versions = self.parts.store.version_numbers(&scope, &agent.id).await.map_err(from_store)?;
        let mut all = vec![test_alias(&place, &agent)];
        for alias in &aliases {
            let there = alias.number.is_none_or(|number| versions.contains(&number));
            all.push(view(&place, &agent.id, alias, there)?);
        }
        let order = |alias: &api::AgentAlias| match alias.agent_alias_id.as_str() {
            TEST_ALIAS => String::new(),
            other => other.to_owned(),
        };
        let page = PageRequest::of(input.next_token, input.max_results).cut(all, order).map_err(bad_page)?;
        let summary = |alias: api::AgentAlias| api::AgentAliasSummary {
            agent_alias_id: alias.agent_alias_id,
            agent_alias_name: alias.agent_alias_name,
            description: alias.description,
            routing_configuration: Some(alias.routing_configuration),
            agent_alias_status: alias.agent_alias_status,
            created_at: alias.created_at,
            updated_at: alias.updated_at,
            alias_invocation_state: alias.alias_invocation_state,
        };
        Ok(api::ListAgentAliasesResponse {
            agent_alias_summaries: page.items.into_iter().map(summary).collect(),
            next_token: page.next_token,
        })
    }

    pub async fn update_agent_alias(
        &self,
        context: &RequestContext,
        input: api::UpdateAgentAliasRequest,
    ) -> Result<api::UpdateAgentAliasResponse, ApiError> {
        not_the_test_alias(&input.agent_alias_id)?;
        let place = Place::of(context);
        let scope = place.scope(kinds::AGENT);
        let routing = route(input.routing_configuration)?;
        let (agent_id, now_ms) = (input.agent_id, self.parts.clock.now_ms());
        let current = match self.alias(&place, &agent_id, &input.agent_alias_id).await?.number {
            Some(number) => self.parts.store.version(&scope, &agent_id, number).await.map_err(from_store)?,
            None => None,
        };
        let current = current.map(|version| version.body);
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let agent = held_agent(&mut transaction, &place, &agent_id).await?;
        let aliases = transaction.list_aliases(&scope, &agent_id).await.map_err(from_store)?;
        let found = aliases.into_iter().find(|alias| alias.id == input.agent_alias_id);
        let mut alias = found.ok_or_else(|| missing(&input.agent_alias_id))?;
        let mut body = read(&alias)?;
        if let Some(number) = routing.version {
            alias.number = Some(number);
        } else if prepared(&mut transaction, &place, &agent).await?.is_some_and(|it| Some(it) != current) {
            alias.number = Some(new_version(&mut transaction, &place, &agent, now_ms).await?);
        }
        if let Some(number) = alias.number {
            body.move_to(number, now_ms);
        }
        body.description = input.description;
        body.provisioned_throughput = routing.provisioned_throughput;
        body.state = input.alias_invocation_state.unwrap_or(body.state);
        (alias.name, alias.body, alias.updated_ms) = (input.agent_alias_name, write(&body)?, now_ms);
        transaction.update_alias(&scope, &agent_id, &alias).await.map_err(from_store)?;
        transaction.commit().await.map_err(from_store)?;
        let mut agent_alias = view(&place, &agent_id, &alias, true)?;
        agent_alias.agent_alias_status = api::AgentAliasStatus::Updating;
        Ok(api::UpdateAgentAliasResponse { agent_alias })
    }

    pub async fn delete_agent_alias(
        &self,
        context: &RequestContext,
        input: api::DeleteAgentAliasRequest,
    ) -> Result<api::DeleteAgentAliasResponse, ApiError> {
        not_the_test_alias(&input.agent_alias_id)?;
        let place = Place::of(context);
        let (agent_id, id) = (input.agent_id, input.agent_alias_id);
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        held_agent(&mut transaction, &place, &agent_id).await?;
        let deleted = transaction.delete_alias(&place.scope(kinds::AGENT), &agent_id, &id).await;
        if !deleted.map_err(from_store)? {
            return Err(missing(&id));
        }
        transaction.forget_tags(&place.alias_arn(&agent_id, &id)).await.map_err(from_store)?;
        forget_users(&mut transaction, &place, &format!("{agent_id}/{id}/")).await?;
        transaction.commit().await.map_err(from_store)?;
        Ok(api::DeleteAgentAliasResponse {
            agent_id,
            agent_alias_id: id,
            agent_alias_status: api::AgentAliasStatus::Deleting,
        })
    }

    pub(super) async fn alias(&self, place: &Place, agent_id: &str, id: &str) -> Result<Alias, ApiError> {
        let alias = self.parts.store.alias(&place.scope(kinds::AGENT), agent_id, id).await;
        alias.map_err(from_store)?.ok_or_else(|| missing(id))
    }

    /// An alias as its answers tell it.
    async fn found(&self, place: &Place, agent_id: &str, alias: &Alias) -> Result<api::AgentAlias, ApiError> {
        let versions = self.parts.store.version_numbers(&place.scope(kinds::AGENT), agent_id).await;
        let versions = versions.map_err(from_store)?;
        view(place, agent_id, alias, alias.number.is_none_or(|number| versions.contains(&number)))
    }
}

/// The agent, kept from changing until the transaction ends.
async fn held_agent(transaction: &mut Transaction, place: &Place, id: &str) -> Result<AgentRecord, ApiError> {
    let record = transaction.get(&place.scope(kinds::AGENT), id).await.map_err(from_store)?;
    Part::read(&record.ok_or_else(|| missing(id))?)
}

/// Makes a version of what was last prepared.
async fn new_version(
    transaction: &mut Transaction,
    place: &Place,
    agent: &AgentRecord,
    now_ms: i64,
) -> Result<i64, ApiError> {
    let scope = place.scope(kinds::AGENT);
    let Some(prepared) = prepared(transaction, place, agent).await? else {
        let status = match agent.body.status {
            api::AgentStatus::Failed => "Failed",
            _ => "Not Prepared",
        };
        return Err(ApiError::validation(format!(
            "Create operation can't be performed on AgentAlias when Agent is in {status} state. Prepare the agent and \
             try again."
        )));
    };
    if transaction.version_numbers(&scope, &agent.id).await.map_err(from_store)?.len() >= MOST_VERSIONS {
        return Err(ApiError::quota_exceeded(format!(
            "The agent has the {MOST_VERSIONS} versions it can have. Delete one that no alias uses."
        )));
    }
    let version = transaction.publish(&scope, &agent.id, prepared, now_ms).await;
    Ok(version.map_err(from_store)?.number)
}

/// What was last prepared, while it is what the draft is.
async fn prepared(
    transaction: &mut Transaction,
    place: &Place,
    agent: &AgentRecord,
) -> Result<Option<Value>, ApiError> {
    if agent.body.status != api::AgentStatus::Prepared {
        return Ok(None);
    }
    let record = transaction.get(&place.scope(kinds::PREPARED), &agent.id).await.map_err(from_store)?;
    Ok(record.map(|record| record.body))
}

/// The alias that an earlier request with this token made.
fn repeated<'a>(
    aliases: &'a [Alias],
    token: Option<&str>,
    hash: &str,
) -> Result<Option<&'a Alias>, ApiError> {
    let Some(token) = token else { return Ok(None) };
    for alias in aliases {
        let body = read(alias)?;
        if body.client_token.as_deref() == Some(token) {
            let same = body.request_hash == hash;
            return if same {
                Ok(Some(alias))
            } else {
                Err(from_store(craton_store::StoreError::TokenReused))
            };
        }
    }
    Ok(None)
}

#[derive(Default)]
struct Route {
    /// None: a new version.
    version: Option<i64>,
    provisioned_throughput: Option<String>,
}

fn route(configuration: Option<Vec<api::AgentAliasRoutingConfigurationListItem>>) -> Result<Route, ApiError> {
    let Some(item) = configuration.unwrap_or_default().into_iter().next() else {
        return Ok(Route::default());
    };
    let version = match item.agent_version.as_deref() {
        None => None,
        Some(DRAFT) => {
            return Err(ApiError::validation(format!(
                "An alias can't be routed to the DRAFT version. Use the alias {TEST_ALIAS} to invoke it."
            )));
        }
        Some(number) => Some(number.parse().map_err(|_| missing(number))?),
    };
    Ok(Route { version, provisioned_throughput: item.provisioned_throughput })
}

fn not_the_test_alias(id: &str) -> Result<(), ApiError> {
    if id != TEST_ALIAS {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "1 validation error detected: Value '{TEST_ALIAS}' at 'agentAliasId' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: (?!\\bTSTALIASID\\b)[0-9a-zA-Z]+"
    )))
}

pub(super) fn read(alias: &Alias) -> Result<StoredAlias, ApiError> {
    StoredAlias::deserialize(&alias.body).map_err(|error| internal(&error))
}

fn routing(version: &str, throughput: Option<String>) -> Vec<api::AgentAliasRoutingConfigurationListItem> {
    vec![api::AgentAliasRoutingConfigurationListItem {
        agent_version: Some(version.to_owned()),
        provisioned_throughput: throughput,
    }]
}

/// `there`: whether its version is.
fn view(place: &Place, agent_id: &str, alias: &Alias, there: bool) -> Result<api::AgentAlias, ApiError> {
    let body = read(alias)?;
    let version = alias.number.map_or(DRAFT.to_owned(), |number| number.to_string());
    let event = |event: &Event| api::AgentAliasHistoryEvent {
        routing_configuration: Some(routing(&event.version, None)),
        end_date: event.end_ms.map(Timestamp::from_ms),
        start_date: Some(Timestamp::from_ms(event.start_ms)),
    };
    Ok(api::AgentAlias {
        agent_id: agent_id.to_owned(),
        agent_alias_id: alias.id.clone(),
        agent_alias_name: alias.name.clone(),
        agent_alias_arn: place.alias_arn(agent_id, &alias.id),
        client_token: body.client_token,
        description: body.description,
        routing_configuration: routing(&version, body.provisioned_throughput),
        created_at: Timestamp::from_ms(alias.created_ms),
        updated_at: Timestamp::from_ms(alias.updated_ms),
        agent_alias_history_events: Some(body.history.iter().map(event).collect()),
        agent_alias_status: if there {
            api::AgentAliasStatus::Prepared
        } else {
            api::AgentAliasStatus::Dissociated
        },
        failure_reasons: None,
        alias_invocation_state: Some(body.state),
    })
}

fn test_alias(place: &Place, agent: &AgentRecord) -> api::AgentAlias {
    api::AgentAlias {
        agent_id: agent.id.clone(),
        agent_alias_id: TEST_ALIAS.to_owned(),
        agent_alias_name: "AgentTestAlias".to_owned(),
        agent_alias_arn: place.alias_arn(&agent.id, TEST_ALIAS),
        client_token: None,
        description: Some("Test Alias for Agent".to_owned()),
        routing_configuration: routing(DRAFT, None),
        created_at: agent.created(),
        updated_at: agent.body.prepared_ms.map_or(agent.created(), Timestamp::from_ms),
        agent_alias_history_events: None,
        agent_alias_status: api::AgentAliasStatus::Prepared,
        failure_reasons: None,
        alias_invocation_state: Some(api::AliasInvocationState::AcceptInvocations),
    }
}
