//! Traces that would not fit a message of the stream: their texts are cut, and say so. A trace is a help; what it tells of
//! went well, and goes on.

use craton_api_bedrock_agent_runtime as api;

/// Bytes of a trace, as JSON: what is around it, and its frame, have room below the 24 MiB of a message.
const MOST: usize = 20 << 20;
/// Bytes of each text of a trace that has more: as JSON six times as many at most, and there are at most three of them.
const MOST_TEXT: usize = 1 << 20;

/// The trace, or where it has too much, what fits of it.
pub(super) fn to_fit(mut trace: api::Trace) -> api::Trace {
    if craton_store::fits(&trace, MOST) {
        return trace;
    }
    texts(&mut trace);
    if craton_store::fits(&trace, MOST) { trace } else { left_out(&trace) }
}

/// In place of what can't be cut: many small things, such as parameters of a call.
fn left_out(trace: &api::Trace) -> api::Trace {
    let text = Some("[a trace that is too large to be told stood here]".to_owned());
    let rationale = |trace_id| api::OrchestrationTrace::Rationale(api::Rationale { text, trace_id });
    api::Trace::OrchestrationTrace(rationale(id(trace)))
}

fn id(trace: &api::Trace) -> Option<String> {
    use api::OrchestrationTrace as Step;
    match trace {
        api::Trace::OrchestrationTrace(Step::InvocationInput(it)) => it.trace_id.clone(),
        api::Trace::OrchestrationTrace(Step::ModelInvocationInput(it)) => it.trace_id.clone(),
        api::Trace::OrchestrationTrace(Step::ModelInvocationOutput(it)) => it.trace_id.clone(),
        api::Trace::OrchestrationTrace(Step::Observation(it)) => it.trace_id.clone(),
        api::Trace::OrchestrationTrace(Step::Rationale(it)) => it.trace_id.clone(),
        api::Trace::GuardrailTrace(it) => it.trace_id.clone(),
        _ => None,
    }
}

fn texts(trace: &mut api::Trace) {
    use api::{PostProcessingTrace as Post, PreProcessingTrace as Pre, RoutingClassifierTrace as Routing};
    match trace {
        api::Trace::OrchestrationTrace(step) => step_texts(step),
        api::Trace::PreProcessingTrace(Pre::ModelInvocationInput(it))
        | api::Trace::PostProcessingTrace(Post::ModelInvocationInput(it))
        | api::Trace::RoutingClassifierTrace(Routing::ModelInvocationInput(it)) => cut(&mut it.text),
        api::Trace::PreProcessingTrace(Pre::ModelInvocationOutput(it)) => {
            said(&mut it.raw_response, &mut it.reasoning_content);
            it.parsed_response.iter_mut().for_each(|parsed| cut(&mut parsed.rationale));
        }
        api::Trace::PostProcessingTrace(Post::ModelInvocationOutput(it)) => {
            said(&mut it.raw_response, &mut it.reasoning_content);
            it.parsed_response.iter_mut().for_each(|parsed| cut(&mut parsed.text));
        }
        api::Trace::RoutingClassifierTrace(Routing::ModelInvocationOutput(it)) => {
            said(&mut it.raw_response, &mut None);
        }
        api::Trace::FailureTrace(it) => cut(&mut it.failure_reason),
        _ => {}
    }
}

fn step_texts(step: &mut api::OrchestrationTrace) {
    use api::OrchestrationTrace as Step;
    match step {
        Step::ModelInvocationInput(it) => cut(&mut it.text),
        Step::ModelInvocationOutput(it) => said(&mut it.raw_response, &mut it.reasoning_content),
        Step::Rationale(it) => cut(&mut it.text),
        Step::InvocationInput(it) => {
            let group = it.action_group_invocation_input.iter_mut();
            let bodies = |it: &mut api::ActionGroupInvocationInput| {
                let content = it.request_body.iter_mut().flat_map(|body| body.content.iter_mut());
                let listed = content.flat_map(|content| content.values_mut()).flatten();
                listed.chain(it.parameters.iter_mut().flatten()).for_each(|one| cut(&mut one.value));
            };
            group.for_each(bodies);
            it.code_interpreter_invocation_input.iter_mut().for_each(|code| cut(&mut code.code));
            it.knowledge_base_lookup_input.iter_mut().for_each(|lookup| cut(&mut lookup.text));
            let message = it.agent_collaborator_invocation_input.iter_mut();
            message.flat_map(|it| it.input.iter_mut()).for_each(|input| cut(&mut input.text));
        }
        Step::Observation(it) => {
            it.action_group_invocation_output.iter_mut().for_each(|gave| cut(&mut gave.text));
            it.final_response.iter_mut().for_each(|gave| cut(&mut gave.text));
            it.reprompt_response.iter_mut().for_each(|gave| cut(&mut gave.text));
            if let Some(ran) = &mut it.code_interpreter_invocation_output {
                cut(&mut ran.execution_output);
                cut(&mut ran.execution_error);
            }
            let answer = it.agent_collaborator_invocation_output.iter_mut();
            answer.flat_map(|it| it.output.iter_mut()).for_each(|output| cut(&mut output.text));
        }
    }
}

