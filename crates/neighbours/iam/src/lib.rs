//! IAM and STS over the directory of users and roles: users, groups, roles, policies and keys; who is asking, and
//! temporary credentials.
//!
//! Handlers translate: the directory holds the data and IAM's conditions on every change, `craton_identity::policy`
//! decides. What is answered carries IAM's own messages, since programs read them.

mod access_keys;
mod account;
mod credentials;
mod error;
mod groups;
mod holders;
mod page;
mod policies;
mod roles;
mod shapes;
mod simulate;
mod sts;
mod tags;
mod users;

use craton_core::RequestContext;
use craton_identity::directory::{Directory, Document, Draft};
use craton_identity::policy::PolicyKind;
use craton_wire::ApiError;

pub use sts::Sts;

/// IAM's operations.
#[derive(Debug, Clone)]
pub struct Iam {
    directory: Directory,
}

impl Iam {
    pub fn new(directory: Directory) -> Self {
        Self { directory }
    }

    async fn change<T>(
        &self,
        context: &RequestContext,
        change: impl FnOnce(&mut Draft) -> Result<T, craton_identity::directory::DirectoryError> + Send,
    ) -> Result<T, ApiError> {
        self.directory.change(context.received_ms, change).await.map_err(error::refused)
    }
}

/// A policy's document, or IAM's reason against it.
fn document(text: &str, kind: PolicyKind) -> Result<Document, ApiError> {
    let document = Document::parse(text, kind).map_err(|malformed| error::refused(malformed.into()))?;
    craton_identity::warn_of_unserved_keys(document.policy(), "IAM");
    Ok(document)
}

/// The user that an operation is about: the one it names, else the caller.
fn user_or_caller(context: &RequestContext, name: Option<String>) -> Result<String, ApiError> {
    if let Some(name) = name {
        return Ok(name);
    }
    let principal = &context.principal;
    match principal.arn.split_once(":user/") {
        Some((_, path)) => Ok(path.rsplit('/').next().unwrap_or_default().to_owned()),
        None => Err(ApiError::validation("Must specify userName when calling with non-User credentials")),
    }
}
