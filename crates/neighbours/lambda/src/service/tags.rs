//! TagResource, UntagResource, ListTags.

use craton_api_lambda as api;
use craton_core::RequestContext;
use craton_wire::ApiError;

use super::unqualified;
use crate::Lambda;
use crate::error::store_error;

impl Lambda {
    pub async fn tag_resource(
        &self,
        context: &RequestContext,
        input: api::TagResourceRequest,
    ) -> Result<(), ApiError> {
        let arn = self.taggable(context, &input.resource).await?;
        let tags = input.tags.into_iter().collect();
        self.inner.store.tag(&arn, &tags).await.map_err(|error| store_error(&error))
    }

    pub async fn untag_resource(
        &self,
        context: &RequestContext,
        input: api::UntagResourceRequest,
    ) -> Result<(), ApiError> {
        let arn = self.taggable(context, &input.resource).await?;
        self.inner.store.untag(&arn, &input.tag_keys).await.map_err(|error| store_error(&error))
    }

    pub async fn list_tags(
        &self,
        context: &RequestContext,
        input: api::ListTagsRequest,
    ) -> Result<api::ListTagsResponse, ApiError> {
        let arn = self.taggable(context, &input.resource).await?;
        let tags = self.inner.store.tags(&arn).await.map_err(|error| store_error(&error))?;
        Ok(api::ListTagsResponse { tags: Some(tags.into_iter().collect()) })
    }

    async fn taggable(&self, context: &RequestContext, arn: &str) -> Result<String, ApiError> {
        let reference = unqualified(context, arn)?;
        self.record(&reference).await?;
        Ok(reference.arn(&self.inner.account.id))
    }
}
