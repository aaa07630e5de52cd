//! What an upstream's error response means for the caller.
//!
//! An upstream's own words go on only where it refuses the request, which its sender can mend. Whatever else it says is
//! about itself (an account's limits, a host's name): it is logged, and the error says the status.

use std::time::Duration;

use craton_backend::BackendError;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Most of an error body that is read.
pub(crate) const MAX_ERROR_BYTES: usize = 64 * 1024;
/// Most of an upstream's message that is passed on.
const MAX_MESSAGE_CHARS: usize = 2000;
/// Longest wait that is believed of a `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// AWS's names of errors that are about who asks, not about what they may do; `Exception` left out.
const CREDENTIALS: [&str; 6] = [
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignature",
    "MissingAuthenticationToken",
    "UnrecognizedClient",
];

/// What went wrong, in words for whoever asked. The log says with which upstream, a name that is the operator's own.
pub(crate) fn told(upstream: &str, what: String) -> String {
    tracing::info!(upstream, what, "an upstream failed");
    what
}

/// Maps a response that is not a success.
pub(crate) fn from_response(
    upstream: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> BackendError {
    let retry_after = retry_after(headers);
    let mut error = UpstreamError::parse(body);
    let aws_name = headers.get("x-amzn-errortype").and_then(|name| name.to_str().ok());
    error.aws_name = aws_name.unwrap_or_default().to_owned();
    error.into_backend(upstream, status.as_u16(), retry_after)
}

/// Maps an error object that arrived as an event of a stream that had begun well.
pub(crate) fn from_event(upstream: &str, event: &Value) -> BackendError {
    let error = UpstreamError::from_value(event);
    match (error.status, error.kind.as_str()) {
        (Some(status), _) => error.into_backend(upstream, status, None),
        (None, "overloaded_error" | "rate_limit_error" | "rate_limit_exceeded") => {
            error.into_backend(upstream, 429, None)
        }
        (None, "invalid_request_error") => error.into_backend(upstream, 400, None),
        _ => {
            told(upstream, format!("the upstream failed while answering: {}", error.message));
            BackendError::BrokenStream("the upstream failed while answering".into())
        }
    }
}

/// What the many shapes of error bodies have in common.
#[derive(Debug, Default, PartialEq)]
struct UpstreamError {
    message: String,
    /// `type` and `code`, whichever is text; both where both are.
    kind: String,
    code: String,
    /// What AWS names the error, in a header of its own.
    aws_name: String,
    status: Option<u16>,
    /// Prompt tokens and context size, where the upstream gives them as fields.
    counts: Option<(u32, u32)>,
}

impl UpstreamError {
    fn parse(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value @ Value::Object(_)) => Self::from_value(&value),
            // A list with the error in it is what Gemini's OpenAI endpoint answers.
            Ok(Value::Array(list)) if !list.is_empty() => Self::from_value(&list[0]),
            _ => Self { message: clip(String::from_utf8_lossy(body).trim()), ..Self::default() },
        }
    }

    fn from_value(value: &Value) -> Self {
        let error = match &value["error"] {
            Value::Null => value,
            error => error,
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let message = [error, &error["message"], &error["detail"], &error["Message"]]
            .into_iter()
            .find_map(Value::as_str)
            .map_or_else(|| error.to_string(), str::to_owned);
        let number = |name: &str| error[name].as_u64().and_then(|n| u32::try_from(n).ok());
        Self {
            message: clip(&message),
            kind: text(&error["type"]),
            code: text(&error["code"]),
            status: [&error["code"], &error["status"]]
                .into_iter()
                .find_map(|code| code.as_u64().and_then(|code| u16::try_from(code).ok()))
                .filter(|code| (400..600).contains(code)),
            counts: number("n_prompt_tokens").zip(number("n_ctx")),
            aws_name: String::new(),
        }
    }

    fn into_backend(self, upstream: &str, status: u16, retry_after: Option<Duration>) -> BackendError {
        let plain = format!("the upstream answered {status}");
        told(upstream, format!("{plain}: {}", self.message));
        match status {
            400 | 413 | 422 => match self.overflow() {
                Some((tokens, limit)) => BackendError::ContextOverflow { tokens, limit },
                None if self.message.is_empty() => BackendError::Refused(plain),
                None => BackendError::Refused(self.message),
            },
            401 => BackendError::UpstreamUnauthenticated(plain),
            403 if self.is_of_credentials() => BackendError::UpstreamUnauthenticated(plain),
            403 => BackendError::UpstreamDenied(plain),
            429 | 529 => BackendError::Overloaded { message: plain, retry_after },
            503 if retry_after.is_some() => BackendError::Overloaded { message: plain, retry_after },
            503 if self.message.eq_ignore_ascii_case("loading model") => BackendError::NotReady(plain),
            _ => BackendError::Upstream { status, message: plain },
        }
    }

    /// AWS answers 403 to credentials that it doesn't know, too.
    fn is_of_credentials(&self) -> bool {
        let name = self.aws_name.split(':').next().unwrap_or_default().trim_end_matches("Exception");
        CREDENTIALS.contains(&name)
    }

    /// Prompt tokens and limit, if the error says that the prompt is too long and says both numbers.
    fn overflow(&self) -> Option<(u32, u32)> {
        if let Some(counts) = self.counts {
            return Some(counts);
        }
        let message = self.message.to_ascii_lowercase();
        let marks =
            ["context length", "context size", "context window", "context limit", "prompt is too long"];
        let of_length = matches!(self.code.as_str(), "context_length_exceeded")
            || matches!(self.kind.as_str(), "context_length_exceeded" | "exceed_context_size_error")
            || marks.iter().any(|mark| message.contains(mark));
        if of_length { numbers(&message) } else { None }
    }
}