fn said(raw: &mut Option<api::RawResponse>, reasoning: &mut Option<api::ReasoningContentBlock>) {
    raw.iter_mut().for_each(|raw| cut(&mut raw.content));
    match reasoning {
        Some(api::ReasoningContentBlock::ReasoningText(it)) => cut_text(&mut it.text),
        Some(api::ReasoningContentBlock::RedactedContent(it)) if it.0.len() > MOST_TEXT => *reasoning = None,
        _ => {}
    }
}

fn cut(text: &mut Option<String>) {
    text.iter_mut().for_each(cut_text);
}

fn cut_text(text: &mut String) {
    if text.len() <= MOST_TEXT {
        return;
    }
    let whole = text.len();
    text.truncate(text.floor_char_boundary(MOST_TEXT));
    text.push_str(&format!("\n[cut: {whole} bytes are too many for a trace]"));
}

#[cfg(test)]
mod tests {
    use craton_wire::types::{Blob, Map};

    use super::*;

    fn input(text: String) -> api::OrchestrationTrace {
        let text = Some(text);
        api::OrchestrationTrace::ModelInvocationInput(api::ModelInvocationInput {
            text,
            ..Default::default()
        })
    }

    #[test]
    fn what_fits_stays_whole() {
        let text = "x".repeat(3 * MOST_TEXT);
        let api::Trace::OrchestrationTrace(api::OrchestrationTrace::ModelInvocationInput(told)) =
            to_fit(api::Trace::OrchestrationTrace(input(text.clone())))
        else {
            panic!()
        };
        assert_eq!(told.text, Some(text));
    }

    #[test]
    fn what_does_not_fit_is_cut_and_says_so() {
        // One byte of these is six of JSON.
        let long = || Some("\u{1}".repeat(MOST / 2));
        let raw = || Some(api::RawResponse { content: long() });
        let thought = api::ReasoningTextBlock { text: long().unwrap_or_default(), signature: None };
        let said = api::OrchestrationModelInvocationOutput {
            raw_response: raw(),
            reasoning_content: Some(api::ReasoningContentBlock::ReasoningText(thought)),
            ..Default::default()
        };
        let redacted = api::PostProcessingModelInvocationOutput {
            raw_response: raw(),
            reasoning_content: Some(api::ReasoningContentBlock::RedactedContent(Blob(vec![0; MOST].into()))),
            parsed_response: Some(api::PostProcessingParsedResponse { text: long() }),
            ..Default::default()
        };
        let ran = api::CodeInterpreterInvocationOutput {
            execution_output: long(),
            execution_error: long(),
            ..Default::default()
        };
        let observed =
            api::Observation { code_interpreter_invocation_output: Some(ran), ..Default::default() };
        let answer = api::Observation {
            final_response: Some(api::FinalResponse { text: long(), metadata: None }),
            ..Default::default()
        };
        let parameter = || vec![api::Parameter { value: long(), ..Default::default() }];
        let body = api::RequestBody { content: Some(Map::from_iter([("json".to_owned(), parameter())])) };
        let called = api::ActionGroupInvocationInput {
            parameters: Some(parameter()),
            request_body: Some(body),
            ..Default::default()
        };
        let call = api::InvocationInput { action_group_invocation_input: Some(called), ..Default::default() };
        use api::OrchestrationTrace as Step;
        for trace in [
            api::Trace::OrchestrationTrace(input(long().unwrap_or_default())),
            api::Trace::OrchestrationTrace(Step::ModelInvocationOutput(said)),
            api::Trace::OrchestrationTrace(Step::Observation(observed)),
            api::Trace::OrchestrationTrace(Step::Observation(answer)),
            api::Trace::OrchestrationTrace(Step::InvocationInput(call)),
            api::Trace::PostProcessingTrace(api::PostProcessingTrace::ModelInvocationOutput(redacted)),
        ] {
            let told = serde_json::to_string(&to_fit(trace)).unwrap_or_default();
            assert!(told.len() <= MOST, "{}", told.len());
            assert!(told.contains("[cut: "), "{}", &told[..200]);
        }
    }

    #[test]
    fn what_can_not_be_cut_is_left_out_and_says_so() {
        let parameter = api::Parameter { value: Some("x".repeat(1 << 20)), ..Default::default() };
        let called =
            api::ActionGroupInvocationInput { parameters: Some(vec![parameter; 30]), ..Default::default() };
        let call = api::InvocationInput {
            action_group_invocation_input: Some(called),
            trace_id: Some("turn-0".to_owned()),
            ..Default::default()
        };
        let told = to_fit(api::Trace::OrchestrationTrace(api::OrchestrationTrace::InvocationInput(call)));
        let told = serde_json::to_string(&told).unwrap_or_default();
        assert!(told.len() < 500 && told.contains("turn-0") && told.contains("too large"), "{told}");
    }
}
