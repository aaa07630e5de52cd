//! TagResource, UntagResource, ListTagsForResource, for the resources this crate keeps.

use std::collections::BTreeMap;

use craton_api_bedrock as api;
use craton_core::RequestContext;
use craton_wire::error::ApiError;

use super::{ModelsService, profiles};
use crate::error::store_error;
use crate::resolve::ArnRef;

impl ModelsService {
    pub async fn tag_resource(
        &self,
        context: &RequestContext,
        input: api::TagResourceRequest,
    ) -> Result<api::TagResourceResponse, ApiError> {
        let tags = from_list(input.tags)?;
        self.taggable(context, &input.resource_arn).await?;
        let tagged = self.models.store().tag(&input.resource_arn, &tags).await;
        tagged.map_err(|error| store_error(&error))?;
        Ok(api::TagResourceResponse {})
    }

    pub async fn untag_resource(
        &self,
        context: &RequestContext,
        input: api::UntagResourceRequest,
    ) -> Result<api::UntagResourceResponse, ApiError> {
        self.taggable(context, &input.resource_arn).await?;
        let untagged = self.models.store().untag(&input.resource_arn, &input.tag_keys).await;
        untagged.map_err(|error| store_error(&error))?;
        Ok(api::UntagResourceResponse {})
    }

    pub async fn list_tags_for_resource(
        &self,
        context: &RequestContext,
        input: api::ListTagsForResourceRequest,
    ) -> Result<api::ListTagsForResourceResponse, ApiError> {
        self.taggable(context, &input.resource_arn).await?;
        let tags =
            self.models.store().tags(&input.resource_arn).await.map_err(|error| store_error(&error))?;
        let tags = tags.into_iter().map(|(key, value)| api::Tag { key, value }).collect();
        Ok(api::ListTagsForResourceResponse { tags: Some(tags) })
    }

    /// Checks that the ARN names something here that carries tags.
    async fn taggable(&self, context: &RequestContext, arn: &str) -> Result<(), ApiError> {
        let missing = || ApiError::not_found(format!("Could not find the resource {arn}."));
        let parsed = ArnRef::parse(arn).ok_or_else(missing)?;
        if parsed.kind == "inference-profile" {
            return Err(ApiError::validation("System-defined inference profiles can't be tagged."));
        }
        if parsed.kind == "guardrail" && parsed.account == context.account.id {
            let scope = craton_store::Scope::new("guardrail", parsed.account, parsed.region);
            let record =
                self.models.store().get(&scope, parsed.id).await.map_err(|error| store_error(&error))?;
            let found = record.is_some_and(|record| record.body["arn"].as_str() == Some(arn));
            return found.then_some(()).ok_or_else(missing);
        }
        if parsed.kind != profiles::KIND || parsed.account != context.account.id {
            return Err(missing());
        }
        let profile = profiles::find(self.models.store(), parsed.account, parsed.region, parsed.id).await?;
        // Tags are kept under the resource's own ARN, so no other spelling may pass.
        profile.filter(|profile| profile.arn == arn).map(|_| ()).ok_or_else(missing)
    }
}

/// Tags by key, refusing what AWS refuses.
pub(super) fn from_list(tags: Vec<api::Tag>) -> Result<BTreeMap<String, String>, ApiError> {
    let mut by_key = BTreeMap::new();
    for api::Tag { key, value } in tags {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::validation("Tag keys starting with aws: are reserved for system use."));
        }
        if let Some(_earlier) = by_key.insert(key.clone(), value) {
            return Err(ApiError::validation(format!("The tag key {key} is given more than once.")));
        }
    }
    Ok(by_key)
}
