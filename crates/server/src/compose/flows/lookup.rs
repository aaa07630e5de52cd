//! What flows name, looked up with the services that keep it.

use std::sync::Arc;

use async_trait::async_trait;
use craton_agents::{Agents, AliasRef};
use craton_backend::function::{FunctionError, FunctionInvoker as _};
use craton_core::RequestContext;
use craton_flows::{Lookup, Named};
use craton_guardrails::{GuardReference, Guardrails};
use craton_knowledge_bases::KnowledgeBases;
use craton_lambda::Lambda;
use craton_models::{Models, Task};
use craton_prompts::Prompts;
use craton_store::Place;
use craton_wire::ApiError;

pub(super) struct Services {
    pub(super) lambda: Lambda,
    pub(super) knowledge_bases: KnowledgeBases,
    pub(super) prompts: Prompts,
    pub(super) agents: Agents,
    pub(super) models: Models,
    pub(super) guardrails: Arc<Guardrails>,
}

#[async_trait]
impl Lookup for Services {
    async fn missing(&self, context: &RequestContext, named: Named<'_>) -> Result<Option<String>, ApiError> {
        let unless = |there: bool, what: String| (!there).then(|| format!("{what} does not exist."));
        match named {
            Named::Function(arn) => Ok(match self.lambda.check(arn).await {
                Err(FunctionError::NotFound(_)) => unless(false, format!("the function {arn}")),
                _ => None,
            }),
            Named::KnowledgeBase(id) => {
                let there = self.knowledge_bases.exists(&Place::of(context), id).await?;
                Ok(unless(there, format!("the knowledge base {id}")))
            }
            Named::Prompt(arn) => {
                Ok(unless(self.prompts.has_prompt(context, arn).await?, format!("the prompt {arn}")))
            }
            Named::AgentAlias(arn) => self.alias(context, arn).await,
            Named::Model(id) => self.model(context, id, (Task::Chat, "answer with text")).await,
            Named::RerankModel(id) => self.model(context, id, (Task::Rerank, "rank passages")).await,
            Named::Guardrail(id, version) => {
                let reference =
                    GuardReference { identifier: id.to_owned(), version: Some(version.to_owned()) };
                match self.guardrails.check(context, &reference).await {
                    Ok(()) => Ok(None),
                    Err(error) => ours(error).map(|why| {
                        Some(format!("the guardrail {id}, version {version}, can't be used: {why}"))
                    }),
                }
            }
        }
    }
}

impl Services {
    async fn model(
        &self,
        context: &RequestContext,
        id: &str,
        (task, does): (Task, &str),
    ) -> Result<Option<String>, ApiError> {
        match self.models.resolve(context, id).await {
            Ok(resolved) if resolved.model.task() == task => Ok(None),
            Ok(_) => Ok(Some(format!("the model {id} does not {does}."))),
            Err(error) => ours(error).map(|why| Some(format!("the model {id} can't be used: {why}"))),
        }
    }

    async fn alias(&self, context: &RequestContext, arn: &str) -> Result<Option<String>, ApiError> {
        let missing = || Some(format!("the agent alias {arn} does not exist in this account and region."));
        let Ok(alias) = AliasRef::parse(context, arn) else { return Ok(missing()) };
        Ok(if self.agents.has_resource(context, &alias.kept_arn()).await? { None } else { missing() })
    }
}

/// What a client's error says; a fault of ours stays one.
fn ours(error: ApiError) -> Result<String, ApiError> {
    if error.code == "InternalServerException" { Err(error) } else { Ok(error.message) }
}
