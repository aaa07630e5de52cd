//! Retrieve, and the one search that answers also use.

use std::collections::HashSet;

use craton_api_bedrock_agent_runtime as api;
use craton_core::RequestContext;
use craton_guardrails::{Piece, Source};
use craton_vectors::{Filter, Query, Want};
use craton_wire::ApiError;
use ring::digest::{SHA256, digest};

use super::generate::guard_reference;
use super::passages::Passage;
use super::{Retrieval, Searchable, filters, refuse_user, rerank};
use crate::error::from_vectors;

/// Passages when the client names no number.
const DEFAULT_RESULTS: usize = 5;
/// Passages that can be paged through.
const MOST_RESULTS: usize = 1_000;
/// Chunks looked at for each passage, where several belong to one.
const MOST_CHUNKS: usize = 4_000;

/// One search as a client configured it.
pub(super) struct Search {
    /// Passages wanted, after those skipped.
    pub results: usize,
    pub skip: usize,
    pub by_meaning_only: bool,
    pub filter: Option<Filter>,
    pub reranking: Option<api::VectorSearchBedrockRerankingConfiguration>,
}

/// A question after its judgement.
struct Judged {
    /// As it may be asked; none when it may not.
    question: Option<String>,
    intervened: bool,
}

impl Judged {
    fn action(&self) -> api::GuadrailAction {
        match self.intervened {
            true => api::GuadrailAction::Intervened,
            false => api::GuadrailAction::None,
        }
    }
}

impl Retrieval {
    pub async fn retrieve(
        &self,
        context: &RequestContext,
        input: api::RetrieveRequest,
    ) -> Result<api::RetrieveResponse, ApiError> {
        refuse_user(input.user_context.as_ref())?;
        let mut question = question(input.retrieval_query)?;
        let searchable = self.parts.searchables.searchable(context, &input.knowledge_base_id).await?;
        let mut guardrail_action = None;
        if let Some(asked) = input.guardrail_configuration {
            let judged = self.judge(context, asked, question).await?;
            guardrail_action = Some(judged.action());
            let Some(passed) = judged.question else {
                return Ok(api::RetrieveResponse { guardrail_action, ..Default::default() });
            };
            question = passed;
        }
        let fingerprint = fingerprint(&searchable.id, &question, &input.retrieval_configuration);
        let mut search = self.search_for(context, input.retrieval_configuration, &question).await?;
        search.skip = match &input.next_token {
            Some(token) => skip_of(token, &fingerprint)?,
            None => 0,
        };
        let (passages, more) = self.find(context, &searchable, &question, &search).await?;
        let seen = search.skip + passages.len();
        Ok(api::RetrieveResponse {
            guardrail_action,
            next_token: (more && seen < MOST_RESULTS).then(|| format!("{seen:x}-{fingerprint}")),
            retrieval_results: passages.into_iter().map(Passage::into_result).collect(),
        })
    }

    /// Holds a question against a guardrail. Passages are not held against it, as AWS does not: they are the owner's
    /// documents as they stand.
    async fn judge(
        &self,
        context: &RequestContext,
        asked: api::GuardrailConfiguration,
        question: String,
    ) -> Result<Judged, ApiError> {
        let guard = self.parts.inference.guard(context, &guard_reference(asked)).await?;
        if !guard.looks_at(Source::Input) {
            return Ok(Judged { question: Some(question), intervened: false });
        }
        let assessed = guard.assess(Source::Input, vec![Piece::new(question)]).await?;
        let (intervened, blocked) = (assessed.intervened(), assessed.blocked);
        let passed = assessed.texts.into_iter().next().filter(|_| !blocked);
        Ok(Judged { question: passed, intervened })
    }

