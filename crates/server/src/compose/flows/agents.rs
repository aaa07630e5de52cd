//! Agents, as flows ask them: one turn of InvokeAgent, collected.

use async_trait::async_trait;
use craton_agents::AliasRef;
use craton_agents::run::AgentRuns;
use craton_api_bedrock_agent_runtime as api;
use craton_core::RequestContext;
use craton_flows::{AgentAnswer, AgentCall, AgentCaller, AgentSaid};
use craton_wire::ApiError;
use futures::StreamExt as _;
use serde_json::{Map, Value};

pub(super) struct FlowAgents(pub(super) AgentRuns);

#[async_trait]
impl AgentCaller for FlowAgents {
    async fn ask(&self, context: &RequestContext, call: AgentCall) -> Result<AgentAnswer, ApiError> {
        let AliasRef { agent_id, alias_id, .. } = AliasRef::parse(context, &call.alias_arn)?;
        let state = api::SessionState {
            prompt_session_attributes: Some(texts(call.prompt_session_attributes)),
            session_attributes: Some(texts(call.session_attributes)),
            ..api::SessionState::default()
        };
        let request = api::InvokeAgentRequest {
            agent_id,
            agent_alias_id: alias_id,
            session_id: call.session_id,
            input_text: Some(call.text),
            // What the last step was is in the traces alone.
            enable_trace: Some(true),
            session_state: Some(state),
            ..api::InvokeAgentRequest::default()
        };
        let mut events = self.0.invoke_agent(context, request).await?.completion;
        let (mut said, mut asks, mut traces) = (Vec::new(), false, Vec::new());
        while let Some(event) = events.next().await {
            match event? {
                api::ResponseStream::Chunk(chunk) => {
                    said.extend_from_slice(&chunk.bytes.unwrap_or_default().0)
                }
                api::ResponseStream::Trace(trace) => {
                    asks = ending(&trace).map_or(asks, |ending| ending == api::Type::AskUser);
                    traces.push(trace);
                }
                api::ResponseStream::ReturnControl(_) => {
                    return Err(ApiError::validation(
                        "the agent returns control to its caller, and a flow can't carry its action out",
                    ));
                }
                api::ResponseStream::Files(_) => {}
            }
        }
        let said = String::from_utf8_lossy(&said).into_owned();
        let said = if asks { AgentSaid::Question(said) } else { AgentSaid::Answer(said) };
        let traces = if call.traced { traces } else { Vec::new() };
        Ok(AgentAnswer { said, traces })
    }
}

/// How a trace says that a turn ended, where it does.
fn ending(part: &api::TracePart) -> Option<api::Type> {
    match part.trace.as_ref()? {
        api::Trace::OrchestrationTrace(api::OrchestrationTrace::Observation(observation)) => {
            observation.r#type
        }
        _ => None,
    }
}

/// Attributes are texts; what is none is sent as JSON.
fn texts(attributes: Map<String, Value>) -> craton_wire::types::Map<String> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    attributes.into_iter().map(|(name, value)| (name, text(value))).collect()
}
