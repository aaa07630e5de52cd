//! What a component of the server may do for those it acts for: the port through which agents, flows and knowledge bases
//! ask the same questions as the pipeline asks of a request. The server implements it, because it knows resources' tags
//! and policies and what answers for a model id.
//!
//! Whoever reads, writes or lists objects for somebody asks [`Permissions::check_object`] first, and gets the answer that
//! S3 itself would give them: buckets' policies and objects' tags count.

use async_trait::async_trait;
use craton_core::RequestContext;
use craton_wire::ApiError;

use crate::service_roles::ServiceUse;

/// Whose permissions count.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// Those of the request's principal.
    Caller,
    /// Those of a role that the component was given.
    Role(ServiceUse<'a>),
    /// Those of the service itself, where the resource's own policy lets it in on behalf of the component; the role's
    /// otherwise.
    ServiceOrRole(ServiceUse<'a>),
}

/// What is done in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectAccess<'a> {
    Read {
        bucket: &'a str,
        key: &'a str,
    },
    Write {
        bucket: &'a str,
        key: &'a str,
    },
    /// `prefix`: of the keys that are listed; `None` for all.
    List {
        bucket: &'a str,
        prefix: Option<&'a str>,
    },
}

#[async_trait]
pub trait Permissions: Send + Sync {
    /// AccessDeniedException unless the actor may do this on the resource: an ARN, or `*` for actions on none. What is
    /// neither is denied.
    async fn check(
        &self,
        context: &RequestContext,
        actor: Actor<'_>,
        action: &str,
        resource: &str,
    ) -> Result<(), ApiError>;

    /// The same for what is in buckets. An object that is not there is told of only to who may list the bucket.
    async fn check_object(
        &self,
        context: &RequestContext,
        actor: Actor<'_>,
        access: ObjectAccess<'_>,
    ) -> Result<(), ApiError>;

    /// The same for `bedrock:InvokeModel` with whatever answers for a model id, profile, prompt or the ARN of one: the
    /// model, and the profile or prompt it is reached through. `guardrail`: the id or ARN and the version of the one that
    /// the call is under, for `bedrock:GuardrailIdentifier`.
    async fn check_model(
        &self,
        context: &RequestContext,
        actor: Actor<'_>,
        model_id: &str,
        guardrail: Option<(&str, &str)>,
    ) -> Result<(), ApiError>;

    /// Whether a role lets the service act with it, as when it is handed over.
    fn check_trust(&self, usage: &ServiceUse<'_>) -> Result<(), ApiError>;
}
