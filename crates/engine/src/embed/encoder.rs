//! A BERT encoder: token ids in, one vector a text out.
//!
//! Texts are computed together without padding: their tokens stand one after the other as rows, which is all that
//! most of the work needs to know; only attention looks at each text by itself. One call is one thread's work.

use craton_kernels::{Linear, Packed, Rows, Steps, add_layer_norm, gelu_erf, gelu_tanh, relu, softmax};

use super::files::{Activation, Config, LoadError, Pooling, Weights};

pub(super) struct Encoder {
    /// `[vocabulary, hidden]`.
    words: Vec<f32>,
    /// Position and first-segment embeddings, added once: `[positions, hidden]`.
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
    hidden: usize,
    heads: usize,
    pooling: Pooling,
}

struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

struct Layer {
    /// Query, key and value projections side by side; the query's is scaled for attention.
    attention_in: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    norm: Norm,
    activation: Activation,
    inner: usize,
}

/// Memory that the layers of one call share.
#[derive(Default)]
struct Scratch {
    projected: Vec<f32>,
    mixed: Vec<f32>,
    added: Vec<f32>,
    inner: Vec<f32>,
    scores: Vec<f32>,
    packed: Packed,
    /// Where products are to be quick.
    steps: Option<Steps>,
}

/// How an encoder is to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effort {
    /// The first of its layers, so many.
    pub layers: usize,
    /// In bytes, where that is faster: near to the model's own answer.
    pub quick: bool,
}

impl Encoder {
    pub(super) fn new(config: &Config, pooling: Pooling, weights: &mut Weights) -> Result<Self, LoadError> {
        let hidden = config.hidden_size;
        let words = weights.take("embeddings.word_embeddings.weight", &[config.vocab_size, hidden])?;
        let mut positions = weights
            .take("embeddings.position_embeddings.weight", &[config.max_position_embeddings, hidden])?;
        let segments =
            weights.take("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, hidden])?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&segments).for_each(|(position, segment)| *position += segment);
        }
        let norm = Norm::new(weights, "embeddings.LayerNorm", config)?;
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::new(weights, &format!("encoder.layer.{index}"), config))
            .collect::<Result<_, _>>()?;
        Ok(Self { words, positions, norm, layers, hidden, heads: config.num_attention_heads, pooling })
    }

    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Pools each text's tokens to one vector, not normalised. Texts need not be equally long.
    pub(super) fn encode(&self, texts: &[&[u32]], effort: Effort) -> Result<Vec<Vec<f32>>, String> {
        let mut x = self.embed(texts)?;
        let steps = effort.quick.then(Steps::default);
        let mut scratch = Scratch { steps, ..Scratch::default() };
        let lengths: Vec<usize> = texts.iter().map(|ids| ids.len()).collect();
        for layer in self.layers.iter().take(effort.layers) {
            layer.forward(&mut x, (&lengths, self.heads), &mut scratch);
        }
        let mut rest = x.as_slice();
        let pooled = lengths.iter().map(|length| {
            let (rows, others) = rest.split_at(length * self.hidden);
            rest = others;
            self.pool(rows)
        });
        Ok(pooled.collect())
    }

    /// `[tokens, hidden]`.
    fn embed(&self, texts: &[&[u32]]) -> Result<Vec<f32>, String> {
        let mut x = Vec::with_capacity(texts.iter().map(|ids| ids.len()).sum::<usize>() * self.hidden);
        for ids in texts {
            if ids.len() * self.hidden > self.positions.len() {
                return Err(format!("a text of {} tokens is longer than the model reads", ids.len()));
            }
            for (id, position) in ids.iter().zip(self.positions.chunks_exact(self.hidden)) {
                let begin = *id as usize * self.hidden;
                let word = self.words.get(begin..begin + self.hidden);
                let word = word.ok_or_else(|| format!("the model has no token {id}"))?;
                let at = x.len();
                x.extend_from_slice(word);
                self.norm.apply(&mut x[at..], position);
            }
        }
        Ok(x)
    }

    fn pool(&self, rows: &[f32]) -> Vec<f32> {
        let width = self.hidden;
        let mut pooled = rows.get(..width).map_or_else(Vec::new, <[f32]>::to_vec);
        if self.pooling == Pooling::Mean && !pooled.is_empty() {
            for row in rows[width..].chunks_exact(width) {
                pooled.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            let count = (rows.len() / width) as f32;
            pooled.iter_mut().for_each(|sum| *sum /= count);
        }
        pooled
    }
}

impl Norm {
    fn new(weights: &mut Weights, name: &str, config: &Config) -> Result<Self, LoadError> {
        let weight = weights.take(&format!("{name}.weight"), &[config.hidden_size])?;
        let bias = weights.take(&format!("{name}.bias"), &[config.hidden_size])?;
        #[expect(clippy::cast_possible_truncation, reason = "a small number that is added to others")]
        let epsilon = config.layer_norm_eps as f32;
        Ok(Self { weight, bias, epsilon })
    }

