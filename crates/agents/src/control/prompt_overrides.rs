//! What an agent's owner changes of its prompts.

use std::collections::BTreeSet;

use craton_api_bedrock_agent as api;
use craton_wire::ApiError;

use crate::definition::{Inference, PromptOverrides, PromptStep};

/// Checks what the API's model can't say.
pub(super) fn check(overrides: &api::PromptOverrideConfiguration) -> Result<(), ApiError> {
    let mut types = BTreeSet::new();
    let mut parser = false;
    let mut faults = Vec::new();
    for configuration in &overrides.prompt_configurations {
        let Some(kind) = configuration.prompt_type else {
            faults.push("Every prompt configuration needs a promptType.".to_owned());
            continue;
        };
        let kind = kind.as_str();
        if !types.insert(kind) {
            faults.push(format!("There is more than one prompt configuration for the {kind} prompt type."));
        }
        parser |= configuration.parser_mode == Some(api::CreationMode::Overridden);
        check_step(configuration, kind, &mut faults);
    }
    match (&overrides.override_lambda, parser) {
        (None, true) => faults.push(
            "A prompt configuration has the parserMode OVERRIDDEN, which needs an overrideLambda.".to_owned(),
        ),
        (Some(_), false) => faults.push(
            "The overrideLambda needs a prompt configuration with the parserMode OVERRIDDEN.".to_owned(),
        ),
        _ => {}
    }
    if faults.is_empty() { Ok(()) } else { Err(ApiError::validation(faults.join(";"))) }
}

fn check_step(configuration: &api::PromptConfiguration, kind: &str, faults: &mut Vec<String>) {
    let overridden = configuration.prompt_creation_mode == Some(api::CreationMode::Overridden);
    match (&configuration.base_prompt_template, overridden) {
        (None, true) => faults.push(format!(
            "The {kind} prompt type has the promptCreationMode OVERRIDDEN, which needs a basePromptTemplate."
        )),
        (Some(_), false) => faults.push(format!(
            "The basePromptTemplate of the {kind} prompt type needs the promptCreationMode OVERRIDDEN."
        )),
        (Some(template), true) => {
            // A template that is an object is a whole request; any other text is its one message.
            let object = template.trim_start().starts_with('{');
            if object && serde_json::from_str::<serde::de::IgnoredAny>(template).is_err() {
                faults.push(format!(
                    "The provided BasePromptTemplate for the {kind} prompt type has failed validation with the \
                     following message: Invalid JSON in the prompt. Check the BasePromptTemplate and retry your \
                     request."
                ));
            }
        }
        (None, false) if configuration.inference_configuration.is_some() => faults.push(format!(
            "The inferenceConfiguration of the {kind} prompt type needs the promptCreationMode OVERRIDDEN."
        )),
        (None, false) => {}
    }
}

/// What a run needs to know of them.
pub(super) fn compile(overrides: &api::PromptOverrideConfiguration) -> PromptOverrides {
    let mut compiled = PromptOverrides::default();
    for configuration in &overrides.prompt_configurations {
        let Some(kind) = configuration.prompt_type else { continue };
        let overridden = configuration.prompt_creation_mode == Some(api::CreationMode::Overridden);
        let parser_overridden = configuration.parser_mode == Some(api::CreationMode::Overridden);
        if parser_overridden {
            compiled.parser_function.clone_from(&overrides.override_lambda);
        }
        let step = PromptStep {
            enabled: configuration.prompt_state.map(|state| state == api::PromptState::Enabled),
            template: configuration.base_prompt_template.clone().filter(|_| overridden),
            parser_overridden,
            foundation_model: configuration.foundation_model.clone(),
            inference: configuration
                .inference_configuration
                .as_ref()
                .filter(|_| overridden)
                .map(inference)
                .unwrap_or_default(),
            additional_model_request_fields: configuration.additional_model_request_fields.clone(),
        };
        compiled.steps.insert(kind.as_str().to_owned(), step);
    }
    compiled
}

fn inference(configuration: &api::InferenceConfiguration) -> Inference {
    let unsigned = |number: i32| u32::try_from(number).ok();
    Inference {
        temperature: configuration.temperature,
        top_p: configuration.top_p,
        top_k: configuration.top_k.and_then(unsigned),
        max_tokens: configuration.maximum_length.and_then(unsigned),
        stop_sequences: configuration.stop_sequences.clone().unwrap_or_default(),
    }
}
