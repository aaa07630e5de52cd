//! One question to a model, traced.

use craton_api_bedrock_agent_runtime as api;
use craton_backend::{
    Block, ChatEvent, ChatRequest, Delta, Reasoning, Sampling, StopReason, Tool, ToolChoice,
};
use craton_inference::answer::AnswerBuilder;
use craton_inference::{ActiveChat, Answer, ChatCall, Guarding, ModelChoice};
use craton_wire::ApiError;
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::prompt::{Prompt, PromptKind};
use super::tell::Teller;
use super::trace::Span;
use super::turn::Run;
use crate::definition::{MAX_TOKENS, PromptStep, TEMPERATURE};

/// What to ask.
pub(super) struct Plan<'a> {
    pub kind: PromptKind,
    pub prompt: Prompt,
    pub tools: &'a [Tool],
    pub choice: ToolChoice,
}

/// What the model said.
pub(super) struct Said {
    pub content: Vec<Block>,
    pub stop: StopReason,
    /// Everything, as traces and parser functions are given it.
    pub raw: String,
    /// It had tools, and might have called one.
    pub may_call: bool,
    usage: api::Usage,
    span: Span,
}

impl Said {
    pub(super) fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    fn reasoning(&self) -> Option<api::ReasoningContentBlock> {
        self.content.iter().find_map(|block| match block {
            Block::Reasoning(Reasoning::Text { text, signature }) => {
                Some(api::ReasoningContentBlock::ReasoningText(api::ReasoningTextBlock {
                    signature: signature.clone(),
                    text: text.clone(),
                }))
            }
            Block::Reasoning(Reasoning::Redacted(bytes)) => {
                Some(api::ReasoningContentBlock::RedactedContent(bytes.clone().into()))
            }
            _ => None,
        })
    }
}

impl Run {
    pub(super) fn prompt_step(&self, kind: PromptKind) -> Option<&PromptStep> {
        self.agent.prompts.steps.get(kind.name())
    }

    /// The agent's template of a step, or ours.
    pub(super) fn template(&self, kind: PromptKind) -> &str {
        let own = self.prompt_step(kind).and_then(|step| step.template.as_deref());
        own.filter(|template| !template.trim().is_empty()).unwrap_or_else(|| kind.template())
    }

    pub(super) fn model(&self, kind: PromptKind) -> String {
        let own = self.prompt_step(kind).and_then(|step| step.foundation_model.clone());
        own.unwrap_or_else(|| self.agent.foundation_model.clone())
    }

    /// Asks; with a teller, text goes out as it comes. The output's trace is the caller's, who knows what it means.
    pub(super) async fn ask(&self, plan: Plan<'_>, teller: Option<&mut Teller>) -> Result<Said, ApiError> {
        let kind = plan.kind;
        if kind != PromptKind::Orchestration {
            self.bounds.take(0)?;
        }
        let model = self.model(kind);
        self.permit_model(&model).await?;
        let sampling = self.sampling(kind);
        self.trace_input(&plan, &model, &sampling);
        let span = self.tracer.span();
        let step = self.prompt_step(kind);
        let extra = step.and_then(|step| step.additional_model_request_fields.as_ref());
        let request = ChatRequest {
            system: system(plan.prompt.system),
            messages: plan.prompt.messages,
            sampling,
            tools: plan.tools.to_vec(),
            tool_choice: plan.choice,
            extra: extra.and_then(Value::as_object).cloned().unwrap_or_default(),
            stream: teller.is_some(),
            ..ChatRequest::default()
        };
        let call = ChatCall {
            operation: self.options.operation,
            model: ModelChoice::Id(model.clone()),
            request,
            metadata: Vec::new(),
        };
        let may_call = !plan.tools.is_empty() && call.request.tool_choice != ToolChoice::None;
        let mut chat =
            self.runs.parts.inference.chat_guarded(&self.context, call, Guarding::default()).await?;
        let answer = match teller {
            None => ActiveChat::collect(&mut chat).await?,
            Some(teller) => {
                teller.step(may_call);
                let mut builder = AnswerBuilder::default();
                while let Some(event) = chat.next().await {
                    let event = event?;
                    if let ChatEvent::BlockDelta { delta: Delta::Text(text), .. } = &event {
                        teller.push(text).await?;
                    }
                    builder.push(event).map_err(|error| broken(&error.to_string()))?;
                }
                builder.build().ok_or_else(|| broken("it ended before it was complete"))?
            }
        };
        Ok(Said { may_call, ..said(answer, &model, span) })
    }

