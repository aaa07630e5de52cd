//! From a prompt and its variables' values to a model and a conversation.

use std::collections::{BTreeMap, BTreeSet};

use craton_api_bedrock_agent as api;
use craton_core::RequestContext;
use craton_wire::ApiError;
use serde_json::Value;

use crate::error::template_error;
use crate::identifier::PromptRef;
use crate::{Prompts, StoredPrompt, template};

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
        let variant = chosen(&prompt, identifier)?;
        let Some(model_id) = variant.model_id.clone() else {
            return Err(ApiError::validation(match &variant.gen_ai_resource {
                Some(api::PromptGenAiResource::Agent(_)) => {
                    format!("The prompt {identifier} is for an agent. Ask it through InvokeAgent.")
                }
                None => format!("The prompt {identifier} names no model. Give its variant a modelId."),
            }));
        };
        let mut rendered = fill(&variant.template_configuration, values)?;
        rendered.model_id = model_id;
        rendered.additional_fields = variant.additional_model_request_fields.clone();
        rendered.inference = variant
            .inference_configuration
            .as_ref()
            .map(|api::PromptInferenceConfiguration::Text(inference)| inference.clone());
        Ok(rendered)
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

/// A template with its variables filled in; the model is still to be named.
pub(crate) fn fill(
    configuration: &api::PromptTemplateConfiguration,
    values: &BTreeMap<String, String>,
) -> Result<Rendered, ApiError> {
    let mut filler = Filler { values, used: BTreeSet::new() };
    let mut rendered = Rendered {
        model_id: String::new(),
        system: Vec::new(),
        messages: Vec::new(),
        tools: None,
        inference: None,
        additional_fields: None,
    };
    match configuration {
        api::PromptTemplateConfiguration::Text(text) => {
            let mut content = vec![api::ContentBlock::Text(filler.fill(&text.text)?)];
            content.extend(text.cache_point.clone().map(api::ContentBlock::CachePoint));
            rendered.messages.push(api::Message { role: api::ConversationRole::User, content });
        }
        api::PromptTemplateConfiguration::Chat(chat) => {
            for block in chat.system.iter().flatten() {
                rendered.system.push(match block {
                    api::SystemContentBlock::Text(text) => api::SystemContentBlock::Text(filler.fill(text)?),
                    point @ api::SystemContentBlock::CachePoint(_) => point.clone(),
                });
            }
            for message in &chat.messages {
                let content = message.content.iter().map(|block| match block {
                    api::ContentBlock::Text(text) => filler.fill(text).map(api::ContentBlock::Text),
                    point @ api::ContentBlock::CachePoint(_) => Ok(point.clone()),
                });
                let content = content.collect::<Result<_, ApiError>>()?;
                rendered.messages.push(api::Message { role: message.role, content });
            }
            rendered.tools = chat.tool_configuration.clone();
        }
    }
    filler.finish()?;
    Ok(rendered)
}

/// Fills in texts and remembers which values had a place.
struct Filler<'a> {
    values: &'a BTreeMap<String, String>,
    used: BTreeSet<String>,
}

impl Filler<'_> {
    fn fill(&mut self, text: &str) -> Result<String, ApiError> {
        self.used.extend(template::variables(text).into_iter().map(str::to_owned));
        template::render(text, self.values).map_err(|error| template_error(&error))
    }

    /// Values that no template asked for are a client's mistake, and named.
    fn finish(self) -> Result<(), ApiError> {
        let unused: Vec<&str> =
            self.values.keys().filter(|name| !self.used.contains(*name)).map(String::as_str).collect();
        if unused.is_empty() {
            return Ok(());
        }
        Err(ApiError::validation(format!(
            "The prompt has no variable {}. Remove it from promptVariables.",
            unused.join(", ")
        )))
    }
}
