use craton_api_iam::{
    AddUserToGroupRequest, CreateGroupRequest, CreateGroupResponse, DeleteGroupRequest, GetGroupRequest,
    GetGroupResponse, ListGroupsRequest, ListGroupsResponse, RemoveUserFromGroupRequest, UpdateGroupRequest,
};
use craton_core::RequestContext;
use craton_wire::ApiError;

use crate::error::refused;
use crate::page::page;
use crate::{Iam, shapes};

impl Iam {
    pub async fn create_group(
        &self,
        context: &RequestContext,
        input: CreateGroupRequest,
    ) -> Result<CreateGroupResponse, ApiError> {
        let path = input.path.unwrap_or_else(|| "/".into());
        let made = self.change(context, |draft| draft.create_group(&input.group_name, &path)).await?;
        Ok(CreateGroupResponse { group: shapes::group(&made, &context.account.id) })
    }

    pub async fn get_group(
        &self,
        context: &RequestContext,
        input: GetGroupRequest,
    ) -> Result<GetGroupResponse, ApiError> {
        let view = self.directory.view();
        let group = view.group(&input.group_name).map_err(refused)?;
        let users = view.members_of(group).map(|user| shapes::user(user, &context.account.id, false));
        let page = page(users, (input.marker, input.max_items), |user| user.user_name.clone())?;
        Ok(GetGroupResponse {
            group: shapes::group(group, &context.account.id),
            users: page.items,
            is_truncated: page.is_truncated,
            marker: page.marker,
        })
    }

    pub async fn update_group(
        &self,
        context: &RequestContext,
        input: UpdateGroupRequest,
    ) -> Result<(), ApiError> {
        let UpdateGroupRequest { group_name, new_path, new_group_name } = input;
        self.change(context, |draft| {
            draft.update_group(&group_name, new_group_name.as_deref(), new_path.as_deref()).map(drop)
        })
        .await
    }

    pub async fn delete_group(
        &self,
        context: &RequestContext,
        input: DeleteGroupRequest,
    ) -> Result<(), ApiError> {
        self.change(context, |draft| draft.delete_group(&input.group_name)).await
    }

    pub async fn list_groups(
        &self,
        context: &RequestContext,
        input: ListGroupsRequest,
    ) -> Result<ListGroupsResponse, ApiError> {
        let view = self.directory.view();
        let prefix = input.path_prefix.unwrap_or_else(|| "/".into());
        let groups = view.groups().filter(|group| group.path.starts_with(&prefix));
        let groups = groups.map(|group| shapes::group(group, &context.account.id));
        let page = page(groups, (input.marker, input.max_items), |group| group.group_name.clone())?;
        Ok(ListGroupsResponse { groups: page.items, is_truncated: page.is_truncated, marker: page.marker })
    }

    pub async fn add_user_to_group(
        &self,
        context: &RequestContext,
        input: AddUserToGroupRequest,
    ) -> Result<(), ApiError> {
        self.change(context, |draft| draft.add_user_to_group(&input.group_name, &input.user_name)).await
    }

    pub async fn remove_user_from_group(
        &self,
        context: &RequestContext,
        input: RemoveUserFromGroupRequest,
    ) -> Result<(), ApiError> {
        self.change(context, |draft| draft.remove_user_from_group(&input.group_name, &input.user_name)).await
    }
}
