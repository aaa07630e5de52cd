//! RetrieveAndGenerate: retrieve → prompt → one `Inference::chat` → attribution.

use std::collections::HashMap;
use std::sync::Arc;

use craton_api_bedrock_agent_runtime as api;
use craton_backend::{ChatRequest, Delta, Sampling, StopReason};
use craton_core::RequestContext;
use craton_guardrails::GuardReference;
use craton_inference::{ActiveChat, ChatCall, Guarding, ModelChoice};
use craton_wire::ApiError;
use craton_wire::types::Map;

use super::attribution::{Cleaner, Part, attribute};
use super::passages::Passage;
use super::prompt::{self, Inputs};
use super::retrieve::Search;
use super::sessions::{Session, Turn};
use super::{Retrieval, Searchable, TextEmbedder, refuse_user};
use crate::members;

/// Tokens of an answer when the client names no number.
const MAX_TOKENS: u32 = 1024;
/// What AWS answers when a search finds nothing, without asking a model.
const NOTHING_FOUND: &str = "Sorry, I am unable to assist you with this request.";

/// An answer about to be made.
pub(super) struct Ready {
    pub session: Session,
    pub question: String,
    pub basis: Basis,
    /// None when there is nothing to ask a model about.
    pub chat: Option<ActiveChat>,
}

/// What an answer can rest on.
pub(super) struct Basis {
    passages: Vec<Passage>,
    embedder: Option<Arc<dyn TextEmbedder>>,
    /// Whether the model is asked to mark its sources.
    marks: bool,
}

/// What both kinds of source say about generation.
struct Generation {
    model: ModelChoice,
    template: Option<String>,
    /// All of the request but what is said in it.
    request: ChatRequest,
    guardrail: Option<GuardReference>,
}

impl Retrieval {
    pub async fn retrieve_and_generate(
        &self,
        context: &RequestContext,
        input: api::RetrieveAndGenerateRequest,
    ) -> Result<api::RetrieveAndGenerateResponse, ApiError> {
        let mut ready = self.ready(context, input, "RetrieveAndGenerate", false).await?;
        let mut cleaner = ready.basis.cleaner();
        let mut intervened = false;
        match &mut ready.chat {
            Some(chat) => {
                let answer = chat.collect().await?;
                intervened = answer.finished.reason == StopReason::GuardrailIntervened;
                cleaner.push(&answer.text());
            }
            None => {
                cleaner.push(NOTHING_FOUND);
            }
        }
        cleaner.finish();
        let citations = ready.basis.citations(&cleaner, intervened).await?;
        let session_id = ready.session.id.clone();
        let turn = Turn { question: ready.question, answer: cleaner.text().to_owned() };
        self.remember(context, ready.session, turn).await?;
        Ok(api::RetrieveAndGenerateResponse {
            citations: Some(citations),
            guardrail_action: intervened.then_some(api::GuadrailAction::Intervened),
            output: api::RetrieveAndGenerateOutput { text: cleaner.text().to_owned() },
            session_id,
        })
    }

    /// Everything up to the model's first word.
    pub(super) async fn ready(
        &self,
        context: &RequestContext,
        input: api::RetrieveAndGenerateRequest,
        operation: &'static str,
        stream: bool,
    ) -> Result<Ready, ApiError> {
        refuse_user(input.user_context.as_ref())?;
        let missing = || ApiError::validation("retrieveAndGenerateConfiguration is required.");
        let configuration = input.retrieve_and_generate_configuration.ok_or_else(missing)?;
        check_type(&configuration)?;
        let question = input.input.text;
        let kms = input.session_configuration.map(|session| session.kms_key_arn);
        let (mut ready, generation) = match (
            configuration.r#type,
            configuration.knowledge_base_configuration,
            configuration.external_sources_configuration,
        ) {
            (api::RetrieveAndGenerateType::KnowledgeBase, Some(base), _) => {
                let about = &base.knowledge_base_id;
                let session = self.session(context, input.session_id, about, kms).await?;
                self.ready_from_base(context, base, session, question).await?
            }
            (api::RetrieveAndGenerateType::ExternalSources, _, Some(sources)) => {
                let session = self.session(context, input.session_id, "external sources", kms).await?;
                self.ready_from_sources(context, sources, session, question).await?
            }
            _ => return Err(ApiError::validation("The configuration that the type names is required.")),
        };
        if !ready.basis.passages.is_empty() {
            let asked = Asked { operation, stream, generation };
            ready.chat = Some(self.begin(context, &mut ready, asked).await?);
        }
        Ok(ready)
    }

