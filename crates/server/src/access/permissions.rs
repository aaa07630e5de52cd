//! What agents, flows and knowledge bases may do, asked as the pipeline asks: the same ARNs, the same questions about a model, tags and
//! policies of resources, and the request's context keys. Headers are no longer at hand there, so that conditions on
//! `aws:UserAgent` and `aws:Referer` see none.

use std::sync::Arc;

use async_trait::async_trait;
use craton_core::{Arn, RequestContext};
use craton_identity::{
    Actor, AuthorizationRequest, Authorizer, ObjectAccess, Permissions, RequestKeys, RoleInUse, RoleUse,
    ServiceRoles, ServiceUse,
};
use craton_lambda::Lambda;
use craton_models::Models;
use craton_prompts::Prompts;
use craton_s3::Sides;
use craton_store::Store;
use craton_wire::ApiError;
use serde_json::Map;

use super::ask::{Ground, decide, guardrail_named, hidden, side};
use super::{Lookups, Question, of_model};

#[derive(Clone)]
pub(crate) struct Allowing {
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) roles: ServiceRoles,
    pub(crate) lambda: Lambda,
    pub(crate) buckets: Sides,
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

    async fn check_object(
        &self,
        context: &RequestContext,
        actor: Actor<'_>,
        access: ObjectAccess<'_>,
    ) -> Result<(), ApiError> {
        if self.may_all(actor) {
            return Ok(());
        }
        self.ask(context, actor, &Question::on_objects(&access, None)).await
    }

    fn check_trust(&self, usage: &ServiceUse<'_>) -> Result<(), ApiError> {
        self.roles.check_trust(usage)
    }

    async fn check_model(
        &self,
        context: &RequestContext,
        actor: Actor<'_>,
        model_id: &str,
        guardrail: Option<(&str, &str)>,
    ) -> Result<(), ApiError> {
        if self.may_all(actor) {
            return Ok(());
        }
        let guardrail = guardrail.map(|(id, version)| guardrail_named(context, id, Some(version)).0);
        let lookups =
            Lookups { models: &self.models, prompts: &self.prompts, authorizer: self.authorizer.as_ref() };
        for mut question in of_model(lookups, context, "bedrock:InvokeModel", model_id).await {
            question.keys.extend(guardrail.clone().map(|arn| ("bedrock:guardrailidentifier", arn)));
            self.ask(context, actor, &question).await?;
        }
        Ok(())
    }
}

impl Allowing {
    /// Whether there is nothing to find out: roles are not asked.
    fn may_all(&self, actor: Actor<'_>) -> bool {
        !matches!(actor, Actor::Caller) && !self.roles.enforces()
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
            Actor::Caller => {
                let decided = decide(self.ground(), (context, &Map::new()), &request, question).await;
                self.tell(context, question, decided.as_ref().err());
                decided
            }
            Actor::Role(usage) | Actor::ServiceOrRole(usage) => {
                let role = self.roles.using(usage);
                let asking = (context, &role, matches!(actor, Actor::ServiceOrRole(_)));
                self.ask_role(asking, &request, question).await?;
                match hidden(self.ground(), false, question).await? {
                    Some(listing) => self.ask_role(asking, &request, &listing).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// What a component did as its caller is in the audit log too.
    fn tell(&self, context: &RequestContext, question: &Question, refused: Option<&ApiError>) {
        let resource = question.resource.as_ref().map_or_else(|| "*".to_owned(), Arn::to_string);
        self.roles.tell(&RoleUse {
            service: "bedrock.amazonaws.com",
            source_arn: None,
            request_id: Some(&context.request_id),
            region: Some(&context.region),
            principal: &context.principal,
            action: &question.action,
            resource: &resource,
            refused,
        });
    }

    async fn ask_role(
        &self,
        (context, role, service_first): (&RequestContext, &RoleInUse<'_>, bool),
        request: &RequestKeys<'_>,
        question: &Question,
    ) -> Result<(), ApiError> {
        let asks_for = |prefix: &str| role.asks_for(prefix);
        let side = side(self.ground(), (false, asks_for), question).await?;
        let document = Map::new();
        let keys = side.keys((context, &document), request, question);
        let asked = AuthorizationRequest {
            context: &keys,
            resource_policy: side.policy.as_deref(),
            ..AuthorizationRequest::new(&question.action, question.resource.as_slice())
        };
        if service_first && role.lets_service(&asked) {
            return Ok(());
        }
        role.authorize(&asked)
    }

    fn ground(&self) -> Ground<'_> {
        Ground {
            authorizer: self.authorizer.as_ref(),
            lambda: &self.lambda,
            buckets: &self.buckets,
            store: &self.store,
        }
    }
}

fn unreadable(action: &str, resource: &str) -> ApiError {
    ApiError::access_denied(format!(
        "Not authorized to perform: {action} on resource: {resource}, which is not an ARN"
    ))
}