/// Finds the context size and the tokens asked for in a message such as "maximum context length is 4096 tokens.
/// However, you requested 5000 tokens" or "210000 tokens > 200000 maximum".
fn numbers(message: &str) -> Option<(u32, u32)> {
    let mut found: Vec<(usize, u64)> = Vec::new();
    let bytes = message.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'.');
        if length > 0
            && !in_word
            && let Ok(number) = message[at..at + length].parse()
        {
            found.push((at, number));
        }
        at += length.max(1);
    }
    let mark = [" > ", "context length", "context size", "context window", "context limit"]
        .into_iter()
        .find_map(|mark| message.find(mark))?;
    let place = found.iter().position(|(at, _)| *at > mark)?;
    let (_, limit) = found.remove(place);
    let others = || found.iter().map(|(_, number)| *number);
    let tokens = others().max().filter(|most| *most > limit).or_else(|| Some(others().sum()))?;
    if tokens <= limit {
        return None;
    }
    Some((u32::try_from(tokens).ok()?, u32::try_from(limit).ok()?))
}

/// `Retry-After` in seconds or as a date; Anthropic and OpenAI send seconds, proxies either.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => {
            let date = OffsetDateTime::parse(value, &Rfc2822).ok()?;
            let seconds = (date - OffsetDateTime::now_utc()).as_seconds_f64();
            Duration::try_from_secs_f64(seconds.max(0.0)).ok()?
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

