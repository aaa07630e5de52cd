//! `bedrock-agent-runtime`: agents' runs and memory, prompts made better, retrieval and answers with citations.

use craton_api_bedrock_agent_runtime::ops;
use futures::FutureExt as _;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .serve::<ops::DeleteAgentMemory, _>(|s, c, i| s.agent_runs.delete_agent_memory(c, i).boxed())
        .serve::<ops::GetAgentMemory, _>(|s, c, i| s.agent_runs.get_agent_memory(c, i).boxed())
        .serve::<ops::InvokeAgent, _>(|s, c, i| s.agent_runs.invoke_agent(c, i).boxed())
        .serve::<ops::InvokeInlineAgent, _>(|s, c, i| s.agent_runs.invoke_inline_agent(c, i).boxed())
        .serve::<ops::OptimizePrompt, _>(|s, c, i| s.inference.optimize_prompt(c, i).boxed())
        .serve::<ops::Rerank, _>(|s, c, i| s.retrieval.rerank(c, i).boxed())
        .serve::<ops::Retrieve, _>(|s, c, i| s.retrieval.retrieve(c, i).boxed())
        .serve::<ops::RetrieveAndGenerate, _>(|s, c, i| s.retrieval.retrieve_and_generate(c, i).boxed())
        .serve::<ops::RetrieveAndGenerateStream, _>(|s, c, i| {
            s.retrieval.retrieve_and_generate_stream(c, i).boxed()
        })
}
