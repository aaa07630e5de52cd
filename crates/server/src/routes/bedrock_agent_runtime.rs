//! `bedrock-agent-runtime`: prompts made better.

use craton_api_bedrock_agent_runtime::ops;
use futures::FutureExt as _;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.serve::<ops::OptimizePrompt, _>(|s, c, i| s.inference.optimize_prompt(c, i).boxed())
}
