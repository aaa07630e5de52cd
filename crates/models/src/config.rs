//! What an operator configures about models: `[[model]]`, `[[upstream]]` and `stand_ins` of craton.toml.

use std::collections::BTreeMap;
use std::path::PathBuf;

use craton_outbound::AwsCredentials;
use serde::Deserialize;

use crate::family::{Family, Task};
use crate::files::{BUILTIN_NAMES, InstalledModel, is_builtin};

/// The model part of the server's configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    #[serde(rename = "model")]
    pub models: Vec<ModelConfig>,
    #[serde(rename = "upstream")]
    pub upstreams: Vec<UpstreamConfig>,
    /// Whether the embedded models answer for ids that nothing else serves.
    pub stand_ins: bool,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self { models: Vec::new(), upstreams: Vec::new(), stand_ins: true }
    }
}

/// One `[[model]]`: which backend serves a model id.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A model id or inference profile id as clients send it, in the catalogue or new. A trailing `*` matches every id
    /// with that beginning; exact ids win over patterns, longer patterns over shorter ones.
    pub id: String,
    /// Name of the `[[upstream]]` that serves it.
    pub upstream: Option<String>,
    /// The upstream's name for it; the id itself when left out.
    pub upstream_model: Option<String>,
    /// Name of a model in the model store that serves it.
    pub local: Option<String>,
    /// What an id outside the catalogue does: `chat` (default), `embedding` or `rerank`.
    pub task: Option<Task>,
    /// InvokeModel body format of an id outside the catalogue; judged by its prefix when left out.
    pub family: Option<Family>,
    /// How an id outside the catalogue is listed.
    pub name: Option<String>,
    pub provider: Option<String>,
    /// Whether an id outside the catalogue is listed as taking images.
    #[serde(default)]
    pub images: bool,
    pub context_tokens: Option<u32>,
    pub max_output_tokens: Option<u32>,
    /// US dollars per 1,000 input and output tokens, for metering. Replaces the catalogue's.
    pub price: Option<[f64; 2]>,
}

/// The API an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamKind {
    /// OpenAI Chat Completions: vLLM, SGLang, Ollama, llama.cpp's server, OpenAI itself.
    OpenAi,
    Anthropic,
    /// Bedrock itself, or another Craton.
    Bedrock,
}

/// One `[[upstream]]`: someone else's endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    pub name: String,
    pub kind: UpstreamKind,
    pub base_url: String,
    /// The environment variable that holds the API key.
    pub api_key_env: Option<String>,
    /// Bedrock only: the region to sign for.
    pub region: Option<String>,
    /// Bedrock only: environment variables of the key pair; AWS's usual names when left out.
    pub access_key_id_env: Option<String>,
    pub secret_access_key_env: Option<String>,
    pub session_token_env: Option<String>,
    /// Bedrock only: a profile of the AWS credentials file, in place of environment variables.
    pub aws_profile: Option<String>,
    /// Bedrock only: the file that has the profile; AWS's usual one when left out.
    pub aws_credentials_file: Option<PathBuf>,
    /// Sent with every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Calls at once; one more is answered ThrottlingException.
    #[serde(default = "UpstreamConfig::default_max_in_flight")]
    pub max_in_flight: usize,
    #[serde(default = "UpstreamConfig::default_connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Longest wait for the head of the answer; a call that is not streamed has its whole generation in it.
    #[serde(default = "UpstreamConfig::default_first_byte_timeout_ms")]
    pub first_byte_timeout_ms: u64,
    /// Longest silence within an answer.
    #[serde(default = "UpstreamConfig::default_idle_timeout_ms")]
    pub idle_timeout_ms: u64,
    /// Connections kept open while unused.
    #[serde(default = "UpstreamConfig::default_max_idle_connections")]
    pub max_idle_connections: usize,
}

impl UpstreamConfig {
    /// Where the keys of its account are. Errors: settings of them contradict each other.
    pub fn credentials(&self) -> Result<AwsCredentials, &'static str> {
        let variables = [&self.access_key_id_env, &self.secret_access_key_env, &self.session_token_env];
        AwsCredentials::configured(
            self.aws_profile.as_deref(),
            self.aws_credentials_file.as_deref(),
            variables.map(Option::as_deref),
        )
    }

    /// What is wrong between its keys.
    fn problem(&self) -> Option<&'static str> {
        let variables = [&self.access_key_id_env, &self.secret_access_key_env, &self.session_token_env];
        let of_aws = variables.into_iter().any(Option::is_some)
            || self.region.is_some()
            || self.aws_profile.is_some()
            || self.aws_credentials_file.is_some();
        if of_aws && self.kind != UpstreamKind::Bedrock {
            return Some("a region and AWS credentials are for the kind \"bedrock\"");
        }
        if self.aws_profile.is_some() && self.api_key_env.is_some() {
            return Some("give `aws_profile` or names of environment variables, not both");
        }
        if let Err(problem) = self.credentials() {
            return Some(problem);
        }
        (self.max_in_flight == 0).then_some("`max_in_flight` must be at least 1")
    }

    fn default_connect_timeout_ms() -> u64 {
        5_000
    }

    fn default_first_byte_timeout_ms() -> u64 {
        300_000
    }

    fn default_idle_timeout_ms() -> u64 {
        60_000
    }

    fn default_max_in_flight() -> usize {
        1024
    }

    fn default_max_idle_connections() -> usize {
        256
    }
}

