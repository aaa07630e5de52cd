//! Knowledge bases: looking things up, and saying what an answer rests on.

use craton_api_bedrock_agent_runtime as api;
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::act::{Done, Gave, Ready, Work};
use super::prompt::{self, PromptKind, Thread};
use super::step::Plan;
use super::tell;
use super::turn::{Answered, Outcome, Run};
use crate::definition::KnowledgeBaseUse;

/// Longest query, in characters: what Retrieve takes.
const MOST_QUERY: usize = 1000;

/// A passage that a knowledge base gave in this turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub(super) struct Found {
    pub knowledge_base_id: String,
    pub reference: api::RetrievedReference,
}

/// A passage as a session keeps it while its turn waits for the caller.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    knowledge_base_id: String,
    text: String,
    s3: Option<String>,
    web: Option<String>,
    custom: Option<String>,
    metadata: Option<craton_wire::types::Map<Value>>,
}

impl From<Found> for Kept {
    fn from(found: Found) -> Self {
        let Found { knowledge_base_id, reference } = found;
        let location = reference.location.as_ref();
        Self {
            knowledge_base_id,
            s3: location.and_then(|it| it.s3_location.as_ref()?.uri.clone()),
            web: location.and_then(|it| it.web_location.as_ref()?.url.clone()),
            custom: location.and_then(|it| it.custom_document_location.as_ref()?.id.clone()),
            text: reference.content.and_then(|it| it.text).unwrap_or_default(),
            metadata: reference.metadata,
        }
    }
}

impl From<Kept> for Found {
    fn from(kept: Kept) -> Self {
        let kind = match (&kept.s3, &kept.web) {
            (Some(_), _) => Some(api::RetrievalResultLocationType::S3),
            (None, Some(_)) => Some(api::RetrievalResultLocationType::Web),
            (None, None) => kept.custom.as_ref().map(|_| api::RetrievalResultLocationType::Custom),
        };
        let location = kind.map(|kind| api::RetrievalResultLocation {
            s3_location: kept.s3.map(|uri| api::RetrievalResultS3Location { uri: Some(uri) }),
            web_location: kept.web.map(|url| api::RetrievalResultWebLocation { url: Some(url) }),
            custom_document_location: kept
                .custom
                .map(|id| api::RetrievalResultCustomDocumentLocation { id: Some(id) }),
            confluence_location: None,
            google_drive_location: None,
            kendra_document_location: None,
            one_drive_location: None,
            salesforce_location: None,
            share_point_location: None,
            sql_location: None,
            r#type: kind,
        });
        let content = api::RetrievalResultContent {
            text: Some(kept.text),
            r#type: Some(api::RetrievalResultContentType::Text),
            ..api::RetrievalResultContent::default()
        };
        let content = Some(content);
        let reference = api::RetrievedReference { content, location, metadata: kept.metadata };
        Self { knowledge_base_id: kept.knowledge_base_id, reference }
    }
}

impl Run {
    /// Searches, and says what was found in words for the model.
    pub(super) async fn look_up(
        &self,
        base: &KnowledgeBaseUse,
        query: &str,
    ) -> Result<(Vec<Found>, String), ApiError> {
        let found = self.search(base, query).await?;
        let text = match self.generates() {
            true => self.generate(query, &found).await?,
            false => listed(&found),
        };
        Ok((found, text))
    }

    /// With orchestration off, the question goes straight to the agent's knowledge base, and what is found to a model.
    pub(super) async fn without_orchestration(&mut self) -> Result<Option<Outcome>, ApiError> {
        let off = self.prompt_step(PromptKind::Orchestration).is_some_and(|step| step.enabled == Some(false));
        let Some(base) = self.agent.knowledge_bases.first().filter(|_| off).cloned() else { return Ok(None) };
        let query = self.question.clone();
        let work = Work::Lookup { base: base.clone(), query: query.clone() };
        self.trace_call(&Ready { id: String::new(), tool: String::new(), work });
        let span = self.tracer.span();
        let found = self.search(&base, &query).await?;
        let text = self.generate(&query, &found).await?;
        let result = Ok(Gave::Found(found, String::new()));
        self.settle(Done { id: String::new(), tool: String::new(), result }, span, &mut Vec::new())?;
        self.trace_end(api::Type::Finish, &text);
        Ok(Some(Outcome::Answer(Answered { text, ..Answered::default() })))
    }

