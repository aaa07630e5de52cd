//! What a prompt must be beyond what the API's model says: checked when it is created or changed, so that a prompt that
//! is kept can be asked.

use std::collections::BTreeSet;

use craton_api_bedrock_agent as api;
use craton_wire::ApiError;

use crate::template;

/// Checks the variants of a prompt and the name of its default one.
pub(crate) fn variants(
    variants: &[api::PromptVariant],
    default_variant: Option<&str>,
) -> Result<(), ApiError> {
    let mut names = BTreeSet::new();
    for variant in variants {
        if !names.insert(variant.name.as_str()) {
            return Err(ApiError::validation(format!(
                "The variant name {} is given more than once.",
                variant.name
            )));
        }
        check_variant(variant)?;
    }
    match default_variant {
        Some(name) if !names.contains(name) => Err(ApiError::validation(format!(
            "The default variant {name} is not among the prompt's variants. Name one of: {}.",
            names.into_iter().collect::<Vec<_>>().join(", ")
        ))),
        _ => Ok(()),
    }
}

fn check_variant(variant: &api::PromptVariant) -> Result<(), ApiError> {
    let name = &variant.name;
    let matches = matches!(
        (&variant.template_type, &variant.template_configuration),
        (api::PromptTemplateType::Text, api::PromptTemplateConfiguration::Text(_))
            | (api::PromptTemplateType::Chat, api::PromptTemplateConfiguration::Chat(_))
    );
    if !matches {
        return Err(ApiError::validation(format!(
            "The templateConfiguration of variant {name} is not of its templateType."
        )));
    }
    if variant.model_id.is_some() && variant.gen_ai_resource.is_some() {
        return Err(ApiError::validation(format!(
            "The variant {name} has both a modelId and a genAiResource. Give one of them."
        )));
    }
    let (used, declared) = names(&variant.template_configuration);
    let mut seen = BTreeSet::new();
    for variable in declared {
        let Some(variable) = variable.name.as_deref() else { continue };
        if !seen.insert(variable) {
            return Err(ApiError::validation(format!(
                "The input variable {variable} of variant {name} is given more than once."
            )));
        }
        if !used.contains(variable) {
            return Err(ApiError::validation(format!(
                "The input variable {variable} of variant {name} does not occur in its template as {{{{{variable}}}}}."
            )));
        }
    }
    Ok(())
}

/// Variables that a template uses, and those it declares.
fn names(configuration: &api::PromptTemplateConfiguration) -> (BTreeSet<&str>, &[api::PromptInputVariable]) {
    match configuration {
        api::PromptTemplateConfiguration::Text(text) => {
            (template::variables(&text.text), text.input_variables.as_deref().unwrap_or_default())
        }
        api::PromptTemplateConfiguration::Chat(chat) => {
            let mut used = BTreeSet::new();
            for block in chat.messages.iter().flat_map(|message| &message.content) {
                if let api::ContentBlock::Text(text) = block {
                    used.extend(template::variables(text));
                }
            }
            for block in chat.system.iter().flatten() {
                if let api::SystemContentBlock::Text(text) = block {
                    used.extend(template::variables(text));
                }
            }
            (used, chat.input_variables.as_deref().unwrap_or_default())
        }
    }
}
