//! Parser functions: an agent's owner reads the model's answers in place of us.

use craton_backend::ToolUse;
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::failure;
use super::prompt::PromptKind;
use super::step::Said;
use super::tools::{ASK_USER, ActionShape, Does, INTERPRET, SEND_MESSAGE};
use super::turn::{Decision, Run};

impl Run {
    /// What the agent's parser makes of an orchestrating answer; none where it has none.
    pub(super) async fn parsed(&self, said: &Said) -> Result<Option<Decision>, ApiError> {
        let kind = PromptKind::Orchestration;
        let Some(answer) = self.ask_parser(kind, said).await? else { return Ok(None) };
        let parsed = &answer["orchestrationParsedResponse"];
        if let Some(rationale) = parsed["rationale"].as_str().filter(|text| !text.trim().is_empty()) {
            self.tracer.rationale(rationale);
        }
        if let Some(text) = parsed["parsingErrorDetails"]["repromptResponse"].as_str() {
            return Ok(Some(Decision::Again(text.to_owned())));
        }
        let details = &parsed["responseDetails"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let decision = match details["invocationType"].as_str() {
            Some("FINISH") => Decision::Answer(text(&details["agentFinalResponse"]["responseText"])),
            Some("ASK_USER") => Decision::Ask(text(&details["agentAskUser"]["responseText"])),
            Some("ACTION_GROUP") => self.parsed_action(&details["actionGroupInvocation"])?,
            Some("KNOWLEDGE_BASE") => self.parsed_lookup(&details["agentKnowledgeBase"])?,
            Some("AGENT_COLLABORATOR") => {
                let asked = &details["agentCollaboratorInvocation"];
                let input = json!({
                    "recipient": asked["agentCollaboratorName"],
                    "content": asked["input"]["text"],
                });
                Decision::Calls(vec![self.call(SEND_MESSAGE, input)])
            }
            _ => {
                return Err(
                    self.unreadable("responseDetails.invocationType is none of the documented values")
                );
            }
        };
        Ok(Some(decision))
    }

    /// The text that the agent's parser makes of a step whose answer is text; none where it has none.
    pub(super) async fn parsed_text(
        &self,
        kind: PromptKind,
        said: &Said,
    ) -> Result<Option<String>, ApiError> {
        let Some(answer) = self.ask_parser(kind, said).await? else { return Ok(None) };
        let text = match kind {
            PromptKind::KnowledgeBaseResponseGeneration => {
                let parts = &answer["knowledgeBaseResponseGenerationParsedResponse"]["generatedResponse"];
                let parts = parts["generatedResponseParts"].as_array();
                let texts = parts.into_iter().flatten().filter_map(|part| part["text"].as_str());
                Some(texts.collect::<Vec<_>>().join(" "))
            }
            _ => answer["postProcessingParsedResponse"]["responseText"].as_str().map(str::to_owned),
        };
        text.map(Some).ok_or_else(|| self.unreadable("the parsed response has no text"))
    }

    /// Whether the agent's parser lets the user's message through, and why.
    pub(super) async fn parsed_validity(&self, said: &Said) -> Result<Option<(bool, String)>, ApiError> {
        let Some(answer) = self.ask_parser(PromptKind::PreProcessing, said).await? else { return Ok(None) };
        let parsed = &answer["preProcessingParsedResponse"];
        let valid = match &parsed["isValidInput"] {
            Value::Bool(valid) => *valid,
            Value::String(valid) => valid.eq_ignore_ascii_case("true"),
            _ => return Err(self.unreadable("preProcessingParsedResponse has no isValidInput")),
        };
        Ok(Some((valid, parsed["rationale"].as_str().unwrap_or_default().to_owned())))
    }

    /// The function that reads the answers of a step.
    pub(super) fn parser(&self, kind: PromptKind) -> Option<&str> {
        let overridden = self.prompt_step(kind).is_some_and(|step| step.parser_overridden);
        self.agent.prompts.parser_function.as_deref().filter(|_| overridden)
    }

    async fn ask_parser(&self, kind: PromptKind, said: &Said) -> Result<Option<Value>, ApiError> {
        let Some(function) = self.parser(kind) else { return Ok(None) };
        let event = json!({
            "messageVersion": "1.0",
            "agent": self.caller().agent(),
            "invokeModelRawResponse": said.raw,
            "promptType": kind.name(),
            "overrideType": "OUTPUT_PARSER",
        });
        let answer = self.run_function(function, event).await?.map_err(|why| self.unreadable(&why))?;
        let answer = serde_json::from_slice(&answer);
        answer.map(Some).map_err(|error| self.unreadable(&format!("its answer is no JSON: {error}")))
    }

    fn unreadable(&self, why: &str) -> ApiError {
        let function = self.agent.prompts.parser_function.as_deref().unwrap_or_default();
        failure::dependency(format!("The parser function {function} failed: {why}"), function)
    }

    /// A call that stands for the parser's decision, whatever the model itself called.
    fn call(&self, tool: &str, input: Value) -> ToolUse {
        ToolUse { id: format!("parsed_{}", self.runs.parts.ids.uuid()), name: tool.to_owned(), input }
    }

    fn parsed_action(&self, asked: &Value) -> Result<Decision, ApiError> {
        let field = |name: &str| asked[name].as_str().unwrap_or_default();
        let (group, function, api, verb) =
            (field("actionGroupName"), field("functionName"), field("apiName"), field("verb"));
        let input: Map<String, Value> = asked["actionGroupInput"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.get("value").unwrap_or(value).clone()))
            .collect();
        if group.eq_ignore_ascii_case("codeinterpreteraction") {
            return Ok(Decision::Calls(vec![self.call(INTERPRET, Value::Object(input))]));
        }
        if group.eq_ignore_ascii_case("user") {
            return Ok(Decision::Calls(vec![self.call(ASK_USER, Value::Object(input))]));
        }
        let found = self.agent.toolbox.action_named(group, |action| match &action.shape {
            ActionShape::Function(it) => it.name == function,
            ActionShape::Api(it) => {
                (it.path == api || it.operation_id == api || it.operation_id == function)
                    && (verb.is_empty() || it.method.eq_ignore_ascii_case(verb))
            }
        });
        let (tool, _) = found
            .ok_or_else(|| self.unreadable(&format!("the agent has no action {group} {function}{api}")))?;
        Ok(Decision::Calls(vec![self.call(tool, Value::Object(input))]))
    }

    fn parsed_lookup(&self, asked: &Value) -> Result<Decision, ApiError> {
        let id = asked["knowledgeBaseId"].as_str().unwrap_or_default();
        let tools = self.agent.toolbox.tools().iter();
        let mut named = tools.filter(|tool| {
            matches!(self.agent.toolbox.find(&tool.name), Some(Does::Lookup(base)) if base.id == id || id.is_empty())
        });
        let tool =
            named.next().ok_or_else(|| self.unreadable(&format!("the agent has no knowledge base {id}")))?;
        let query = &asked["searchQuery"];
        let query = query.get("value").unwrap_or(query);
        Ok(Decision::Calls(vec![self.call(&tool.name, json!({ "searchQuery": query }))]))
    }
}
