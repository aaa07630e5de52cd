//! Marks in the text of a body in a model's own format: `<amazon-bedrock-guardrails-guardContent_SUFFIX>…</…>`, with the suffix from
//! the body's `amazon-bedrock-guardrailConfig`.

use bytes::Bytes;
use craton_backend::{Block, ChatRequest};
use craton_wire::ApiError;
use serde_json::{Map, Value};

use super::{Guarding, Marked, Place};

const CONFIG: &str = "amazon-bedrock-guardrailConfig";
const LONGEST_SUFFIX: usize = 20;

/// What a body says of its guardrail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BodyConfig {
    tag_suffix: Option<String>,
    asynchronous: bool,
}

impl BodyConfig {
    /// Takes the configuration out of a body: models' own formats have no such field.
    ///
    /// # Errors
    /// `ValidationException` when it is not what AWS takes.
    pub fn take(body: Bytes) -> Result<(Self, Bytes), ApiError> {
        let (config, rest) = take_config(&body)?;
        Ok((config, rest.map_or(body, Bytes::from)))
    }

    /// What the guardrail is asked, by a request with these tags, which go.
    #[must_use]
    pub fn apply(&self, guarding: Guarding, request: &mut ChatRequest) -> Guarding {
        let marked = self.tag_suffix.as_deref().map_or(Vec::new(), |suffix| take_tags(request, suffix));
        Guarding { asynchronous: self.asynchronous, marked, ..guarding }
    }
}

fn take_config(body: &[u8]) -> Result<(BodyConfig, Option<Vec<u8>>), ApiError> {
    if memchr::memmem::find(body, CONFIG.as_bytes()).is_none() {
        return Ok((BodyConfig::default(), None));
    }
    let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(body) else {
        return Ok((BodyConfig::default(), None));
    };
    let Some(config) = object.shift_remove(CONFIG) else { return Ok((BodyConfig::default(), None)) };
    let tag_suffix = match &config["tagSuffix"] {
        Value::Null => None,
        Value::String(suffix)
            if (1..=LONGEST_SUFFIX).contains(&suffix.len())
                && suffix.bytes().all(|it| it.is_ascii_alphanumeric()) =>
        {
            Some(suffix.clone())
        }
        _ => {
            return Err(ApiError::validation(format!(
                "The tagSuffix of {CONFIG} must have 1 to {LONGEST_SUFFIX} letters and digits. Correct it and try again."
            )));
        }
    };
    let mode = &config["streamProcessingMode"];
    let asynchronous = match mode.as_str() {
        None if mode.is_null() => false,
        Some("SYNCHRONOUS") => false,
        Some("ASYNCHRONOUS") => true,
        _ => {
            return Err(ApiError::validation(format!(
                "The streamProcessingMode of {CONFIG} must be SYNCHRONOUS or ASYNCHRONOUS. Correct it and try again."
            )));
        }
    };
    let rest = serde_json::to_vec(&object).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok((BodyConfig { tag_suffix, asynchronous }, Some(rest)))
}

/// Takes the tags out of a request's texts and says what they marked.
fn take_tags(request: &mut ChatRequest, suffix: &str) -> Vec<Marked> {
    let open = format!("<amazon-bedrock-guardrails-guardContent_{suffix}>");
    let close = format!("</amazon-bedrock-guardrails-guardContent_{suffix}>");
    let mut marked = Vec::new();
    let system = request.system.iter_mut().enumerate().map(|(index, block)| (Place::System(index), block));
    let messages = request.messages.iter_mut().enumerate().flat_map(|(message, it)| {
        it.content.iter_mut().enumerate().map(move |(block, it)| (Place::Message(message, block), it))
    });
    for (place, block) in system.chain(messages) {
        let Block::Text(text) = block else { continue };
        if !text.contains(&open) {
            continue;
        }
        let mut kept = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find(&open) {
            kept.push_str(&rest[..at]);
            rest = &rest[at + open.len()..];
            let end = rest.find(&close).unwrap_or(rest.len());
            let start = kept.len();
            kept.push_str(&rest[..end]);
            marked.push(Marked { place, range: Some(start..kept.len()), qualifiers: Vec::new() });
            rest = rest.get(end + close.len()..).unwrap_or_default();
        }
        kept.push_str(rest);
        *text = kept;
    }
    marked
}

#[cfg(test)]
mod tests {
    use craton_backend::{Message, Role};

    use super::*;

    #[test]
    fn tags_mark_and_go() {
        let tag = |name: &str| format!("{name}amazon-bedrock-guardrails-guardContent_ab1>");
        let text = format!("Be nice. {}my e-mail{} and more", tag("<"), tag("</"));
        let message = Message { role: Role::User, content: vec![Block::Text(text)] };
        let mut request = ChatRequest { messages: vec![message], ..ChatRequest::default() };
        let marked = take_tags(&mut request, "ab1");
        assert_eq!(request.messages[0].content, [Block::Text("Be nice. my e-mail and more".into())]);
        assert_eq!(marked, [Marked { place: Place::Message(0, 0), range: Some(9..18), qualifiers: vec![] }]);
    }

    #[test]
    fn the_configuration_leaves_the_body() {
        let body = br#"{"prompt": "x", "amazon-bedrock-guardrailConfig": {"tagSuffix": "xyz"}}"#;
        let (config, rest) = take_config(body).unwrap();
        assert_eq!(config.tag_suffix.as_deref(), Some("xyz"));
        assert_eq!(rest.unwrap(), br#"{"prompt":"x"}"#);
        assert!(take_config(br#"{"amazon-bedrock-guardrailConfig": {"tagSuffix": "<>"}}"#).is_err());
        let mode = |mode: &str| {
            let body = format!(r#"{{"amazon-bedrock-guardrailConfig": {{"streamProcessingMode": {mode}}}}}"#);
            take_config(body.as_bytes()).map(|(config, _)| config.asynchronous)
        };
        assert_eq!((mode("\"ASYNCHRONOUS\""), mode("\"SYNCHRONOUS\"")), (Ok(true), Ok(false)));
        for other in ["\"SOMETIMES\"", "1", "\"ASYNC\"", "\"async\"", "\"SYNC\"", "\"\""] {
            assert!(mode(other).is_err(), "{other}");
        }
        assert_eq!(take_config(b"{}").unwrap(), (BodyConfig::default(), None));
    }
}
