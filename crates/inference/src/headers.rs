//! Response headers that no model names.

use craton_models::Resolved;
use http::{HeaderName, HeaderValue};

/// What answered: a local model or an upstream, also when it stands in for the model that was asked for.
const SERVED_BY: HeaderName = HeaderName::from_static("x-craton-served-by");
const INPUT_TOKENS: HeaderName = HeaderName::from_static("x-amzn-bedrock-input-token-count");
const OUTPUT_TOKENS: HeaderName = HeaderName::from_static("x-amzn-bedrock-output-token-count");
const LATENCY: HeaderName = HeaderName::from_static("x-amzn-bedrock-invocation-latency");

pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// None when the name has characters that no header can carry.
pub(crate) fn served_by(resolved: &Resolved) -> Headers {
    HeaderValue::from_str(&resolved.served_by).into_iter().map(|value| (SERVED_BY, value)).collect()
}

/// InvokeModel's token counts (input, and output where there is any) and latency in milliseconds, for clients that read
/// them instead of the body.
pub(crate) fn invocation(resolved: &Resolved, tokens: (u64, Option<u64>), latency_ms: u64) -> Headers {
    let mut headers = served_by(resolved);
    headers.push((INPUT_TOKENS, HeaderValue::from(tokens.0)));
    headers.extend(tokens.1.map(|output| (OUTPUT_TOKENS, HeaderValue::from(output))));
    headers.push((LATENCY, HeaderValue::from(latency_ms)));
    headers
}
