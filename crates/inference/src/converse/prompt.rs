//! A prompt's ARN as the modelId: the prompt gives the model and what the conversation begins with.

use std::collections::BTreeMap;

use craton_api_bedrock_agent as agent;
use craton_api_bedrock_runtime as api;
use craton_core::RequestContext;
use craton_prompts::{Rendered, is_prompt_arn};
use craton_wire::ApiError;
use craton_wire::types::Map;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::decode::Conversation;
use crate::chat::Inference;

impl Inference {
    /// The model and the conversation that are asked for, with a prompt in place of its ARN.
    pub(super) async fn with_prompt(
        &self,
        context: &RequestContext,
        model_id: String,
        variables: Option<Map<api::PromptVariableValues>>,
        conversation: Conversation,
    ) -> Result<(String, Conversation), ApiError> {
        if !is_prompt_arn(&model_id) {
            return match variables {
                None => Ok((model_id, conversation)),
                Some(_) => Err(ApiError::validation(
                    "The promptVariables field is only for a prompt's ARN as the modelId. Remove it and try again.",
                )),
            };
        }
        refuse_overrides(&conversation)?;
        let values: BTreeMap<String, String> = variables
            .unwrap_or_default()
            .into_iter()
            .map(|(name, api::PromptVariableValues::Text(text))| (name, text))
            .collect();
        let rendered = self.prompts()?.render(context, &model_id, &values).await?;
        let model_id = rendered.model_id.clone();
        Ok((model_id, begin(rendered, conversation)?))
    }
}

impl Inference {
    /// What Converse answers to a prompt whose variables are filled in already, through a guardrail where one is given.
    pub async fn ask_prompt(
        &self,
        context: &RequestContext,
        rendered: Rendered,
        (guardrail, performance): (
            Option<api::GuardrailConfiguration>,
            Option<api::PerformanceConfiguration>,
        ),
    ) -> Result<api::ConverseResponse, ApiError> {
        let model_id = rendered.model_id.clone();
        let conversation = begin(rendered, Conversation::default())?;
        let request = api::ConverseRequest {
            model_id,
            messages: conversation.messages,
            system: conversation.system,
            inference_config: conversation.inference_config,
            tool_config: conversation.tool_config,
            additional_model_request_fields: conversation.additional_fields,
            guardrail_config: guardrail,
            performance_config: performance,
            ..api::ConverseRequest::default()
        };
        self.converse(context, request).await.map(|answer| answer.output)
    }
}

/// What a prompt says of itself can't be said again in the request.
fn refuse_overrides(conversation: &Conversation) -> Result<(), ApiError> {
    let given = [
        ("system", conversation.system.is_some()),
        ("inferenceConfig", conversation.inference_config.is_some()),
        ("toolConfig", conversation.tool_config.is_some()),
        ("additionalModelRequestFields", conversation.additional_fields.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((field, _)) => Err(ApiError::validation(format!(
            "The {field} field can't be given with a prompt as the modelId: the prompt itself defines it. Remove it \
             and try again."
        ))),
    }
}

/// The prompt's messages, then the request's own.
fn begin(rendered: Rendered, conversation: Conversation) -> Result<Conversation, ApiError> {
    let mut messages: Vec<api::Message> = same_shape(&rendered.messages)?;
    for message in conversation.messages.unwrap_or_default() {
        match messages.last_mut() {
            // A prompt that ends in the user's turn and a request that begins with it are one turn.
            Some(last) if last.role == message.role => last.content.extend(message.content),
            _ => messages.push(message),
        }
    }
    let system: Vec<api::SystemContentBlock> = same_shape(&rendered.system)?;
    Ok(Conversation {
        messages: Some(messages),
        system: Some(system).filter(|system| !system.is_empty()),
        inference_config: rendered.inference.map(inference_config),
        tool_config: rendered.tools.as_ref().map(same_shape).transpose()?,
        additional_fields: rendered.additional_fields,
        ..conversation
    })
}

fn inference_config(config: agent::PromptModelInferenceConfiguration) -> api::InferenceConfiguration {
    api::InferenceConfiguration {
        max_tokens: config.max_tokens,
        temperature: config.temperature,
        top_p: config.top_p,
        stop_sequences: config.stop_sequences,
    }
}

/// The two services have their own types for the same JSON.
fn same_shape<T: Serialize, U: DeserializeOwned>(value: &T) -> Result<U, ApiError> {
    let json = serde_json::to_value(value);
    json.and_then(serde_json::from_value)
        .map_err(|error| ApiError::validation(format!("The prompt can't be sent to a model: {error}.")))
}
