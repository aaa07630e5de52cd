//! Policies of users, groups and roles: inside them, attached to them, and bounding them.

use craton_api_iam as api;
use craton_core::RequestContext;
use craton_identity::directory::{Grants, Holder};
use craton_identity::policy::PolicyKind;
use craton_wire::ApiError;

use crate::error::refused;
use crate::page::{Paged, page};
use crate::{Iam, document, shapes};

/// `Marker` and `MaxItems`.
type Place = (Option<String>, Option<i32>);

impl Iam {
    async fn put_inline(
        &self,
        context: &RequestContext,
        holder: Holder<'_>,
        (name, text): (&str, &str),
    ) -> Result<(), ApiError> {
        let document = document(text, PolicyKind::Inline)?;
        self.change(context, |draft| draft.put_inline_policy(holder, name, document)).await
    }

    /// A copy of a holder's policies.
    fn grants(&self, holder: Holder<'_>) -> Result<Grants, ApiError> {
        let view = self.directory.view();
        match holder {
            Holder::User(name) => view.user(name).map(|own| own.grants.clone()),
            Holder::Group(name) => view.group(name).map(|own| own.grants.clone()),
            Holder::Role(name) => view.role(name).map(|own| own.grants.clone()),
        }
        .map_err(refused)
    }

    /// The document of a policy inside `holder`, as it is sent.
    fn inline(&self, holder: Holder<'_>, policy: &str) -> Result<String, ApiError> {
        let grants = self.grants(holder)?;
        let kind = match holder {
            Holder::User(_) => "user",
            Holder::Group(_) => "group",
            Holder::Role(_) => "role",
        };
        grants.inline.get(policy).map(|document| shapes::encoded(document.text())).ok_or_else(|| {
            let message = format!("The {kind} policy with name {policy} cannot be found.");
            ApiError::new("NoSuchEntity", message)
        })
    }

    fn inline_names(&self, holder: Holder<'_>, place: Place) -> Result<Paged<String>, ApiError> {
        page(self.grants(holder)?.inline.into_keys(), place, Clone::clone)
    }

    fn attached(
        &self,
        holder: Holder<'_>,
        prefix: Option<String>,
        place: Place,
    ) -> Result<Paged<api::AttachedPolicy>, ApiError> {
        let view = self.directory.view();
        let mut grants = self.grants(holder)?;
        let prefix = prefix.unwrap_or_else(|| "/".into());
        grants.attached.retain(|arn| view.policy(arn).is_ok_and(|policy| policy.path.starts_with(&prefix)));
        page(shapes::attached(&grants, &view), place, |policy| policy.policy_arn.clone().unwrap_or_default())
    }

    pub async fn put_user_policy(
        &self,
        context: &RequestContext,
        input: api::PutUserPolicyRequest,
    ) -> Result<(), ApiError> {
        let policy = (input.policy_name.as_str(), input.policy_document.as_str());
        self.put_inline(context, Holder::User(&input.user_name), policy).await
    }

    pub async fn get_user_policy(
        &self,
        _context: &RequestContext,
        input: api::GetUserPolicyRequest,
    ) -> Result<api::GetUserPolicyResponse, ApiError> {
        let policy_document = self.inline(Holder::User(&input.user_name), &input.policy_name)?;
        let api::GetUserPolicyRequest { user_name, policy_name } = input;
        Ok(api::GetUserPolicyResponse { user_name, policy_name, policy_document })
    }

    pub async fn delete_user_policy(
        &self,
        context: &RequestContext,
        input: api::DeleteUserPolicyRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::User(&input.user_name);
        self.change(context, |draft| draft.delete_inline_policy(holder, &input.policy_name)).await
    }

    pub async fn list_user_policies(
        &self,
        _context: &RequestContext,
        input: api::ListUserPoliciesRequest,
    ) -> Result<api::ListUserPoliciesResponse, ApiError> {
        let Paged { items, is_truncated, marker } =
            self.inline_names(Holder::User(&input.user_name), (input.marker, input.max_items))?;
        Ok(api::ListUserPoliciesResponse { policy_names: items, is_truncated, marker })
    }

    pub async fn attach_user_policy(
        &self,
        context: &RequestContext,
        input: api::AttachUserPolicyRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::User(&input.user_name);
        self.change(context, |draft| draft.attach_policy(holder, &input.policy_arn)).await
    }

    pub async fn detach_user_policy(
        &self,
        context: &RequestContext,
        input: api::DetachUserPolicyRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::User(&input.user_name);
        self.change(context, |draft| draft.detach_policy(holder, &input.policy_arn)).await
    }

    pub async fn list_attached_user_policies(
        &self,
        _context: &RequestContext,
        input: api::ListAttachedUserPoliciesRequest,
    ) -> Result<api::ListAttachedUserPoliciesResponse, ApiError> {
        let place = (input.marker, input.max_items);
        let Paged { items, is_truncated, marker } =
            self.attached(Holder::User(&input.user_name), input.path_prefix, place)?;
        Ok(api::ListAttachedUserPoliciesResponse { attached_policies: Some(items), is_truncated, marker })
    }

    pub async fn put_user_permissions_boundary(
        &self,
        context: &RequestContext,
        input: api::PutUserPermissionsBoundaryRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::User(&input.user_name);
        self.change(context, |draft| draft.set_boundary(holder, Some(&input.permissions_boundary))).await
    }

    pub async fn delete_user_permissions_boundary(
        &self,
        context: &RequestContext,
        input: api::DeleteUserPermissionsBoundaryRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::User(&input.user_name);
        self.change(context, |draft| draft.set_boundary(holder, None)).await
    }

