//! A BERT encoder: token ids in, one vector a text out.

use candle_core::{Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{LayerNorm, Linear, Module};

use super::files::{Activation, Config, LoadError, Pooling, Weights};

pub(super) struct Encoder {
    words: Tensor,
    /// Position and first-segment embeddings, added once: `[positions, hidden]`.
    positions: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    heads: usize,
    pooling: Pooling,
}

struct Layer {
    /// Query, key and value projections as one: `[3 × hidden, hidden]`.
    attention_in: Linear,
    attention_out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    norm: LayerNorm,
    activation: Activation,
}

impl Encoder {
    pub(super) fn new(
        config: &Config,
        pooling: Pooling,
        weights: &mut Weights,
    ) -> std::result::Result<Self, LoadError> {
        let hidden = config.hidden_size;
        let words = weights.take("embeddings.word_embeddings.weight", &[config.vocab_size, hidden])?;
        let positions = weights
            .take("embeddings.position_embeddings.weight", &[config.max_position_embeddings, hidden])?;
        let segments =
            weights.take("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, hidden])?;
        let positions = segments
            .narrow(0, 0, 1)
            .and_then(|first| positions.broadcast_add(&first))
            .map_err(|error| weights.wrong(&error))?;
        let norm = layer_norm(weights, "embeddings.LayerNorm", config)?;
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::new(weights, &format!("encoder.layer.{index}"), config))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self { words, positions, norm, layers, heads: config.num_attention_heads, pooling })
    }

    /// Pools each text's tokens to one vector, not normalised. Texts need not be equally long.
    pub(super) fn encode(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let longest = texts.iter().map(|ids| ids.len()).max().unwrap_or(0);
        if longest == 0 {
            return Ok(vec![Vec::new(); texts.len()]);
        }
        let mut hidden = self.embed(texts, longest)?;
        let mask = mask(texts, longest)?;
        for layer in &self.layers {
            hidden = layer.forward(&hidden, mask.as_ref(), (texts.len(), longest, self.heads))?;
        }
        let rows: Vec<f32> = hidden.flatten_all()?.to_vec1()?;
        let width = self.words.dim(1)?;
        let texts = texts.iter().zip(rows.chunks_exact(longest * width));
        Ok(texts.map(|(ids, rows)| self.pool(&rows[..ids.len() * width], width)).collect())
    }

    /// `[texts × longest, hidden]`.
    fn embed(&self, texts: &[&[u32]], longest: usize) -> Result<Tensor> {
        let mut ids = Vec::with_capacity(texts.len() * longest);
        for text in texts {
            ids.extend_from_slice(text);
            // What pads is masked, so any token will do.
            ids.resize(ids.len() + longest - text.len(), 0);
        }
        let hidden = self.words.dim(1)?;
        let ids = Tensor::from_vec(ids, texts.len() * longest, &Device::Cpu)?;
        let words = self.words.index_select(&ids, 0)?.reshape((texts.len(), longest, hidden))?;
        let sum = words.broadcast_add(&self.positions.narrow(0, 0, longest)?)?;
        self.norm.forward(&sum.reshape((texts.len() * longest, hidden))?)
    }

    fn pool(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut pooled = rows[..width].to_vec();
        if self.pooling == Pooling::Mean {
            for row in rows[width..].chunks_exact(width) {
                pooled.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            let count = (rows.len() / width) as f32;
            pooled.iter_mut().for_each(|sum| *sum /= count);
        }
        pooled
    }
}

/// What is added to attention scores so that padding gets none: `[texts, 1, 1, longest]`. Nothing when all texts are
/// equally long.
fn mask(texts: &[&[u32]], longest: usize) -> Result<Option<Tensor>> {
    if texts.iter().all(|ids| ids.len() == longest) {
        return Ok(None);
    }
    let row =
        |ids: &&[u32]| (0..longest).map(|at| if at < ids.len() { 0.0 } else { f32::MIN }).collect::<Vec<_>>();
    let values: Vec<f32> = texts.iter().flat_map(row).collect();
    Tensor::from_vec(values, (texts.len(), 1, 1, longest), &Device::Cpu).map(Some)
}

impl Layer {
    fn new(weights: &mut Weights, prefix: &str, config: &Config) -> std::result::Result<Self, LoadError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let mut parts = Vec::with_capacity(3);
        for name in ["query", "key", "value"] {
            parts.push(linear(weights, &format!("{prefix}.attention.self.{name}"), hidden, hidden)?);
        }
        Ok(Self {
            attention_in: join(&parts).map_err(|error| weights.wrong(&error))?,
            attention_out: linear(weights, &format!("{prefix}.attention.output.dense"), hidden, hidden)?,
            attention_norm: layer_norm(weights, &format!("{prefix}.attention.output.LayerNorm"), config)?,
            up: linear(weights, &format!("{prefix}.intermediate.dense"), hidden, inner)?,
            down: linear(weights, &format!("{prefix}.output.dense"), inner, hidden)?,
            norm: layer_norm(weights, &format!("{prefix}.output.LayerNorm"), config)?,
            activation: config.hidden_act,
        })
    }

    /// `[texts × length, hidden]` to the same.
    fn forward(&self, x: &Tensor, mask: Option<&Tensor>, shape: (usize, usize, usize)) -> Result<Tensor> {
        let attended = self.attention_out.forward(&self.attend(x, mask, shape)?)?;
        let x = self.attention_norm.forward(&(x + attended)?)?;
        let inner = self.up.forward(&x)?;
        let inner = match self.activation {
            Activation::Gelu => inner.gelu_erf()?,
            Activation::GeluTanh => inner.gelu()?,
            Activation::Relu => inner.relu()?,
        };
        self.norm.forward(&(x + self.down.forward(&inner)?)?)
    }

    fn attend(&self, x: &Tensor, mask: Option<&Tensor>, shape: (usize, usize, usize)) -> Result<Tensor> {
        let (texts, length, heads) = shape;
        let hidden = x.dim(1)?;
        let width = hidden / heads;
        let projected = self.attention_in.forward(x)?.reshape((texts, length, 3, heads, width))?;
        // `[texts, heads, length, width]` each.
        let part = |index| projected.narrow(2, index, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let scores = (query.matmul(&key.t()?)? / (width as f64).sqrt())?;
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let mixed = softmax_last_dim(&scores)?.matmul(&value)?;
        mixed.transpose(1, 2)?.contiguous()?.reshape((texts * length, hidden))
    }
}

fn join(parts: &[Linear]) -> Result<Linear> {
    let weights: Vec<&Tensor> = parts.iter().map(Linear::weight).collect();
    let biases: Vec<&Tensor> = parts.iter().filter_map(Linear::bias).collect();
    Ok(Linear::new(Tensor::cat(&weights, 0)?, Some(Tensor::cat(&biases, 0)?)))
}

fn linear(
    weights: &mut Weights,
    name: &str,
    from: usize,
    to: usize,
) -> std::result::Result<Linear, LoadError> {
    let weight = weights.take(&format!("{name}.weight"), &[to, from])?;
    let bias = weights.take(&format!("{name}.bias"), &[to])?;
    Ok(Linear::new(weight, Some(bias)))
}

fn layer_norm(
    weights: &mut Weights,
    name: &str,
    config: &Config,
) -> std::result::Result<LayerNorm, LoadError> {
    let weight = weights.take(&format!("{name}.weight"), &[config.hidden_size])?;
    let bias = weights.take(&format!("{name}.bias"), &[config.hidden_size])?;
    Ok(LayerNorm::new(weight, bias, config.layer_norm_eps))
}
