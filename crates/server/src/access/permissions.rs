//! What agents and flows may do, asked as the pipeline asks: the same ARNs, the same questions about a model, tags and
//! policies of resources, and the request's context keys. Headers are no longer at hand there, so that conditions on
//! `aws:UserAgent` and `aws:Referer` see none.

use std::sync::Arc;

use async_trait::async_trait;
use craton_core::{Arn, RequestContext};
use craton_identity::{
    Actor, AuthorizationRequest, Authorizer, Permissions, RequestKeys, ServiceRoles, ServiceUse,
};
use craton_lambda::Lambda;
use craton_models::Models;
use craton_prompts::Prompts;
use craton_store::Store;
use craton_wire::ApiError;
use serde_json::Map;

use super::ask::{Ground, decide, own_policy, resource_account, tags};
use super::keys::QuestionKeys;
use super::{Lookups, Question, of_model};

#[derive(Clone)]
pub(crate) struct Allowing {
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) roles: ServiceRoles,
    pub(crate) lambda: Lambda,
    pub(crate) models: Models,
    pub(crate) prompts: Prompts,
    pub(crate) store: Store,
    /// Requests come over TLS.
    pub(crate) secure: bool,
}

#[async_trait]
impl Permissions for Allowing {
    async fn check(
        &self,
        context: &RequestContext,
        actor: Actor<'_>,
        action: &str,
        resource: &str,
    ) -> Result<(), ApiError> {
        if self.may_all(actor) {
            return Ok(());
        }
        let arn = match resource {
            "*" => None,
            text => Some(text.parse().map(Arn::canonical).map_err(|_| unreadable(action, text))?),
        };
        self.ask(context, actor, &Question::on(action, arn)).await
    }

    fn check_trust(&self, usage: &ServiceUse<'_>) -> Result<(), ApiError> {
        self.roles.check_trust(usage)
    }

    async fn check_model(
        &self,
        context: &RequestContext,
        actor: Actor<'_>,
        model_id: &str,
    ) -> Result<(), ApiError> {
        if self.may_all(actor) {
            return Ok(());
        }
        let lookups =
            Lookups { models: &self.models, prompts: &self.prompts, authorizer: self.authorizer.as_ref() };
        for question in of_model(lookups, context, "bedrock:InvokeModel", model_id).await {
            self.ask(context, actor, &question).await?;
        }
        Ok(())
    }
}

impl Allowing {
    /// Whether there is nothing to find out: roles are not asked.
    fn may_all(&self, actor: Actor<'_>) -> bool {
        matches!(actor, Actor::Role(_)) && !self.roles.enforces()
    }

    async fn ask(
        &self,
        context: &RequestContext,
        actor: Actor<'_>,
        question: &Question,
    ) -> Result<(), ApiError> {
        let request = RequestKeys {
            source_ip: context.source_ip,
            received_ms: context.received_ms,
            region: &context.region,
            secure: self.secure,
            ..RequestKeys::default()
        };
        match actor {
            Actor::Caller => decide(self.ground(), (context, &Map::new()), &request, question).await,
            Actor::Role(usage) => self.ask_role((context, &usage), &request, question).await,
        }
    }

    async fn ask_role(
        &self,
        (context, usage): (&RequestContext, &ServiceUse<'_>),
        request: &RequestKeys<'_>,
        question: &Question,
    ) -> Result<(), ApiError> {
        let policy = own_policy(self.ground(), false, question).await?;
        let asks_for = |prefix: &str| self.roles.asks_for(usage, prefix);
        let resource_tags = tags(self.ground(), asks_for, question, policy.as_deref()).await?;
        let keys = QuestionKeys {
            request,
            document: &Map::new(),
            resource_account: resource_account(context, question),
            own: &question.keys,
            resource_tags: &resource_tags,
        };
        let asked = AuthorizationRequest {
            context: &keys,
            resource_policy: policy.as_deref(),
            ..AuthorizationRequest::new(&question.action, question.resource.as_slice())
        };
        self.roles.authorize(usage, &asked)
    }

    fn ground(&self) -> Ground<'_> {
        Ground { authorizer: self.authorizer.as_ref(), lambda: &self.lambda, store: &self.store }
    }
}

fn unreadable(action: &str, resource: &str) -> ApiError {
    ApiError::access_denied(format!(
        "Not authorized to perform: {action} on resource: {resource}, which is not an ARN"
    ))
}
