//! OpenAI chat completions: the InvokeModel body of gpt-oss, Qwen and DeepSeek, and of the `/openai/v1` front door.
//!
//! The front door's body names its model; InvokeModel's need not, and may hold a bare `prompt` instead of messages
//! (DeepSeek R1). Fields with no place in the internal request are passed through to upstreams that know them.

mod encode;
mod errors;
pub(super) mod messages;
mod prompt;
pub(super) mod tools;

use craton_backend::{ChatRequest, Effort, Priority, ResponseSchema, Sampling};
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::format::BodyFormat;
use super::reader::{Dialect, Node, Object};
use super::text::TextCodec;
use super::{Decoded, StreamEncoder};
use crate::answer::Answer;
use crate::tool_turns;

pub(super) use encode::{Envelope, Stream, UsageIn, arguments, completion};
pub use errors::{error_body, error_object};

/// Where the body came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Bedrock,
    Direct,
}

/// The chat completions codec.
#[derive(Debug, Clone, Copy)]
pub struct OpenAiChat {
    door: Door,
}

/// InvokeModel's body.
pub static BEDROCK: OpenAiChat = OpenAiChat { door: Door::Bedrock };
/// The body of `POST /v1/chat/completions`: [`Decoded::model_id`] and [`Decoded::stream`] are set from it.
pub static DIRECT: OpenAiChat = OpenAiChat { door: Door::Direct };

const PROMPT: TextCodec<prompt::Prompt> = TextCodec(prompt::Prompt);

/// Fields that are read here; all others are passed through.
const READ: &[&str] = &[
    "frequency_penalty",
    "function_call",
    "functions",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "response_format",
    "seed",
    "service_tier",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
];

impl BodyFormat for OpenAiChat {
    fn read(&self, body: &Value) -> Result<Decoded, ApiError> {
        if self.door == Door::Bedrock && body.get("messages").is_none() && body.get("prompt").is_some() {
            return PROMPT.read(body);
        }
        let required: &[&str] =
            if self.door == Door::Direct { &["model", "messages"] } else { &["messages"] };
        let read = Node::root(body, Dialect::OpenAi).open_object(required).and_then(|body| read(&body));
        match self.door {
            Door::Bedrock => read.map_err(without_param),
            Door::Direct => read,
        }
    }

    fn whole(&self, decoded: &Decoded, answer: &Answer) -> Value {
        if decoded.text_completion {
            return PROMPT.whole(decoded, answer);
        }
        completion(&self.envelope(decoded), answer)
    }

    fn stream(&self, decoded: &Decoded) -> Box<dyn StreamEncoder> {
        if decoded.text_completion {
            return PROMPT.stream(decoded);
        }
        Box::new(Stream::new(self.envelope(decoded)))
    }
}

impl OpenAiChat {
    fn envelope(&self, decoded: &Decoded) -> Envelope {
        Envelope {
            id: format!("chatcmpl-{}", decoded.answer_id),
            created_unix_s: decoded.created_unix_s,
            model: decoded.model_id.clone(),
            usage_in: if decoded.options.include_usage { UsageIn::OwnChunk } else { UsageIn::Nowhere },
            // Bedrock gives gpt-oss's reasoning inside the content.
            reasoning_in_content: self.door == Door::Bedrock && decoded.model_id.contains("gpt-oss"),
            service_tier: (self.door == Door::Direct).then(|| tier(decoded.request.priority)),
        }
    }
}

fn read(body: &Object<'_>) -> Result<Decoded, ApiError> {
    let mut request = messages::read(&body.require("messages")?)?;
    tool_turns::check(&request.messages, tool_turns::Words::OpenAi)?;
    request.sampling = sampling(body)?;
    request.tools = tools::read(body)?;
    request.tool_choice = match tools::read_allowed(body, &mut request.tools)? {
        Some(choice) => choice,
        None => tools::read_choice(body, &request.tools)?,
    };
    request.response_schema =
        body.get("response_format").map(|node| response_format(&node)).transpose()?.flatten();
    request.priority = priority(body)?;
    request.extra = body.rest(READ);
    if let Some(node) = body.get("reasoning_effort") {
        request.extra.shift_remove("reasoning_effort");
        reason_as(&mut request, effort(&node)?);
    }
    request.one_tool_call = body.boolean("parallel_tool_calls")? == Some(false);
    refuse_unserved(body)?;
    let mut decoded = Decoded::new(request);
    decoded.stream = body.boolean("stream")?.unwrap_or(false);
    decoded.model_id = body.string("model")?.unwrap_or_default().to_owned();
    if let Some(options) = body.get("stream_options") {
        decoded.options.include_usage = options.open_object(&[])?.boolean("include_usage")?.unwrap_or(false);
    }
    Ok(decoded)
}