    pub async fn put_group_policy(
        &self,
        context: &RequestContext,
        input: api::PutGroupPolicyRequest,
    ) -> Result<(), ApiError> {
        let policy = (input.policy_name.as_str(), input.policy_document.as_str());
        self.put_inline(context, Holder::Group(&input.group_name), policy).await
    }

    pub async fn get_group_policy(
        &self,
        _context: &RequestContext,
        input: api::GetGroupPolicyRequest,
    ) -> Result<api::GetGroupPolicyResponse, ApiError> {
        let policy_document = self.inline(Holder::Group(&input.group_name), &input.policy_name)?;
        let api::GetGroupPolicyRequest { group_name, policy_name } = input;
        Ok(api::GetGroupPolicyResponse { group_name, policy_name, policy_document })
    }

    pub async fn delete_group_policy(
        &self,
        context: &RequestContext,
        input: api::DeleteGroupPolicyRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::Group(&input.group_name);
        self.change(context, |draft| draft.delete_inline_policy(holder, &input.policy_name)).await
    }

    pub async fn list_group_policies(
        &self,
        _context: &RequestContext,
        input: api::ListGroupPoliciesRequest,
    ) -> Result<api::ListGroupPoliciesResponse, ApiError> {
        let Paged { items, is_truncated, marker } =
            self.inline_names(Holder::Group(&input.group_name), (input.marker, input.max_items))?;
        Ok(api::ListGroupPoliciesResponse { policy_names: items, is_truncated, marker })
    }

    pub async fn attach_group_policy(
        &self,
        context: &RequestContext,
        input: api::AttachGroupPolicyRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::Group(&input.group_name);
        self.change(context, |draft| draft.attach_policy(holder, &input.policy_arn)).await
    }

    pub async fn detach_group_policy(
        &self,
        context: &RequestContext,
        input: api::DetachGroupPolicyRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::Group(&input.group_name);
        self.change(context, |draft| draft.detach_policy(holder, &input.policy_arn)).await
    }

    pub async fn list_attached_group_policies(
        &self,
        _context: &RequestContext,
        input: api::ListAttachedGroupPoliciesRequest,
    ) -> Result<api::ListAttachedGroupPoliciesResponse, ApiError> {
        let place = (input.marker, input.max_items);
        let Paged { items, is_truncated, marker } =
            self.attached(Holder::Group(&input.group_name), input.path_prefix, place)?;
        Ok(api::ListAttachedGroupPoliciesResponse { attached_policies: Some(items), is_truncated, marker })
    }

    pub async fn put_role_policy(
        &self,
        context: &RequestContext,
        input: api::PutRolePolicyRequest,
    ) -> Result<(), ApiError> {
        let policy = (input.policy_name.as_str(), input.policy_document.as_str());
        self.put_inline(context, Holder::Role(&input.role_name), policy).await
    }

    pub async fn get_role_policy(
        &self,
        _context: &RequestContext,
        input: api::GetRolePolicyRequest,
    ) -> Result<api::GetRolePolicyResponse, ApiError> {
        let policy_document = self.inline(Holder::Role(&input.role_name), &input.policy_name)?;
        let api::GetRolePolicyRequest { role_name, policy_name } = input;
        Ok(api::GetRolePolicyResponse { role_name, policy_name, policy_document })
    }

    pub async fn delete_role_policy(
        &self,
        context: &RequestContext,
        input: api::DeleteRolePolicyRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::Role(&input.role_name);
        self.change(context, |draft| draft.delete_inline_policy(holder, &input.policy_name)).await
    }

    pub async fn list_role_policies(
        &self,
        _context: &RequestContext,
        input: api::ListRolePoliciesRequest,
    ) -> Result<api::ListRolePoliciesResponse, ApiError> {
        let Paged { items, is_truncated, marker } =
            self.inline_names(Holder::Role(&input.role_name), (input.marker, input.max_items))?;
        Ok(api::ListRolePoliciesResponse { policy_names: items, is_truncated, marker })
    }

    pub async fn attach_role_policy(
        &self,
        context: &RequestContext,
        input: api::AttachRolePolicyRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::Role(&input.role_name);
        self.change(context, |draft| draft.attach_policy(holder, &input.policy_arn)).await
    }

    pub async fn detach_role_policy(
        &self,
        context: &RequestContext,
        input: api::DetachRolePolicyRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::Role(&input.role_name);
        self.change(context, |draft| draft.detach_policy(holder, &input.policy_arn)).await
    }

    pub async fn list_attached_role_policies(
        &self,
        _context: &RequestContext,
        input: api::ListAttachedRolePoliciesRequest,
    ) -> Result<api::ListAttachedRolePoliciesResponse, ApiError> {
        let place = (input.marker, input.max_items);
        let Paged { items, is_truncated, marker } =
            self.attached(Holder::Role(&input.role_name), input.path_prefix, place)?;
        Ok(api::ListAttachedRolePoliciesResponse { attached_policies: Some(items), is_truncated, marker })
    }

    pub async fn put_role_permissions_boundary(
        &self,
        context: &RequestContext,
        input: api::PutRolePermissionsBoundaryRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::Role(&input.role_name);
        self.change(context, |draft| draft.set_boundary(holder, Some(&input.permissions_boundary))).await
    }

    pub async fn delete_role_permissions_boundary(
        &self,
        context: &RequestContext,
        input: api::DeleteRolePermissionsBoundaryRequest,
    ) -> Result<(), ApiError> {
        let holder = Holder::Role(&input.role_name);
        self.change(context, |draft| draft.set_boundary(holder, None)).await
    }
}
