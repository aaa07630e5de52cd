//! Guardrails that every call of the account goes through, whatever the caller asks for.

use craton_api_bedrock as api;
use craton_core::{PageRequest, RequestContext};
use craton_store::{NewRecord, Range, Record, Scope, Store};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde::{Deserialize, Serialize};

use super::records::{Identifier, load};
use crate::Guardrails;
use crate::error::{store_error, unreadable};

const KIND: &str = "enforced-guardrail";
const ID_LENGTH: usize = 12;
/// Enforced configurations an account can have in a region.
const MAX_CONFIGURATIONS: usize = 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Enforced {
    pub arn: String,
    pub guardrail_id: String,
    pub version: String,
    pub guarding: Option<api::SelectiveContentGuarding>,
    pub included_models: Vec<String>,
    pub excluded_models: Vec<String>,
    pub created_by: String,
    pub updated_by: String,
}

impl Enforced {
    /// Whether calls of this model go through the guardrail.
    pub(crate) fn covers(&self, model_id: &str) -> bool {
        let names = |list: &[String]| {
            list.iter().any(|name| {
                // By its id, its ARN, or an inference profile of a geography.
                means_all(name)
                    || name == model_id
                    || name.ends_with(&format!("/{model_id}"))
                    || name.ends_with(&format!(".{model_id}"))
            })
        };
        let included = self.included_models.is_empty() || names(&self.included_models);
        included && !names(&self.excluded_models)
    }

    /// Whether all of the system prompt, and of the messages, is judged whatever callers mark: so it is unless the account
    /// leaves it to them.
    pub(crate) fn whole(&self) -> (bool, bool) {
        let selective = Some(api::SelectiveGuardingMode::Selective);
        let guarding = self.guarding.as_ref();
        let of = |mode: Option<api::SelectiveGuardingMode>| mode != selective;
        (of(guarding.and_then(|it| it.system)), of(guarding.and_then(|it| it.messages)))
    }
}

/// What in place of a model's name means every model.
fn means_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL") || name == "*"
}

fn scope(context: &RequestContext) -> Scope {
    Scope::new(KIND, &context.account.id, &context.region)
}

/// The enforced configurations of the caller's account and region.
pub(crate) async fn enforced_for(store: &Store, context: &RequestContext) -> Result<Vec<Enforced>, ApiError> {
    let records = store.list(&scope(context), &Range::default()).await.map_err(store_error)?;
    records.iter().map(|record| Enforced::deserialize(&record.body).map_err(unreadable)).collect()
}

impl Guardrails {
    pub async fn put_enforced_guardrail_configuration(
        &self,
        context: &RequestContext,
        input: api::PutEnforcedGuardrailConfigurationRequest,
    ) -> Result<api::PutEnforcedGuardrailConfigurationResponse, ApiError> {
        let wanted = input.guardrail_inference_config;
        let at = Identifier::parse(context, &wanted.guardrail_identifier)?;
        let stored = load(&self.parts.store, &at, Some(&wanted.guardrail_version)).await?;
        let models = wanted.model_enforcement.unwrap_or_default();
        for name in models.included_models.iter().chain(&models.excluded_models) {
            self.check_model(context, name).await?;
        }
        let now_ms = self.parts.clock.now_ms();
        let caller = context.principal.arn.clone();
        let mut enforced = Enforced {
            arn: stored.arn,
            guardrail_id: stored.id,
            version: stored.version,
            guarding: wanted.selective_content_guarding,
            included_models: models.included_models,
            excluded_models: models.excluded_models,
            created_by: caller.clone(),
            updated_by: caller.clone(),
        };
        let scope = scope(context);
        let config_id = match input.config_id {
            Some(id) => {
                let record = self.parts.store.get(&scope, &id).await.map_err(store_error)?;
                let mut record = record.ok_or_else(|| missing(&id))?;
                enforced.created_by = Enforced::deserialize(&record.body).map_err(unreadable)?.created_by;
                record.body = serde_json::to_value(&enforced).map_err(unreadable)?;
                self.parts.store.update(&scope, &record, None, now_ms).await.map_err(store_error)?;
                id
            }
            None => {
                let all = self.parts.store.list(&scope, &Range::default()).await.map_err(store_error)?;
                if all.len() >= MAX_CONFIGURATIONS {
                    return Err(ApiError::new(
                        "ServiceQuotaExceededException",
                        format!("An account can enforce at most {MAX_CONFIGURATIONS} guardrails."),
                    ));
                }
                let id = self.parts.ids.short(ID_LENGTH).to_ascii_lowercase();
                let body = serde_json::to_value(&enforced).map_err(unreadable)?;
                let record =
                    NewRecord { id: id.clone(), name: None, body, now_ms, idempotency: None, tags: None };
                self.parts.store.create(&scope, record).await.map_err(store_error)?;
                id
            }
        };
        self.forget_enforced();
        Ok(api::PutEnforcedGuardrailConfigurationResponse {
            config_id: Some(config_id),
            updated_at: Some(Timestamp::from_ms(now_ms)),
            updated_by: Some(caller),
        })
    }

