//! The account as a whole.

use craton_api_iam as api;
use craton_core::RequestContext;
use craton_identity::directory::{Group, ManagedPolicy, Role, State, User, aws_managed_policies};
use craton_wire::ApiError;
use craton_wire::operation::NoInput;
use craton_wire::types::{Map, Timestamp};

use crate::error::refused;
use crate::page::page;
use crate::shapes::count;
use crate::{Iam, shapes, user_or_caller};

impl Iam {
    pub async fn get_account_summary(
        &self,
        _context: &RequestContext,
        _input: NoInput,
    ) -> Result<api::GetAccountSummaryResponse, ApiError> {
        let view = self.directory.view();
        let versions = view.policies().map(|policy| policy.versions.len()).sum();
        let entries = [
            ("Users", count(view.users().count())),
            ("Groups", count(view.groups().count())),
            ("Roles", count(view.roles().count())),
            ("Policies", count(view.policies().count())),
            ("PolicyVersionsInUse", count(versions)),
            ("AccessKeysPerUserQuota", 2),
            ("GroupsPerUserQuota", 10),
            ("VersionsPerPolicyQuota", 5),
            ("PolicySizeQuota", 6_144),
            ("UserPolicySizeQuota", 2_048),
            ("GroupPolicySizeQuota", 5_120),
            ("RolePolicySizeQuota", 10_240),
            ("AccountAccessKeysPresent", 1),
            ("AccountMFAEnabled", 0),
            ("MFADevices", 0),
            ("MFADevicesInUse", 0),
            ("InstanceProfiles", 0),
            ("GlobalEndpointTokenVersion", 2),
        ];
        let summary = entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_>>();
        Ok(api::GetAccountSummaryResponse { summary_map: Some(summary) })
    }

    /// Accounts have no aliases here.
    pub async fn list_account_aliases(
        &self,
        _context: &RequestContext,
        _input: api::ListAccountAliasesRequest,
    ) -> Result<api::ListAccountAliasesResponse, ApiError> {
        Ok(api::ListAccountAliasesResponse {
            account_aliases: Vec::new(),
            is_truncated: Some(false),
            marker: None,
        })
    }

    /// There are no second factors here.
    pub async fn list_mfa_devices(
        &self,
        context: &RequestContext,
        input: api::ListMFADevicesRequest,
    ) -> Result<api::ListMFADevicesResponse, ApiError> {
        if input.user_name.is_some() || !context.principal.is_root() {
            let name = user_or_caller(context, input.user_name)?;
            self.directory.view().user(&name).map_err(refused)?;
        }
        Ok(api::ListMFADevicesResponse { mfa_devices: Vec::new(), is_truncated: Some(false), marker: None })
    }

    pub async fn get_account_authorization_details(
        &self,
        _context: &RequestContext,
        input: api::GetAccountAuthorizationDetailsRequest,
    ) -> Result<api::GetAccountAuthorizationDetailsResponse, ApiError> {
        let view = self.directory.view();
        let wants =
            |kind| input.filter.as_ref().is_none_or(|filter| filter.is_empty() || filter.contains(&kind));
        let users = view.users().filter(|_| wants(api::EntityType::User)).map(|own| Detail::User(own));
        let groups = view.groups().filter(|_| wants(api::EntityType::Group)).map(|own| Detail::Group(own));
        let roles = view.roles().filter(|_| wants(api::EntityType::Role)).map(|own| Detail::Role(own));
        let own = view.policies().filter(|_| wants(api::EntityType::LocalManagedPolicy));
        let aws = aws_managed_policies()
            .filter(|policy| wants(api::EntityType::AWSManagedPolicy) && view.uses_of(&policy.arn) != (0, 0));
        let policies = own.chain(aws).map(|policy| Detail::Policy(policy));
        let all = users.chain(groups).chain(roles).chain(policies);
        let page = page(all, (input.marker, input.max_items), Detail::key)?;
        let mut answer = api::GetAccountAuthorizationDetailsResponse {
            user_detail_list: Some(Vec::new()),
            group_detail_list: Some(Vec::new()),
            role_detail_list: Some(Vec::new()),
            policies: Some(Vec::new()),
            is_truncated: page.is_truncated,
            marker: page.marker,
        };
        for detail in page.items {
            match detail {
                Detail::User(own) => answer.user_detail_list.get_or_insert_default().push(user(own, &view)),
                Detail::Group(own) => {
                    answer.group_detail_list.get_or_insert_default().push(group(own, &view))
                }
                Detail::Role(own) => answer.role_detail_list.get_or_insert_default().push(role(own, &view)),
                Detail::Policy(own) => answer.policies.get_or_insert_default().push(policy(own, &view)),
            }
        }
        Ok(answer)
    }
}

