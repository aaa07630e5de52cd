//! Reads and checks a model's folder. Every file is untrusted: sizes, shapes and names are checked before use.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokenizers::Tokenizer;

const MAX_JSON_BYTES: u64 = 1 << 20;
const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
const MAX_WEIGHTS_BYTES: u64 = 4 << 30;

/// Why a folder is not a model that can be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct LoadError {
    pub path: PathBuf,
    pub reason: String,
}

/// `config.json`, as far as an encoder needs it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    #[serde(default = "bert")]
    model_type: String,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    #[serde(default)]
    pub hidden_act: Activation,
    pub max_position_embeddings: usize,
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f64,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(super) enum Activation {
    /// With the error function, as BERT has it.
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    #[serde(rename = "relu")]
    Relu,
}

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    Mean,
    FirstToken,
}

#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
}

#[derive(Deserialize, Default)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

fn bert() -> String {
    "bert".into()
}

fn absolute() -> String {
    "absolute".into()
}

fn two() -> usize {
    2
}

fn epsilon() -> f64 {
    1e-12
}

/// A folder's content, checked.
pub(super) struct ModelFolder {
    pub config: Config,
    pub tokenizer: Tokenizer,
    pub pooling: Pooling,
    /// Tokens an encoder pass reads, its two special tokens included.
    pub window: usize,
    pub weights: Weights,
    /// The ids of `[CLS]` and `[SEP]`.
    pub specials: (u32, u32),
}

impl ModelFolder {
    pub(super) fn read(folder: &Path) -> Result<Self, LoadError> {
        let config: Config = read_json(&folder.join("config.json"))?;
        config.check().map_err(|reason| LoadError { path: folder.join("config.json"), reason })?;
        let pooling = read_pooling(&folder.join("1_Pooling/config.json"))?;
        let sentence_path = folder.join("sentence_bert_config.json");
        let sentence: SentenceConfig =
            if sentence_path.exists() { read_json(&sentence_path)? } else { SentenceConfig::default() };
        let window = sentence
            .max_seq_length
            .unwrap_or(config.max_position_embeddings)
            .min(config.max_position_embeddings);
        if window < 3 {
            return Err(LoadError {
                path: sentence_path,
                reason: "max_seq_length leaves no room for text".into(),
            });
        }
        let (tokenizer, specials) = read_tokenizer(&folder.join("tokenizer.json"), &config)?;
        let weights = Weights::read(&folder.join("model.safetensors"))?;
        Ok(Self { config, tokenizer, pooling, window, weights, specials })
    }
}

impl Config {
    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} is {value}, not within 1..={most}"))
            }
        };
        if self.model_type != "bert" {
            return Err(format!("model_type is '{}'; only 'bert' can be opened", self.model_type));
        }
        if self.position_embedding_type != "absolute" {
            return Err(format!(
                "position_embedding_type is '{}', not 'absolute'",
                self.position_embedding_type
            ));
        }
        within("vocab_size", self.vocab_size, 2_000_000)?;
        within("hidden_size", self.hidden_size, 8192)?;
        within("num_hidden_layers", self.num_hidden_layers, 128)?;
        within("num_attention_heads", self.num_attention_heads, 128)?;
        within("intermediate_size", self.intermediate_size, 65_536)?;
        within("max_position_embeddings", self.max_position_embeddings, 65_536)?;
        within("type_vocab_size", self.type_vocab_size, 64)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err("hidden_size is no multiple of num_attention_heads".into());
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(format!("layer_norm_eps is {}", self.layer_norm_eps));
        }
        Ok(())
    }
}

fn read_pooling(path: &Path) -> Result<Pooling, LoadError> {
    if !path.exists() {
        return Ok(Pooling::Mean);
    }
    let config: PoolingConfig = read_json(path)?;
    let others = config.pooling_mode_max_tokens || config.pooling_mode_mean_sqrt_len_tokens;
    match (config.pooling_mode_mean_tokens, config.pooling_mode_cls_token, others) {
        (true, false, false) => Ok(Pooling::Mean),
        (false, true, false) => Ok(Pooling::FirstToken),
        _ => Err(LoadError {
            path: path.to_owned(),
            reason: "only pooling by the mean of the tokens or by the first token can be opened".into(),
        }),
    }
}