    /// Reads a search's configuration; a filter may be made from the question.
    pub(super) async fn search_for(
        &self,
        context: &RequestContext,
        configuration: Option<api::KnowledgeBaseRetrievalConfiguration>,
        question: &str,
    ) -> Result<Search, ApiError> {
        let mut search = Search {
            results: DEFAULT_RESULTS,
            skip: 0,
            by_meaning_only: false,
            filter: None,
            reranking: None,
        };
        let Some(configuration) = configuration else { return Ok(search) };
        if configuration.managed_search_configuration.is_some() {
            return Err(ApiError::validation(
                "managedSearchConfiguration is not served by this release of Craton; use \
                 vectorSearchConfiguration.",
            ));
        }
        let Some(vector) = configuration.vector_search_configuration else { return Ok(search) };
        if let Some(count) = vector.number_of_results {
            search.results = usize::try_from(count).unwrap_or(DEFAULT_RESULTS).max(1);
        }
        search.by_meaning_only = vector.override_search_type == Some(api::SearchType::Semantic);
        search.filter = vector.filter.map(filters::filter).transpose()?;
        if let Some(implicit) = vector.implicit_filter_configuration {
            let made = self.implicit_filter(context, implicit, question).await?;
            search.filter = match (search.filter.take(), made) {
                (Some(given), Some(made)) => Some(Filter::AndAll(vec![given, made])),
                (given, made) => given.or(made),
            };
        }
        search.reranking = vector.reranking_configuration.map(rerank::configured).transpose()?;
        Ok(search)
    }

    /// The passages of a knowledge base that answer a question best, and whether there are more.
    pub(super) async fn find(
        &self,
        context: &RequestContext,
        searchable: &Searchable,
        question: &str,
        search: &Search,
    ) -> Result<(Vec<Passage>, bool), ApiError> {
        let wanted = (search.skip + search.results).min(MOST_RESULTS);
        let mut passages = search_index(searchable, question, search, wanted + 1).await?;
        let more = passages.len() > wanted;
        passages.truncate(wanted);
        passages.drain(..search.skip.min(passages.len()));
        match &search.reranking {
            Some(reranking) => {
                let reranked = self.rerank_passages(context, question, passages, reranking).await?;
                // A later page would be reranked by itself, out of order with this one.
                Ok((reranked, false))
            }
            None => Ok((passages, more)),
        }
    }
}

/// The best passages, each once, although several of its chunks may be found.
async fn search_index(
    searchable: &Searchable,
    question: &str,
    search: &Search,
    wanted: usize,
) -> Result<Vec<Passage>, ApiError> {
    let vector = embed_one(searchable, question).await?;
    let want = if search.by_meaning_only {
        Want::Semantic { vector }
    } else {
        Want::Hybrid { vector, text: question.to_owned() }
    };
    let mut limit = wanted;
    loop {
        let mut query = Query::new(want.clone(), limit).of_owner(&searchable.id);
        query.filter.clone_from(&search.filter);
        let hits = searchable.index.search(&query).await.map_err(from_vectors)?;
        let exhausted = hits.len() < limit;
        let mut seen = HashSet::new();
        let mut passages: Vec<Passage> = hits.into_iter().map(Passage::of_hit).collect();
        passages.retain(|passage| seen.insert(passage.identity().to_owned()));
        if passages.len() >= wanted || exhausted || limit >= MOST_CHUNKS {
            passages.truncate(wanted);
            return Ok(passages);
        }
        limit = (limit * 4).min(MOST_CHUNKS);
    }
}

async fn embed_one(searchable: &Searchable, text: &str) -> Result<Vec<f32>, ApiError> {
    let texts = [text.to_owned()];
    let mut vectors = searchable.embedder.embed_texts(&texts).await?;
    vectors
        .pop()
        .ok_or_else(|| ApiError::internal("The embedding model gave no vector. See the server's log."))
}

fn question(query: api::KnowledgeBaseQuery) -> Result<String, ApiError> {
    if query.image.is_some() || !matches!(query.r#type, None | Some(api::KnowledgeBaseQueryType::Text)) {
        return Err(ApiError::validation(
            "Image queries are not served by this release of Craton; send retrievalQuery.text.",
        ));
    }
    match query.text {
        Some(text) if !text.trim().is_empty() => Ok(text),
        _ => Err(ApiError::validation("retrievalQuery.text must not be empty.")),
    }
}

/// Ties a page's token to the search that it belongs to.
fn fingerprint(
    knowledge_base: &str,
    question: &str,
    configuration: &Option<api::KnowledgeBaseRetrievalConfiguration>,
) -> String {
    let asked = format!("{knowledge_base}\0{question}\0{configuration:?}");
    hex::encode(&digest(&SHA256, asked.as_bytes()).as_ref()[..12])
}

fn skip_of(token: &str, fingerprint: &str) -> Result<usize, ApiError> {
    token
        .split_once('-')
        .filter(|(_, of)| *of == fingerprint)
        .and_then(|(seen, _)| usize::from_str_radix(seen, 16).ok())
        .filter(|seen| *seen <= MOST_RESULTS)
        .ok_or_else(|| ApiError::validation("The pagination token is not valid for this request."))
}
