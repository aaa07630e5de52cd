//! The directory's entities as IAM's API shows them.

use craton_api_iam as api;
use craton_identity::directory::{
    DUPLICATE_TAG_KEYS, Grants, Group, ManagedPolicy, PolicyVersion, Role, State, Tags, User, unknown_version,
};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::refused;

/// What RFC 3986 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Documents are sent URL-encoded; clients decode them.
pub(crate) fn encoded(document: &str) -> String {
    utf8_percent_encode(document, UNRESERVED).to_string()
}

pub(crate) fn tags_in(tags: Option<Vec<api::Tag>>) -> Result<Tags, ApiError> {
    let mut out = Tags::new();
    for tag in tags.unwrap_or_default() {
        if out.insert(tag.key, tag.value).is_some() {
            return Err(ApiError::new("InvalidInput", DUPLICATE_TAG_KEYS));
        }
    }
    Ok(out)
}

pub(crate) fn tags_out(tags: &Tags) -> Vec<api::Tag> {
    tags.iter().map(|(key, value)| api::Tag { key: key.clone(), value: value.clone() }).collect()
}

/// Absent where there are none, as IAM leaves them out.
fn some_tags(tags: &Tags) -> Option<Vec<api::Tag>> {
    (!tags.is_empty()).then(|| tags_out(tags))
}

pub(crate) fn boundary(arn: Option<&String>) -> Option<api::AttachedPermissionsBoundary> {
    arn.map(|arn| api::AttachedPermissionsBoundary {
        permissions_boundary_type: Some(api::PermissionsBoundaryAttachmentType::PermissionsBoundaryPolicy),
        permissions_boundary_arn: Some(arn.clone()),
    })
}

/// `tagged`: with tags and boundary, which lists leave out.
pub(crate) fn user(user: &User, account: &str, tagged: bool) -> api::User {
    api::User {
        path: user.path.clone(),
        user_name: user.name.clone(),
        user_id: user.id.clone(),
        arn: user.arn(account),
        create_date: Timestamp::from_ms(user.created_ms),
        password_last_used: None,
        permissions_boundary: boundary(user.boundary.as_ref()).filter(|_| tagged),
        tags: some_tags(&user.tags).filter(|_| tagged),
    }
}

pub(crate) fn group(group: &Group, account: &str) -> api::Group {
    api::Group {
        path: group.path.clone(),
        group_name: group.name.clone(),
        group_id: group.id.clone(),
        arn: group.arn(account),
        create_date: Timestamp::from_ms(group.created_ms),
    }
}

pub(crate) fn role(role: &Role, state: &State, tagged: bool) -> api::Role {
    api::Role {
        path: role.path.clone(),
        role_name: role.name.clone(),
        role_id: role.id.clone(),
        arn: role.arn(state.account()),
        create_date: Timestamp::from_ms(role.created_ms),
        assume_role_policy_document: Some(trust(role, state)),
        description: role.description.clone(),
        max_session_duration: Some(role.max_session_s),
        permissions_boundary: boundary(role.boundary.as_ref()).filter(|_| tagged),
        tags: some_tags(&role.tags).filter(|_| tagged),
        role_last_used: tagged.then(api::RoleLastUsed::default),
        source_role_template: None,
    }
}

/// Who may assume a role, with the principals by their ARNs.
pub(crate) fn trust(role: &Role, state: &State) -> String {
    encoded(&state.show_principals(role.trust.text()))
}

pub(crate) fn policy(policy: &ManagedPolicy, state: &State, whole: bool) -> api::Policy {
    let (attached, bounding) = state.uses_of(&policy.arn);
    api::Policy {
        policy_name: Some(policy.name.clone()),
        policy_id: Some(policy.id.clone()),
        arn: Some(policy.arn.clone()),
        path: Some(policy.path.clone()),
        default_version_id: Some(version_id(policy.default_version)),
        attachment_count: Some(count(attached)),
        permissions_boundary_usage_count: Some(count(bounding)),
        is_attachable: Some(true),
        description: policy.description.clone().filter(|_| whole),
        create_date: Some(Timestamp::from_ms(policy.created_ms)),
        update_date: Some(Timestamp::from_ms(policy.updated_ms)),
        tags: some_tags(&policy.tags).filter(|_| whole),
    }
}

/// `whole`: with the document.
pub(crate) fn version(version: &PolicyVersion, default: u32, whole: bool) -> api::PolicyVersion {
    api::PolicyVersion {
        document: whole.then(|| encoded(version.document.text())),
        version_id: Some(version_id(version.number)),
        is_default_version: Some(version.number == default),
        create_date: Some(Timestamp::from_ms(version.created_ms)),
    }
}

pub(crate) fn version_id(number: u32) -> String {
    format!("v{number}")
}

/// The number in `v3`.
pub(crate) fn version_number(id: &str, arn: &str) -> Result<u32, ApiError> {
    let number = id.strip_prefix('v').and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| refused(unknown_version(arn, id)))
}

pub(crate) fn attached(grants: &Grants, state: &State) -> Vec<api::AttachedPolicy> {
    let known = grants.attached.iter().filter_map(|arn| state.policy(arn).ok());
    known
        .map(|policy| api::AttachedPolicy {
            policy_name: Some(policy.name.clone()),
            policy_arn: Some(policy.arn.clone()),
        })
        .collect()
}

pub(crate) fn inline(grants: &Grants) -> Vec<api::PolicyDetail> {
    grants
        .inline
        .iter()
        .map(|(name, document)| api::PolicyDetail {
            policy_name: Some(name.clone()),
            policy_document: Some(encoded(document.text())),
        })
        .collect()
}

pub(crate) fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
