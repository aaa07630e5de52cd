//! What an alias leads to, ready to run, and what a run begins with.

use craton_api_bedrock_agent::{FlowNodeType, FlowStatus};
use craton_api_bedrock_agent_runtime as api;
use craton_core::RequestContext;
use craton_wire::ApiError;
use serde_json::Value;
use std::sync::Arc;

use crate::alias::concurrency;
use crate::definition::{Graph, type_of};
use crate::flow::read;
use crate::identifier::{DRAFT, FlowRef};
use crate::work::Nodes;
use crate::{Flows, StoredFlow};

/// A version of a flow as an alias leads to it.
pub(crate) struct Runnable {
    pub flow: FlowRef,
    pub alias_id: String,
    /// `DRAFT` or a number.
    pub version: String,
    pub body: StoredFlow,
    /// As the alias asks for it.
    pub concurrency: Option<usize>,
}

/// What a run of nodes is told of the call that it is for.
pub(crate) struct Caller {
    pub context: RequestContext,
    pub execution_id: String,
    pub traced: bool,
    pub latency: Option<String>,
    /// Somebody can answer what an agent asks.
    pub answers: bool,
}

impl Flows {
    /// What an alias of a flow leads to now. The draft must have been prepared.
    pub(crate) async fn runnable(
        &self,
        context: &RequestContext,
        flow: &str,
        alias: &str,
    ) -> Result<Runnable, ApiError> {
        let flow = FlowRef::parse(context, flow)?;
        let alias = self.alias(&flow, alias).await?;
        let (version, body) = match alias.number {
            None => (DRAFT.to_owned(), read(&self.draft(&flow).await?.body)?),
            Some(number) => {
                let version = self.version(&flow, &number.to_string()).await?;
                (number.to_string(), read(&version.body)?)
            }
        };
        if body.status != FlowStatus::Prepared {
            return Err(ApiError::validation(format!(
                "The draft of the flow {} is not prepared. Prepare it with PrepareFlow and try again.",
                flow.id
            )));
        }
        Ok(Runnable { concurrency: concurrency(&alias)?, alias_id: alias.id, version, body, flow })
    }

    /// What does the work of a run's nodes.
    pub(crate) fn nodes(&self, runnable: &Runnable, caller: Caller) -> Nodes {
        let Caller { context, execution_id, traced, latency, answers } = caller;
        Nodes {
            parts: Arc::clone(&self.parts),
            context,
            flow_arn: runnable.flow.arn(),
            alias_arn: runnable.flow.alias_arn(&runnable.alias_id),
            role_arn: runnable.body.execution_role_arn.clone(),
            execution_id,
            traced,
            latency,
            answers,
        }
    }
}

impl Runnable {
    pub(crate) fn graph(&self) -> Result<Graph, ApiError> {
        Graph::compile(&self.body.definition)
            .map_err(|reason| ApiError::validation(format!("The flow can't run: {reason}.")))
    }
}

/// The document of a request's only input, where that is for the flow's entry and of the type that it declares.
pub(crate) fn entry(graph: &Graph, inputs: &[api::FlowInput]) -> Result<Value, ApiError> {
    let input = inputs.first().ok_or_else(|| ApiError::validation("The request has no inputs."))?;
    let node = graph.find(FlowNodeType::Input).map(|at| &graph.nodes[at]);
    let node = node.ok_or_else(|| ApiError::validation("The flow has no Input node."))?;
    if input.node_name != node.name {
        return Err(ApiError::validation(format!(
            "The input is for the node {}, and the flow begins at {}.",
            input.node_name, node.name
        )));
    }
    let asked = input.node_output_name.as_deref().unwrap_or("document");
    let Some(output) = node.outputs.iter().find(|output| output.name == asked) else {
        return Err(ApiError::validation(format!("The node {} has no output {asked}.", node.name)));
    };
    let api::FlowInputContent::Document(document) = &input.content;
    if type_of(document) != Some(output.data_type) {
        let found = type_of(document).map_or("null", |found| found.as_str());
        return Err(ApiError::validation(format!(
            "The input of the flow must be of the type {}, and is {found}.",
            output.data_type.as_str()
        )));
    }
    Ok(document.clone())
}

/// `standard` or `optimized`, where a request names one.
pub(crate) fn latency(configuration: Option<&api::ModelPerformanceConfiguration>) -> Option<String> {
    let latency = configuration?.performance_config.as_ref()?.latency?;
    Some(latency.as_str().to_owned())
}
