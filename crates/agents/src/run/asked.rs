//! What a request asks of an agent and of its session, in one form for both operations, and what of it can't be.
//!
//! Whatever a request names must have a use: what would be dropped without a word is refused before anything begins.

use craton_api_bedrock_agent_runtime as api;
use craton_core::RequestContext;
use craton_wire::ApiError;
use craton_wire::types::Map;

use super::AgentRuns;
use super::collaborate::MOST_LEVELS;
use super::conversation::Exchange;
use super::files::in_the_way;
use super::inline::Retrievals;
use super::returned::Returned;
use super::tools::Does;
use super::turn::Options;
use crate::definition::AgentDefinition;
use crate::prepared::Prepared;

/// Bytes that the attributes of a session and those of a prompt have together, names and values: every event of a
/// function's has them, and a function's answer too.
pub(super) const MOST_ATTRIBUTES: usize = 128 * 1024;
/// Files that come with a request.
const MOST_FILES: usize = 5;

/// Either operation's request, as far as they are the same.
#[derive(Default)]
pub(super) struct Asked {
    pub operation: &'static str,
    pub session_id: String,
    pub text: Option<String>,
    pub trace: bool,
    pub end_session: bool,
    pub memory_id: Option<String>,
    pub streaming: Option<api::StreamingConfigurations>,
    pub creation: Option<api::PromptCreationConfigurations>,
    pub state: State,
}

/// What the request says of the session.
#[derive(Default)]
pub(super) struct State {
    pub attributes: Option<Map<String>>,
    pub prompt_attributes: Option<Map<String>>,
    pub invocation_id: Option<String>,
    pub results: Option<Vec<api::InvocationResultMember>>,
    pub history: Option<api::ConversationHistory>,
    pub files: Vec<api::InputFile>,
    pub retrievals: Retrievals,
}

/// A request's `inlineSessionState` or `sessionState`: the fields that both have.
macro_rules! state {
    ($from:expr, $retrievals:expr) => {
        $crate::run::asked::State {
            attributes: $from.session_attributes,
            prompt_attributes: $from.prompt_session_attributes,
            invocation_id: $from.invocation_id,
            results: $from.return_control_invocation_results,
            history: $from.conversation_history,
            files: $from.files.unwrap_or_default(),
            retrievals: $retrievals,
        }
    };
}
pub(super) use state;

impl Asked {
    pub(super) fn returned(&mut self) -> Result<Option<Returned>, ApiError> {
        match (self.state.results.take(), self.state.invocation_id.take()) {
            (Some(results), Some(invocation_id)) => Ok(Some(Returned { invocation_id, results })),
            (Some(_), None) => Err(ApiError::validation(
                "invocationId is required with returnControlInvocationResults. Send the one of the returnControl event.",
            )),
            (None, Some(_)) => Err(ApiError::validation(
                "returnControlInvocationResults are required with an invocationId. Send what came of the actions that \
                 the returnControl event asked for.",
            )),
            (None, None) => Ok(None),
        }
    }

    pub(super) fn options(&self) -> Options {
        let creation = self.creation.as_ref();
        let turns = creation.and_then(|it| it.previous_conversation_turns_to_include);
        Options {
            operation: self.operation,
            stream: self.streaming.as_ref().is_some_and(|it| it.stream_final_response == Some(true)),
            without_thinking: creation.is_some_and(|it| it.exclude_previous_thinking_steps == Some(true)),
            earlier_turns: turns.and_then(|turns| usize::try_from(turns).ok()),
        }
    }

