//! Prompt nodes: an inline prompt, or a stored one by its ARN, filled in and sent to its model.

use std::collections::BTreeMap;

use craton_api_bedrock_agent as api;
use craton_api_bedrock_agent::PromptFlowNodeSourceConfiguration as Source;
use craton_api_bedrock_runtime as runtime;
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::{Nodes, gave, text};
use crate::named::guardrail_of;
use crate::run::{Call, Work};

impl Nodes {
    pub(super) async fn prompt(
        &self,
        call: &Call<'_>,
        configuration: &api::PromptFlowNodeConfiguration,
    ) -> Result<Work, ApiError> {
        let values: BTreeMap<String, String> =
            call.inputs.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let rendered = match &configuration.source_configuration {
            Source::Resource(resource) => {
                self.allowed("bedrock:RenderPrompt", &resource.prompt_arn).await?;
                self.parts.prompts.render(&self.context, &resource.prompt_arn, &values).await?
            }
            Source::Inline(inline) => {
                let filled = craton_prompts::fill(&inline.template_configuration, &values)?;
                let inference = inline.inference_configuration.as_ref();
                craton_prompts::Rendered {
                    model_id: inline.model_id.clone(),
                    system: filled.system,
                    messages: filled.messages,
                    tools: filled.tools,
                    inference: inference
                        .map(|api::PromptInferenceConfiguration::Text(inference)| inference.clone()),
                    additional_fields: inline.additional_model_request_fields.clone(),
                }
            }
        };
        let guardrail = configuration.guardrail_configuration.as_ref();
        let guardrail = guardrail.filter(|it| it.guardrail_identifier.is_some());
        self.allowed_model(&rendered.model_id, guardrail).await?;
        self.allowed_guardrail(guardrail).await?;
        let guardrail = guardrail.map(|it| runtime::GuardrailConfiguration {
            guardrail_identifier: it.guardrail_identifier.clone(),
            guardrail_version: guardrail_of(it).map(|(_, version)| version.to_owned()),
            ..runtime::GuardrailConfiguration::default()
        });
        let performance = self.latency.as_deref().and_then(|latency| latency.parse().ok());
        let performance =
            performance.map(|latency| runtime::PerformanceConfiguration { latency: Some(latency) });
        let request = json!({
            "modelId": rendered.model_id,
            "messages": rendered.messages,
            "system": rendered.system,
        });
        let answer =
            self.parts.inference.ask_prompt(&self.context, rendered, (guardrail, performance)).await?;
        let said = said(&answer.output)?;
        if answer.stop_reason == runtime::StopReason::MaxTokens {
            tracing::warn!(
                flow = self.flow_arn,
                node = call.node.name,
                "the answer of a flow's prompt was cut off at its maxTokens, and the flow goes on with what there is"
            );
        }
        let response = serde_json::to_value(&answer).unwrap_or_default();
        let action = self.action(("BedrockRuntime", "Converse"), request, response);
        Ok(gave("modelCompletion", Value::String(said), Some(action)))
    }
}

/// The text of an answer, without reasoning. An answer that waits for a tool's result is none: nothing runs tools here.
fn said(output: &runtime::ConverseOutput) -> Result<String, ApiError> {
    let runtime::ConverseOutput::Message(message) = output;
    let called = message.content.iter().find_map(|block| match block {
        // Tools with a type have been run by whoever serves the model.
        runtime::ContentBlock::ToolUse(tool) if tool.r#type.is_none() => Some(&tool.name),
        _ => None,
    });
    if let Some(tool) = called {
        return Err(ApiError::new(
            "DependencyFailedException",
            format!(
                "the model called the tool {tool}, and Prompt nodes run no tools. Use an Agent node for that"
            ),
        ));
    }
    let texts = message.content.iter().filter_map(|block| match block {
        runtime::ContentBlock::Text(text) => Some(text.as_str()),
        _ => None,
    });
    Ok(texts.collect())
}
