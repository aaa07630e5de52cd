//! CreateFlowAlias, GetFlowAlias, ListFlowAliases, UpdateFlowAlias, DeleteFlowAlias.
//!
//! Every flow has the alias TSTALIASID, which is its draft; nobody makes, changes or deletes it.

use std::collections::BTreeMap;

use craton_api_bedrock_agent as api;
use craton_core::RequestContext;
use craton_store::Idempotency;
use craton_store::versions::Alias;
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Flows;
use crate::error::{flow_not_found, store_error};
use crate::flow::page;
use crate::identifier::{FlowRef, ID_LENGTH, TEST_ALIAS, alias_not_found, version_name, version_number};
use crate::quota::MOST_ALIASES;

/// What is kept of an alias besides its name and version.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct StoredAlias {
    description: Option<String>,
    concurrency: Option<api::FlowAliasConcurrencyConfiguration>,
}

/// The answers of three operations, and a summary, are four types with the same fields.
macro_rules! answer {
    ($name:ident, $flow:expr, $alias:expr) => {{
        let (flow, alias): (&FlowRef, &Alias) = ($flow, $alias);
        let body = read(alias)?;
        api::$name {
            name: alias.name.clone(),
            description: body.description,
            routing_configuration: vec![api::FlowAliasRoutingConfigurationListItem {
                flow_version: Some(version_name(alias.number)),
            }],
            concurrency_configuration: body.concurrency,
            flow_id: flow.id.clone(),
            id: alias.id.clone(),
            arn: flow.alias_arn(&alias.id),
            created_at: Timestamp::from_ms(alias.created_ms),
            updated_at: Timestamp::from_ms(alias.updated_ms),
        }
    }};
}

