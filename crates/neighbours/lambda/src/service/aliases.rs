//! CreateAlias, GetAlias, ListAliases, UpdateAlias, DeleteAlias.

use craton_api_lambda as api;
use craton_core::RequestContext;
use craton_store::StoreError;
use craton_store::versions::Alias;
use craton_wire::ApiError;
use serde_json::json;

use super::{page, unqualified};
use crate::Lambda;
use crate::error::{conflict, invalid, store_error};
use crate::function::{self, FunctionRef, LATEST};

impl Lambda {
    pub async fn create_alias(
        &self,
        context: &RequestContext,
        input: api::CreateAliasRequest,
    ) -> Result<api::AliasConfiguration, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        self.record(&reference).await?;
        refuse_weights(input.routing_config.as_ref())?;
        if input.name.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid(format!("The alias name {} can't be a number.", input.name)));
        }
        let now_ms = self.inner.clock.now_ms();
        let description = input.description.unwrap_or_default();
        let alias = Alias {
            id: input.name.clone(),
            name: input.name,
            number: number(&input.function_version)?,
            body: json!({"description": description, "revision": self.inner.ids.uuid()}),
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        let created =
            self.inner.store.create_alias(&self.scope(&reference.region), &reference.name, &alias).await;
        created.map_err(|error| match error {
            StoreError::NameTaken { .. } => {
                conflict(format!("Alias already exists: {}", self.alias_arn(&reference, &alias.name)))
            }
            StoreError::NotFound { .. } => self.no_version(&reference, alias.number),
            other => store_error(&other),
        })?;
        Ok(self.shown(&reference, &alias))
    }

    pub async fn get_alias(
        &self,
        context: &RequestContext,
        input: api::GetAliasRequest,
    ) -> Result<api::AliasConfiguration, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        let alias = self.one_alias(&reference, &input.name).await?;
        Ok(self.shown(&reference, &alias))
    }

    pub async fn list_aliases(
        &self,
        context: &RequestContext,
        input: api::ListAliasesRequest,
    ) -> Result<api::ListAliasesResponse, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        self.record(&reference).await?;
        let aliases = self.inner.store.list_aliases(&self.scope(&reference.region), &reference.name).await;
        let mut aliases = aliases.map_err(|error| store_error(&error))?;
        if let Some(version) = &input.function_version {
            let wanted = number(version)?;
            aliases.retain(|alias| alias.number == wanted);
        }
        let (aliases, next_marker) =
            page(aliases, input.marker.as_deref(), input.max_items, |alias| alias.name.clone());
        let aliases = aliases.iter().map(|alias| self.shown(&reference, alias)).collect();
        Ok(api::ListAliasesResponse { next_marker, aliases: Some(aliases) })
    }

    pub async fn update_alias(
        &self,
        context: &RequestContext,
        input: api::UpdateAliasRequest,
    ) -> Result<api::AliasConfiguration, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        refuse_weights(input.routing_config.as_ref())?;
        let mut alias = self.one_alias(&reference, &input.name).await?;
        if input.revision_id.is_some_and(|expected| alias.body["revision"] != expected) {
            return Err(ApiError::new(
                "PreconditionFailedException",
                "The Revision Id provided does not match the latest Revision Id of the alias.",
            ));
        }
        if let Some(version) = &input.function_version {
            alias.number = number(version)?;
        }
        if let Some(description) = input.description {
            alias.body["description"] = description.into();
        }
        alias.body["revision"] = self.inner.ids.uuid().into();
        alias.updated_ms = self.inner.clock.now_ms();
        let updated =
            self.inner.store.update_alias(&self.scope(&reference.region), &reference.name, &alias).await;
        updated.map_err(|error| match error {
            StoreError::NotFound { .. } => self.no_version(&reference, alias.number),
            other => store_error(&other),
        })?;
        Ok(self.shown(&reference, &alias))
    }

    pub async fn delete_alias(
        &self,
        context: &RequestContext,
        input: api::DeleteAliasRequest,
    ) -> Result<(), ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        // Deleting an alias that is not there succeeds, as it does at AWS.
        let scope = self.scope(&reference.region);
        let alias = FunctionRef { qualifier: Some(input.name), ..reference };
        let mut transaction = self.inner.store.begin().await.map_err(|error| store_error(&error))?;
        // First, because it holds the function: nobody adds to the policy while the alias goes.
        self.forget_policy(&mut transaction, &alias).await?;
        let name = alias.qualifier.as_deref().unwrap_or_default();
        let deleted = transaction.delete_alias(&scope, &alias.name, name).await;
        deleted.map_err(|error| store_error(&error))?;
        transaction.commit().await.map_err(|error| store_error(&error))
    }

    async fn one_alias(&self, reference: &FunctionRef, name: &str) -> Result<Alias, ApiError> {
        let alias = self.inner.store.alias(&self.scope(&reference.region), &reference.name, name).await;
        alias.map_err(|error| store_error(&error))?.ok_or_else(|| {
            crate::error::not_found(format!("Cannot find alias arn: {}", self.alias_arn(reference, name)))
        })
    }

    fn alias_arn(&self, reference: &FunctionRef, name: &str) -> String {
        function::arn(&reference.region, &self.inner.account.id, &reference.name, Some(name))
    }

    fn no_version(&self, reference: &FunctionRef, number: Option<i64>) -> ApiError {
        let version = number.map(|number| number.to_string());
        let arn =
            function::arn(&reference.region, &self.inner.account.id, &reference.name, version.as_deref());
        crate::error::not_found(format!("Function not found: {arn}"))
    }

    fn shown(&self, reference: &FunctionRef, alias: &Alias) -> api::AliasConfiguration {
        let text = |field: &str| alias.body[field].as_str().map(str::to_owned);
        api::AliasConfiguration {
            alias_arn: Some(self.alias_arn(reference, &alias.name)),
            name: Some(alias.name.clone()),
            function_version: Some(alias.number.map_or(LATEST.to_owned(), |number| number.to_string())),
            description: text("description"),
            routing_config: None,
            revision_id: text("revision"),
        }
    }
}

fn number(version: &str) -> Result<Option<i64>, ApiError> {
    match version {
        LATEST => Ok(None),
        number => number.parse().map(Some).map_err(|_| invalid(format!("{version} is not a version."))),
    }
}

fn refuse_weights(routing: Option<&api::AliasRoutingConfiguration>) -> Result<(), ApiError> {
    let weights = routing.and_then(|routing| routing.additional_version_weights.as_ref());
    if weights.is_some_and(|weights| !weights.is_empty()) {
        return Err(invalid("Aliases that split calls between versions are not served here."));
    }
    Ok(())
}