enum Detail<'v> {
    User(&'v User),
    Group(&'v Group),
    Role(&'v Role),
    Policy(&'v ManagedPolicy),
}

impl Detail<'_> {
    fn key(&self) -> String {
        match self {
            Self::User(user) => format!("1/{}", user.name),
            Self::Group(group) => format!("2/{}", group.name),
            Self::Role(role) => format!("3/{}", role.name),
            Self::Policy(policy) => format!("4/{}", policy.arn),
        }
    }
}

fn user(user: &User, state: &State) -> api::UserDetail {
    api::UserDetail {
        path: Some(user.path.clone()),
        user_name: Some(user.name.clone()),
        user_id: Some(user.id.clone()),
        arn: Some(user.arn(state.account())),
        create_date: Some(Timestamp::from_ms(user.created_ms)),
        user_policy_list: Some(shapes::inline(&user.grants)),
        group_list: Some(state.groups_of(user).map(|group| group.name.clone()).collect()),
        attached_managed_policies: Some(shapes::attached(&user.grants, state)),
        permissions_boundary: shapes::boundary(user.boundary.as_ref()),
        tags: Some(shapes::tags_out(&user.tags)),
    }
}

fn group(group: &Group, state: &State) -> api::GroupDetail {
    api::GroupDetail {
        path: Some(group.path.clone()),
        group_name: Some(group.name.clone()),
        group_id: Some(group.id.clone()),
        arn: Some(group.arn(state.account())),
        create_date: Some(Timestamp::from_ms(group.created_ms)),
        group_policy_list: Some(shapes::inline(&group.grants)),
        attached_managed_policies: Some(shapes::attached(&group.grants, state)),
    }
}

fn role(role: &Role, state: &State) -> api::RoleDetail {
    api::RoleDetail {
        path: Some(role.path.clone()),
        role_name: Some(role.name.clone()),
        role_id: Some(role.id.clone()),
        arn: Some(role.arn(state.account())),
        create_date: Some(Timestamp::from_ms(role.created_ms)),
        assume_role_policy_document: Some(shapes::trust(role, state)),
        instance_profile_list: Some(Vec::new()),
        role_policy_list: Some(shapes::inline(&role.grants)),
        attached_managed_policies: Some(shapes::attached(&role.grants, state)),
        permissions_boundary: shapes::boundary(role.boundary.as_ref()),
        tags: Some(shapes::tags_out(&role.tags)),
        role_last_used: Some(api::RoleLastUsed::default()),
    }
}

fn policy(policy: &ManagedPolicy, state: &State) -> api::ManagedPolicyDetail {
    let shown = shapes::policy(policy, state, true);
    let versions = policy.versions.iter().map(|own| shapes::version(own, policy.default_version, true));
    api::ManagedPolicyDetail {
        policy_name: shown.policy_name,
        policy_id: shown.policy_id,
        arn: shown.arn,
        path: shown.path,
        default_version_id: shown.default_version_id,
        attachment_count: shown.attachment_count,
        permissions_boundary_usage_count: shown.permissions_boundary_usage_count,
        is_attachable: shown.is_attachable,
        description: shown.description,
        create_date: shown.create_date,
        update_date: shown.update_date,
        policy_version_list: Some(versions.collect()),
    }
}
