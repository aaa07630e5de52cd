//! `bedrock-runtime`: calling models.

use craton_api_bedrock_runtime::ops;
use futures::FutureExt as _;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .serve::<ops::ApplyGuardrail, _>(|s, c, i| s.guardrails.apply_guardrail(c, i).boxed())
        .serve::<ops::InvokeGuardrailChecks, _>(|s, c, i| s.guardrails.invoke_guardrail_checks(c, i).boxed())
        .serve::<ops::Converse, _>(|s, c, i| s.inference.converse(c, i).boxed())
        .serve::<ops::ConverseStream, _>(|s, c, i| s.inference.converse_stream(c, i).boxed())
        .serve::<ops::CountTokens, _>(|s, c, i| s.inference.count_tokens(c, i).boxed())
        .serve::<ops::InvokeModel, _>(|s, c, i| s.inference.invoke_model(c, i).boxed())
        .serve::<ops::InvokeModelWithResponseStream, _>(|s, c, i| {
            s.inference.invoke_model_with_response_stream(c, i).boxed()
        })
}
