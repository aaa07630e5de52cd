//! What a component of the server may do for those it acts for: the port through which agents and flows ask the same
//! questions as the pipeline asks of a request. The server implements it, because it knows resources' tags and policies
//! and what answers for a model id.

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

    /// The same for `bedrock:InvokeModel` with whatever answers for a model id, profile, prompt or the ARN of one: the
    /// model, and the profile or prompt it is reached through.
    async fn check_model(
        &self,
        context: &RequestContext,
        actor: Actor<'_>,
        model_id: &str,
    ) -> Result<(), ApiError>;

    /// Whether a role lets the service act with it, as when it is handed over.
    fn check_trust(&self, usage: &ServiceUse<'_>) -> Result<(), ApiError>;
}