/// What Converse's additional fields say in the words of a chat completion. Any more may be there.
pub(super) fn check_additional(fields: &Value) -> Result<(), ApiError> {
    let read = Node::root(fields, Dialect::OpenAi).open_object(&[]).and_then(|fields| {
        fields.get("reasoning_effort").map(|node| effort(&node)).transpose()?;
        sampling(&fields).map(drop)
    });
    read.map_err(without_param)
}

/// AWS's error bodies have no such member.
fn without_param(mut error: ApiError) -> ApiError {
    error.fields.remove("param");
    error
}

/// How much to think, as chat completions and responses say it; `max` is Anthropic's.
pub(super) fn effort<'a>(node: &Node<'a>) -> Result<&'a str, ApiError> {
    node.word(&["none", "minimal", "low", "medium", "high", "xhigh", "max"])
}

/// How much to think, in OpenAI's words. Those that only some models have ("minimal") go on as they are.
pub(super) fn reason_as(request: &mut ChatRequest, word: &str) {
    request.effort = Effort::of(word);
    if request.effort.is_none() {
        request.extra.insert("reasoning_effort".into(), word.into());
    }
}

fn sampling(body: &Object<'_>) -> Result<Sampling, ApiError> {
    let max_tokens = match body.count("max_completion_tokens", 1..=u32::MAX)? {
        Some(most) => Some(most),
        None => body.count("max_tokens", 1..=u32::MAX)?,
    };
    let seed = body.get("seed").map(|node| node.integer(i64::MIN..=i64::MAX)).transpose()?;
    Ok(Sampling {
        max_tokens,
        temperature: body.number("temperature", 0.0..=2.0)?,
        top_p: body.number("top_p", 0.0..=1.0)?,
        top_k: body.count("top_k", 0..=u32::MAX)?,
        stop_sequences: stop(body)?,
        seed: seed.map(i64::cast_unsigned),
        presence_penalty: body.number("presence_penalty", -2.0..=2.0)?,
        frequency_penalty: body.number("frequency_penalty", -2.0..=2.0)?,
    })
}

/// One string or a list of them.
pub(super) fn stop(body: &Object<'_>) -> Result<Vec<String>, ApiError> {
    match body.get("stop") {
        Some(node) if node.value().is_string() => Ok(vec![node.filled_string()?.to_owned()]),
        Some(node) => node.strings(0..=64),
        None => Ok(Vec::new()),
    }
}

/// The schema an answer must satisfy; `None` for plain text.
pub(crate) fn response_format(node: &Node<'_>) -> Result<Option<ResponseSchema>, ApiError> {
    let format = node.open_object(&["type"])?;
    match format.require("type")?.word(&["text", "json_object", "json_schema"])? {
        "json_object" => Ok(Some(ResponseSchema { name: None, schema: json!({"type": "object"}) })),
        "json_schema" => {
            let format = format.require("json_schema")?.open_object(&["name"])?;
            let schema = match format.get("schema") {
                Some(schema) => {
                    schema.open_object(&[])?;
                    schema.value().clone()
                }
                None => Value::Object(Map::new()),
            };
            Ok(Some(ResponseSchema { name: Some(format.require("name")?.string()?.to_owned()), schema }))
        }
        _ => Ok(None),
    }
}

/// `service_tier`.
pub(super) fn priority(body: &Object<'_>) -> Result<Priority, ApiError> {
    let Some(node) = body.get("service_tier") else { return Ok(Priority::Default) };
    Ok(match node.word(&["auto", "default", "flex", "priority", "scale"])? {
        "flex" => Priority::Flex,
        "priority" => Priority::Priority,
        _ => Priority::Default,
    })
}

/// What `service_tier` of an answer says.
pub(super) fn tier(priority: Priority) -> &'static str {
    match priority {
        Priority::Flex => "flex",
        Priority::Default => "default",
        Priority::Priority => "priority",
    }
}

/// What would change the answer and cannot be had is refused, not ignored.
fn refuse_unserved(body: &Object<'_>) -> Result<(), ApiError> {
    if let Some(node) = body.get("n")
        && node.count(1..=128)? != 1
    {
        return Err(node.refuse("only one choice per request is served."));
    }
    if let Some(node) = body.get("logprobs")
        && node.boolean()?
    {
        return Err(node.refuse("log probabilities are not served."));
    }
    if let Some(node) = body.get("top_logprobs")
        && node.count(0..=20)? > 0
    {
        return Err(node.refuse("log probabilities are not served."));
    }
    if let Some(node) = body.get("modalities")
        && node.strings(0..=2)?.iter().any(|kind| kind != "text")
    {
        return Err(node.refuse("only 'text' is served."));
    }
    if let Some(node) = body.get("functions") {
        return Err(node.refuse("deprecated; use 'tools' instead."));
    }
    Ok(())
}
