//! A loaded model: weights, vocabulary, template and what it says about itself.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use craton_backend::{BackendError, Sampling};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::{LogOptions, send_logs_to_tracing};

use crate::config::EngineConfig;
use crate::gguf::GgufHeader;
use crate::guide::GuideFactory;
use crate::prompt::{ChatTemplate, PromptBuilder, SpecialTexts};
use crate::sampler::SamplerSettings;

/// llama.cpp's process-wide state, made once and kept for the life of the process.
pub(crate) fn backend() -> Result<&'static LlamaBackend, String> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    BACKEND
        .get_or_init(|| {
            send_logs_to_tracing(LogOptions::default());
            LlamaBackend::init().map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(Clone::clone)
}

pub(crate) struct LoadedModel {
    pub(crate) weights: Arc<LlamaModel>,
    pub(crate) template: ChatTemplate,
    special: SpecialTexts,
    guides: OnceLock<Result<GuideFactory, BackendError>>,
    /// Longest prompt and answer together.
    pub(crate) context_tokens: usize,
    /// Tokens whose keys and values fit the budget.
    pub(crate) kv_tokens: usize,
    defaults: SamplerSettings,
    default_max_tokens: u32,
}

impl LoadedModel {
    /// Checks the file, then loads it. The error is a sentence for the person who runs the server.
    pub(crate) fn load(path: &Path, config: &EngineConfig) -> Result<Self, String> {
        let header = GgufHeader::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let backend = backend()?;
        let weights = LlamaModel::load_from_file(backend, path, &LlamaModelParams::default())
            .map_err(|error| format!("{}: llama.cpp can't load it: {error}", path.display()))?;
        let vocabulary = weights.vocab();
        let text_of = |token: LlamaToken| {
            if token.0 < 0 {
                return String::new();
            }
            vocabulary.text(token).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let template = ChatTemplate::new(
            header.text("tokenizer.chat_template"),
            text_of(vocabulary.bos()),
            text_of(vocabulary.eos()),
        )?;
        let special = SpecialTexts::new(&weights);
        let kv_tokens = kv_tokens(&header, config);
        let trained = usize::try_from(weights.n_ctx_train()).unwrap_or(usize::MAX);
        let asked = config.context_tokens.map_or(usize::MAX, |tokens| tokens as usize);
        Ok(Self {
            template,
            special,
            guides: OnceLock::new(),
            context_tokens: trained.min(asked).min(kv_tokens),
            kv_tokens,
            defaults: sampling_defaults(&header),
            default_max_tokens: config.default_max_tokens,
            weights: Arc::new(weights),
        })
    }

    pub(crate) fn prompts(&self) -> PromptBuilder<'_> {
        PromptBuilder { weights: &self.weights, template: &self.template, special: &self.special }
    }

    /// Compiles constraints; the first use walks the vocabulary.
    pub(crate) fn guides(&self) -> Result<&GuideFactory, BackendError> {
        self.guides
            .get_or_init(|| GuideFactory::new(Arc::clone(&self.weights)))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The request's settings over the model's own, checked.
    pub(crate) fn sampler_settings(
        &self,
        sampling: &Sampling,
        seed: u64,
    ) -> Result<SamplerSettings, BackendError> {
        let in_range = |name: &str, value: Option<f32>, low: f32, high: f32| match value {
            Some(value) if !(low..=high).contains(&value) => {
                Err(BackendError::Invalid(format!("{name} is {value}, expected {low} to {high}")))
            }
            other => Ok(other),
        };
        let defaults = self.defaults;
        Ok(SamplerSettings {
            temperature: in_range("temperature", sampling.temperature, 0.0, 5.0)?
                .unwrap_or(defaults.temperature),
            top_p: in_range("top_p", sampling.top_p, 0.0, 1.0)?.unwrap_or(defaults.top_p),
            top_k: sampling.top_k.map_or(defaults.top_k, |top_k| top_k as usize),
            min_p: defaults.min_p,
            presence_penalty: in_range("presence_penalty", sampling.presence_penalty, -2.0, 2.0)?
                .unwrap_or(0.0),
            frequency_penalty: in_range("frequency_penalty", sampling.frequency_penalty, -2.0, 2.0)?
                .unwrap_or(0.0),
            seed: sampling.seed.unwrap_or(seed),
        })
    }

    pub(crate) fn max_new_tokens(&self, sampling: &Sampling) -> usize {
        sampling.max_tokens.unwrap_or(self.default_max_tokens).max(1) as usize
    }
}

/// Newer files say how their model wants to be sampled; otherwise llama.cpp's defaults.
#[allow(clippy::cast_possible_truncation)]
fn sampling_defaults(header: &GgufHeader) -> SamplerSettings {
    let float = |key: &str, default: f32| header.float(key).map_or(default, |value| value as f32);
    SamplerSettings {
        temperature: float("general.sampling.temp", 0.8).clamp(0.0, 5.0),
        top_p: float("general.sampling.top_p", 0.95).clamp(0.0, 1.0),
        top_k: header
            .unsigned("general.sampling.top_k")
            .and_then(|top_k| usize::try_from(top_k).ok())
            .unwrap_or(40),
        min_p: float("general.sampling.min_p", 0.05).clamp(0.0, 1.0),
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        seed: 0,
    }
}

/// About what the chat model in the file at `path` takes when it is loaded: its weights and its KV cache. Reads the
/// file's header; the error is for the person who runs the server.
pub fn memory_bytes(path: &Path, config: &EngineConfig) -> Result<u64, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let header = GgufHeader::read(path).map_err(|error| wrong(&error))?;
    let weights = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
    let cache = kv_tokens(&header, config).saturating_mul(kv_bytes_a_token(&header));
    Ok(weights.saturating_add(u64::try_from(cache).unwrap_or(u64::MAX)))
}

const DEFAULT_KV_MIB: usize = 256;
const DEFAULT_CONTEXT_TOKENS: usize = 8_192;

/// Tokens that the budget holds, keys and values of every layer in half precision, in steps of 256.
fn kv_tokens(header: &GgufHeader, config: &EngineConfig) -> usize {
    let bytes_a_token = kv_bytes_a_token(header);
    let affordable = |mib: usize| (mib << 20) / bytes_a_token / 256 * 256;
    let trained = header.parameter("context_length").and_then(|value| usize::try_from(value).ok());
    let trained = trained.unwrap_or(DEFAULT_CONTEXT_TOKENS);
    let tokens = config.kv_budget_mib.map_or_else(
        || affordable(DEFAULT_KV_MIB).max(trained.min(DEFAULT_CONTEXT_TOKENS)),
        |mib| affordable(mib as usize),
    );
    tokens.clamp(512, 1 << 20)
}

/// Bytes of a token's keys and values in every layer.
fn kv_bytes_a_token(header: &GgufHeader) -> usize {
    let parameter = |name: &str| header.parameter(name).and_then(|value| usize::try_from(value).ok());
    let width = parameter("embedding_length").unwrap_or(4096);
    let heads = parameter("attention.head_count").unwrap_or(1).max(1);
    let kv_heads = parameter("attention.head_count_kv").unwrap_or(heads);
    let head_width = |name: &str| parameter(name).unwrap_or(width / heads);
    let layers = parameter("block_count").unwrap_or(32);
    let values =
        kv_heads.saturating_mul(head_width("attention.key_length") + head_width("attention.value_length"));
    values.saturating_mul(layers).saturating_mul(2).max(1)
}
