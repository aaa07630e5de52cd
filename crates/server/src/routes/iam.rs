//! `iam`: users, groups, roles, policies and keys.

use craton_api_iam::ops;
use futures::FutureExt as _;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    changing(reading(routes))
}

fn reading(routes: Routes) -> Routes {
    routes
        .serve::<ops::GetAccessKeyLastUsed, _>(|s, c, i| s.iam.get_access_key_last_used(c, i).boxed())
        .serve::<ops::GetAccountAuthorizationDetails, _>(|s, c, i| {
            s.iam.get_account_authorization_details(c, i).boxed()
        })
        .serve::<ops::GetAccountSummary, _>(|s, c, i| s.iam.get_account_summary(c, i).boxed())
        .serve::<ops::GetGroup, _>(|s, c, i| s.iam.get_group(c, i).boxed())
        .serve::<ops::GetGroupPolicy, _>(|s, c, i| s.iam.get_group_policy(c, i).boxed())
        .serve::<ops::GetPolicy, _>(|s, c, i| s.iam.get_policy(c, i).boxed())
        .serve::<ops::GetPolicyVersion, _>(|s, c, i| s.iam.get_policy_version(c, i).boxed())
        .serve::<ops::GetRole, _>(|s, c, i| s.iam.get_role(c, i).boxed())
        .serve::<ops::GetRolePolicy, _>(|s, c, i| s.iam.get_role_policy(c, i).boxed())
        .serve::<ops::GetUser, _>(|s, c, i| s.iam.get_user(c, i).boxed())
        .serve::<ops::GetUserPolicy, _>(|s, c, i| s.iam.get_user_policy(c, i).boxed())
        .serve::<ops::ListAccessKeys, _>(|s, c, i| s.iam.list_access_keys(c, i).boxed())
        .serve::<ops::ListAccountAliases, _>(|s, c, i| s.iam.list_account_aliases(c, i).boxed())
        .serve::<ops::ListAttachedGroupPolicies, _>(|s, c, i| {
            s.iam.list_attached_group_policies(c, i).boxed()
        })
        .serve::<ops::ListAttachedRolePolicies, _>(|s, c, i| s.iam.list_attached_role_policies(c, i).boxed())
        .serve::<ops::ListAttachedUserPolicies, _>(|s, c, i| s.iam.list_attached_user_policies(c, i).boxed())
        .serve::<ops::ListEntitiesForPolicy, _>(|s, c, i| s.iam.list_entities_for_policy(c, i).boxed())
        .serve::<ops::ListGroupPolicies, _>(|s, c, i| s.iam.list_group_policies(c, i).boxed())
        .serve::<ops::ListGroups, _>(|s, c, i| s.iam.list_groups(c, i).boxed())
        .serve::<ops::ListGroupsForUser, _>(|s, c, i| s.iam.list_groups_for_user(c, i).boxed())
        .serve::<ops::ListInstanceProfilesForRole, _>(|s, c, i| {
            s.iam.list_instance_profiles_for_role(c, i).boxed()
        })
        .serve::<ops::ListMFADevices, _>(|s, c, i| s.iam.list_mfa_devices(c, i).boxed())
        .serve::<ops::ListPolicies, _>(|s, c, i| s.iam.list_policies(c, i).boxed())
        .serve::<ops::ListPolicyTags, _>(|s, c, i| s.iam.list_policy_tags(c, i).boxed())
        .serve::<ops::ListPolicyVersions, _>(|s, c, i| s.iam.list_policy_versions(c, i).boxed())
        .serve::<ops::ListRolePolicies, _>(|s, c, i| s.iam.list_role_policies(c, i).boxed())
        .serve::<ops::ListRoleTags, _>(|s, c, i| s.iam.list_role_tags(c, i).boxed())
        .serve::<ops::ListRoles, _>(|s, c, i| s.iam.list_roles(c, i).boxed())
        .serve::<ops::ListServiceSpecificCredentials, _>(|s, c, i| {
            s.iam.list_service_specific_credentials(c, i).boxed()
        })
        .serve::<ops::ListUserPolicies, _>(|s, c, i| s.iam.list_user_policies(c, i).boxed())
        .serve::<ops::ListUserTags, _>(|s, c, i| s.iam.list_user_tags(c, i).boxed())
        .serve::<ops::ListUsers, _>(|s, c, i| s.iam.list_users(c, i).boxed())
        .serve::<ops::SimulateCustomPolicy, _>(|s, c, i| s.iam.simulate_custom_policy(c, i).boxed())
        .serve::<ops::SimulatePrincipalPolicy, _>(|s, c, i| s.iam.simulate_principal_policy(c, i).boxed())
}

