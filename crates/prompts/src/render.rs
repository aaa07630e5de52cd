//! From a prompt and its variables' values to a model and a conversation.

use std::collections::{BTreeMap, BTreeSet};

use craton_api_bedrock_agent as api;
use craton_core::RequestContext;
use craton_wire::ApiError;
use serde_json::Value;

use crate::error::template_error;
use crate::identifier::PromptRef;
use crate::template::{self, TemplateError};
use crate::{Prompts, StoredPrompt};

/// A prompt with its variables filled in: what a conversation with it begins with.
#[derive(Debug, Clone)]
pub struct Rendered {
    pub model_id: String,
    pub system: Vec<api::SystemContentBlock>,
    pub messages: Vec<api::Message>,
    pub tools: Option<api::ToolConfiguration>,
    pub inference: Option<api::PromptModelInferenceConfiguration>,
    pub additional_fields: Option<Value>,
}

impl Prompts {
    /// The conversation that the prompt with this ARN (or id) begins, with `values` for its variables. ValidationException
    /// names variables without a value and values without a variable.
    pub async fn render(
        &self,
        context: &RequestContext,
        identifier: &str,
        values: &BTreeMap<String, String>,
    ) -> Result<Rendered, ApiError> {
        let reference = PromptRef::parse(context, identifier)?;
        let prompt = self.find(context, &reference).await?.body;
        let (variant, model_id) = asked(&prompt, identifier)?;
        let model_id = model_id.to_owned();
        let Filled { system, messages, tools } = fill(&variant.template_configuration, values)?;
        let inference = variant.inference_configuration.as_ref();
        Ok(Rendered {
            model_id,
            system,
            messages,
            tools,
            inference: inference.map(|api::PromptInferenceConfiguration::Text(inference)| inference.clone()),
            additional_fields: variant.additional_model_request_fields.clone(),
        })
    }
}

impl Prompts {
    /// The model of a prompt's default variant; `None` where it names none.
    pub async fn model_id(
        &self,
        context: &RequestContext,
        identifier: &str,
    ) -> Result<Option<String>, ApiError> {
        let reference = PromptRef::parse(context, identifier)?;
        let prompt = self.find(context, &reference).await?.body;
        Ok(chosen(&prompt, identifier)?.model_id.clone())
    }
}

/// What [`Prompts::render`] needs of a prompt, and will give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Names of the variables that must have values.
    pub variables: BTreeSet<String>,
    pub model_id: String,
}

impl Prompts {
    /// What it takes to render a prompt. ValidationException, as [`Prompts::render`] would answer, where no values do.
    pub async fn needs(&self, context: &RequestContext, identifier: &str) -> Result<Needs, ApiError> {
        let reference = PromptRef::parse(context, identifier)?;
        let prompt = self.find(context, &reference).await?.body;
        let (variant, model_id) = asked(&prompt, identifier)?;
        let variables = variables(&variant.template_configuration).into_iter().map(str::to_owned).collect();
        Ok(Needs { variables, model_id: model_id.to_owned() })
    }
}

/// The variant that is asked, and its model.
fn asked<'a>(
    prompt: &'a StoredPrompt,
    identifier: &str,
) -> Result<(&'a api::PromptVariant, &'a str), ApiError> {
    let variant = chosen(prompt, identifier)?;
    match (&variant.model_id, &variant.gen_ai_resource) {
        (Some(model_id), _) => Ok((variant, model_id)),
        (None, Some(api::PromptGenAiResource::Agent(_))) => Err(ApiError::validation(format!(
            "The prompt {identifier} is for an agent. Ask it through InvokeAgent."
        ))),
        (None, None) => Err(ApiError::validation(format!(
            "The prompt {identifier} names no model. Give its variant a modelId."
        ))),
    }
}

