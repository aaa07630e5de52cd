//! What an agent's owner changes of its prompts.

use std::collections::BTreeSet;

use craton_api_bedrock_agent as api;
use craton_wire::ApiError;

use super::records::Settings;
use crate::definition::{Inference, MAX_TOKENS, PromptOverrides, PromptStep, TEMPERATURE};
use crate::run::prompt::{self, PromptKind};

/// Checks what the API's model can't say.
pub(crate) fn check(overrides: &api::PromptOverrideConfiguration) -> Result<(), ApiError> {
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
            if !prompt::is_readable(template) {
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

/// The prompts of all steps that an agent has, those that its owner left alone as they are by default.
pub(super) fn shown(settings: &Settings) -> api::PromptOverrideConfiguration {
    let given = settings.prompt_overrides.clone();
    let override_lambda = given.as_ref().and_then(|given| given.override_lambda.clone());
    let mut given = given.map(|given| given.prompt_configurations).unwrap_or_default();
    let mut prompt_configurations = Vec::new();
    for kind in PromptKind::ALL {
        let Ok(prompt_type) = kind.name().parse::<api::PromptType>() else { continue };
        let at = given.iter().position(|it| it.prompt_type == Some(prompt_type));
        let owned = at.map(|at| given.swap_remove(at));
        if owned.is_some() || has_step(settings, kind) {
            let owned = owned.unwrap_or_default();
            prompt_configurations.push(completed(owned, prompt_type, kind));
        }
    }
    api::PromptOverrideConfiguration { prompt_configurations, override_lambda }
}

fn has_step(settings: &Settings, kind: PromptKind) -> bool {
    match kind {
        PromptKind::MemorySummarization => settings.memory.is_some(),
        PromptKind::RoutingClassifier => settings.collaboration == api::AgentCollaboration::SupervisorRouter,
        _ => true,
    }
}

fn completed(
    owned: api::PromptConfiguration,
    prompt_type: api::PromptType,
    kind: PromptKind,
) -> api::PromptConfiguration {
    let on = !matches!(kind, PromptKind::PreProcessing | PromptKind::PostProcessing);
    let state = if on { api::PromptState::Enabled } else { api::PromptState::Disabled };
    let inference = || api::InferenceConfiguration {
        temperature: Some(TEMPERATURE),
        maximum_length: i32::try_from(MAX_TOKENS).ok(),
        ..api::InferenceConfiguration::default()
    };
    api::PromptConfiguration {
        prompt_type: Some(prompt_type),
        prompt_creation_mode: Some(owned.prompt_creation_mode.unwrap_or(api::CreationMode::Default)),
        prompt_state: Some(owned.prompt_state.unwrap_or(state)),
        base_prompt_template: Some(owned.base_prompt_template.unwrap_or_else(|| kind.template().to_owned())),
        inference_configuration: Some(owned.inference_configuration.unwrap_or_else(inference)),
        parser_mode: Some(owned.parser_mode.unwrap_or(api::CreationMode::Default)),
        foundation_model: owned.foundation_model,
        additional_model_request_fields: owned.additional_model_request_fields,
    }
}

/// What a run needs to know of them.
pub(crate) fn compile(overrides: &api::PromptOverrideConfiguration) -> PromptOverrides {
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