    /// Refuses what the agent has no use for.
    pub(super) fn check(&self, agent: &Prepared) -> Result<(), ApiError> {
        if self.memory_id.is_some() && agent.memory.is_none() {
            return Err(ApiError::validation(
                "The request has a memoryId, and the agent has no memoryConfiguration. Leave the memoryId out, or \
                 enable memory for the agent.",
            ));
        }
        let given = [&self.state.attributes, &self.state.prompt_attributes];
        let bytes: usize = given.into_iter().flatten().flat_map(|map| map.iter().map(length)).sum();
        if bytes > MOST_ATTRIBUTES {
            return Err(ApiError::validation(format!(
                "sessionAttributes and promptSessionAttributes have {bytes} bytes, and at most {MOST_ATTRIBUTES} bytes \
                 together can be kept. Keep what is larger in S3, and its name in an attribute."
            )));
        }
        if self.state.files.len() > MOST_FILES {
            return Err(ApiError::validation(format!(
                "At most {MOST_FILES} files can be sent with a request."
            )));
        }
        let runs_code = agent.toolbox.has(|it| matches!(it, Does::Interpret));
        let for_code =
            || self.state.files.iter().filter(|it| it.use_case == api::FileUseCase::CodeInterpreter);
        for (at, file) in for_code().enumerate() {
            let name = &file.name;
            if let Some(other) = for_code().take(at).find(|it| in_the_way(&it.name, name)) {
                return Err(ApiError::validation(format!(
                    "The files {} and {name} can't both be in the code interpreter's folder. Rename one of them.",
                    other.name
                )));
            }
            if !runs_code {
                return Err(ApiError::validation(format!(
                    "The file {name} has the useCase CODE_INTERPRETER, and the agent has no enabled action group with \
                     the parentActionGroupSignature AMAZON.CodeInterpreter."
                )));
            }
            if !craton_sandbox::is_file_name(name) {
                return Err(ApiError::validation(format!(
                    "{name} can't be the name of a file: it must be relative, without '.' and '..' in it, and \
                     each part of it at most 255 bytes."
                )));
            }
        }
        Ok(())
    }
}

/// Bytes of an attribute.
pub(super) fn length((name, value): (&String, &String)) -> usize {
    name.len() + value.len()
}

impl AgentRuns {
    /// Refuses retrieval configurations for knowledge bases that neither the agent has nor one that works for it.
    pub(super) async fn check_retrievals(
        &self,
        context: &RequestContext,
        agent: &AgentDefinition,
        retrievals: &Retrievals,
    ) -> Result<(), ApiError> {
        let mut unknown: Vec<&str> = retrievals.keys().map(String::as_str).collect();
        unknown.retain(|id| !agent.has_knowledge_base(id));
        if unknown.is_empty() {
            return Ok(());
        }
        let below = self.parts.agents.below(context, agent, MOST_LEVELS - 1).await;
        unknown.retain(|id| !below.iter().any(|agent| agent.has_knowledge_base(id)));
        match unknown.into_iter().min() {
            None => Ok(()),
            Some(id) => Err(ApiError::validation(format!(
                "knowledgeBaseConfigurations names the knowledge base {id}, which is not associated with the agent."
            ))),
        }
    }
}

pub(super) fn retrievals(configurations: Option<Vec<api::KnowledgeBaseConfiguration>>) -> Retrievals {
    let all = configurations.unwrap_or_default().into_iter();
    all.map(|it| (it.knowledge_base_id, it.retrieval_configuration)).collect()
}

/// A history that came with the request: each question with the answer after it.
pub(super) fn exchanges(history: api::ConversationHistory) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for message in history.messages.unwrap_or_default() {
        let texts = message.content.into_iter().map(|api::ContentBlock::Text(text)| text);
        let text = texts.collect::<Vec<_>>().join("\n");
        match (message.role, exchanges.last_mut()) {
            (api::ConversationRole::Assistant, Some(last)) if last.answer.is_empty() => last.answer = text,
            (api::ConversationRole::Assistant, _) => {
                exchanges.push(Exchange { answer: text, ..Exchange::default() });
            }
            (api::ConversationRole::User, _) => {
                exchanges.push(Exchange { question: text, ..Exchange::default() });
            }
        }
    }
    exchanges
}
