//! A question into several, each to be searched by itself; and one question asked of a model for JSON.

use craton_backend::{Block, ChatRequest, Message, ResponseSchema, Role, Sampling};
use craton_core::RequestContext;
use craton_inference::{ChatCall, ModelChoice};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::Retrieval;

/// Questions that one is taken apart into.
const MOST_QUESTIONS: usize = 5;
const MAX_TOKENS: u32 = 512;

const DECOMPOSE: &str = "You take a question apart for a search engine. Give up to five short questions that together \
cover what is asked, each understandable by itself. Give the question unchanged when it asks one thing.";

impl Retrieval {
    /// The question itself, first, and the parts that a model sees in it.
    pub(super) async fn decompose(
        &self,
        context: &RequestContext,
        model: &str,
        instruction: Option<&str>,
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
        let asked = (instruction.unwrap_or(DECOMPOSE), question);
        let answer = self.ask_json(context, model, asked, schema).await?;
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

    /// A model's answer under a schema, greedy. None when it is not JSON.
    pub(super) async fn ask_json(
        &self,
        context: &RequestContext,
        model: &str,
        (instruction, question): (&str, &str),
        schema: Value,
    ) -> Result<Option<Value>, ApiError> {
        let request = ChatRequest {
            system: vec![Block::Text(instruction.to_owned())],
            messages: vec![Message { role: Role::User, content: vec![Block::Text(question.to_owned())] }],
            sampling: Sampling {
                max_tokens: Some(MAX_TOKENS),
                temperature: Some(0.0),
                ..Sampling::default()
            },
            response_schema: Some(ResponseSchema { name: Some("answer".into()), schema }),
            ..ChatRequest::default()
        };
        let model = ModelChoice::Id(model.to_owned());
        let call = ChatCall { operation: "RetrieveAndGenerate", model, request, metadata: Vec::new() };
        let mut chat = self.parts.inference.chat(context, call).await?;
        let text = chat.collect().await?.text();
        Ok(serde_json::from_str(text.trim()).ok())
    }
}
