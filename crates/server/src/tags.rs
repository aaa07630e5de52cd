//! Tags of resources, whichever crate keeps the resource: one mechanism behind the tag operations of `bedrock`,
//! `bedrock-agent` and `bedrock-agent-runtime`, whose types differ. A resource's own crate says whether it is there; the records keep the tags
//! under its ARN, so no other spelling of it may pass.

use craton_core::{Arn, RequestContext};
use craton_store::StoreError;
use craton_wire::ApiError;

use crate::services::Services;

/// Fails unless `arn` names a resource that is there and carries tags, or a policy of its own.
pub(crate) async fn check(services: &Services, context: &RequestContext, arn: &str) -> Result<(), ApiError> {
    let parsed: Option<Arn> = arn.parse().ok();
    let kind = parsed.as_ref().map_or("", |arn| arn.resource_parts().0);
    let there = match kind {
        "inference-profile" => {
            return Err(ApiError::validation("System-defined inference profiles can't be tagged."));
        }
        "application-inference-profile" => services.models.has_inference_profile(context, arn).await?,
        "agent" | "agent-alias" => services.agents.has_resource(context, arn).await?,
        "flow" => services.flows.has_flow(context, arn).await?,
        "guardrail" => services.guardrails.has_guardrail(context, arn).await?,
        "knowledge-base" => services.knowledge_bases.has_knowledge_base(context, arn).await?,
        "prompt" => services.prompts.has_prompt(context, arn).await?,
        "session" => services.sessions.has_session(context, arn).await?,
        _ => false,
    };
    if there { Ok(()) } else { Err(ApiError::not_found(format!("Could not find the resource {arn}."))) }
}

fn failed(error: StoreError) -> ApiError {
    match error {
        StoreError::TooManyTags { limit } => ApiError::new(
            "TooManyTagsException",
            format!("The resource would have more tags than the {limit} it can have."),
        ),
        full if full.is_full() => ApiError::no_space(),
        other => {
            tracing::error!(error = %other, "tags were not read or written");
            ApiError::internal("The server could not complete the request. See its log.")
        }
    }
}

/// A list of tags, as `bedrock` has them.
mod lists {
    use std::collections::BTreeMap;

    use craton_api_bedrock::Tag;
    pub(super) use craton_models::tags_from_list as take;

    pub(super) fn give(tags: BTreeMap<String, String>) -> Vec<Tag> {
        tags.into_iter().map(|(key, value)| Tag { key, value }).collect()
    }
}

/// A map of tags, as the services of agents have them.
mod maps {
    use std::collections::BTreeMap;

    use craton_wire::{ApiError, types::Map};

    pub(super) fn take(tags: Map<String>) -> Result<BTreeMap<String, String>, ApiError> {
        if tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
            return Err(ApiError::validation("Tag keys starting with aws: are reserved for system use."));
        }
        Ok(tags.into_iter().collect())
    }

    pub(super) fn give(tags: BTreeMap<String, String>) -> Map<String> {
        tags.into_iter().collect()
    }
}

/// The tag operations of a service, whose tags have the shape that `$shape` takes and gives.
macro_rules! operations {
    ($name:ident, $api:ident, $shape:ident) => {
        pub(crate) mod $name {
            use $api as api;

            use super::{ApiError, RequestContext, Services, check, failed, $shape};

            pub(crate) async fn tag_resource(
                services: &Services,
                context: &RequestContext,
                input: api::TagResourceRequest,
            ) -> Result<api::TagResourceResponse, ApiError> {
                let tags = $shape::take(input.tags)?;
                check(services, context, &input.resource_arn).await?;
                services.store.tag(&input.resource_arn, &tags).await.map_err(failed)?;
                Ok(api::TagResourceResponse {})
            }

            pub(crate) async fn untag_resource(
                services: &Services,
                context: &RequestContext,
                input: api::UntagResourceRequest,
            ) -> Result<api::UntagResourceResponse, ApiError> {
                check(services, context, &input.resource_arn).await?;
                services.store.untag(&input.resource_arn, &input.tag_keys).await.map_err(failed)?;
                Ok(api::UntagResourceResponse {})
            }

            pub(crate) async fn list_tags_for_resource(
                services: &Services,
                context: &RequestContext,
                input: api::ListTagsForResourceRequest,
            ) -> Result<api::ListTagsForResourceResponse, ApiError> {
                check(services, context, &input.resource_arn).await?;
                let tags = services.store.tags(&input.resource_arn).await.map_err(failed)?;
                Ok(api::ListTagsForResourceResponse { tags: Some($shape::give(tags)) })
            }
        }
    };
}

operations!(bedrock, craton_api_bedrock, lists);
operations!(bedrock_agent, craton_api_bedrock_agent, maps);
operations!(bedrock_agent_runtime, craton_api_bedrock_agent_runtime, maps);
