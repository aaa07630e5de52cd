//! AI21 Jamba: OpenAI-shaped messages in a body of its own.

use craton_backend::{Message, Role, Sampling};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::format::BodyFormat;
use super::openai_chat::messages::text_document;
use super::openai_chat::{self, Envelope, UsageIn, tools};
use super::reader::{Dialect, Node, Object};
use super::{Decoded, StreamEncoder};
use crate::answer::Answer;
use crate::tool_turns;

/// `max_tokens` when the body has none.
const DEFAULT_MAX_TOKENS: u32 = 4096;

/// How the body samples.
pub(super) const SAMPLING: &[&str] =
    &["frequency_penalty", "max_tokens", "presence_penalty", "stop", "temperature", "top_p"];

pub(super) fn sampling(body: &Object<'_>) -> Result<Sampling, ApiError> {
    Ok(Sampling {
        max_tokens: body.count("max_tokens", 1..=DEFAULT_MAX_TOKENS)?,
        temperature: body.number("temperature", 0.0..=2.0)?,
        top_p: body.number("top_p", 0.0..=1.0)?,
        stop_sequences: openai_chat::stop(body)?,
        presence_penalty: body.number("presence_penalty", -2.0..=2.0)?,
        frequency_penalty: body.number("frequency_penalty", -2.0..=2.0)?,
        ..Sampling::default()
    })
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Jamba;

impl BodyFormat for Jamba {
    fn read(&self, body: &Value) -> Result<Decoded, ApiError> {
        let other = ["documents", "model", "n", "response_format", "stream", "tool_choice", "tools"];
        let body =
            Node::root(body, Dialect::JsonSchema).object(&["messages"], &[SAMPLING, &other].concat())?;
        let mut request = openai_chat::messages::read(&body.require("messages")?)?;
        tool_turns::check(&request.messages, tool_turns::Words::Mistral)?;
        add_documents(&body, &mut request.messages)?;
        request.sampling = sampling(&body)?;
        request.sampling.max_tokens.get_or_insert(DEFAULT_MAX_TOKENS);
        request.tools = tools::read(&body)?;
        request.tool_choice = tools::read_choice(&body, &request.tools)?;
        if let Some(node) = body.get("response_format") {
            request.response_schema = openai_chat::response_format(&node)?;
        }
        if let Some(node) = body.get("n")
            && node.count(1..=16)? != 1
        {
            return Err(node.refuse("only one choice per request is served"));
        }
        let mut decoded = Decoded::new(request);
        decoded.stream = body.boolean("stream")?.unwrap_or(false);
        Ok(decoded)
    }

    fn whole(&self, decoded: &Decoded, answer: &Answer) -> Value {
        let mut body = openai_chat::completion(&envelope(decoded), answer);
        if let Value::Object(body) = &mut body {
            body.insert("meta".to_owned(), json!({}));
        }
        body
    }

    fn stream(&self, decoded: &Decoded) -> Box<dyn StreamEncoder> {
        Box::new(openai_chat::Stream::new(envelope(decoded)))
    }
}

/// `jamba-1.5-large` of `ai21.jamba-1-5-large-v1:0`.
fn envelope(decoded: &Decoded) -> Envelope {
    let name = decoded.model_id.rsplit("ai21.").next().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    let name = name.strip_suffix("-v1").unwrap_or(name);
    Envelope {
        id: format!("chatcmpl-{}", decoded.answer_id),
        created_unix_s: decoded.created_unix_s,
        model: name.replacen("-1-5-", "-1.5-", 1),
        usage_in: UsageIn::LastChoice,
        reasoning_in_content: false,
        service_tier: None,
    }
}

/// Documents to answer from belong to the last user turn.
fn add_documents(body: &Object<'_>, messages: &mut [Message]) -> Result<(), ApiError> {
    let Some(node) = body.get("documents") else { return Ok(()) };
    let mut documents = Vec::new();
    for (index, item) in node.list()?.iter().enumerate() {
        let document = item.object(&["content"], &["metadata"])?;
        let text = document.require("content")?.string()?;
        documents.push(text_document(&format!("document {}", index + 1), text));
    }
    if let Some(message) = messages.iter_mut().rev().find(|message| message.role == Role::User) {
        message.content.splice(0..0, documents);
    }
    Ok(())
}