    fn sampling(&self, kind: PromptKind) -> Sampling {
        let inference = self.prompt_step(kind).map(|step| step.inference.clone()).unwrap_or_default();
        let changed = inference.temperature.is_some() || inference.top_p.is_some();
        Sampling {
            max_tokens: inference.max_tokens.or(Some(MAX_TOKENS)),
            temperature: inference.temperature.or((!changed).then_some(TEMPERATURE)),
            top_p: inference.top_p,
            top_k: inference.top_k,
            stop_sequences: inference.stop_sequences,
            ..Sampling::default()
        }
    }

    fn trace_input(&self, plan: &Plan<'_>, model: &str, sampling: &Sampling) {
        let Some(kind) = traced(plan.kind).filter(|_| self.tracer.enabled()) else { return };
        let step = self.prompt_step(plan.kind);
        let mode = |overridden: bool| match overridden {
            true => api::CreationMode::Overridden,
            false => api::CreationMode::Default,
        };
        let parser = step.is_some_and(|step| step.parser_overridden);
        let input = api::ModelInvocationInput {
            foundation_model: Some(model.to_owned()),
            inference_configuration: Some(inference(sampling)),
            override_lambda: self.agent.prompts.parser_function.clone().filter(|_| parser),
            parser_mode: Some(mode(parser)),
            prompt_creation_mode: Some(mode(step.is_some_and(|step| step.template.is_some()))),
            text: Some(plan.prompt.shown()),
            trace_id: Some(self.trace_id(plan.kind)),
            r#type: Some(kind),
        };
        self.tracer.send(|| match plan.kind {
            PromptKind::PreProcessing => {
                api::Trace::PreProcessingTrace(api::PreProcessingTrace::ModelInvocationInput(input))
            }
            PromptKind::PostProcessing => {
                api::Trace::PostProcessingTrace(api::PostProcessingTrace::ModelInvocationInput(input))
            }
            PromptKind::RoutingClassifier => {
                api::Trace::RoutingClassifierTrace(api::RoutingClassifierTrace::ModelInvocationInput(input))
            }
            _ => api::Trace::OrchestrationTrace(api::OrchestrationTrace::ModelInvocationInput(input)),
        });
    }

    pub(super) fn trace_id(&self, kind: PromptKind) -> String {
        match kind {
            PromptKind::PreProcessing => self.tracer.id_of("pre"),
            PromptKind::PostProcessing => self.tracer.id_of("post"),
            PromptKind::RoutingClassifier => self.tracer.id_of("routing"),
            _ => self.tracer.step_id(),
        }
    }

    /// The trace of what an orchestrating or answering model said.
    pub(super) fn trace_said(&self, said: &Said) {
        self.tracer.orchestration(|id| {
            api::OrchestrationTrace::ModelInvocationOutput(api::OrchestrationModelInvocationOutput {
                metadata: Some(self.said_metadata(said)),
                raw_response: Some(raw(said)),
                reasoning_content: said.reasoning(),
                trace_id: Some(id),
            })
        });
    }

