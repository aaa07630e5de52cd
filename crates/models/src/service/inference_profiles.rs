//! CreateInferenceProfile, GetInferenceProfile, ListInferenceProfiles, DeleteInferenceProfile.

use std::sync::Arc;

use craton_api_bedrock as api;
use craton_core::{PageRequest, RequestContext};
use craton_store::{Created, Idempotency, NewRecord, Range, Record};
use craton_wire::error::ApiError;
use craton_wire::types::Timestamp;
use serde_json::json;

use super::profiles::{self, ApplicationProfile, ID_LENGTH, application_arn, scope, system_arn};
use super::{ModelsService, tags_from_list};
use crate::catalogue::{FoundationModel, Geography};
use crate::error::store_error;
use crate::resolve::{ArnRef, unresolved};

impl ModelsService {
    pub async fn create_inference_profile(
        &self,
        context: &RequestContext,
        input: api::CreateInferenceProfileRequest,
    ) -> Result<api::CreateInferenceProfileResponse, ApiError> {
        let api::InferenceProfileModelSource::CopyFrom(source) = &input.model_source;
        let (source_id, model_arns) = self.copy_from(context, source)?;
        let tags = tags_from_list(input.tags.clone().unwrap_or_default())?;
        let id = self.ids.short(ID_LENGTH).to_ascii_lowercase();
        let arn = application_arn(&context.region, &context.account.id, &id);
        let request =
            json!([input.inference_profile_name, input.description, source, tags.iter().collect::<Vec<_>>()]);
        let idempotency = Idempotency::answering(input.client_request_token, &request, &arn);
        let profile =
            ApplicationProfile { arn: arn.clone(), description: input.description, source_id, model_arns };
        let record = NewRecord {
            id,
            name: Some(input.inference_profile_name),
            body: serde_json::to_value(&profile).map_err(|error| store_error(&error.into()))?,
            now_ms: self.clock.now_ms(),
            idempotency,
            tags: Some((arn.clone(), tags)),
        };
        let scope = scope(&context.account.id, &context.region);
        let created =
            self.models.store().create(&scope, record).await.map_err(|error| store_error(&error))?;
        let arn = match created {
            Created::New(_) => arn,
            Created::Repeated(first) => first.as_str().unwrap_or_default().to_owned(),
        };
        Ok(api::CreateInferenceProfileResponse {
            inference_profile_arn: arn,
            status: Some(api::InferenceProfileStatus::Active),
        })
    }

    /// The id that serves a profile copied from `source`, and the ARNs of the models behind it.
    fn copy_from(&self, context: &RequestContext, source: &str) -> Result<(String, Vec<String>), ApiError> {
        let arn = ArnRef::parse(source).ok_or_else(|| invalid_source(source))?;
        let index = self.models.index();
        let entry = index.get(arn.id);
        match arn.kind {
            "foundation-model" => {
                let entry = entry.filter(|entry| entry.geography.is_none()).ok_or_else(unresolved)?;
                let region = if arn.region.is_empty() { &context.region } else { arn.region };
                Ok((entry.model.id.clone(), vec![entry.model.arn(region)]))
            }
            "inference-profile" if arn.account.is_empty() || arn.account == context.account.id => {
                let entry = entry.ok_or_else(|| not_found(source))?;
                let geography = entry.geography.as_ref().ok_or_else(|| not_found(source))?;
                Ok((arn.id.to_owned(), model_arns(&entry.model, geography)))
            }
            "inference-profile" => Err(not_found(source)),
            _ => Err(invalid_source(source)),
        }
    }

    pub async fn get_inference_profile(
        &self,
        context: &RequestContext,
        input: api::GetInferenceProfileRequest,
    ) -> Result<api::GetInferenceProfileResponse, ApiError> {
        let summary = self.find_profile(context, &input.inference_profile_identifier).await?;
        Ok(api::GetInferenceProfileResponse {
            inference_profile_name: summary.inference_profile_name,
            description: summary.description,
            created_at: summary.created_at,
            updated_at: summary.updated_at,
            inference_profile_arn: summary.inference_profile_arn,
            models: summary.models,
            inference_profile_id: summary.inference_profile_id,
            status: summary.status,
            r#type: summary.r#type,
        })
    }

    async fn find_profile(
        &self,
        context: &RequestContext,
        identifier: &str,
    ) -> Result<api::InferenceProfileSummary, ApiError> {
        let (region, id) = own_profile(context, identifier)?;
        let index = self.models.index();
        if let Some(entry) = index.get(id)
            && let Some(geography) = &entry.geography
        {
            return Ok(system_summary(context, id, &entry.model, geography));
        }
        let scope = scope(&context.account.id, region);
        let record = self.models.store().get(&scope, id).await.map_err(|error| store_error(&error))?;
        application_summary(&record.ok_or_else(|| not_found(identifier))?)
    }