    /// A guardrail that is enforced for a model that nobody has would enforce nothing, and nobody would notice.
    async fn check_model(&self, context: &RequestContext, name: &str) -> Result<(), ApiError> {
        if means_all(name) {
            return Ok(());
        }
        self.parts.models.resolve(context, name).await.map(drop).map_err(|error| {
            ApiError::validation(format!(
                "The modelEnforcement names the model {name}, which can't be used: {} Correct it and try again.",
                error.message
            ))
        })
    }

    pub async fn list_enforced_guardrails_configuration(
        &self,
        context: &RequestContext,
        input: api::ListEnforcedGuardrailsConfigurationRequest,
    ) -> Result<api::ListEnforcedGuardrailsConfigurationResponse, ApiError> {
        let records = self.parts.store.list(&scope(context), &Range::default()).await.map_err(store_error)?;
        let request = PageRequest { next_token: input.next_token, max_results: None };
        let page = request.cut(records, |record| record.id.clone());
        let page = page.map_err(|error| ApiError::validation(error.to_string()))?;
        let configurations: Result<Vec<_>, ApiError> = page.items.into_iter().map(show).collect();
        Ok(api::ListEnforcedGuardrailsConfigurationResponse {
            guardrails_config: configurations?,
            next_token: page.next_token,
        })
    }

    pub async fn delete_enforced_guardrail_configuration(
        &self,
        context: &RequestContext,
        input: api::DeleteEnforcedGuardrailConfigurationRequest,
    ) -> Result<api::DeleteEnforcedGuardrailConfigurationResponse, ApiError> {
        let deleted = self.parts.store.delete(&scope(context), &input.config_id, None).await;
        self.forget_enforced();
        match deleted.map_err(store_error)? {
            true => Ok(api::DeleteEnforcedGuardrailConfigurationResponse {}),
            false => Err(missing(&input.config_id)),
        }
    }

    /// A guardrail that the account enforces can't be deleted from under it.
    pub(super) async fn check_unenforced(
        &self,
        context: &RequestContext,
        at: &Identifier,
        version: Option<&str>,
    ) -> Result<(), ApiError> {
        let all = enforced_for(&self.parts.store, context).await?;
        let uses =
            |it: &Enforced| it.guardrail_id == at.id && version.is_none_or(|version| version == it.version);
        match all.iter().any(uses) {
            true => Err(ApiError::conflict(
                "The guardrail is enforced for this account. Delete the enforced configuration and try again.",
            )),
            false => Ok(()),
        }
    }
}

fn missing(id: &str) -> ApiError {
    ApiError::not_found(format!("The enforced guardrail configuration {id} could not be found."))
}

fn show(record: Record) -> Result<api::AccountEnforcedGuardrailOutputConfiguration, ApiError> {
    let enforced = Enforced::deserialize(&record.body).map_err(unreadable)?;
    let listed = !enforced.included_models.is_empty() || !enforced.excluded_models.is_empty();
    Ok(api::AccountEnforcedGuardrailOutputConfiguration {
        config_id: Some(record.id),
        guardrail_arn: Some(enforced.arn),
        guardrail_id: Some(enforced.guardrail_id),
        input_tags: None,
        selective_content_guarding: enforced.guarding,
        guardrail_version: Some(enforced.version),
        created_at: Some(Timestamp::from_ms(record.created_ms)),
        created_by: Some(enforced.created_by),
        updated_at: Some(Timestamp::from_ms(record.updated_ms)),
        updated_by: Some(enforced.updated_by),
        owner: Some(api::ConfigurationOwner::Account),
        model_enforcement: listed.then_some(api::ModelEnforcement {
            included_models: enforced.included_models,
            excluded_models: enforced.excluded_models,
        }),
    })
}