    async fn search(&self, base: &KnowledgeBaseUse, query: &str) -> Result<Vec<Found>, ApiError> {
        let kept = || {
            let given = self.session.knowledge_bases.get(&base.id);
            given.map(api::KnowledgeBaseRetrievalConfiguration::deserialize).transpose()
        };
        let configuration = match self.retrievals.get(&base.id) {
            Some(given) => Some(given.clone()),
            None => kept().map_err(|error| {
                ApiError::validation(format!("The retrieval configuration is malformed: {error}"))
            })?,
        };
        self.permit_search(&base.id, configuration.as_ref()).await?;
        let request = api::RetrieveRequest {
            guardrail_configuration: None,
            knowledge_base_id: base.id.clone(),
            next_token: None,
            retrieval_configuration: configuration,
            retrieval_query: api::KnowledgeBaseQuery {
                image: None,
                text: Some(query.chars().take(MOST_QUERY).collect()),
                r#type: None,
            },
            user_context: None,
        };
        let answer = self.runs.parts.retrieval.retrieve(&self.context, request).await?;
        let found = answer.retrieval_results.into_iter().map(|result| Found {
            knowledge_base_id: base.id.clone(),
            reference: api::RetrievedReference {
                content: Some(result.content),
                location: result.location,
                metadata: result.metadata,
            },
        });
        Ok(found.collect())
    }

    /// Whether the agent's owner gave a prompt of their own for answers from search results.
    fn generates(&self) -> bool {
        self.prompt_step(PromptKind::KnowledgeBaseResponseGeneration)
            .is_some_and(|step| step.template.is_some() && step.enabled != Some(false))
    }

    async fn generate(&self, query: &str, found: &[Found]) -> Result<String, ApiError> {
        let kind = PromptKind::KnowledgeBaseResponseGeneration;
        let mut values = self.values();
        values.insert("search_results", listed(found));
        values.insert("query", query.to_owned());
        let thread = Thread { question: query.to_owned(), ..Thread::default() };
        let prompt = prompt::render(self.template(kind), &values, thread);
        let plan = Plan { kind, prompt, tools: &[], choice: craton_backend::ToolChoice::Auto };
        let said = self.ask(plan, None).await?;
        self.trace_said(&said);
        if let Some(text) = self.parsed_text(kind, &said).await? {
            return Ok(text);
        }
        Ok(tell::part(&said.text()).1)
    }

    /// Which parts of the answer rest on what was found.
    pub(super) async fn citations(&self, answer: &str) -> Result<Vec<api::Citation>, ApiError> {
        let Some(first) = self.found.first() else { return Ok(Vec::new()) };
        let references = self.found.iter().map(|found| found.reference.clone()).collect();
        let id = &first.knowledge_base_id;
        self.runs.parts.retrieval.cite(&self.context, id, answer, references).await
    }
}

/// Search results as data that their own text can't get out of: a JSON list.
fn listed(found: &[Found]) -> String {
    let one = |found: &Found| {
        let content = found.reference.content.as_ref();
        let text = content.and_then(|content| content.text.as_deref()).unwrap_or_default();
        let source = found.reference.location.as_ref().and_then(source);
        json!({ "source": source, "text": text })
    };
    if found.is_empty() {
        return "The search found nothing.".to_owned();
    }
    Value::Array(found.iter().map(one).collect()).to_string()
}

fn source(location: &api::RetrievalResultLocation) -> Option<String> {
    let s3 = location.s3_location.as_ref().and_then(|it| it.uri.clone());
    let web = || location.web_location.as_ref().and_then(|it| it.url.clone());
    s3.or_else(web).or_else(|| location.custom_document_location.as_ref().and_then(|it| it.id.clone()))
}
