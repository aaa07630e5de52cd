use std::sync::Arc;

use craton_backend::{Block, ChatCapabilities, ChatModel, ChatRequest, Message, Role};
use craton_core::{Clock, IdSource, RequestContext};
use craton_guardrails::Guardrails;
use craton_metering::{CallStart, Metering};
use craton_models::{Family, Models, Resolved, Target, Task};
use craton_objects::ObjectStore;
use craton_prompts::{Prompts, is_prompt_arn};
use craton_wire::ApiError;
use serde_json::Value;

use crate::active::ActiveChat;
use crate::backends::Backends;
use crate::guarded::{self, Guarding};
use crate::schema_check::SchemaChecks;
use crate::{codec, documents, error, images, schema};

/// Answers with models. One for a server; clones share it.
#[derive(Clone)]
pub struct Inference {
    pub(crate) models: Arc<Models>,
    pub(crate) backends: Arc<dyn Backends>,
    pub(crate) metering: Arc<Metering>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    prompts: Option<Prompts>,
    pub(crate) guardrails: Option<Arc<Guardrails>>,
    pub(crate) objects: Option<Arc<dyn ObjectStore>>,
}

/// A chat that somebody asked for, in whichever format.
#[derive(Debug, Clone)]
pub struct ChatCall {
    /// The operation that asks, for the usage record: `Converse`, `InvokeModel`…
    pub operation: &'static str,
    pub model: ModelChoice,
    /// What to answer. Its `model` is filled in by [`Inference::chat`].
    pub request: ChatRequest,
    /// The request's own key–value pairs, for the usage record.
    pub metadata: Vec<(String, String)>,
}

/// A model by the id that a client sent, or resolved already by a caller that had to look at it.
#[derive(Debug, Clone)]
pub enum ModelChoice {
    Id(String),
    Resolved(Box<Resolved>),
}

impl Inference {
    pub fn new(
        models: Arc<Models>,
        backends: Arc<dyn Backends>,
        metering: Arc<Metering>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        Self { models, backends, metering, clock, ids, prompts: None, guardrails: None, objects: None }
    }

    /// With stored prompts, whose ARNs are then model ids for Converse.
    #[must_use]
    pub fn with_prompts(mut self, prompts: Prompts) -> Self {
        self.prompts = Some(prompts);
        self
    }

    /// With guardrails, which calls may name and the account may enforce.
    #[must_use]
    pub fn with_guardrails(mut self, guardrails: Arc<Guardrails>) -> Self {
        self.guardrails = Some(guardrails);
        self
    }

    /// With buckets, from which documents and images of a conversation are read. Whether the caller may read them has
    /// been asked before.
    #[must_use]
    pub fn with_objects(mut self, objects: Arc<dyn ObjectStore>) -> Self {
        self.objects = Some(objects);
        self
    }

    pub(crate) fn prompts(&self) -> Result<&Prompts, ApiError> {
        self.prompts.as_ref().ok_or_else(|| {
            ApiError::validation("This server keeps no prompts. Send a model id as the modelId.")
        })
    }

    /// Starts an answer: the one function that every way of asking a model goes through.
    ///
    /// Errors that are known before the first token are returned here, later ones by the stream.
    pub async fn chat(&self, context: &RequestContext, call: ChatCall) -> Result<ActiveChat, ApiError> {
        self.chat_guarded(context, call, Guarding::default()).await
    }

    /// The same through a guardrail: it judges what goes in, before the model sees it, and what comes out, before
    /// anybody does. Guardrails that the account enforces judge every chat, this way or the other.
    pub async fn chat_guarded(
        &self,
        context: &RequestContext,
        call: ChatCall,
        guarding: Guarding,
    ) -> Result<ActiveChat, ApiError> {
        let ChatCall { operation, model, request, metadata } = call;
        let resolved = self.resolve(context, model).await?;
        let streamed = request.stream;
        check_prefill(&resolved, &request).map_err(|error| as_of_model(operation, error))?;
        let mut guards = self.guards(context, &resolved, guarding).await?;
        let mut request = request;
        let start = |resolved: &Resolved| {
            let start = CallStart {
                context,
                operation,
                model_id: &resolved.model.id,
                invoked_id: &resolved.invoked_id,
                profile_arn: resolved.profile_arn.as_deref(),
                served_by: &resolved.served_by,
                streamed,
            };
            self.metering.call(start, metadata)
        };
        if let Some(message) = guards.judge_input(&mut request).await? {
            // The model never sees it, and nothing is counted against it. The words are the guardrail's: no schema binds them.
            let checks = SchemaChecks::of(&ChatRequest::default(), false);
            let meter = start(&resolved);
            let refusal = ActiveChat::new(resolved, guarded::refusal(message), meter, checks);
            return Ok(refusal.with_guards(guards.record()));
        }
        let (backend, request) = self.prepare(operation, &resolved, request).await?;
        let mut meter = start(&resolved);
        let checks = SchemaChecks::of(&request, matches!(resolved.target, Target::Local { .. }));
        match backend.chat(request).await {
            Ok(events) => {
                let record = guards.record();
                let events = guards.watch(events, streamed);
                Ok(ActiveChat::new(resolved, events, meter, checks).with_guards(record))
            }
            Err(error) => {
                // Nothing has been streamed yet, whatever the caller wants.
                let error = error::unstreamed(error::from_backend(error, &resolved.model.id));
                meter.fail(error.code.clone());
                Err(error)
            }
        }
    }

