//! `bedrock`: models and inference profiles.

use craton_api_bedrock::ops;
use futures::FutureExt as _;

use super::Routes;
use crate::{resource_policies, tags};

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .serve::<ops::CreateGuardrail, _>(|s, c, i| s.guardrails.create_guardrail(c, i).boxed())
        .serve::<ops::CreateGuardrailVersion, _>(|s, c, i| {
            s.guardrails.create_guardrail_version(c, i).boxed()
        })
        .serve::<ops::DeleteEnforcedGuardrailConfiguration, _>(|s, c, i| {
            s.guardrails.delete_enforced_guardrail_configuration(c, i).boxed()
        })
        .serve::<ops::DeleteGuardrail, _>(|s, c, i| s.guardrails.delete_guardrail(c, i).boxed())
        .serve::<ops::GetGuardrail, _>(|s, c, i| s.guardrails.get_guardrail(c, i).boxed())
        .serve::<ops::ListEnforcedGuardrailsConfiguration, _>(|s, c, i| {
            s.guardrails.list_enforced_guardrails_configuration(c, i).boxed()
        })
        .serve::<ops::ListGuardrails, _>(|s, c, i| s.guardrails.list_guardrails(c, i).boxed())
        .serve::<ops::PutEnforcedGuardrailConfiguration, _>(|s, c, i| {
            s.guardrails.put_enforced_guardrail_configuration(c, i).boxed()
        })
        .serve::<ops::UpdateGuardrail, _>(|s, c, i| s.guardrails.update_guardrail(c, i).boxed())
        .serve::<ops::CreateInferenceProfile, _>(|s, c, i| s.models.create_inference_profile(c, i).boxed())
        .serve::<ops::DeleteInferenceProfile, _>(|s, c, i| s.models.delete_inference_profile(c, i).boxed())
        .serve::<ops::GetFoundationModel, _>(|s, c, i| s.models.get_foundation_model(c, i).boxed())
        .serve::<ops::GetFoundationModelAvailability, _>(|s, c, i| {
            s.models.get_foundation_model_availability(c, i).boxed()
        })
        .serve::<ops::GetInferenceProfile, _>(|s, c, i| s.models.get_inference_profile(c, i).boxed())
        .serve::<ops::ListFoundationModels, _>(|s, c, i| s.models.list_foundation_models(c, i).boxed())
        .serve::<ops::ListInferenceProfiles, _>(|s, c, i| s.models.list_inference_profiles(c, i).boxed())
        .serve::<ops::DeleteResourcePolicy, _>(|s, c, i| {
            resource_policies::bedrock::delete_resource_policy(s, c, i).boxed()
        })
        .serve::<ops::GetResourcePolicy, _>(|s, c, i| {
            resource_policies::bedrock::get_resource_policy(s, c, i).boxed()
        })
        .serve::<ops::PutResourcePolicy, _>(|s, c, i| {
            resource_policies::bedrock::put_resource_policy(s, c, i).boxed()
        })
        .serve::<ops::ListTagsForResource, _>(|s, c, i| {
            tags::bedrock::list_tags_for_resource(s, c, i).boxed()
        })
        .serve::<ops::TagResource, _>(|s, c, i| tags::bedrock::tag_resource(s, c, i).boxed())
        .serve::<ops::UntagResource, _>(|s, c, i| tags::bedrock::untag_resource(s, c, i).boxed())
}