/// What is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("[[model]] {id:?}: give either `local` or `upstream`")]
    NoTarget { id: String },
    #[error("[[model]] {id:?}: give `local` or `upstream`, not both")]
    TwoTargets { id: String },
    #[error("[[model]] {id:?}: no [[upstream]] is named {upstream:?}")]
    UnknownUpstream { id: String, upstream: String },
    #[error("[[model]] {id:?}: the model store has no {local:?}; it has: {known}")]
    UnknownLocal { id: String, local: String, known: String },
    #[error("[[model]] {id:?}: a `*` can only be at the end")]
    Pattern { id: String },
    #[error("[[model]] {id:?}: an id has 1 to 256 letters, digits and `-._:`")]
    BadId { id: String },
    #[error("[[model]] {id:?} is configured twice")]
    DuplicateModel { id: String },
    #[error("[[upstream]] {name:?} is configured twice")]
    DuplicateUpstream { name: String },
    #[error("[[upstream]] {name:?}: {problem}")]
    Upstream { name: String, problem: &'static str },
    #[error("[[model]] {id:?}: image generation is not served")]
    Image { id: String },
}

impl ModelsConfig {
    /// Checks that every `local` is in the model store or can be pulled into it by its name.
    pub(crate) fn check_local(&self, installed: &[InstalledModel]) -> Result<(), ConfigError> {
        let mut known: Vec<&str> = installed.iter().map(|model| model.name.as_str()).collect();
        known.extend(BUILTIN_NAMES.into_iter().filter(|name| is_builtin(name)));
        known.sort_unstable();
        known.dedup();
        for model in &self.models {
            if let Some(local) = model.local.as_deref().filter(|local| !known.contains(local)) {
                let (id, local) = (model.id.clone(), local.to_owned());
                return Err(ConfigError::UnknownLocal { id, local, known: known.join(", ") });
            }
        }
        Ok(())
    }

    /// Checks what the types can't: references, patterns, duplicates.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut upstreams = std::collections::HashSet::new();
        for upstream in &self.upstreams {
            if !upstreams.insert(upstream.name.as_str()) {
                return Err(ConfigError::DuplicateUpstream { name: upstream.name.clone() });
            }
            if let Some(problem) = upstream.problem() {
                return Err(ConfigError::Upstream { name: upstream.name.clone(), problem });
            }
        }
        let mut ids = std::collections::HashSet::new();
        for model in &self.models {
            let id = model.id.clone();
            let stem = id.strip_suffix('*').unwrap_or(&id);
            if stem.contains('*') {
                return Err(ConfigError::Pattern { id });
            }
            if !is_model_id(stem) && id != "*" {
                return Err(ConfigError::BadId { id });
            }
            match (&model.local, &model.upstream) {
                (None, None) => return Err(ConfigError::NoTarget { id }),
                (Some(_), Some(_)) => return Err(ConfigError::TwoTargets { id }),
                (None, Some(upstream)) if !upstreams.contains(upstream.as_str()) => {
                    return Err(ConfigError::UnknownUpstream { id, upstream: upstream.clone() });
                }
                _ => {}
            }
            if model.task == Some(Task::Image) || model.family.is_some_and(|f| f.task() == Task::Image) {
                return Err(ConfigError::Image { id });
            }
            if !ids.insert(model.id.as_str()) {
                return Err(ConfigError::DuplicateModel { id });
            }
        }
        Ok(())
    }
}

/// Whether `text` can be a model id: what `import --id` and `[[model]]` accept.
pub fn is_model_id(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ModelsConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn reads_the_documented_form() {
        let config = parse(
            r#"
            stand_ins = false
            [[upstream]]
            name = "vllm"
            kind = "openai"
            base_url = "http://gpu:8000/v1"
            [[model]]
            id = "anthropic.claude-3-haiku-20240307-v1:0"
            upstream = "vllm"
            upstream_model = "qwen"
            [[model]]
            id = "mine"
            local = "smollm2-135m-instruct"
            "#,
        );
        assert_eq!(config.check(), Ok(()));
        assert!(!config.stand_ins);
        assert_eq!(config.upstreams[0].kind, UpstreamKind::OpenAi);
        assert_eq!(config.upstreams[0].connect_timeout_ms, 5_000);
    }

    #[test]
    fn refuses_what_can_not_be_meant() {
        let error = |text: &str| parse(text).check().unwrap_err();
        assert!(matches!(error("[[model]]\nid='a'"), ConfigError::NoTarget { .. }));
        assert!(matches!(
            error("[[model]]\nid='a'\nlocal='x'\nupstream='y'"),
            ConfigError::TwoTargets { .. }
        ));
        assert!(matches!(error("[[model]]\nid='a'\nupstream='y'"), ConfigError::UnknownUpstream { .. }));
        assert!(matches!(error("[[model]]\nid='a*b'\nlocal='x'"), ConfigError::Pattern { .. }));
        assert!(matches!(error("[[model]]\nid='a b'\nlocal='x'"), ConfigError::BadId { .. }));
        assert!(matches!(
            error("[[model]]\nid='a'\nlocal='x'\n[[model]]\nid='a'\nlocal='x'"),
            ConfigError::DuplicateModel { .. }
        ));
        assert!(toml::from_str::<ModelsConfig>("[[model]]\nid='a'\nmystery=1").is_err());
        for keys in [
            "kind='openai'\nregion='us-east-1'",
            "kind='anthropic'\naws_profile='work'",
            "kind='bedrock'\naws_profile='work'\naccess_key_id_env='ID'",
            "kind='bedrock'\naws_credentials_file='c'",
            "kind='openai'\nmax_in_flight=0",
        ] {
            let text = format!("[[upstream]]\nname='u'\nbase_url='http://h'\n{keys}");
            assert!(matches!(error(&text), ConfigError::Upstream { .. }), "{keys}");
        }
    }
}
