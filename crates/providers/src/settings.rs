use std::fmt;
use std::time::Duration;

use craton_outbound::AwsCredentials;

/// Which API an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamKind {
    /// Chat Completions, Embeddings and `/rerank`: vLLM, SGLang, Ollama, llama.cpp's server, OpenAI.
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
    /// Amazon Bedrock's Converse API.
    Bedrock,
}

/// A key that never shows in logs or messages.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// Reads the key from the environment variable named by `api_key_env` in the configuration.
    pub fn from_env(variable: &str) -> Result<Self, SettingsError> {
        match std::env::var(variable) {
            Ok(key) if !key.trim().is_empty() => Ok(Self(key.trim().to_owned())),
            _ => Err(SettingsError::MissingKey(variable.to_owned())),
        }
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// How long an upstream may take before the call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution, TCP and TLS together.
    pub connect: Duration,
    /// From the request to the head of the response. A call that is not streamed has its whole generation in here.
    pub first_byte: Duration,
    /// Between two pieces of a response once it has begun.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(300),
            idle: Duration::from_secs(60),
        }
    }
}

/// The field that carries `max_tokens` to an OpenAI-compatible upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaxTokensField {
    /// `max_completion_tokens` for OpenAI's own host, which refuses the older name for its newer models;
    /// `max_tokens` for everyone else, who may know nothing newer.
    #[default]
    ByHost,
    MaxTokens,
    MaxCompletionTokens,
}

/// Everything about one `[[upstream]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamSettings {
    /// Its name in the configuration, used in messages.
    pub name: String,
    pub kind: UpstreamKind,
    /// `http://localhost:8000/v1`, `https://api.anthropic.com`, `https://bedrock-runtime.us-east-1.amazonaws.com`.
    pub base_url: String,
    pub api_key: Option<ApiKey>,
    pub timeouts: Timeouts,
    /// Calls at once; one more is answered as overloaded.
    pub max_in_flight: usize,
    /// Connections kept open while unused.
    pub max_idle_connections: usize,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
    /// Whether its models are believed to read images. An upstream that can't says so itself.
    pub images: bool,
    pub max_tokens_field: MaxTokensField,
    /// Region to sign for; taken from the host name of a Bedrock endpoint when not given.
    pub aws_region: Option<String>,
    /// Where a Bedrock upstream's credentials come from when it has no API key. Read again when they are a minute old.
    pub aws_credentials: AwsCredentials,
}

impl UpstreamSettings {
    /// Settings with the defaults for everything that has one.
    pub fn new(name: impl Into<String>, kind: UpstreamKind, base_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            base_url: base_url.into(),
            api_key: None,
            timeouts: Timeouts::default(),
            max_in_flight: 1024,
            max_idle_connections: 256,
            headers: Vec::new(),
            images: true,
            max_tokens_field: MaxTokensField::default(),
            aws_region: None,
            aws_credentials: AwsCredentials::default(),
        }
    }
}

/// What is wrong with the configuration of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("upstream `{name}`: base_url `{url}` must be an http:// or https:// URL with a host")]
    BaseUrl { name: String, url: String },
    #[error("upstream `{name}`: `{header}` is not a usable header")]
    Header { name: String, header: String },
    #[error("the environment variable `{0}`, named by api_key_env, is not set")]
    MissingKey(String),
    #[error("upstream `{name}`: {message}")]
    Tls { name: String, message: String },
    #[error("upstream `{name}`: {message}")]
    Aws { name: String, message: String },
}
