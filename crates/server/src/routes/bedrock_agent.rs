//! `bedrock-agent`: prompts.

use craton_api_bedrock_agent::ops;
use futures::FutureExt as _;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .serve::<ops::CreatePrompt, _>(|s, c, i| s.prompts.create_prompt(c, i).boxed())
        .serve::<ops::CreatePromptVersion, _>(|s, c, i| s.prompts.create_prompt_version(c, i).boxed())
        .serve::<ops::DeletePrompt, _>(|s, c, i| s.prompts.delete_prompt(c, i).boxed())
        .serve::<ops::GetPrompt, _>(|s, c, i| s.prompts.get_prompt(c, i).boxed())
        .serve::<ops::ListPrompts, _>(|s, c, i| s.prompts.list_prompts(c, i).boxed())
        .serve::<ops::UpdatePrompt, _>(|s, c, i| s.prompts.update_prompt(c, i).boxed())
}
