use craton_api_iam::{
    CreateRoleRequest, CreateRoleResponse, CreateServiceLinkedRoleRequest, CreateServiceLinkedRoleResponse,
    DeleteRoleRequest, GetRoleRequest, GetRoleResponse, ListInstanceProfilesForRoleRequest,
    ListInstanceProfilesForRoleResponse, ListRolesRequest, ListRolesResponse, UpdateAssumeRolePolicyRequest,
    UpdateRoleDescriptionRequest, UpdateRoleDescriptionResponse, UpdateRoleRequest, UpdateRoleResponse,
};
use craton_core::RequestContext;
use craton_identity::directory::{NewRole, Tags, upper_first};
use craton_identity::policy::PolicyKind;
use craton_wire::ApiError;

use crate::error::refused;
use crate::page::page;
use crate::{Iam, document, shapes};

/// Seconds that sessions last at most, where the role says nothing.
const DEFAULT_SESSION_S: i32 = 3_600;

impl Iam {
    pub async fn create_role(
        &self,
        context: &RequestContext,
        input: CreateRoleRequest,
    ) -> Result<CreateRoleResponse, ApiError> {
        let new = NewRole {
            trust: document(&input.assume_role_policy_document, PolicyKind::Trust)?,
            name: input.role_name,
            path: input.path.unwrap_or_else(|| "/".into()),
            description: input.description,
            max_session_s: input.max_session_duration.unwrap_or(DEFAULT_SESSION_S),
            boundary: input.permissions_boundary,
            tags: shapes::tags_in(input.tags)?,
        };
        let made = self.change(context, |draft| draft.create_role(new)).await?;
        Ok(CreateRoleResponse { role: shapes::role(&made, &self.directory.view(), true) })
    }

    pub async fn create_service_linked_role(
        &self,
        context: &RequestContext,
        input: CreateServiceLinkedRoleRequest,
    ) -> Result<CreateServiceLinkedRoleResponse, ApiError> {
        let service = &input.aws_service_name;
        let trust = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}],
        });
        let stem = service.split('.').next().unwrap_or_default();
        let stem: String = stem.split('-').map(upper_first).collect();
        let suffix = input.custom_suffix.map(|suffix| format!("_{suffix}")).unwrap_or_default();
        let new = NewRole {
            trust: document(&trust.to_string(), PolicyKind::Trust)?,
            name: format!("AWSServiceRoleFor{stem}{suffix}"),
            path: format!("/aws-service-role/{service}/"),
            description: input.description,
            max_session_s: DEFAULT_SESSION_S,
            boundary: None,
            tags: Tags::new(),
        };
        let made = self.change(context, |draft| draft.create_role(new)).await.map_err(|error| {
            let message = format!("Service role name has been taken in this account: {}", error.message);
            if error.code == "EntityAlreadyExists" { ApiError::new("InvalidInput", message) } else { error }
        })?;
        Ok(CreateServiceLinkedRoleResponse { role: Some(shapes::role(&made, &self.directory.view(), true)) })
    }

    pub async fn get_role(
        &self,
        _context: &RequestContext,
        input: GetRoleRequest,
    ) -> Result<GetRoleResponse, ApiError> {
        let view = self.directory.view();
        let role = view.role(&input.role_name).map_err(refused)?;
        Ok(GetRoleResponse { role: shapes::role(role, &view, true) })
    }

    pub async fn update_role(
        &self,
        context: &RequestContext,
        input: UpdateRoleRequest,
    ) -> Result<UpdateRoleResponse, ApiError> {
        self.change(context, |draft| {
            draft.update_role(&input.role_name, |role| {
                role.description = input.description.or(role.description.take());
                role.max_session_s = input.max_session_duration.unwrap_or(role.max_session_s);
            })
        })
        .await?;
        Ok(UpdateRoleResponse {})
    }

    pub async fn update_role_description(
        &self,
        context: &RequestContext,
        input: UpdateRoleDescriptionRequest,
    ) -> Result<UpdateRoleDescriptionResponse, ApiError> {
        let changed = self
            .change(context, |draft| {
                draft.update_role(&input.role_name, |role| role.description = Some(input.description))
            })
            .await?;
        Ok(UpdateRoleDescriptionResponse { role: Some(shapes::role(&changed, &self.directory.view(), true)) })
    }

    pub async fn update_assume_role_policy(
        &self,
        context: &RequestContext,
        input: UpdateAssumeRolePolicyRequest,
    ) -> Result<(), ApiError> {
        let trust = document(&input.policy_document, PolicyKind::Trust)?;
        self.change(context, |draft| draft.set_trust(&input.role_name, trust).map(drop)).await
    }

    pub async fn delete_role(
        &self,
        context: &RequestContext,
        input: DeleteRoleRequest,
    ) -> Result<(), ApiError> {
        self.change(context, |draft| draft.delete_role(&input.role_name)).await
    }

    pub async fn list_roles(
        &self,
        _context: &RequestContext,
        input: ListRolesRequest,
    ) -> Result<ListRolesResponse, ApiError> {
        let view = self.directory.view();
        let prefix = input.path_prefix.unwrap_or_else(|| "/".into());
        let roles = view.roles().filter(|role| role.path.starts_with(&prefix));
        let roles = roles.map(|role| shapes::role(role, &view, false));
        let page = page(roles, (input.marker, input.max_items), |role| role.role_name.clone())?;
        Ok(ListRolesResponse { roles: page.items, is_truncated: page.is_truncated, marker: page.marker })
    }

    /// There are no instances here, so no profiles of any.
    pub async fn list_instance_profiles_for_role(
        &self,
        _context: &RequestContext,
        input: ListInstanceProfilesForRoleRequest,
    ) -> Result<ListInstanceProfilesForRoleResponse, ApiError> {
        self.directory.view().role(&input.role_name).map_err(refused)?;
        Ok(ListInstanceProfilesForRoleResponse {
            instance_profiles: Vec::new(),
            is_truncated: Some(false),
            marker: None,
        })
    }
}