impl Flows {
    pub async fn create_flow_alias(
        &self,
        context: &RequestContext,
        input: api::CreateFlowAliasRequest,
    ) -> Result<api::CreateFlowAliasResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let scope = flow.scope();
        let number = routed(&input.routing_configuration)?;
        let body = StoredAlias {
            description: input.description,
            concurrency: checked(input.concurrency_configuration)?,
        };
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        let draft = transaction.get(&scope, &flow.id).await.map_err(store_error)?;
        draft.ok_or_else(|| flow_not_found(&input.flow_identifier))?;
        let now_ms = self.parts.clock.now_ms();
        let alias = Alias {
            id: self.parts.ids.short(ID_LENGTH),
            name: input.name,
            number,
            body: write(&body)?,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        let tags: BTreeMap<String, String> = input.tags.unwrap_or_default().into_iter().collect();
        if let Some(token) = input.client_token {
            // Tokens are one operation's, on one flow.
            let token = format!("{}/aliases/{token}", flow.id);
            let request = serde_json::json!([alias.name, alias.number, alias.body, tags]);
            let idempotency = Idempotency::of(token, &request, Value::from(alias.id.clone()));
            let first = transaction.claim(&scope, &flow.id, &idempotency, now_ms).await;
            if let Some(first) = first.map_err(store_error)? {
                drop(transaction);
                let first = self.alias(&flow, first.as_str().unwrap_or_default()).await?;
                return Ok(answer!(CreateFlowAliasResponse, &flow, &first));
            }
        }
        let aliases = transaction.list_aliases(&scope, &flow.id).await.map_err(store_error)?;
        if aliases.len() >= MOST_ALIASES {
            return Err(ApiError::quota_exceeded(format!(
                "The flow {} has the {MOST_ALIASES} aliases it can have. Delete one first.",
                flow.id
            )));
        }
        transaction.create_alias(&scope, &flow.id, &alias).await.map_err(store_error)?;
        transaction.tag(&flow.alias_arn(&alias.id), &tags).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)?;
        Ok(answer!(CreateFlowAliasResponse, &flow, &alias))
    }

    pub async fn get_flow_alias(
        &self,
        context: &RequestContext,
        input: api::GetFlowAliasRequest,
    ) -> Result<api::GetFlowAliasResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let alias = self.alias(&flow, &input.alias_identifier).await?;
        Ok(answer!(GetFlowAliasResponse, &flow, &alias))
    }

    pub async fn list_flow_aliases(
        &self,
        context: &RequestContext,
        input: api::ListFlowAliasesRequest,
    ) -> Result<api::ListFlowAliasesResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let test = self.alias(&flow, TEST_ALIAS).await?;
        let mut aliases =
            self.parts.store.list_aliases(&flow.scope(), &flow.id).await.map_err(store_error)?;
        aliases.push(test);
        aliases.sort_by(|left, right| left.id.cmp(&right.id));
        let page = page(input.next_token, input.max_results, aliases, |alias| alias.id.clone())?;
        let summaries = page.items.iter().map(|alias| Ok(answer!(FlowAliasSummary, &flow, alias)));
        let flow_alias_summaries = summaries.collect::<Result<_, ApiError>>()?;
        Ok(api::ListFlowAliasesResponse { flow_alias_summaries, next_token: page.next_token })
    }

    pub async fn update_flow_alias(
        &self,
        context: &RequestContext,
        input: api::UpdateFlowAliasRequest,
    ) -> Result<api::UpdateFlowAliasResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let mut alias = self.own_alias(&flow, &input.alias_identifier, "changed").await?;
        alias.number = routed(&input.routing_configuration)?;
        alias.name = input.name;
        alias.body = write(&StoredAlias {
            description: input.description,
            concurrency: checked(input.concurrency_configuration)?,
        })?;
        alias.updated_ms = self.parts.clock.now_ms();
        self.parts.store.update_alias(&flow.scope(), &flow.id, &alias).await.map_err(store_error)?;
        Ok(answer!(UpdateFlowAliasResponse, &flow, &alias))
    }

    pub async fn delete_flow_alias(
        &self,
        context: &RequestContext,
        input: api::DeleteFlowAliasRequest,
    ) -> Result<api::DeleteFlowAliasResponse, ApiError> {
        let flow = FlowRef::parse(context, &input.flow_identifier)?;
        let alias = self.own_alias(&flow, &input.alias_identifier, "deleted").await?;
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        let deleted = transaction.delete_alias(&flow.scope(), &flow.id, &alias.id).await;
        if !deleted.map_err(store_error)? {
            return Err(alias_not_found(&input.alias_identifier));
        }
        transaction.forget_tags(&flow.alias_arn(&alias.id)).await.map_err(store_error)?;
        self.stop_all(&mut transaction, &flow, &format!("{}/{}/", flow.id, alias.id)).await?;
        transaction.commit().await.map_err(store_error)?;
        Ok(api::DeleteFlowAliasResponse { flow_id: flow.id, id: alias.id })
    }

    pub(crate) async fn alias(&self, flow: &FlowRef, identifier: &str) -> Result<Alias, ApiError> {
        let id = flow.alias_id(identifier)?;
        if id == TEST_ALIAS {
            let draft = self.draft(flow).await?;
            return Ok(Alias {
                id: TEST_ALIAS.to_owned(),
                name: TEST_ALIAS.to_owned(),
                number: None,
                body: write(&StoredAlias {
                    description: Some("Test alias of the draft".to_owned()),
                    ..StoredAlias::default()
                })?,
                created_ms: draft.created_ms,
                updated_ms: draft.created_ms,
            });
        }
        let alias = self.parts.store.alias(&flow.scope(), &flow.id, id).await.map_err(store_error)?;
        if let Some(alias) = alias {
            return Ok(alias);
        }
        self.draft(flow).await?;
        Err(alias_not_found(identifier))
    }

    /// An alias that somebody made.
    async fn own_alias(&self, flow: &FlowRef, identifier: &str, what: &str) -> Result<Alias, ApiError> {
        let alias = self.alias(flow, identifier).await?;
        if alias.id == TEST_ALIAS {
            return Err(ApiError::validation(format!("The alias {TEST_ALIAS} can't be {what}.")));
        }
        Ok(alias)
    }
}

/// How many nodes may run at once under an alias; none where it leaves that to the server.
pub(crate) fn concurrency(alias: &Alias) -> Result<Option<usize>, ApiError> {
    let configuration = read(alias)?.concurrency;
    Ok(configuration.and_then(|it| it.max_concurrency).and_then(|count| usize::try_from(count).ok()))
}

fn routed(routing: &[api::FlowAliasRoutingConfigurationListItem]) -> Result<Option<i64>, ApiError> {
    let version = routing.first().and_then(|item| item.flow_version.as_deref());
    let version = version.ok_or_else(|| {
        ApiError::validation("The routingConfiguration names no flowVersion. Add one and try again.")
    })?;
    version_number(version)
}

fn checked(
    configuration: Option<api::FlowAliasConcurrencyConfiguration>,
) -> Result<Option<api::FlowAliasConcurrencyConfiguration>, ApiError> {
    match &configuration {
        Some(it) if it.r#type == api::ConcurrencyType::Manual && it.max_concurrency.is_none() => {
            Err(ApiError::validation("A concurrencyConfiguration of the type Manual needs maxConcurrency."))
        }
        _ => Ok(configuration),
    }
}

fn read(alias: &Alias) -> Result<StoredAlias, ApiError> {
    StoredAlias::deserialize(&alias.body).map_err(|error| store_error(error.into()))
}

fn write(body: &StoredAlias) -> Result<Value, ApiError> {
    serde_json::to_value(body).map_err(|error| store_error(error.into()))
}