    pub(super) fn trace_pre_processed(&self, said: &Said, valid: bool, rationale: &str) {
        self.tracer.send(|| {
            let output = api::PreProcessingModelInvocationOutput {
                metadata: Some(self.said_metadata(said)),
                parsed_response: Some(api::PreProcessingParsedResponse {
                    is_valid: Some(valid),
                    rationale: Some(rationale.to_owned()),
                }),
                raw_response: Some(raw(said)),
                reasoning_content: said.reasoning(),
                trace_id: Some(self.trace_id(PromptKind::PreProcessing)),
            };
            api::Trace::PreProcessingTrace(api::PreProcessingTrace::ModelInvocationOutput(output))
        });
    }

    pub(super) fn trace_post_processed(&self, said: &Said, text: &str) {
        self.tracer.send(|| {
            let output = api::PostProcessingModelInvocationOutput {
                metadata: Some(self.said_metadata(said)),
                parsed_response: Some(api::PostProcessingParsedResponse { text: Some(text.to_owned()) }),
                raw_response: Some(raw(said)),
                reasoning_content: said.reasoning(),
                trace_id: Some(self.trace_id(PromptKind::PostProcessing)),
            };
            api::Trace::PostProcessingTrace(api::PostProcessingTrace::ModelInvocationOutput(output))
        });
    }

    pub(super) fn trace_routed(&self, said: &Said) {
        self.tracer.send(|| {
            let output = api::RoutingClassifierModelInvocationOutput {
                metadata: Some(self.said_metadata(said)),
                raw_response: Some(raw(said)),
                trace_id: Some(self.trace_id(PromptKind::RoutingClassifier)),
            };
            api::Trace::RoutingClassifierTrace(api::RoutingClassifierTrace::ModelInvocationOutput(output))
        });
    }

    fn said_metadata(&self, said: &Said) -> api::Metadata {
        self.tracer.metadata(said.span, Some(said.usage.clone()))
    }
}

fn system(text: String) -> Vec<Block> {
    if text.is_empty() { Vec::new() } else { vec![Block::Text(text)] }
}

fn broken(reason: &str) -> ApiError {
    ApiError::model_error(format!("The model's answer broke off. Try your request again. ({reason})"))
}

fn raw(said: &Said) -> api::RawResponse {
    api::RawResponse { content: Some(said.raw.clone()) }
}

/// The prompt types that traces have.
fn traced(kind: PromptKind) -> Option<api::PromptType> {
    kind.name().parse().ok()
}

fn inference(sampling: &Sampling) -> api::InferenceConfiguration {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    api::InferenceConfiguration {
        maximum_length: sampling.max_tokens.map(number),
        stop_sequences: Some(sampling.stop_sequences.clone()),
        temperature: sampling.temperature,
        top_k: sampling.top_k.map(number),
        top_p: sampling.top_p,
    }
}

fn said(answer: Answer, model: &str, span: Span) -> Said {
    let Answer { content, finished } = answer;
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let usage = finished.usage;
    let input = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
    let reason = match finished.reason {
        StopReason::ToolUse | StopReason::MalformedToolUse => "tool_use",
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::GuardrailIntervened => "guardrail_intervened",
        _ => "end_turn",
    };
    let raw = json!({
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content.iter().filter_map(raw_block).collect::<Vec<_>>(),
        "stop_reason": reason,
        "stop_sequence": finished.stop_sequence,
        "usage": { "input_tokens": input, "output_tokens": usage.output_tokens },
    });
    Said {
        content,
        stop: finished.reason,
        raw: raw.to_string(),
        may_call: false,
        usage: api::Usage {
            input_tokens: Some(number(input)),
            output_tokens: Some(number(usage.output_tokens)),
        },
        span,
    }
}

/// A block in the format of Anthropic's messages, which parser functions are written for.
fn raw_block(block: &Block) -> Option<Value> {
    match block {
        Block::Text(text) => Some(json!({ "type": "text", "text": text })),
        Block::ToolUse(call) => {
            Some(json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": call.input }))
        }
        Block::Reasoning(Reasoning::Text { text, signature }) => {
            Some(json!({ "type": "thinking", "thinking": text, "signature": signature }))
        }
        _ => None,
    }
}
