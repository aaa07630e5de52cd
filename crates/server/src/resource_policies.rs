//! Policies that Bedrock's resources have of their own: one mechanism behind the operations of `bedrock` and
//! `bedrock-agent`. A resource's own crate says whether it is there; the directory of users and roles keeps the policies,
//! compiled and shared between servers like all others, and the pipeline weighs them with those of whoever asks.

use std::sync::Arc;

use craton_core::RequestContext;
use craton_identity::directory::{DirectoryError, Document, ResourcePolicy};
use craton_identity::policy::{Malformed, PolicyKind};
use craton_wire::ApiError;

use crate::services::Services;
use crate::tags::check;

async fn put(
    services: &Services,
    context: &RequestContext,
    (arn, text): (&str, &str),
    expected: Option<&str>,
) -> Result<Arc<ResourcePolicy>, ApiError> {
    let document = Document::parse(text, PolicyKind::Resource).map_err(|malformed| unreadable(&malformed))?;
    check(services, context, arn).await?;
    craton_identity::warn_of_unserved_keys(document.policy(), arn);
    let change = services
        .directory
        .change(context.received_ms, |draft| draft.put_resource_policy(arn, document, expected));
    change.await.map_err(refused)
}

async fn get(
    services: &Services,
    context: &RequestContext,
    arn: &str,
) -> Result<Arc<ResourcePolicy>, ApiError> {
    check(services, context, arn).await?;
    let found = services.directory.view().resource_policy(arn).cloned();
    found.ok_or_else(|| ApiError::not_found(format!("The resource {arn} has no policy.")))
}

/// Answers the revision that the resource is at without it.
async fn delete(
    services: &Services,
    context: &RequestContext,
    arn: &str,
    expected: Option<&str>,
) -> Result<String, ApiError> {
    check(services, context, arn).await?;
    let change =
        services.directory.change(context.received_ms, |draft| draft.delete_resource_policy(arn, expected));
    change.await.map_err(refused)
}

fn unreadable(malformed: &Malformed) -> ApiError {
    ApiError::validation(format!("The resource policy is not valid: {malformed}"))
}

/// A policy as it is shown, with the principals by their ARNs.
fn shown(services: &Services, policy: &ResourcePolicy) -> String {
    services.directory.view().show_principals(policy.document.text()).into_owned()
}

fn refused(error: DirectoryError) -> ApiError {
    match error {
        DirectoryError::NoSuchEntity(message) => ApiError::not_found(message),
        DirectoryError::Malformed(malformed) => unreadable(&malformed),
        DirectoryError::Conflict(message) => ApiError::new("ConflictException", message),
        other => {
            tracing::error!(error = %other, "a resource policy was not read or written");
            ApiError::internal("The server could not complete the request. See its log.")
        }
    }
}

pub(crate) mod bedrock {
    use craton_api_bedrock as api;

    use super::{ApiError, RequestContext, Services, delete, get, put, shown};

    pub(crate) async fn put_resource_policy(
        services: &Services,
        context: &RequestContext,
        input: api::PutResourcePolicyRequest,
    ) -> Result<api::PutResourcePolicyResponse, ApiError> {
        put(services, context, (&input.resource_arn, &input.resource_policy), None).await?;
        Ok(api::PutResourcePolicyResponse { resource_arn: Some(input.resource_arn) })
    }

    pub(crate) async fn get_resource_policy(
        services: &Services,
        context: &RequestContext,
        input: api::GetResourcePolicyRequest,
    ) -> Result<api::GetResourcePolicyResponse, ApiError> {
        let found = get(services, context, &input.resource_arn).await?;
        Ok(api::GetResourcePolicyResponse { resource_policy: Some(shown(services, &found)) })
    }

    pub(crate) async fn delete_resource_policy(
        services: &Services,
        context: &RequestContext,
        input: api::DeleteResourcePolicyRequest,
    ) -> Result<api::DeleteResourcePolicyResponse, ApiError> {
        delete(services, context, &input.resource_arn, None).await?;
        Ok(api::DeleteResourcePolicyResponse {})
    }
}

/// Those of `bedrock-agent` have revisions, so that of two who change one policy the second is told.
pub(crate) mod bedrock_agent {
    use craton_api_bedrock_agent as api;

    use super::{ApiError, RequestContext, Services, delete, get, put, shown};

    pub(crate) async fn put_resource_policy(
        services: &Services,
        context: &RequestContext,
        input: api::PutResourcePolicyRequest,
    ) -> Result<api::PutResourcePolicyResponse, ApiError> {
        let policy = (input.resource_arn.as_str(), input.policy.as_str());
        let made = put(services, context, policy, input.expected_revision_id.as_deref()).await?;
        Ok(api::PutResourcePolicyResponse {
            resource_arn: input.resource_arn,
            revision_id: made.revision.clone(),
        })
    }

    pub(crate) async fn get_resource_policy(
        services: &Services,
        context: &RequestContext,
        input: api::GetResourcePolicyRequest,
    ) -> Result<api::GetResourcePolicyResponse, ApiError> {
        let found = get(services, context, &input.resource_arn).await?;
        Ok(api::GetResourcePolicyResponse {
            resource_arn: input.resource_arn,
            policy: shown(services, &found),
            revision_id: found.revision.clone(),
        })
    }

    pub(crate) async fn delete_resource_policy(
        services: &Services,
        context: &RequestContext,
        input: api::DeleteResourcePolicyRequest,
    ) -> Result<api::DeleteResourcePolicyResponse, ApiError> {
        let expected = input.expected_revision_id.as_deref();
        let revision = delete(services, context, &input.resource_arn, expected).await?;
        Ok(api::DeleteResourcePolicyResponse {
            resource_arn: input.resource_arn,
            revision_id: Some(revision),
        })
    }
}
