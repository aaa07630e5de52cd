//! Tags of collections.

use craton_api_opensearchserverless as api;
use craton_core::{Arn, RequestContext};
use craton_wire::ApiError;

use crate::Collections;
use crate::error::from_store;

impl Collections {
    pub async fn list_tags_for_resource(
        &self,
        context: &RequestContext,
        input: api::ListTagsForResourceRequest,
    ) -> Result<api::ListTagsForResourceResponse, ApiError> {
        self.check_resource(context, &input.resource_arn).await?;
        let tags = self.parts.store.tags(&input.resource_arn).await.map_err(from_store)?;
        let tags = tags.into_iter().map(|(key, value)| api::Tag { key, value });
        Ok(api::ListTagsForResourceResponse { tags: Some(tags.collect()) })
    }

    pub async fn tag_resource(
        &self,
        context: &RequestContext,
        input: api::TagResourceRequest,
    ) -> Result<api::TagResourceResponse, ApiError> {
        self.check_resource(context, &input.resource_arn).await?;
        let tags = input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
        self.parts.store.tag(&input.resource_arn, &tags).await.map_err(from_store)?;
        Ok(api::TagResourceResponse {})
    }

    pub async fn untag_resource(
        &self,
        context: &RequestContext,
        input: api::UntagResourceRequest,
    ) -> Result<api::UntagResourceResponse, ApiError> {
        self.check_resource(context, &input.resource_arn).await?;
        self.parts.store.untag(&input.resource_arn, &input.tag_keys).await.map_err(from_store)?;
        Ok(api::UntagResourceResponse {})
    }

    /// Whether `arn` is, in its only spelling, a collection of the account and region that is there.
    pub async fn has_collection(&self, context: &RequestContext, arn: &str) -> Result<bool, ApiError> {
        let id = arn.rsplit_once('/').map_or("", |(_, id)| id);
        if crate::collections::arn(context, id) != arn {
            return Ok(false);
        }
        match self.collection(context, id).await {
            Ok(_) => Ok(true),
            Err(error) if error.code == "ResourceNotFoundException" => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn check_resource(&self, context: &RequestContext, arn: &str) -> Result<(), ApiError> {
        let parsed: Result<Arn, _> = arn.parse();
        let known = parsed.ok().filter(|arn| arn.service == "aoss" && arn.account == context.account.id);
        match known.as_ref().map(Arn::resource_parts) {
            Some(("collection", id)) => self.collection(context, id).await.map(|_| ()),
            _ => Err(ApiError::not_found(format!("Resource {arn} cannot be found."))),
        }
    }
}
