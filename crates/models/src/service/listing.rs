//! ListFoundationModels, GetFoundationModel, GetFoundationModelAvailability.

use std::sync::Arc;

use craton_api_bedrock as api;
use craton_core::RequestContext;
use craton_wire::error::ApiError;

use super::ModelsService;
use crate::catalogue::{Customization, FoundationModel, InferenceType, Lifecycle, Modality};
use crate::index::Serving;
use crate::resolve::{ArnRef, invalid_identifier, unresolved};

impl ModelsService {
    pub async fn list_foundation_models(
        &self,
        context: &RequestContext,
        input: api::ListFoundationModelsRequest,
    ) -> Result<api::ListFoundationModelsResponse, ApiError> {
        let summaries = self.models.list().into_iter().filter(|model| matches(model, &input));
        let summaries = summaries.map(|model| summary(&model, &context.region)).collect();
        Ok(api::ListFoundationModelsResponse { model_summaries: Some(summaries) })
    }

    pub async fn get_foundation_model(
        &self,
        context: &RequestContext,
        input: api::GetFoundationModelRequest,
    ) -> Result<api::GetFoundationModelResponse, ApiError> {
        let (model, _) = self.foundation_model(&input.model_identifier)?;
        Ok(api::GetFoundationModelResponse { model_details: Some(details(&model, &context.region)) })
    }

    pub async fn get_foundation_model_availability(
        &self,
        _context: &RequestContext,
        input: api::GetFoundationModelAvailabilityRequest,
    ) -> Result<api::GetFoundationModelAvailabilityResponse, ApiError> {
        let (_, serving) = self.foundation_model(&input.model_id)?;
        let served = matches!(serving, Serving::By(_));
        let entitled = served || serving == Serving::NotServed;
        Ok(api::GetFoundationModelAvailabilityResponse {
            model_id: input.model_id,
            agreement_availability: api::AgreementAvailability {
                status: either(entitled, api::AgreementStatus::Available, api::AgreementStatus::NotAvailable),
                error_message: None,
            },
            authorization_status: either(
                entitled,
                api::AuthorizationStatus::Authorized,
                api::AuthorizationStatus::NotAuthorized,
            ),
            entitlement_availability: either(
                served,
                api::EntitlementAvailability::Available,
                api::EntitlementAvailability::NotAvailable,
            ),
            // Models that no backend here can run are, in AWS's terms, not offered in this region.
            region_availability: either(
                serving != Serving::NotServed,
                api::RegionAvailability::Available,
                api::RegionAvailability::NotAvailable,
            ),
        })
    }

    /// The model of an id or foundation-model ARN; profiles are not models.
    fn foundation_model(&self, identifier: &str) -> Result<(Arc<FoundationModel>, Serving), ApiError> {
        let (id, missing): (&str, fn() -> ApiError) = match ArnRef::parse(identifier) {
            Some(arn) if arn.kind == "foundation-model" && arn.account.is_empty() => (arn.id, unresolved),
            Some(_) => return Err(invalid_identifier()),
            None => (identifier, invalid_identifier),
        };
        if self.models.index().get(id).is_none() {
            self.models.refresh();
        }
        let index = self.models.index();
        let entry = index.get(id).filter(|entry| entry.geography.is_none()).ok_or_else(missing)?;
        Ok((Arc::clone(&entry.model), entry.serving.clone()))
    }
}

fn either<T>(condition: bool, yes: T, no: T) -> T {
    if condition { yes } else { no }
}

fn matches(model: &FoundationModel, input: &api::ListFoundationModelsRequest) -> bool {
    let by_provider = input.by_provider.as_deref().is_none_or(|provider| {
        let prefix = model.id.split('.').next().unwrap_or_default();
        provider.eq_ignore_ascii_case(&model.provider) || provider.eq_ignore_ascii_case(prefix)
    });
    let by_customization = input.by_customization_type.is_none_or(|wanted| {
        model.customizations.iter().any(|customization| customization_type(*customization) == wanted)
    });
    let by_modality =
        input.by_output_modality.is_none_or(|wanted| modalities(&model.output_modalities).contains(&wanted));
    let by_inference = input
        .by_inference_type
        .is_none_or(|wanted| model.inference_types.iter().any(|offered| inference_type(*offered) == wanted));
    by_provider && by_customization && by_modality && by_inference
}

fn summary(model: &FoundationModel, region: &str) -> api::FoundationModelSummary {
    let details = details(model, region);
    api::FoundationModelSummary {
        model_arn: details.model_arn,
        model_id: details.model_id,
        model_name: details.model_name,
        provider_name: details.provider_name,
        input_modalities: details.input_modalities,
        output_modalities: details.output_modalities,
        response_streaming_supported: details.response_streaming_supported,
        customizations_supported: details.customizations_supported,
        inference_types_supported: details.inference_types_supported,
        model_lifecycle: details.model_lifecycle,
    }
}

fn details(model: &FoundationModel, region: &str) -> api::FoundationModelDetails {
    let status = match model.lifecycle {
        Lifecycle::Active => api::FoundationModelLifecycleStatus::Active,
        Lifecycle::Legacy => api::FoundationModelLifecycleStatus::Legacy,
    };
    api::FoundationModelDetails {
        model_arn: model.arn(region),
        model_id: model.id.clone(),
        model_name: Some(model.name.clone()),
        provider_name: Some(model.provider.clone()),
        input_modalities: Some(modalities(&model.input_modalities)),
        output_modalities: Some(modalities(&model.output_modalities)),
        response_streaming_supported: Some(model.streaming),
        customizations_supported: Some(
            model.customizations.iter().map(|customization| customization_type(*customization)).collect(),
        ),
        inference_types_supported: Some(
            model.inference_types.iter().map(|offered| inference_type(*offered)).collect(),
        ),
        model_lifecycle: Some(api::FoundationModelLifecycle {
            status,
            start_of_life_time: None,
            end_of_life_time: None,
            legacy_time: None,
            public_extended_access_time: None,
        }),
    }
}

fn modalities(modalities: &[Modality]) -> Vec<api::ModelModality> {
    let modality = |modality: &Modality| match modality {
        Modality::Text => api::ModelModality::Text,
        Modality::Image => api::ModelModality::Image,
        Modality::Embedding => api::ModelModality::Embedding,
        Modality::Video => api::ModelModality::Video,
    };
    modalities.iter().map(modality).collect()
}

fn customization_type(customization: Customization) -> api::ModelCustomization {
    match customization {
        Customization::FineTuning => api::ModelCustomization::FineTuning,
        Customization::ContinuedPreTraining => api::ModelCustomization::ContinuedPreTraining,
        Customization::Distillation => api::ModelCustomization::Distillation,
    }
}

fn inference_type(inference_type: InferenceType) -> api::InferenceType {
    match inference_type {
        InferenceType::OnDemand => api::InferenceType::OnDemand,
        InferenceType::Provisioned => api::InferenceType::Provisioned,
        InferenceType::InferenceProfile => api::InferenceType::InferenceProfile,
    }
}
