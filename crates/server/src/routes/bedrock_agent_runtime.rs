//! `bedrock-agent-runtime`: runs of agents and flows, agents' memory, sessions, prompts made better, retrieval and answers
//! with citations.

use craton_api_bedrock_agent_runtime::ops;
use futures::FutureExt as _;

use super::Routes;
use crate::tags;

pub(super) fn routes(routes: Routes) -> Routes {
    flows(routes)
        .serve::<ops::DeleteAgentMemory, _>(|s, c, i| s.agent_runs.delete_agent_memory(c, i).boxed())
        .serve::<ops::GetAgentMemory, _>(|s, c, i| s.agent_runs.get_agent_memory(c, i).boxed())
        .serve::<ops::InvokeAgent, _>(|s, c, i| s.agent_runs.invoke_agent(c, i).boxed())
        .serve::<ops::InvokeInlineAgent, _>(|s, c, i| s.agent_runs.invoke_inline_agent(c, i).boxed())
        .serve::<ops::CreateInvocation, _>(|s, c, i| s.sessions.create_invocation(c, i).boxed())
        .serve::<ops::CreateSession, _>(|s, c, i| s.sessions.create_session(c, i).boxed())
        .serve::<ops::DeleteSession, _>(|s, c, i| s.sessions.delete_session(c, i).boxed())
        .serve::<ops::EndSession, _>(|s, c, i| s.sessions.end_session(c, i).boxed())
        .serve::<ops::GetInvocationStep, _>(|s, c, i| s.sessions.get_invocation_step(c, i).boxed())
        .serve::<ops::GetSession, _>(|s, c, i| s.sessions.get_session(c, i).boxed())
        .serve::<ops::ListInvocationSteps, _>(|s, c, i| s.sessions.list_invocation_steps(c, i).boxed())
        .serve::<ops::ListInvocations, _>(|s, c, i| s.sessions.list_invocations(c, i).boxed())
        .serve::<ops::ListSessions, _>(|s, c, i| s.sessions.list_sessions(c, i).boxed())
        .serve::<ops::PutInvocationStep, _>(|s, c, i| s.sessions.put_invocation_step(c, i).boxed())
        .serve::<ops::UpdateSession, _>(|s, c, i| s.sessions.update_session(c, i).boxed())
        .serve::<ops::ListTagsForResource, _>(|s, c, i| {
            tags::bedrock_agent_runtime::list_tags_for_resource(s, c, i).boxed()
        })
        .serve::<ops::TagResource, _>(|s, c, i| tags::bedrock_agent_runtime::tag_resource(s, c, i).boxed())
        .serve::<ops::UntagResource, _>(|s, c, i| {
            tags::bedrock_agent_runtime::untag_resource(s, c, i).boxed()
        })
        .serve::<ops::OptimizePrompt, _>(|s, c, i| s.inference.optimize_prompt(c, i).boxed())
        .serve::<ops::Rerank, _>(|s, c, i| s.retrieval.rerank(c, i).boxed())
        .serve::<ops::Retrieve, _>(|s, c, i| s.retrieval.retrieve(c, i).boxed())
        .serve::<ops::RetrieveAndGenerate, _>(|s, c, i| s.retrieval.retrieve_and_generate(c, i).boxed())
        .serve::<ops::RetrieveAndGenerateStream, _>(|s, c, i| {
            s.retrieval.retrieve_and_generate_stream(c, i).boxed()
        })
}

fn flows(routes: Routes) -> Routes {
    routes
        .serve::<ops::GetExecutionFlowSnapshot, _>(|s, c, i| {
            s.flows.get_execution_flow_snapshot(c, i).boxed()
        })
        .serve::<ops::GetFlowExecution, _>(|s, c, i| s.flows.get_flow_execution(c, i).boxed())
        .serve::<ops::InvokeFlow, _>(|s, c, i| s.flows.invoke_flow(c, i).boxed())
        .serve::<ops::ListFlowExecutionEvents, _>(|s, c, i| s.flows.list_flow_execution_events(c, i).boxed())
        .serve::<ops::ListFlowExecutions, _>(|s, c, i| s.flows.list_flow_executions(c, i).boxed())
        .serve::<ops::StartFlowExecution, _>(|s, c, i| s.flows.start_flow_execution(c, i).boxed())
        .serve::<ops::StopFlowExecution, _>(|s, c, i| s.flows.stop_flow_execution(c, i).boxed())
}
