use craton_api_iam::{
    CreatePolicyRequest, CreatePolicyResponse, CreatePolicyVersionRequest, CreatePolicyVersionResponse,
    DeletePolicyRequest, DeletePolicyVersionRequest, EntityType, GetPolicyRequest, GetPolicyResponse,
    GetPolicyVersionRequest, GetPolicyVersionResponse, ListEntitiesForPolicyRequest,
    ListEntitiesForPolicyResponse, ListPoliciesRequest, ListPoliciesResponse, ListPolicyVersionsRequest,
    ListPolicyVersionsResponse, PolicyGroup, PolicyRole, PolicyScopeType, PolicyUsageType, PolicyUser,
    SetDefaultPolicyVersionRequest,
};
use craton_core::RequestContext;
use craton_identity::directory::{Grants, aws_managed_policies, unknown_version};
use craton_identity::policy::PolicyKind;
use craton_wire::ApiError;

use crate::error::refused;
use crate::page::page;
use crate::{Iam, document, shapes};

impl Iam {
    pub async fn create_policy(
        &self,
        context: &RequestContext,
        input: CreatePolicyRequest,
    ) -> Result<CreatePolicyResponse, ApiError> {
        let document = document(&input.policy_document, PolicyKind::Managed)?;
        let tags = shapes::tags_in(input.tags)?;
        let path = input.path.unwrap_or_else(|| "/".into());
        let policy = self
            .change(context, |draft| {
                draft.create_policy((&input.policy_name, &path), document, input.description, tags)
            })
            .await?;
        let view = self.directory.view();
        Ok(CreatePolicyResponse { policy: Some(shapes::policy(&policy, &view, true)) })
    }

    pub async fn get_policy(
        &self,
        _context: &RequestContext,
        input: GetPolicyRequest,
    ) -> Result<GetPolicyResponse, ApiError> {
        let view = self.directory.view();
        let policy = view.policy(&input.policy_arn).map_err(refused)?;
        Ok(GetPolicyResponse { policy: Some(shapes::policy(policy, &view, true)) })
    }

    pub async fn delete_policy(
        &self,
        context: &RequestContext,
        input: DeletePolicyRequest,
    ) -> Result<(), ApiError> {
        self.change(context, |draft| draft.delete_policy(&input.policy_arn)).await
    }

    pub async fn list_policies(
        &self,
        _context: &RequestContext,
        input: ListPoliciesRequest,
    ) -> Result<ListPoliciesResponse, ApiError> {
        let view = self.directory.view();
        let scope = input.scope.unwrap_or(PolicyScopeType::All);
        let own = view.policies().filter(|_| scope != PolicyScopeType::Aws);
        let aws = aws_managed_policies().filter(|_| scope != PolicyScopeType::Local);
        let prefix = input.path_prefix.unwrap_or_else(|| "/".into());
        let only_attached = input.only_attached.unwrap_or(false);
        let usage = input.policy_usage_filter;
        let wanted = own.chain(aws).filter(|policy| {
            let (attached, bounding) = view.uses_of(&policy.arn);
            let used = match usage {
                Some(PolicyUsageType::PermissionsPolicy) => attached > 0,
                Some(PolicyUsageType::PermissionsBoundary) => bounding > 0,
                None => true,
            };
            policy.path.starts_with(&prefix) && used && (!only_attached || attached + bounding > 0)
        });
        let policies = wanted.map(|policy| shapes::policy(policy, &view, false));
        let page =
            page(policies, (input.marker, input.max_items), |policy| policy.arn.clone().unwrap_or_default())?;
        Ok(ListPoliciesResponse {
            policies: Some(page.items),
            is_truncated: page.is_truncated,
            marker: page.marker,
        })
    }

    pub async fn create_policy_version(
        &self,
        context: &RequestContext,
        input: CreatePolicyVersionRequest,
    ) -> Result<CreatePolicyVersionResponse, ApiError> {
        let document = document(&input.policy_document, PolicyKind::Managed)?;
        let set = input.set_as_default.unwrap_or(false);
        let made = self
            .change(context, |draft| draft.create_policy_version(&input.policy_arn, document, set))
            .await?;
        let default = if set { made.number } else { 0 };
        Ok(CreatePolicyVersionResponse { policy_version: Some(shapes::version(&made, default, false)) })
    }