/// The default variant; the only one where none is named.
fn chosen<'a>(prompt: &'a StoredPrompt, identifier: &str) -> Result<&'a api::PromptVariant, ApiError> {
    let variant = match &prompt.default_variant {
        Some(name) => prompt.variants.iter().find(|variant| variant.name == *name),
        None => prompt.variants.first(),
    };
    variant.ok_or_else(|| {
        ApiError::validation(format!(
            "The prompt {identifier} has no variant yet. Add one with UpdatePrompt."
        ))
    })
}

/// What a template becomes.
#[derive(Debug, Clone, Default)]
pub struct Filled {
    pub system: Vec<api::SystemContentBlock>,
    pub messages: Vec<api::Message>,
    pub tools: Option<api::ToolConfiguration>,
}

/// The texts of a template that variables may be in.
fn texts(configuration: &api::PromptTemplateConfiguration) -> Vec<&str> {
    let chat = match configuration {
        api::PromptTemplateConfiguration::Text(text) => return vec![&text.text],
        api::PromptTemplateConfiguration::Chat(chat) => chat,
    };
    let system = chat.system.iter().flatten().filter_map(|block| match block {
        api::SystemContentBlock::Text(text) => Some(text.as_str()),
        api::SystemContentBlock::CachePoint(_) => None,
    });
    let messages = chat.messages.iter().flat_map(|message| &message.content);
    let messages = messages.filter_map(|block| match block {
        api::ContentBlock::Text(text) => Some(text.as_str()),
        api::ContentBlock::CachePoint(_) => None,
    });
    system.chain(messages).collect()
}

/// Names of the variables that a template uses.
pub fn variables(configuration: &api::PromptTemplateConfiguration) -> BTreeSet<&str> {
    texts(configuration).into_iter().flat_map(template::variables).collect()
}

/// Fails with the names of all variables without a value, or of all values that no variable asks for.
fn check_values(
    configuration: &api::PromptTemplateConfiguration,
    values: &BTreeMap<String, String>,
) -> Result<(), ApiError> {
    let used = variables(configuration);
    let missing: Vec<String> =
        used.iter().filter(|name| !values.contains_key(**name)).map(|name| (*name).to_owned()).collect();
    if !missing.is_empty() {
        return Err(template_error(&TemplateError::Missing(missing)));
    }
    let unused: Vec<&str> = values.keys().map(String::as_str).filter(|name| !used.contains(name)).collect();
    if unused.is_empty() {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "The prompt has no variable {}. Remove it from promptVariables.",
        unused.join(", ")
    )))
}

/// A template with its variables filled in. ValidationException as for [`Prompts::render`].
pub fn fill(
    configuration: &api::PromptTemplateConfiguration,
    values: &BTreeMap<String, String>,
) -> Result<Filled, ApiError> {
    check_values(configuration, values)?;
    let fill = |text: &str| template::render(text, values).map_err(|error| template_error(&error));
    let mut filled = Filled::default();
    match configuration {
        api::PromptTemplateConfiguration::Text(text) => {
            let mut content = vec![api::ContentBlock::Text(fill(&text.text)?)];
            content.extend(text.cache_point.clone().map(api::ContentBlock::CachePoint));
            filled.messages.push(api::Message { role: api::ConversationRole::User, content });
        }
        api::PromptTemplateConfiguration::Chat(chat) => {
            for block in chat.system.iter().flatten() {
                filled.system.push(match block {
                    api::SystemContentBlock::Text(text) => api::SystemContentBlock::Text(fill(text)?),
                    point @ api::SystemContentBlock::CachePoint(_) => point.clone(),
                });
            }
            for message in &chat.messages {
                let content = message.content.iter().map(|block| match block {
                    api::ContentBlock::Text(text) => fill(text).map(api::ContentBlock::Text),
                    point @ api::ContentBlock::CachePoint(_) => Ok(point.clone()),
                });
                let content = content.collect::<Result<_, ApiError>>()?;
                filled.messages.push(api::Message { role: message.role, content });
            }
            filled.tools = chat.tool_configuration.clone();
        }
    }
    Ok(filled)
}
