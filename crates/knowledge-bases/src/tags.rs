//! TagResource, UntagResource, ListTagsForResource for knowledge bases.

use craton_api_bedrock_agent as api;
use craton_core::{Arn, RequestContext};
use craton_wire::ApiError;

use crate::KnowledgeBases;
use crate::error::from_store;
use crate::records::Place;

impl KnowledgeBases {
    /// Whether tags of this ARN are this service's.
    pub fn has_tags_of(arn: &str) -> bool {
        arn.parse::<Arn>().is_ok_and(|arn| arn.resource_parts().0 == "knowledge-base")
    }

    pub async fn tag_resource(
        &self,
        context: &RequestContext,
        input: api::TagResourceRequest,
    ) -> Result<api::TagResourceResponse, ApiError> {
        self.taggable(context, &input.resource_arn).await?;
        if input.tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
            return Err(ApiError::validation("Tag keys starting with aws: are reserved for system use."));
        }
        let tags = input.tags.into_iter().collect();
        self.parts.store.tag(&input.resource_arn, &tags).await.map_err(from_store)?;
        Ok(api::TagResourceResponse {})
    }

    pub async fn untag_resource(
        &self,
        context: &RequestContext,
        input: api::UntagResourceRequest,
    ) -> Result<api::UntagResourceResponse, ApiError> {
        self.taggable(context, &input.resource_arn).await?;
        self.parts.store.untag(&input.resource_arn, &input.tag_keys).await.map_err(from_store)?;
        Ok(api::UntagResourceResponse {})
    }

    pub async fn list_tags_for_resource(
        &self,
        context: &RequestContext,
        input: api::ListTagsForResourceRequest,
    ) -> Result<api::ListTagsForResourceResponse, ApiError> {
        self.taggable(context, &input.resource_arn).await?;
        let tags = self.parts.store.tags(&input.resource_arn).await.map_err(from_store)?;
        Ok(api::ListTagsForResourceResponse { tags: Some(tags.into_iter().collect()) })
    }

    /// Checks that the ARN names a knowledge base that is there, in its only spelling.
    async fn taggable(&self, context: &RequestContext, arn: &str) -> Result<(), ApiError> {
        let missing = || ApiError::not_found(format!("Could not find the resource {arn}."));
        let parsed: Arn = arn.parse().map_err(|_| missing())?;
        let (_, id) = parsed.resource_parts();
        let place = Place { account: context.account.id.clone(), region: parsed.region.clone() };
        if place.arn(id) != arn {
            return Err(missing());
        }
        self.knowledge_base(&place, id).await.map(|_| ()).map_err(|_| missing())
    }
}
