//! What nodes do: each kind calls the part of the server that it is for, with the flow's role.

mod agent;
mod code;
mod function;
mod knowledge_base;
mod objects;
mod prompt;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use craton_api_bedrock_agent::{FlowNodeConfiguration, FlowNodeType, GuardrailConfiguration};
use craton_core::{Arn, RequestContext};
use craton_identity::{Actor, ObjectAccess, ServiceUse};
use craton_wire::ApiError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Parts;
use crate::named::guardrail_of;
use crate::run::event::{Action, Traces};
use crate::run::{Call, Given, Work, Worked, Worker};

pub use agent::{AgentAnswer, AgentCall, AgentCaller, AgentSaid};

/// What a run's nodes know of the run.
pub(crate) struct Nodes {
    pub parts: Arc<Parts>,
    pub context: RequestContext,
    pub flow_arn: String,
    pub alias_arn: String,
    pub role_arn: String,
    pub execution_id: String,
    /// Whether what agents say of how they came to an answer is wanted.
    pub traced: bool,
    /// `standard` or `optimized`, for models.
    pub latency: Option<String>,
    /// Somebody can answer what an agent asks its user.
    pub answers: bool,
}

#[async_trait]
impl Worker for Nodes {
    async fn work(&self, call: Call<'_>) -> Result<Work, ApiError> {
        use FlowNodeConfiguration as Configuration;
        match &call.node.configuration {
            Configuration::Prompt(prompt) => self.prompt(&call, prompt).await,
            Configuration::KnowledgeBase(base) => self.knowledge_base(&call, base).await,
            Configuration::LambdaFunction(function) => self.function(&call, &function.lambda_arn).await,
            Configuration::Agent(agent) => self.agent(&call, &agent.agent_alias_arn).await,
            Configuration::Storage(storage) => self.store(&call, storage).await,
            Configuration::Retrieval(retrieval) => self.fetch(&call, retrieval).await,
            Configuration::InlineCode(code) => self.code(&call, &code.code).await,
            Configuration::Lex(_) => {
                Err(ApiError::validation("this server does not serve Amazon Lex, and can't run the node"))
            }
            _ => Err(ApiError::validation(format!(
                "nodes of the type {} do no work of their own",
                call.node.kind.as_str()
            ))),
        }
    }
}

impl Nodes {
    /// Whether the flow's role lets it do this.
    async fn allowed(&self, action: &str, resource: &str) -> Result<(), ApiError> {
        self.parts.permissions.check(&self.context, self.actor(), action, resource).await
    }

    /// Whether the flow's role lets it do this in a bucket.
    async fn allowed_object(&self, access: ObjectAccess<'_>) -> Result<(), ApiError> {
        self.parts.permissions.check_object(&self.context, self.actor(), access).await
    }

    /// Whether the flow's role lets it ask this model, under the node's guardrail where it has one.
    async fn allowed_model(
        &self,
        model_id: &str,
        guardrail: Option<&GuardrailConfiguration>,
    ) -> Result<(), ApiError> {
        let named = guardrail.and_then(guardrail_of);
        self.parts.permissions.check_model(&self.context, self.actor(), model_id, named).await
    }

    /// Whether the flow's role lets it apply this guardrail, where there is one.
    async fn allowed_guardrail(&self, guardrail: Option<&GuardrailConfiguration>) -> Result<(), ApiError> {
        let Some(id) = guardrail.and_then(|it| it.guardrail_identifier.as_deref()) else { return Ok(()) };
        let arn = if id.starts_with("arn:") { id.to_owned() } else { self.arn(format!("guardrail/{id}")) };
        self.allowed("bedrock:ApplyGuardrail", &arn).await
    }

    fn actor(&self) -> Actor<'_> {
        Actor::Role(ServiceUse {
            role_arn: &self.role_arn,
            service: "bedrock.amazonaws.com",
            source_arn: Some(&self.flow_arn),
        })
    }

    /// The ARN of something of Bedrock's in this account.
    fn arn(&self, resource: String) -> String {
        Arn::new("bedrock", &self.context.region, &self.context.account.id, resource).to_string()
    }

    fn action(&self, (service, operation): (&str, &str), request: Value, response: Value) -> Action {
        Action {
            service: service.to_owned(),
            operation: operation.to_owned(),
            request_id: self.parts.ids.uuid(),
            request,
            response,
        }
    }
}

/// A node's work with one output and one call.
fn gave(output: &str, value: Value, action: Option<Action>) -> Work {
    Work {
        worked: Worked::Given(Given::one(output, value)),
        actions: action.into_iter().collect(),
        traces: Traces::default(),
    }
}

/// An input as text: strings as they are, everything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An input that its node's kind always has.
fn input<'i>(inputs: &'i BTreeMap<String, Value>, name: &str) -> Result<&'i Value, ApiError> {
    inputs.get(name).ok_or_else(|| ApiError::validation(format!("it lacks the input {name}")))
}

/// What another part of the server calls the same JSON.
fn same_shape<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, ApiError> {
    serde_json::to_value(value)
        .and_then(serde_json::from_value)
        .map_err(|error| ApiError::validation(format!("its configuration can't be used: {error}")))
}

/// What nodes are called in events.
pub(crate) fn node_type(kind: FlowNodeType) -> craton_api_bedrock_agent_runtime::NodeType {
    use craton_api_bedrock_agent_runtime::NodeType;
    match kind {
        FlowNodeType::Output => NodeType::FlowOutputNode,
        FlowNodeType::KnowledgeBase => NodeType::KnowledgeBaseNode,
        FlowNodeType::LambdaFunction => NodeType::LambdaFunctionNode,
        FlowNodeType::Condition => NodeType::ConditionNode,
        FlowNodeType::Lex => NodeType::LexNode,
        FlowNodeType::Input => NodeType::FlowInputNode,
        // The model's set has no word for the others; agents speak through models.
        _ => NodeType::PromptNode,
    }
}
