use craton_api_iam::{
    CreateUserRequest, CreateUserResponse, DeleteUserRequest, GetUserRequest, GetUserResponse,
    ListGroupsForUserRequest, ListGroupsForUserResponse, ListUsersRequest, ListUsersResponse,
    UpdateUserRequest, User,
};
use craton_core::RequestContext;
use craton_wire::ApiError;
use craton_wire::types::Timestamp;

use crate::error::refused;
use crate::page::page;
use crate::{Iam, shapes, user_or_caller};

impl Iam {
    pub async fn create_user(
        &self,
        context: &RequestContext,
        input: CreateUserRequest,
    ) -> Result<CreateUserResponse, ApiError> {
        let tags = shapes::tags_in(input.tags)?;
        let path = input.path.unwrap_or_else(|| "/".into());
        let made = self
            .change(context, |draft| {
                draft.create_user(&input.user_name, &path, input.permissions_boundary, tags)
            })
            .await?;
        Ok(CreateUserResponse { user: Some(shapes::user(&made, &context.account.id, true)) })
    }

    pub async fn get_user(
        &self,
        context: &RequestContext,
        input: GetUserRequest,
    ) -> Result<GetUserResponse, ApiError> {
        let account = &context.account.id;
        if input.user_name.is_none() && context.principal.is_root() {
            let user = User {
                path: "/".into(),
                user_name: "root".into(),
                user_id: account.clone(),
                arn: context.principal.arn.clone(),
                create_date: Timestamp::from_ms(0),
                password_last_used: None,
                permissions_boundary: None,
                tags: None,
            };
            return Ok(GetUserResponse { user });
        }
        let name = user_or_caller(context, input.user_name)?;
        let view = self.directory.view();
        Ok(GetUserResponse { user: shapes::user(view.user(&name).map_err(refused)?, account, true) })
    }

    pub async fn update_user(
        &self,
        context: &RequestContext,
        input: UpdateUserRequest,
    ) -> Result<(), ApiError> {
        let UpdateUserRequest { user_name, new_path, new_user_name } = input;
        self.change(context, |draft| {
            draft.update_user(&user_name, new_user_name.as_deref(), new_path.as_deref()).map(drop)
        })
        .await
    }

    pub async fn delete_user(
        &self,
        context: &RequestContext,
        input: DeleteUserRequest,
    ) -> Result<(), ApiError> {
        self.change(context, |draft| draft.delete_user(&input.user_name)).await
    }

    pub async fn list_users(
        &self,
        context: &RequestContext,
        input: ListUsersRequest,
    ) -> Result<ListUsersResponse, ApiError> {
        let view = self.directory.view();
        let prefix = input.path_prefix.unwrap_or_else(|| "/".into());
        let users = view.users().filter(|user| user.path.starts_with(&prefix));
        let users = users.map(|user| shapes::user(user, &context.account.id, false));
        let page = page(users, (input.marker, input.max_items), |user| user.user_name.clone())?;
        Ok(ListUsersResponse { users: page.items, is_truncated: page.is_truncated, marker: page.marker })
    }

    pub async fn list_groups_for_user(
        &self,
        context: &RequestContext,
        input: ListGroupsForUserRequest,
    ) -> Result<ListGroupsForUserResponse, ApiError> {
        let view = self.directory.view();
        let user = view.user(&input.user_name).map_err(refused)?;
        let groups = view.groups_of(user).map(|group| shapes::group(group, &context.account.id));
        let page = page(groups, (input.marker, input.max_items), |group| group.group_name.clone())?;
        Ok(ListGroupsForUserResponse {
            groups: page.items,
            is_truncated: page.is_truncated,
            marker: page.marker,
        })
    }
}
