//! Changes to managed policies and their versions.

use std::sync::Arc;

use super::changes::check_tags;
use super::entities::{Document, ManagedPolicy, PolicyVersion, Tags, entity_arn, is_aws};
use super::error::DirectoryError;
use super::keys::new_id;
use super::state::Draft;

const MAX_VERSIONS: usize = 5;
/// Characters, white space not counted.
const MAX_MANAGED_LEN: usize = 6_144;

impl Draft {
    pub fn create_policy(
        &mut self,
        (name, path): (&str, &str),
        document: Document,
        description: Option<String>,
        tags: Tags,
    ) -> Result<Arc<ManagedPolicy>, DirectoryError> {
        // Names are unique whatever their path and case.
        let lower = name.to_lowercase();
        if self.state.policies().any(|policy| policy.name.to_lowercase() == lower) {
            return Err(DirectoryError::AlreadyExists(format!(
                "A policy called {name} already exists. Duplicate names are not allowed."
            )));
        }
        check_tags(&tags)?;
        check_size(&document)?;
        let policy = ManagedPolicy {
            arn: entity_arn(&self.state.account, "policy", path, name),
            name: name.to_owned(),
            id: new_id("ANPA"),
            path: path.to_owned(),
            description,
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
            versions: vec![PolicyVersion { number: 1, document, created_ms: self.now_ms }],
            default_version: 1,
            next_version: 2,
            tags,
        };
        self.put(policy)
    }

    pub fn create_policy_version(
        &mut self,
        arn: &str,
        document: Document,
        set_as_default: bool,
    ) -> Result<PolicyVersion, DirectoryError> {
        let mut policy = self.own_policy(arn)?;
        check_size(&document)?;
        if policy.versions.len() >= MAX_VERSIONS {
            return Err(DirectoryError::LimitExceeded(format!(
                "A managed policy can have up to {MAX_VERSIONS} versions. Before you create a new version, you must \
                 delete an existing version."
            )));
        }
        let version = PolicyVersion { number: policy.next_version, document, created_ms: self.now_ms };
        policy.next_version += 1;
        policy.updated_ms = self.now_ms;
        if set_as_default {
            policy.default_version = version.number;
        }
        policy.versions.push(version.clone());
        self.put(policy)?;
        Ok(version)
    }

    pub fn set_default_policy_version(&mut self, arn: &str, number: u32) -> Result<(), DirectoryError> {
        let mut policy = self.own_policy(arn)?;
        let version = policy.version(number).ok_or_else(|| unknown_version(arn, &format!("v{number}")))?;
        policy.default_version = version.number;
        policy.updated_ms = self.now_ms;
        self.put(policy).map(drop)
    }

    pub fn delete_policy_version(&mut self, arn: &str, number: u32) -> Result<(), DirectoryError> {
        let mut policy = self.own_policy(arn)?;
        policy.version(number).ok_or_else(|| unknown_version(arn, &format!("v{number}")))?;
        if policy.default_version == number {
            return Err(DirectoryError::DeleteConflict(
                "Cannot delete the default version of a policy.".to_owned(),
            ));
        }
        policy.versions.retain(|version| version.number != number);
        policy.updated_ms = self.now_ms;
        self.put(policy).map(drop)
    }

    pub fn delete_policy(&mut self, arn: &str) -> Result<(), DirectoryError> {
        let policy = self.own_policy(arn)?;
        if self.state.uses_of(arn) != (0, 0) {
            return Err(DirectoryError::DeleteConflict(
                "Cannot delete a policy attached to entities.".to_owned(),
            ));
        }
        if policy.versions.len() > 1 {
            return Err(DirectoryError::DeleteConflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's \
                 versions. The default version is deleted with the policy."
                    .to_owned(),
            ));
        }
        self.remove::<ManagedPolicy>(arn);
        Ok(())
    }

    /// One of the account's policies, to be changed.
    pub(super) fn own_policy(&self, arn: &str) -> Result<ManagedPolicy, DirectoryError> {
        let policy = self.state.policy(arn)?;
        if is_aws(arn) {
            let message = format!("The policy {arn} is one of AWS's own and can't be changed.");
            return Err(DirectoryError::Unmodifiable(message));
        }
        Ok(ManagedPolicy::clone(policy))
    }
}

/// `version`: `v3`.
pub fn unknown_version(arn: &str, version: &str) -> DirectoryError {
    DirectoryError::NoSuchEntity(format!(
        "Policy {arn} version {version} does not exist or is not attachable."
    ))
}

fn check_size(document: &Document) -> Result<(), DirectoryError> {
    if document.billed_len() > MAX_MANAGED_LEN {
        return Err(DirectoryError::LimitExceeded(format!(
            "Cannot exceed quota for PolicySize: {MAX_MANAGED_LEN}"
        )));
    }
    Ok(())
}
