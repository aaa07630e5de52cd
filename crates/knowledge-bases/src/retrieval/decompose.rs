//! A question into several, each to be searched by itself; and one question asked of a model for JSON.

use craton_api_bedrock_agent_runtime as api;
use craton_backend::{Block, ChatRequest, Message, ResponseSchema, Role, Sampling};
use craton_core::RequestContext;
use craton_inference::{ChatCall, ModelChoice};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::Retrieval;
use super::generate::sampling;
use super::sessions::Session;

/// Questions that one is taken apart into.
const MOST_QUESTIONS: usize = 5;
const MAX_TOKENS: u32 = 512;

const DECOMPOSE: &str = "You take a question apart for a search engine. Give up to five short questions that together \
cover what is asked, each understandable by itself. Give the question unchanged when it asks one thing.";

/// What stands for `$output_format_instructions$`; the schema holds the model to it.
const FORMAT: &str = "Answer with a JSON object: {\"questions\": [\"...\"]}.";

/// One question asked of a model for JSON.
pub(super) struct JsonCall {
    model: ModelChoice,
    /// All of the request but what is asked.
    request: ChatRequest,
}

/// How a question is to be taken apart.
pub(super) struct Orchestration {
    call: JsonCall,
    instruction: String,
}

impl Retrieval {
    /// A call that is greedy, and short.
    pub(super) async fn json_call(
        &self,
        context: &RequestContext,
        model: &str,
    ) -> Result<JsonCall, ApiError> {
        let (model, request) = self.request(context, model, (Sampling::default(), None), MAX_TOKENS).await?;
        Ok(JsonCall { model, request })
    }

    pub(super) async fn orchestration(
        &self,
        context: &RequestContext,
        model: &str,
        asked: api::OrchestrationConfiguration,
        (session, question): (&Session, &str),
    ) -> Result<Orchestration, ApiError> {
        let template = asked.prompt_template.and_then(|template| template.text_prompt_template);
        let told: Vec<String> = session
            .turns
            .iter()
            .map(|turn| format!("User: {}\nAssistant: {}", turn.question, turn.answer))
            .collect();
        let instruction = template.map_or_else(
            || DECOMPOSE.to_owned(),
            |template| {
                let template = template.replace("$conversation_history$", &told.join("\n"));
                template.replace("$output_format_instructions$", FORMAT).replace("$query$", question)
            },
        );
        let said = (sampling(asked.inference_config), asked.additional_model_request_fields);
        let (model, request) = self.request(context, model, said, MAX_TOKENS).await?;
        Ok(Orchestration { call: JsonCall { model, request }, instruction })
    }

    /// The question itself, first, and the parts that a model sees in it.
    pub(super) async fn questions(
        &self,
        context: &RequestContext,
        orchestration: Orchestration,
        question: &str,
    ) -> Result<Vec<String>, ApiError> {
        let schema = json!({
            "type": "object",
            "properties": {"questions": {
                "type": "array", "maxItems": MOST_QUESTIONS, "items": {"type": "string", "maxLength": 300},
            }},
            "required": ["questions"],
            "additionalProperties": false,
        });
        let asked = (orchestration.instruction.as_str(), question);
        let answer = self.ask_json(context, orchestration.call, asked, schema).await?;
        let mut questions = vec![question.to_owned()];
        let parts = answer.as_ref().and_then(|answer| answer.get("questions")?.as_array());
        for part in parts.into_iter().flatten().filter_map(Value::as_str).map(str::trim) {
            if !part.is_empty() && !questions.iter().any(|known| known.eq_ignore_ascii_case(part)) {
                questions.push(part.to_owned());
            }
        }
        questions.truncate(MOST_QUESTIONS + 1);
        Ok(questions)
    }

    /// A model's answer under a schema. None when it is not JSON.
    pub(super) async fn ask_json(
        &self,
        context: &RequestContext,
        asked: JsonCall,
        (instruction, question): (&str, &str),
        schema: Value,
    ) -> Result<Option<Value>, ApiError> {
        let JsonCall { model, request } = asked;
        let request = ChatRequest {
            system: vec![Block::Text(instruction.to_owned())],
            messages: vec![Message { role: Role::User, content: vec![Block::Text(question.to_owned())] }],
            response_schema: Some(ResponseSchema { name: Some("answer".into()), schema }),
            ..request
        };
        let call = ChatCall { operation: "RetrieveAndGenerate", model, request, metadata: Vec::new() };
        let mut chat = self.parts.inference.chat(context, call).await?;
        let text = chat.collect().await?.text();
        Ok(serde_json::from_str(text.trim()).ok())
    }
}