fn changing(routes: Routes) -> Routes {
    routes
        .serve::<ops::AddUserToGroup, _>(|s, c, i| s.iam.add_user_to_group(c, i).boxed())
        .serve::<ops::AttachGroupPolicy, _>(|s, c, i| s.iam.attach_group_policy(c, i).boxed())
        .serve::<ops::AttachRolePolicy, _>(|s, c, i| s.iam.attach_role_policy(c, i).boxed())
        .serve::<ops::AttachUserPolicy, _>(|s, c, i| s.iam.attach_user_policy(c, i).boxed())
        .serve::<ops::CreateAccessKey, _>(|s, c, i| s.iam.create_access_key(c, i).boxed())
        .serve::<ops::CreateGroup, _>(|s, c, i| s.iam.create_group(c, i).boxed())
        .serve::<ops::CreatePolicy, _>(|s, c, i| s.iam.create_policy(c, i).boxed())
        .serve::<ops::CreatePolicyVersion, _>(|s, c, i| s.iam.create_policy_version(c, i).boxed())
        .serve::<ops::CreateRole, _>(|s, c, i| s.iam.create_role(c, i).boxed())
        .serve::<ops::CreateServiceLinkedRole, _>(|s, c, i| s.iam.create_service_linked_role(c, i).boxed())
        .serve::<ops::CreateServiceSpecificCredential, _>(|s, c, i| {
            s.iam.create_service_specific_credential(c, i).boxed()
        })
        .serve::<ops::CreateUser, _>(|s, c, i| s.iam.create_user(c, i).boxed())
        .serve::<ops::DeleteAccessKey, _>(|s, c, i| s.iam.delete_access_key(c, i).boxed())
        .serve::<ops::DeleteGroup, _>(|s, c, i| s.iam.delete_group(c, i).boxed())
        .serve::<ops::DeleteGroupPolicy, _>(|s, c, i| s.iam.delete_group_policy(c, i).boxed())
        .serve::<ops::DeletePolicy, _>(|s, c, i| s.iam.delete_policy(c, i).boxed())
        .serve::<ops::DeletePolicyVersion, _>(|s, c, i| s.iam.delete_policy_version(c, i).boxed())
        .serve::<ops::DeleteRole, _>(|s, c, i| s.iam.delete_role(c, i).boxed())
        .serve::<ops::DeleteRolePermissionsBoundary, _>(|s, c, i| {
            s.iam.delete_role_permissions_boundary(c, i).boxed()
        })
        .serve::<ops::DeleteRolePolicy, _>(|s, c, i| s.iam.delete_role_policy(c, i).boxed())
        .serve::<ops::DeleteServiceSpecificCredential, _>(|s, c, i| {
            s.iam.delete_service_specific_credential(c, i).boxed()
        })
        .serve::<ops::DeleteUser, _>(|s, c, i| s.iam.delete_user(c, i).boxed())
        .serve::<ops::DeleteUserPermissionsBoundary, _>(|s, c, i| {
            s.iam.delete_user_permissions_boundary(c, i).boxed()
        })
        .serve::<ops::DeleteUserPolicy, _>(|s, c, i| s.iam.delete_user_policy(c, i).boxed())
        .serve::<ops::DetachGroupPolicy, _>(|s, c, i| s.iam.detach_group_policy(c, i).boxed())
        .serve::<ops::DetachRolePolicy, _>(|s, c, i| s.iam.detach_role_policy(c, i).boxed())
        .serve::<ops::DetachUserPolicy, _>(|s, c, i| s.iam.detach_user_policy(c, i).boxed())
        .serve::<ops::PutGroupPolicy, _>(|s, c, i| s.iam.put_group_policy(c, i).boxed())
        .serve::<ops::PutRolePermissionsBoundary, _>(|s, c, i| {
            s.iam.put_role_permissions_boundary(c, i).boxed()
        })
        .serve::<ops::PutRolePolicy, _>(|s, c, i| s.iam.put_role_policy(c, i).boxed())
        .serve::<ops::PutUserPermissionsBoundary, _>(|s, c, i| {
            s.iam.put_user_permissions_boundary(c, i).boxed()
        })
        .serve::<ops::PutUserPolicy, _>(|s, c, i| s.iam.put_user_policy(c, i).boxed())
        .serve::<ops::RemoveUserFromGroup, _>(|s, c, i| s.iam.remove_user_from_group(c, i).boxed())
        .serve::<ops::ResetServiceSpecificCredential, _>(|s, c, i| {
            s.iam.reset_service_specific_credential(c, i).boxed()
        })
        .serve::<ops::SetDefaultPolicyVersion, _>(|s, c, i| s.iam.set_default_policy_version(c, i).boxed())
        .serve::<ops::TagPolicy, _>(|s, c, i| s.iam.tag_policy(c, i).boxed())
        .serve::<ops::TagRole, _>(|s, c, i| s.iam.tag_role(c, i).boxed())
        .serve::<ops::TagUser, _>(|s, c, i| s.iam.tag_user(c, i).boxed())
        .serve::<ops::UntagPolicy, _>(|s, c, i| s.iam.untag_policy(c, i).boxed())
        .serve::<ops::UntagRole, _>(|s, c, i| s.iam.untag_role(c, i).boxed())
        .serve::<ops::UntagUser, _>(|s, c, i| s.iam.untag_user(c, i).boxed())
        .serve::<ops::UpdateAccessKey, _>(|s, c, i| s.iam.update_access_key(c, i).boxed())
        .serve::<ops::UpdateAssumeRolePolicy, _>(|s, c, i| s.iam.update_assume_role_policy(c, i).boxed())
        .serve::<ops::UpdateGroup, _>(|s, c, i| s.iam.update_group(c, i).boxed())
        .serve::<ops::UpdateRole, _>(|s, c, i| s.iam.update_role(c, i).boxed())
        .serve::<ops::UpdateRoleDescription, _>(|s, c, i| s.iam.update_role_description(c, i).boxed())
        .serve::<ops::UpdateServiceSpecificCredential, _>(|s, c, i| {
            s.iam.update_service_specific_credential(c, i).boxed()
        })
        .serve::<ops::UpdateUser, _>(|s, c, i| s.iam.update_user(c, i).boxed())
}