    pub async fn list_inference_profiles(
        &self,
        context: &RequestContext,
        input: api::ListInferenceProfilesRequest,
    ) -> Result<api::ListInferenceProfilesResponse, ApiError> {
        let wants = |kind: api::InferenceProfileType| input.type_equals.is_none_or(|wanted| wanted == kind);
        let mut summaries = Vec::new();
        if wants(api::InferenceProfileType::SystemDefined) {
            let index = self.models.index();
            let system = index.profiles();
            summaries
                .extend(system.map(|(id, model, geography)| system_summary(context, id, model, geography)));
        }
        if wants(api::InferenceProfileType::Application) {
            let scope = scope(&context.account.id, &context.region);
            let records = self.models.store().list(&scope, &Range::default()).await;
            for record in records.map_err(|error| store_error(&error))? {
                summaries.push(application_summary(&record)?);
            }
        }
        summaries.sort_by_cached_key(order);
        let request = PageRequest {
            next_token: input.next_token,
            max_results: input.max_results.and_then(|count| u32::try_from(count).ok()),
        };
        let page = request.cut(summaries, order).map_err(|error| ApiError::validation(error.to_string()))?;
        Ok(api::ListInferenceProfilesResponse {
            inference_profile_summaries: Some(page.items),
            next_token: page.next_token,
        })
    }

    pub async fn delete_inference_profile(
        &self,
        context: &RequestContext,
        input: api::DeleteInferenceProfileRequest,
    ) -> Result<api::DeleteInferenceProfileResponse, ApiError> {
        let identifier = &input.inference_profile_identifier;
        let (region, id) = own_profile(context, identifier)?;
        if self.models.index().get(id).is_some_and(|entry| entry.geography.is_some()) {
            return Err(ApiError::validation("System-defined inference profiles can't be deleted."));
        }
        let arn = application_arn(region, &context.account.id, id);
        let scope = scope(&context.account.id, region);
        let deleted = self.models.store().delete(&scope, id, Some(&arn)).await;
        if deleted.map_err(|error| store_error(&error))? {
            Ok(api::DeleteInferenceProfileResponse {})
        } else {
            Err(not_found(identifier))
        }
    }
}

/// Region and id that a profile's id or ARN names, when the profile could be this account's.
fn own_profile<'a>(context: &'a RequestContext, identifier: &'a str) -> Result<(&'a str, &'a str), ApiError> {
    if !identifier.starts_with("arn:") {
        return Ok((&context.region, identifier));
    }
    let arn = ArnRef::parse(identifier).ok_or_else(|| not_found(identifier))?;
    let known = matches!(arn.kind, "inference-profile" | profiles::KIND);
    let own = arn.account == context.account.id || (arn.account.is_empty() && arn.kind != profiles::KIND);
    if known && own { Ok((arn.region, arn.id)) } else { Err(not_found(identifier)) }
}

fn system_summary(
    context: &RequestContext,
    id: &str,
    model: &FoundationModel,
    geography: &Arc<Geography>,
) -> api::InferenceProfileSummary {
    let place = match geography.regions.as_slice() {
        [only] if only.is_empty() => "any region".to_owned(),
        regions => regions.join(", "),
    };
    api::InferenceProfileSummary {
        inference_profile_name: format!("{} {} {}", geography.name, model.provider, model.name),
        description: Some(format!("Routes requests to {} {} in {place}.", model.provider, model.name)),
        created_at: None,
        updated_at: None,
        inference_profile_arn: system_arn(&context.region, &context.account.id, id),
        models: models(model_arns(model, geography)),
        inference_profile_id: id.to_owned(),
        status: api::InferenceProfileStatus::Active,
        r#type: api::InferenceProfileType::SystemDefined,
    }
}

fn application_summary(record: &Record) -> Result<api::InferenceProfileSummary, ApiError> {
    let profile = profiles::read(record)?;
    Ok(api::InferenceProfileSummary {
        inference_profile_name: record.name.clone().unwrap_or_default(),
        description: profile.description,
        created_at: Some(Timestamp::from_ms(record.created_ms)),
        updated_at: Some(Timestamp::from_ms(record.updated_ms)),
        inference_profile_arn: profile.arn,
        models: models(profile.model_arns),
        inference_profile_id: record.id.clone(),
        status: api::InferenceProfileStatus::Active,
        r#type: api::InferenceProfileType::Application,
    })
}

fn model_arns(model: &FoundationModel, geography: &Geography) -> Vec<String> {
    geography.regions.iter().map(|region| model.arn(region)).collect()
}

fn models(arns: Vec<String>) -> Vec<api::InferenceProfileModel> {
    arns.into_iter().map(|arn| api::InferenceProfileModel { model_arn: Some(arn) }).collect()
}

/// Listing order: system-defined profiles before application ones, each by id.
fn order(summary: &api::InferenceProfileSummary) -> String {
    let group = match summary.r#type {
        api::InferenceProfileType::SystemDefined => 0,
        api::InferenceProfileType::Application => 1,
    };
    format!("{group}/{}", summary.inference_profile_id)
}

fn invalid_source(source: &str) -> ApiError {
    ApiError::validation(format!("The model source {source} is not a foundation model or inference profile."))
}

fn not_found(identifier: &str) -> ApiError {
    ApiError::not_found(format!("Could not find the inference profile {identifier}."))
}