    fn apply(&self, row: &mut [f32], more: &[f32]) {
        add_layer_norm(row, more, (&self.weight, &self.bias, self.epsilon));
    }
}

impl Layer {
    fn new(weights: &mut Weights, prefix: &str, config: &Config) -> Result<Self, LoadError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        let scale = 1.0 / ((hidden / config.num_attention_heads) as f32).sqrt();
        for (name, scale) in [("query", scale), ("key", 1.0), ("value", 1.0)] {
            let name = format!("{prefix}.attention.self.{name}");
            let scaled = |values: Vec<f32>| values.into_iter().map(move |value| value * scale);
            weight.extend(scaled(weights.take(&format!("{name}.weight"), &[hidden, hidden])?));
            bias.extend(scaled(weights.take(&format!("{name}.bias"), &[hidden])?));
        }
        Ok(Self {
            attention_in: Linear::new(&weight, &bias),
            attention_out: linear(weights, &format!("{prefix}.attention.output.dense"), (hidden, hidden))?,
            attention_norm: Norm::new(weights, &format!("{prefix}.attention.output.LayerNorm"), config)?,
            up: linear(weights, &format!("{prefix}.intermediate.dense"), (hidden, inner))?,
            down: linear(weights, &format!("{prefix}.output.dense"), (inner, hidden))?,
            norm: Norm::new(weights, &format!("{prefix}.output.LayerNorm"), config)?,
            activation: config.hidden_act,
            inner,
        })
    }

    /// `[tokens, hidden]` to the same.
    fn forward(&self, x: &mut [f32], (lengths, heads): (&[usize], usize), scratch: &mut Scratch) {
        let tokens: usize = lengths.iter().sum();
        let hidden = x.len() / tokens.max(1);
        scratch.projected.resize(tokens * 3 * hidden, 0.0);
        scratch.mixed.resize(tokens * hidden, 0.0);
        scratch.added.resize(tokens * hidden, 0.0);
        scratch.inner.resize(tokens * self.inner, 0.0);
        let projected = (scratch.projected.as_mut_slice(), 3 * hidden);
        self.attention_in.multiply(rows(x, hidden), tokens, projected, scratch.steps.as_mut());
        let mut begin = 0;
        for length in lengths {
            for head in 0..heads {
                attend((begin, *length), (head, hidden / heads, hidden), scratch);
            }
            begin += length;
        }
        let Scratch { mixed, added, inner, steps, .. } = scratch;
        self.attention_out.multiply(rows(mixed, hidden), tokens, (added, hidden), steps.as_mut());
        add(&self.attention_norm, x, added);
        self.up.multiply(rows(x, hidden), tokens, (inner, self.inner), steps.as_mut());
        match self.activation {
            Activation::Gelu => gelu_erf(inner),
            Activation::GeluTanh => gelu_tanh(inner),
            Activation::Relu => relu(inner),
        }
        self.down.multiply(rows(inner, self.inner), tokens, (added, hidden), steps.as_mut());
        add(&self.norm, x, added);
    }
}

fn rows(data: &[f32], stride: usize) -> Rows<'_> {
    Rows { data, stride }
}

fn add(norm: &Norm, x: &mut [f32], more: &[f32]) {
    let width = norm.weight.len();
    x.chunks_exact_mut(width).zip(more.chunks_exact(width)).for_each(|(row, more)| norm.apply(row, more));
}

/// One head's attention over the tokens of one text.
fn attend(
    (begin, length): (usize, usize),
    (head, width, hidden): (usize, usize, usize),
    scratch: &mut Scratch,
) {
    if length == 0 {
        return;
    }
    let Scratch { projected, mixed, scores, packed, .. } = scratch;
    let part = |number: usize| {
        let at = begin * 3 * hidden + number * hidden + head * width;
        Rows { data: &projected[at..], stride: 3 * hidden }
    };
    scores.resize(length * length, 0.0);
    packed.set_columns(part(1), (width, length));
    packed.multiply(part(0), length, (scores, length));
    scores.chunks_exact_mut(length).for_each(softmax);
    packed.set_rows(part(2), (length, width));
    let out = &mut mixed[begin * hidden + head * width..];
    packed.multiply(Rows { data: scores, stride: length }, length, (out, hidden));
}

fn linear(weights: &mut Weights, name: &str, (from, to): (usize, usize)) -> Result<Linear, LoadError> {
    let weight = weights.take(&format!("{name}.weight"), &[to, from])?;
    let bias = weights.take(&format!("{name}.bias"), &[to])?;
    Ok(Linear::new(&weight, &bias))
}