    /// Input tokens that [`Self::chat`] would report for the same request: input, cache reads and writes together.
    pub async fn count_chat_tokens(
        &self,
        context: &RequestContext,
        model: ModelChoice,
        request: ChatRequest,
    ) -> Result<u32, ApiError> {
        let resolved = self.resolve(context, model).await?;
        let (backend, request) = self.prepare("CountTokens", &resolved, request).await?;
        let counted = backend.count_tokens(&request).await;
        counted.map_err(|error| error::from_backend(error, &resolved.model.id))
    }

    pub(crate) async fn resolve(
        &self,
        context: &RequestContext,
        model: ModelChoice,
    ) -> Result<Resolved, ApiError> {
        match model {
            // Converse has put the prompt's model in its place; other operations' bodies have no room for its messages.
            ModelChoice::Id(id) if is_prompt_arn(&id) => Err(ApiError::validation(
                "This action doesn't support a prompt as the modelId. Use Converse or ConverseStream, or send a model id.",
            )),
            ModelChoice::Id(id) => self.models.resolve(context, &id).await,
            ModelChoice::Resolved(resolved) => Ok(*resolved),
        }
    }

    /// The backend of a model, and the request as that backend can take it.
    async fn prepare(
        &self,
        operation: &str,
        resolved: &Resolved,
        mut request: ChatRequest,
    ) -> Result<(Arc<dyn ChatModel>, ChatRequest), ApiError> {
        if resolved.model.task() != Task::Chat {
            return Err(ApiError::validation(
                "This action doesn't support the model that you provided. Try again with a supported text or chat \
                 model.",
            ));
        }
        let of_backend = |error| error::from_backend(error, &resolved.model.id);
        let backend = self.backends.chat(&resolved.target).map_err(of_backend)?;
        request.model = match &resolved.target {
            Target::Local { model } | Target::Upstream { model, .. } => model.clone(),
        };
        check_output_limit(resolved, &request)?;
        let capabilities = backend.capabilities(&request.model);
        check_capabilities(&capabilities, &request)?;
        images::check(resolved.model.family, operation, &request)
            .map_err(|error| as_of_model(operation, error))?;
        if matches!(resolved.target, Target::Local { .. }) {
            codec::anthropic::check_model(&resolved.model, &request)
                .map_err(|error| as_of_model(operation, error))?;
            schema::check(&request)?;
            check_extra(&request)?;
        }
        if !capabilities.documents {
            documents::to_text(&mut request).await?;
        }
        Ok((backend, request))
    }
}

/// Fields that would change the answer and that local models have no use for. Upstreams get them as they are.
fn check_extra(request: &ChatRequest) -> Result<(), ApiError> {
    let asked = |name: &&str| match request.extra.get(*name) {
        Some(Value::Object(bias)) if *name == "logit_bias" => !bias.is_empty(),
        Some(value) => !value.is_null(),
        None => false,
    };
    match ["logit_bias", "web_search_options"].into_iter().find(asked) {
        Some(name) => Err(ApiError::validation(format!(
            "The model that serves this request doesn't support {name}. Remove it and try again."
        ))),
        None => Ok(()),
    }
}

fn check_output_limit(resolved: &Resolved, request: &ChatRequest) -> Result<(), ApiError> {
    match (request.sampling.max_tokens, resolved.model.max_output_tokens) {
        (Some(asked), Some(limit)) if asked > limit => Err(ApiError::validation(format!(
            "The maximum tokens you requested exceeds the model limit of {limit}. Try again with a maximum tokens \
             value that is lower than {limit}."
        ))),
        _ => Ok(()),
    }
}

/// Anthropic's models take the beginning of their answer from the last turn, but not where it ends in whitespace.
fn check_prefill(resolved: &Resolved, request: &ChatRequest) -> Result<(), ApiError> {
    let prefill = request.messages.last().filter(|last| last.role == Role::Assistant);
    let text = prefill.and_then(|last| last.content.iter().rev().find_map(as_text));
    match text {
        Some(text)
            if resolved.model.family == Family::AnthropicMessages && text.ends_with(char::is_whitespace) =>
        {
            Err(ApiError::validation("messages: final assistant content cannot end with trailing whitespace"))
        }
        _ => Ok(()),
    }
}

fn as_text(block: &Block) -> Option<&str> {
    match block {
        Block::Text(text) => Some(text),
        _ => None,
    }
}

/// Converse says that it is the model that complains.
pub(crate) fn as_of_model(operation: &str, mut error: ApiError) -> ApiError {
    if operation.starts_with("Converse") {
        error.message = error::returned(&error.message);
    }
    error
}

fn check_capabilities(capabilities: &ChatCapabilities, request: &ChatRequest) -> Result<(), ApiError> {
    if !capabilities.tools && !request.tools.is_empty() {
        return Err(ApiError::validation("This model doesn't support tool use."));
    }
    if !capabilities.images && request.messages.iter().any(has_image) {
        return Err(ApiError::validation(
            "This model doesn't support the image content block that you provided. Update the content block and try \
             again.",
        ));
    }
    Ok(())
}

fn has_image(message: &Message) -> bool {
    message.content.iter().any(|block| match block {
        Block::Image(_) => true,
        Block::ToolResult(result) => result.content.iter().any(|block| matches!(block, Block::Image(_))),
        _ => false,
    })
}
