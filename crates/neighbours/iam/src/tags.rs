//! Tags of users, roles and policies.

use craton_api_iam as api;
use craton_core::RequestContext;
use craton_identity::directory::{Tagged, Tags};
use craton_wire::ApiError;

use crate::error::refused;
use crate::page::{Paged, page};
use crate::{Iam, shapes};

impl Iam {
    pub async fn tag_user(
        &self,
        context: &RequestContext,
        input: api::TagUserRequest,
    ) -> Result<(), ApiError> {
        let tags = shapes::tags_in(Some(input.tags))?;
        self.change(context, |draft| draft.change_tags(Tagged::User(&input.user_name), tags, &[])).await
    }

    pub async fn untag_user(
        &self,
        context: &RequestContext,
        input: api::UntagUserRequest,
    ) -> Result<(), ApiError> {
        let tagged = Tagged::User(&input.user_name);
        self.change(context, |draft| draft.change_tags(tagged, Tags::new(), &input.tag_keys)).await
    }

    pub async fn list_user_tags(
        &self,
        _context: &RequestContext,
        input: api::ListUserTagsRequest,
    ) -> Result<api::ListUserTagsResponse, ApiError> {
        let view = self.directory.view();
        let tags = shapes::tags_out(&view.user(&input.user_name).map_err(refused)?.tags);
        let Paged { items, is_truncated, marker } =
            page(tags, (input.marker, input.max_items), |tag| tag.key.clone())?;
        Ok(api::ListUserTagsResponse { tags: items, is_truncated, marker })
    }

    pub async fn tag_role(
        &self,
        context: &RequestContext,
        input: api::TagRoleRequest,
    ) -> Result<(), ApiError> {
        let tags = shapes::tags_in(Some(input.tags))?;
        self.change(context, |draft| draft.change_tags(Tagged::Role(&input.role_name), tags, &[])).await
    }

    pub async fn untag_role(
        &self,
        context: &RequestContext,
        input: api::UntagRoleRequest,
    ) -> Result<(), ApiError> {
        let tagged = Tagged::Role(&input.role_name);
        self.change(context, |draft| draft.change_tags(tagged, Tags::new(), &input.tag_keys)).await
    }

    pub async fn list_role_tags(
        &self,
        _context: &RequestContext,
        input: api::ListRoleTagsRequest,
    ) -> Result<api::ListRoleTagsResponse, ApiError> {
        let view = self.directory.view();
        let tags = shapes::tags_out(&view.role(&input.role_name).map_err(refused)?.tags);
        let Paged { items, is_truncated, marker } =
            page(tags, (input.marker, input.max_items), |tag| tag.key.clone())?;
        Ok(api::ListRoleTagsResponse { tags: items, is_truncated, marker })
    }

    pub async fn tag_policy(
        &self,
        context: &RequestContext,
        input: api::TagPolicyRequest,
    ) -> Result<(), ApiError> {
        let tags = shapes::tags_in(Some(input.tags))?;
        self.change(context, |draft| draft.change_tags(Tagged::Policy(&input.policy_arn), tags, &[])).await
    }

    pub async fn untag_policy(
        &self,
        context: &RequestContext,
        input: api::UntagPolicyRequest,
    ) -> Result<(), ApiError> {
        let tagged = Tagged::Policy(&input.policy_arn);
        self.change(context, |draft| draft.change_tags(tagged, Tags::new(), &input.tag_keys)).await
    }

    pub async fn list_policy_tags(
        &self,
        _context: &RequestContext,
        input: api::ListPolicyTagsRequest,
    ) -> Result<api::ListPolicyTagsResponse, ApiError> {
        let view = self.directory.view();
        let tags = shapes::tags_out(&view.policy(&input.policy_arn).map_err(refused)?.tags);
        let Paged { items, is_truncated, marker } =
            page(tags, (input.marker, input.max_items), |tag| tag.key.clone())?;
        Ok(api::ListPolicyTagsResponse { tags: items, is_truncated, marker })
    }
}