    pub async fn get_policy_version(
        &self,
        _context: &RequestContext,
        input: GetPolicyVersionRequest,
    ) -> Result<GetPolicyVersionResponse, ApiError> {
        let view = self.directory.view();
        let policy = view.policy(&input.policy_arn).map_err(refused)?;
        let number = shapes::version_number(&input.version_id, &policy.arn)?;
        let version = policy.version(number);
        let version = version.ok_or_else(|| refused(unknown_version(&policy.arn, &input.version_id)))?;
        let version = shapes::version(version, policy.default_version, true);
        Ok(GetPolicyVersionResponse { policy_version: Some(version) })
    }

    pub async fn set_default_policy_version(
        &self,
        context: &RequestContext,
        input: SetDefaultPolicyVersionRequest,
    ) -> Result<(), ApiError> {
        let number = shapes::version_number(&input.version_id, &input.policy_arn)?;
        self.change(context, |draft| draft.set_default_policy_version(&input.policy_arn, number)).await
    }

    pub async fn delete_policy_version(
        &self,
        context: &RequestContext,
        input: DeletePolicyVersionRequest,
    ) -> Result<(), ApiError> {
        let number = shapes::version_number(&input.version_id, &input.policy_arn)?;
        self.change(context, |draft| draft.delete_policy_version(&input.policy_arn, number)).await
    }

    pub async fn list_policy_versions(
        &self,
        _context: &RequestContext,
        input: ListPolicyVersionsRequest,
    ) -> Result<ListPolicyVersionsResponse, ApiError> {
        let view = self.directory.view();
        let policy = view.policy(&input.policy_arn).map_err(refused)?;
        // The newest first.
        let versions = policy.versions.iter().map(|version| {
            let order = format!("{:010}", u32::MAX - version.number);
            (order, shapes::version(version, policy.default_version, false))
        });
        let page = page(versions, (input.marker, input.max_items), |(order, _)| order.clone())?;
        Ok(ListPolicyVersionsResponse {
            versions: Some(page.items.into_iter().map(|(_, version)| version).collect()),
            is_truncated: page.is_truncated,
            marker: page.marker,
        })
    }

    pub async fn list_entities_for_policy(
        &self,
        _context: &RequestContext,
        input: ListEntitiesForPolicyRequest,
    ) -> Result<ListEntitiesForPolicyResponse, ApiError> {
        let view = self.directory.view();
        let arn = &view.policy(&input.policy_arn).map_err(refused)?.arn;
        let prefix = input.path_prefix.unwrap_or_else(|| "/".into());
        let of_kind = |kind| input.entity_filter.is_none_or(|wanted| wanted == kind);
        let holds = |grants: &Grants, boundary: Option<&String>, path: &str| {
            let attached = grants.attached.contains(arn);
            let bounded = boundary == Some(arn);
            let used = match input.policy_usage_filter {
                Some(PolicyUsageType::PermissionsPolicy) => attached,
                Some(PolicyUsageType::PermissionsBoundary) => bounded,
                None => attached || bounded,
            };
            used && path.starts_with(&prefix)
        };
        let users = view
            .users()
            .filter(|own| of_kind(EntityType::User) && holds(&own.grants, own.boundary.as_ref(), &own.path));
        let roles = view
            .roles()
            .filter(|own| of_kind(EntityType::Role) && holds(&own.grants, own.boundary.as_ref(), &own.path));
        let groups =
            view.groups().filter(|own| of_kind(EntityType::Group) && holds(&own.grants, None, &own.path));
        let entries = groups
            .map(|own| ("group", own.name.clone(), own.id.clone()))
            .chain(users.map(|own| ("user", own.name.clone(), own.id.clone())))
            .chain(roles.map(|own| ("role", own.name.clone(), own.id.clone())));
        let page =
            page(entries, (input.marker, input.max_items), |(kind, name, _)| format!("{kind}/{name}"))?;
        let of = |wanted: &'static str| {
            let items = page.items.iter().filter(move |(kind, ..)| *kind == wanted);
            items.map(|(_, name, id)| (Some(name.clone()), Some(id.clone())))
        };
        Ok(ListEntitiesForPolicyResponse {
            policy_groups: Some(
                of("group").map(|(group_name, group_id)| PolicyGroup { group_name, group_id }).collect(),
            ),
            policy_users: Some(
                of("user").map(|(user_name, user_id)| PolicyUser { user_name, user_id }).collect(),
            ),
            policy_roles: Some(
                of("role").map(|(role_name, role_id)| PolicyRole { role_name, role_id }).collect(),
            ),
            is_truncated: page.is_truncated,
            marker: page.marker,
        })
    }
}