fn read_tokenizer(path: &Path, config: &Config) -> Result<(Tokenizer, (u32, u32)), LoadError> {
    let wrong = |reason: String| LoadError { path: path.to_owned(), reason };
    let bytes = read_file(path, MAX_TOKENIZER_BYTES)?;
    // A tokenizer's file holds regular expressions and tables of many kinds; a fault in reading them is the file's.
    let read =
        catch_unwind(|| Tokenizer::from_bytes(&bytes)).map_err(|_| wrong("could not be read".into()))?;
    let mut tokenizer = read.map_err(|error| wrong(error.to_string()))?;
    // The file's own limits are those of its last training run. Windows are cut here.
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| wrong(error.to_string()))?;
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
    if largest as usize >= config.vocab_size {
        return Err(wrong(format!("has token {largest}, but config.json has {} tokens", config.vocab_size)));
    }
    let special =
        |name: &str| tokenizer.token_to_id(name).ok_or_else(|| wrong(format!("has no token '{name}'")));
    let specials = (special("[CLS]")?, special("[SEP]")?);
    Ok((tokenizer, specials))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, LoadError> {
    let bytes = read_file(path, MAX_JSON_BYTES)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| LoadError { path: path.to_owned(), reason: format!("not as expected: {error}") })
}

fn read_file(path: &Path, most_bytes: u64) -> Result<Vec<u8>, LoadError> {
    let wrong = |reason: String| LoadError { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| wrong(error.to_string()))?;
    if !metadata.is_file() {
        return Err(wrong("is not a file".into()));
    }
    if metadata.len() > most_bytes {
        return Err(wrong(format!("has {} bytes, more than the {most_bytes} that are read", metadata.len())));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // The limit again, for a file that grows meanwhile.
    file.take(most_bytes).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    Ok(bytes)
}

/// A tensor's shape and its numbers, row by row.
type Tensor = (Vec<usize>, Vec<f32>);

/// Named tensors.
pub(super) struct Weights {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl Weights {
    fn read(path: &Path) -> Result<Self, LoadError> {
        let wrong = |reason: String| LoadError { path: path.to_owned(), reason };
        let bytes = read_file(path, MAX_WEIGHTS_BYTES)?;
        let read = SafeTensors::deserialize(&bytes)
            .map_err(|error| wrong(format!("not a whole safetensors file: {error}")))?;
        let mut tensors = HashMap::new();
        for (name, tensor) in read.iter() {
            // Position ids and the like are not weights.
            if let Some(values) = numbers(&tensor) {
                let name = name.strip_prefix("bert.").unwrap_or(name).to_owned();
                tensors.insert(name, (tensor.shape().to_vec(), values));
            }
        }
        Ok(Self { path: path.to_owned(), tensors })
    }

    /// Takes a tensor's numbers, row by row. It must have this shape.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let wrong = |reason: String| LoadError { path: self.path.clone(), reason };
        let (found, values) =
            self.tensors.remove(name).ok_or_else(|| wrong(format!("has no tensor '{name}'")))?;
        if found != shape {
            return Err(wrong(format!("tensor '{name}' has the shape {found:?}, not {shape:?}")));
        }
        Ok(values)
    }
}

/// A tensor's numbers in single precision; `None` where it holds none with a fraction in a format of two to eight
/// bytes. safetensors has checked that there are as many as the shape says.
#[allow(clippy::cast_possible_truncation, reason = "weights are trained in half precision or single")]
fn numbers(tensor: &TensorView<'_>) -> Option<Vec<f32>> {
    fn each<const BYTES: usize>(data: &[u8], number: impl Fn([u8; BYTES]) -> f32) -> Vec<f32> {
        let (numbers, _) = data.as_chunks::<BYTES>();
        numbers.iter().map(|bytes| number(*bytes)).collect()
    }
    let data = tensor.data();
    match tensor.dtype() {
        Dtype::F32 => Some(each(data, f32::from_le_bytes)),
        Dtype::F16 => Some(each(data, |bytes| f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Some(each(data, |bytes| bf16::from_le_bytes(bytes).to_f32())),
        Dtype::F64 => Some(each(data, |bytes| f64::from_le_bytes(bytes) as f32)),
        _ => None,
    }
}
