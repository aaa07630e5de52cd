//! Changes to the policies that Bedrock's resources have of their own. Whether a resource is there, its crate says.

use std::sync::Arc;

use super::entities::{Document, ResourcePolicy};
use super::error::DirectoryError;
use super::keys::pick;
use super::state::Draft;

impl Draft {
    /// Gives a resource its policy, in place of the one it has. `expected`: the revision that is to be replaced.
    pub fn put_resource_policy(
        &mut self,
        arn: &str,
        document: Document,
        expected: Option<&str>,
    ) -> Result<Arc<ResourcePolicy>, DirectoryError> {
        self.check_revision(arn, expected)?;
        let document = document.bound(&self.state)?;
        self.put(ResourcePolicy { arn: arn.to_owned(), document, revision: new_revision() })
    }

    /// Takes a resource's policy away. Answers the revision that the resource is at then.
    pub fn delete_resource_policy(
        &mut self,
        arn: &str,
        expected: Option<&str>,
    ) -> Result<String, DirectoryError> {
        if self.state.resource_policy(arn).is_none() {
            return Err(DirectoryError::NoSuchEntity(format!("The resource {arn} has no policy.")));
        }
        self.check_revision(arn, expected)?;
        self.remove::<ResourcePolicy>(arn);
        Ok(new_revision())
    }

    fn check_revision(&self, arn: &str, expected: Option<&str>) -> Result<(), DirectoryError> {
        let revision = self.state.resource_policy(arn).map(|policy| policy.revision.as_str());
        if expected.is_none() || expected == revision {
            return Ok(());
        }
        let message = format!("The policy of {arn} is not at the expected revision. Read it again.");
        Err(DirectoryError::Conflict(message))
    }
}

fn new_revision() -> String {
    pick(b"abcdefghijklmnopqrstuvwxyz0123456789", 32)
}