fn clip(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(status: u16, body: &str) -> BackendError {
        let status = StatusCode::from_u16(status).unwrap();
        from_response("up", status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn context_overflow_is_recognised_in_what_servers_say() {
        let cases = [
            // OpenAI
            (
                r#"{"error":{"message":"This model's maximum context length is 4097 tokens. However, your messages resulted in 5001 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                5001,
                4097,
            ),
            // vLLM
            (
                r#"{"object":"error","message":"This model's maximum context length is 2048 tokens. However, you requested 3100 tokens (3000 in the messages, 100 in the completion).","type":"BadRequestError","code":400}"#,
                3100,
                2048,
            ),
            // llama.cpp
            (
                r#"{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":900,"n_ctx":512}}"#,
                900,
                512,
            ),
            // SGLang
            (
                r#"{"object":"error","message":"The input (9000 tokens) is longer than the model's context length (8192 tokens).","type":"BadRequestError","code":400}"#,
                9000,
                8192,
            ),
            // Anthropic
            (
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
                210_000,
                200_000,
            ),
            (
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length"}}"#,
                210_000,
                200_000,
            ),
        ];
        for (body, tokens, limit) in cases {
            assert_eq!(map(400, body), BackendError::ContextOverflow { tokens, limit }, "{body}");
        }
    }

    #[test]
    fn other_refusals_keep_the_upstreams_words() {
        let body = r#"{"error":{"message":"temperature must be at most 2","type":"invalid_request_error"}}"#;
        assert_eq!(map(400, body), BackendError::Refused("temperature must be at most 2".into()));
        assert_eq!(map(422, r#"{"detail":"no"}"#), BackendError::Refused("no".into()));
        assert_eq!(map(400, r#"{"error":"plain"}"#), BackendError::Refused("plain".into()));
        assert!(matches!(map(401, "{}"), BackendError::UpstreamUnauthenticated(_)));
        assert!(matches!(map(403, "{}"), BackendError::UpstreamDenied(_)));
        assert!(matches!(map(500, "<html>"), BackendError::Upstream { status: 500, .. }));
        assert!(matches!(
            map(503, r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#),
            BackendError::NotReady(_)
        ));
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date() {
        let waits = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            match from_response("up", StatusCode::TOO_MANY_REQUESTS, &headers, b"{}") {
                BackendError::Overloaded { retry_after, .. } => retry_after,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(waits("7"), Some(Duration::from_secs(7)));
        assert_eq!(waits("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let soon = (OffsetDateTime::now_utc() + Duration::from_secs(100)).format(&Rfc2822).unwrap();
        let wait = waits(&soon).unwrap();
        assert!((Duration::from_secs(95)..=Duration::from_secs(100)).contains(&wait), "{wait:?}");
        assert_eq!(waits("soon"), None);
        assert_eq!(waits("-3"), None);
    }

    #[test]
    fn an_error_inside_a_stream_is_mapped_by_its_own_code() {
        let event: Value = serde_json::from_str(r#"{"error":{"message":"slow down","code":429}}"#).unwrap();
        assert!(matches!(from_event("up", &event), BackendError::Overloaded { .. }));
        let event: Value = serde_json::from_str(r#"{"error":{"message":"boom"}}"#).unwrap();
        assert!(matches!(from_event("up", &event), BackendError::BrokenStream(_)));
    }

    #[test]
    fn nobody_is_told_what_the_operator_calls_an_upstream() {
        for status in [400, 401, 404, 429, 500, 503] {
            for body in ["", "{}", r#"{"error":{"message":"no"}}"#] {
                let status = StatusCode::from_u16(status).unwrap();
                let error = from_response("gpu-7", status, &HeaderMap::new(), body.as_bytes());
                assert!(!error.to_string().contains("gpu-7"), "{error}");
            }
        }
        assert!(!from_event("gpu-7", &Value::Null).to_string().contains("gpu-7"));
    }

    #[test]
    fn what_an_upstream_says_of_itself_stays_in_the_log() {
        let body = r#"{"error":{"message":"organization org-7 is limited to 3 requests"}}"#;
        for status in [401, 403, 404, 429, 500, 503, 529] {
            let error = map(status, body).to_string();
            assert!(!error.contains("org-7") && error.contains(&status.to_string()), "{error}");
        }
        let event = serde_json::from_str(body).unwrap();
        assert!(!from_event("up", &event).to_string().contains("org-7"));
    }

    #[test]
    fn hostile_bodies_do_not_panic() {
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "ü".repeat(10_000));
        for body in
            ["", "[]", "null", "{\"error\":[1]}", "\u{0}", &long, "context length 99999999999999999999999 5"]
        {
            let _ = map(400, body);
        }
    }
}