    async fn ready_from_base(
        &self,
        context: &RequestContext,
        base: api::KnowledgeBaseRetrieveAndGenerateConfiguration,
        session: Session,
        question: String,
    ) -> Result<(Ready, Generation), ApiError> {
        let said = base.generation_configuration.map_or_else(Said::default, |said| Said {
            guardrail: said.guardrail_configuration,
            template: said.prompt_template,
            inference: said.inference_config,
            fields: said.additional_model_request_fields,
        });
        let generation = self.generation(context, &base.model_arn, said).await?;
        let searchable = self.parts.searchables.searchable(context, &base.knowledge_base_id).await?;
        let search = self.search_for(context, base.retrieval_configuration, &question).await?;
        let mut questions = match base.orchestration_configuration {
            // Other settings of it say how, not that.
            Some(asked)
                if asked.query_transformation_configuration.is_some() || asked.prompt_template.is_some() =>
            {
                let orchestration =
                    self.orchestration(context, &base.model_arn, asked, (&session, &question)).await?;
                self.questions(context, orchestration, &question).await?
            }
            _ => vec![question.clone()],
        };
        // What "it" means was said before.
        if let Some(last) = session.turns.last() {
            questions.push(format!("{} {question}", last.question));
        }
        let passages = self.find_for_all(context, &searchable, &questions, &search).await?;
        let marks = prompt::asks_for_markers(generation.template.as_deref());
        let basis = Basis { passages, embedder: Some(searchable.embedder), marks };
        Ok((Ready { session, question, basis, chat: None }, generation))
    }

    async fn ready_from_sources(
        &self,
        context: &RequestContext,
        sources: api::ExternalSourcesRetrieveAndGenerateConfiguration,
        session: Session,
        question: String,
    ) -> Result<(Ready, Generation), ApiError> {
        let said = sources.generation_configuration.map_or_else(Said::default, |said| Said {
            guardrail: said.guardrail_configuration,
            template: said.prompt_template,
            inference: said.inference_config,
            fields: said.additional_model_request_fields,
        });
        let generation = self.generation(context, &sources.model_arn, said).await?;
        let passages = self.external_passages(sources.sources, &question).await?;
        let marks = prompt::asks_for_markers(generation.template.as_deref());
        let basis = Basis { passages, embedder: None, marks };
        Ok((Ready { session, question, basis, chat: None }, generation))
    }

    /// The best passages over several questions, each with its best score.
    async fn find_for_all(
        &self,
        context: &RequestContext,
        searchable: &Searchable,
        questions: &[String],
        search: &Search,
    ) -> Result<Vec<Passage>, ApiError> {
        let mut best: HashMap<String, Passage> = HashMap::new();
        for question in questions {
            let (found, _) = self.find(context, searchable, question, search).await?;
            for passage in found {
                let known = best.entry(passage.identity().to_owned()).or_insert_with(|| passage.clone());
                if passage.score > known.score {
                    *known = passage;
                }
            }
        }
        let mut passages: Vec<Passage> = best.into_values().collect();
        passages.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.identity().cmp(b.identity())));
        passages.truncate(search.results);
        Ok(passages)
    }

    /// Begins the answer, with fewer passages where the model can't take them all.
    async fn begin(
        &self,
        context: &RequestContext,
        ready: &mut Ready,
        asked: Asked,
    ) -> Result<ActiveChat, ApiError> {
        loop {
            let inputs = Inputs {
                template: asked.generation.template.as_deref(),
                passages: ready.basis.texts(),
                query: &ready.question,
                history: &ready.session.turns,
                now_ms: self.parts.clock.now_ms(),
            };
            let (call, guarding) = asked.call(inputs.render());
            match self.parts.inference.chat_guarded(context, call, guarding).await {
                Err(error) if is_too_long(&error) && ready.basis.passages.len() > 1 => {
                    let passages = &mut ready.basis.passages;
                    passages.truncate(passages.len() / 2);
                }
                begun => return begun,
            }
        }
    }
}

