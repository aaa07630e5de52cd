//! Whether a run may touch what its agent names: by the agent's role, or for an inline agent by its caller.

use craton_api_bedrock_agent_runtime as api;
use craton_identity::{Actor, ServiceUse};
use craton_wire::ApiError;

use super::turn::Run;

const SERVICE: &str = "bedrock.amazonaws.com";

impl Run {
    pub(super) async fn permit(&self, action: &str, resource: &str) -> Result<(), ApiError> {
        let agent_arn = self.agent_arn();
        let permissions = &self.runs.parts.permissions;
        permissions.check(&self.context, self.actor(&agent_arn), action, resource).await
    }

    /// A function is called by the service: its own policy may let Bedrock in on behalf of the agent, as AWS has it, and
    /// the agent's role then needs no permission.
    pub(super) async fn permit_function(&self, function: &str) -> Result<(), ApiError> {
        let agent_arn = self.agent_arn();
        let actor = match self.actor(&agent_arn) {
            Actor::Role(usage) => Actor::ServiceOrRole(usage),
            actor => actor,
        };
        self.runs.parts.permissions.check(&self.context, actor, "lambda:InvokeFunction", function).await
    }

    /// A model that is asked under the agent's guardrail.
    pub(super) async fn permit_model(&self, model: &str) -> Result<(), ApiError> {
        let guardrail = self.agent.guardrail.as_ref();
        let guardrail = guardrail.map(|it| (it.identifier.as_str(), it.version.as_str()));
        let agent_arn = self.agent_arn();
        self.runs.parts.permissions.check_model(&self.context, self.actor(&agent_arn), model, guardrail).await
    }

    /// What Retrieve asks of whoever calls it: the knowledge base, and the models that the search is to use besides.
    pub(super) async fn permit_search(
        &self,
        knowledge_base_id: &str,
        configuration: Option<&api::KnowledgeBaseRetrievalConfiguration>,
    ) -> Result<(), ApiError> {
        let (region, account) = (&self.context.region, &self.context.account.id);
        let base = format!("arn:aws:bedrock:{region}:{account}:knowledge-base/{knowledge_base_id}");
        self.permit("bedrock:Retrieve", &base).await?;
        for model in configuration.into_iter().flat_map(models_of) {
            let agent_arn = self.agent_arn();
            let permissions = &self.runs.parts.permissions;
            permissions.check_model(&self.context, self.actor(&agent_arn), model, None).await?;
        }
        Ok(())
    }

    fn actor<'a>(&'a self, agent_arn: &'a str) -> Actor<'a> {
        match &self.agent.role_arn {
            Some(role_arn) => {
                Actor::Role(ServiceUse { role_arn, service: SERVICE, source_arn: Some(agent_arn) })
            }
            None => Actor::Caller,
        }
    }

    fn agent_arn(&self) -> String {
        let agent = &self.agent;
        format!("arn:aws:bedrock:{}:{}:agent/{}", agent.region, agent.account, agent.agent_id)
    }
}

/// The models that a search asks, besides the knowledge base's own.
fn models_of(configuration: &api::KnowledgeBaseRetrievalConfiguration) -> impl Iterator<Item = &str> {
    let search = configuration.vector_search_configuration.as_ref();
    let filter = search.and_then(|it| it.implicit_filter_configuration.as_ref());
    let rerank = search.and_then(|it| it.reranking_configuration.as_ref());
    let rerank = rerank.and_then(|it| it.bedrock_reranking_configuration.as_ref());
    let filter = filter.map(|it| it.model_arn.as_str());
    filter.into_iter().chain(rerank.map(|it| it.model_configuration.model_arn.as_str()))
}