/// Refuses what another type's configuration says.
fn check_type(asked: &api::RetrieveAndGenerateConfiguration) -> Result<(), ApiError> {
    let wanted = match asked.r#type {
        api::RetrieveAndGenerateType::KnowledgeBase => "knowledgeBaseConfiguration",
        api::RetrieveAndGenerateType::ExternalSources => "externalSourcesConfiguration",
    };
    let given = [
        ("knowledgeBaseConfiguration", asked.knowledge_base_configuration.is_some()),
        ("externalSourcesConfiguration", asked.external_sources_configuration.is_some()),
    ];
    members::only(&format!("the type is {}", asked.r#type.as_str()), wanted, &given)
}

fn is_too_long(error: &ApiError) -> bool {
    error.message.starts_with("Input is too long")
}

struct Asked {
    operation: &'static str,
    stream: bool,
    generation: Generation,
}

impl Asked {
    fn call(&self, prompt: prompt::Prompt) -> (ChatCall, Guarding) {
        let Generation { model, request, guardrail, .. } = &self.generation;
        let guarding =
            Guarding { guardrail: guardrail.clone(), marked: prompt.marked, ..Guarding::default() };
        let request = ChatRequest {
            system: prompt.system,
            messages: prompt.messages,
            stream: self.stream,
            ..request.clone()
        };
        let model = model.clone();
        (ChatCall { operation: self.operation, model, request, metadata: Vec::new() }, guarding)
    }
}

/// A generation's settings, as clients say them.
#[derive(Default)]
struct Said {
    guardrail: Option<api::GuardrailConfiguration>,
    template: Option<api::PromptTemplate>,
    inference: Option<api::InferenceConfig>,
    fields: Option<Map<serde_json::Value>>,
}

/// A guardrail as this service's requests name it.
pub(super) fn guard_reference(asked: api::GuardrailConfiguration) -> GuardReference {
    GuardReference { identifier: asked.guardrail_id, version: Some(asked.guardrail_version) }
}

impl Retrieval {
    async fn generation(
        &self,
        context: &RequestContext,
        model: &str,
        said: Said,
    ) -> Result<Generation, ApiError> {
        let template = said.template.and_then(|template| template.text_prompt_template);
        prompt::check(template.as_deref())?;
        let sampling = sampling(said.inference);
        let (model, request) = self.request(context, model, (sampling, said.fields), MAX_TOKENS).await?;
        let guardrail = said.guardrail.map(guard_reference);
        Ok(Generation { model, template, request, guardrail })
    }

    /// A model, found, and a request to it without messages: greedy and of at most `max_tokens`, unless the client says
    /// otherwise. Further fields are read as Converse reads them.
    pub(super) async fn request(
        &self,
        context: &RequestContext,
        model: &str,
        (sampling, fields): (Sampling, Option<Map<serde_json::Value>>),
        max_tokens: u32,
    ) -> Result<(ModelChoice, ChatRequest), ApiError> {
        let mut request = ChatRequest { sampling, ..ChatRequest::default() };
        let fields = fields.map(|fields| serde_json::Value::Object(fields.into_iter().collect()));
        let inference = &self.parts.inference;
        let model = inference.read_fields(context, model.to_owned(), fields, &mut request).await?;
        let thinks = request.reasoning_budget_tokens.is_some() || request.extra.contains_key("thinking");
        let sampling = &mut request.sampling;
        let thought = request.reasoning_budget_tokens.unwrap_or_default();
        sampling.max_tokens.get_or_insert(max_tokens.saturating_add(thought));
        // A model that thinks samples as it was trained to.
        if !thinks {
            sampling.temperature.get_or_insert(0.0);
        }
        Ok((model, request))
    }
}

/// What an inference configuration says of sampling.
pub(super) fn sampling(inference: Option<api::InferenceConfig>) -> Sampling {
    let Some(text) = inference.and_then(|inference| inference.text_inference_config) else {
        return Sampling::default();
    };
    let most = text.max_tokens.and_then(|tokens| u32::try_from(tokens).ok());
    Sampling {
        max_tokens: most.filter(|tokens| *tokens > 0),
        temperature: text.temperature,
        top_p: text.top_p,
        stop_sequences: text.stop_sequences.unwrap_or_default(),
        ..Sampling::default()
    }
}

impl Basis {
    fn texts(&self) -> Vec<&str> {
        self.passages.iter().map(|passage| passage.text.as_str()).collect()
    }

    pub(super) fn cleaner(&self) -> Cleaner {
        Cleaner::new(if self.marks { self.passages.len() } else { 0 })
    }

    /// What the whole answer rests on. An answer that rests on nothing is one part without references; so are a
    /// guardrail's words (`intervened`). An answer without text has no part.
    pub(super) async fn citations(
        &self,
        cleaner: &Cleaner,
        intervened: bool,
    ) -> Result<Vec<api::Citation>, ApiError> {
        let mut parts = match intervened {
            true => Vec::new(),
            false => attribute(cleaner, &self.texts(), self.embedder.as_deref()).await?,
        };
        if parts.is_empty() && !cleaner.text().is_empty() {
            parts.push(Part { range: 0..cleaner.text().len(), passages: Vec::new() });
        }
        let citations = parts.iter().map(|part| api::Citation {
            generated_response_part: Some(part.to_api(cleaner.text())),
            retrieved_references: Some(
                part.passages.iter().filter_map(|n| self.passages.get(*n)).map(Passage::reference).collect(),
            ),
        });
        Ok(citations.collect())
    }
}

/// What an increment adds to the text of an answer.
pub(super) fn text_of(delta: Delta) -> Option<String> {
    match delta {
        Delta::Text(text) => Some(text),
        _ => None,
    }
}

/// The text of a block, for tests of prompts.
#[cfg(test)]
pub(super) fn text_of_block(block: &craton_backend::Block) -> &str {
    match block {
        craton_backend::Block::Text(text) => text,
        _ => "",
    }
}

pub(super) fn nothing_found() -> &'static str {
    NOTHING_FOUND
}
