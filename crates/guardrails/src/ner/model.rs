//! The network: hashed embeddings, a mixing layer, four convolutions, and the parser's first layer.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::Tensor;
use parking_lot::RwLock;

use super::Entity;
use super::kernel::{Maxout, product, transposed};
use super::murmur::rows;
use super::parser::Parser;
use super::tokens::{Token, Tokenizer};

/// Width of a token's vector.
const WIDTH: usize = 96;
/// Width of a token's vector for the parser.
const PARSER_WIDTH: usize = 64;
/// Rows of zeros before and after a text.
const PAD: usize = 4;
/// Tokens that are parsed together; text beyond is a document of its own.
const MOST_TOKENS: usize = 2048;
/// Mixed embeddings that are kept: words come again and again.
const MOST_MIXED: usize = 20_000;

/// The weights as they are in the file.
#[derive(Debug, Default)]
pub(super) struct Weights {
    pub tables: Vec<Table>,
    /// The mixing layer, then the convolutions.
    pub layers: Vec<Layer>,
    pub project: Vec<f32>,
    pub project_bias: Vec<f32>,
    pub lower: Vec<f32>,
    pub lower_bias: Vec<f32>,
    pub pad: Vec<f32>,
    pub upper: Vec<f32>,
    pub upper_bias: Vec<f32>,
}

/// An embedding table that ids are hashed into.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub seed: u32,
    pub count: usize,
    pub vectors: Vec<f32>,
}

#[derive(Debug, Default)]
pub(super) struct Layer {
    pub inputs: usize,
    pub matrix: Vec<f32>,
    pub bias: Vec<f32>,
    pub gain: Vec<f32>,
    pub offset: Vec<f32>,
}

/// Finds names and places.
#[derive(Debug)]
pub struct NameModel {
    tokenizer: Tokenizer,
    tables: Vec<Table>,
    mix: Maxout,
    convolutions: Vec<Maxout>,
    project: Tensor,
    project_bias: Vec<f32>,
    lower: Tensor,
    parser: Parser,
    /// Mixed embeddings by a token's features: they don't depend on its neighbours.
    mixed: RwLock<HashMap<[u64; 4], Arc<[f32]>>>,
}

impl NameModel {
    pub(super) fn new(weights: Weights, labels: Vec<String>, tokenizer: Tokenizer) -> Option<Self> {
        let mut layers = weights
            .layers
            .into_iter()
            .map(|it| Maxout::new(it.inputs, it.matrix, it.bias, (it.gain, it.offset)));
        let mix = layers.next()??;
        let convolutions: Vec<Maxout> = layers.collect::<Option<_>>()?;
        let tables_fit = weights.tables.len() == 4
            && weights
                .tables
                .iter()
                .all(|table| table.count > 0 && table.vectors.len() == table.count * WIDTH);
        let fits = tables_fit
            && weights.project.len() == PARSER_WIDTH * WIDTH
            && weights.project_bias.len() == PARSER_WIDTH;
        if !fits {
            return None;
        }
        let lower_rows = weights.lower.len() / PARSER_WIDTH;
        Some(Self {
            tokenizer,
            tables: weights.tables,
            mix,
            convolutions,
            project: transposed(PARSER_WIDTH, WIDTH, weights.project)?,
            project_bias: weights.project_bias,
            lower: transposed(lower_rows, PARSER_WIDTH, weights.lower)?,
            parser: Parser::new(&labels, weights.lower_bias, weights.pad, weights.upper, weights.upper_bias)?,
            mixed: RwLock::default(),
        })
    }

    /// The entities of a text, in its order.
    pub fn entities(&self, text: &str) -> Vec<Entity> {
        self.entities_of(&[text]).pop().unwrap_or_default()
    }

    /// The entities of each of several texts. They go through the network together, which is quicker than one by one.
    pub fn entities_of(&self, texts: &[&str]) -> Vec<Vec<Entity>> {
        let mut found: Vec<Vec<Entity>> = vec![Vec::new(); texts.len()];
        let tokens: Vec<Vec<Token>> = texts.iter().map(|text| self.tokenizer.tokens(text)).collect();
        let parts = tokens.iter().enumerate();
        let parts = parts.flat_map(|(text, tokens)| tokens.chunks(MOST_TOKENS).map(move |part| (text, part)));
        let mut batch: Vec<(usize, &[Token])> = Vec::new();
        let mut count = 0;
        for (text, part) in parts {
            if count + part.len() > MOST_TOKENS {
                self.parse(&std::mem::take(&mut batch), &mut found);
                count = 0;
            }
            count += part.len();
            batch.push((text, part));
        }
        self.parse(&batch, &mut found);
        found
    }

    fn parse(&self, parts: &[(usize, &[Token])], found: &mut [Vec<Entity>]) {
        let tokens: Vec<&[Token]> = parts.iter().map(|(_, tokens)| *tokens).collect();
        let Some(states) = self.states(&tokens) else { return };
        for ((text, tokens), states) in parts.iter().zip(states) {
            found[*text].extend(self.parser.parse(tokens, &states));
        }
    }

    /// For each token of each part, what it adds to the parser's first layer in each of its places.
    fn states(&self, parts: &[&[Token]]) -> Option<Vec<Vec<f32>>> {
        let count: usize = parts.iter().map(|part| part.len()).sum();
        // The network was trained with rows of zeros around a text, which the convolutions change like any other. As many as
        // there are convolutions keep one part from another.
        let mut vectors = vec![0.0; PAD * WIDTH];
        for part in parts {
            vectors.extend(self.embed(part)?);
            vectors.resize(vectors.len() + PAD * WIDTH, 0.0);
        }
        let rows = vectors.len() / WIDTH;
        for convolution in &self.convolutions {
            let windows = windows(&vectors, rows);
            let added = convolution.apply(windows, rows)?;
            vectors.iter_mut().zip(added).for_each(|(value, added)| *value += added);
        }
        let mut kept = Vec::with_capacity(count * WIDTH);
        let mut at = PAD;
        for part in parts {
            kept.extend_from_slice(&vectors[at * WIDTH..(at + part.len()) * WIDTH]);
            at += part.len() + PAD;
        }
        let mut projected = product(kept, count, WIDTH, &self.project)?;
        for row in projected.chunks_exact_mut(PARSER_WIDTH) {
            row.iter_mut().zip(&self.project_bias).for_each(|(value, bias)| *value += bias);
        }
        let states = product(projected, count, PARSER_WIDTH, &self.lower)?;
        let width = states.len().checked_div(count)?;
        let mut rest = states.as_slice();
        let own = parts.iter().map(|part| {
            let (own, after) = rest.split_at(part.len() * width);
            rest = after;
            own.to_vec()
        });
        Some(own.collect())
    }

    /// The mixed embedding of every token.
    fn embed(&self, tokens: &[Token]) -> Option<Vec<f32>> {
        let mut vectors = vec![0.0; tokens.len() * WIDTH];
        let mut missing: Vec<usize> = Vec::new();
        {
            let known = self.mixed.read();
            for (index, token) in tokens.iter().enumerate() {
                match known.get(&token.features) {
                    Some(vector) => vectors[index * WIDTH..(index + 1) * WIDTH].copy_from_slice(vector),
                    None => missing.push(index),
                }
            }
        }
        if missing.is_empty() {
            return Some(vectors);
        }
        let mut input = Vec::with_capacity(missing.len() * WIDTH * self.tables.len());
        for index in &missing {
            for (table, feature) in self.tables.iter().zip(tokens[*index].features) {
                let start = input.len();
                input.resize(start + WIDTH, 0.0);
                for row in rows(feature, table.seed) {
                    let row = row as usize % table.count * WIDTH;
                    let row = &table.vectors[row..row + WIDTH];
                    input[start..].iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            }
        }
        let mixed = self.mix.apply(input, missing.len())?;
        let mut known = self.mixed.write();
        if known.len() + missing.len() > MOST_MIXED {
            known.clear();
        }
        for (index, vector) in missing.into_iter().zip(mixed.chunks_exact(WIDTH)) {
            vectors[index * WIDTH..(index + 1) * WIDTH].copy_from_slice(vector);
            known.insert(tokens[index].features, vector.into());
        }
        Some(vectors)
    }
}

/// Each token's vector between those of its neighbours; zeros beyond the ends.
fn windows(vectors: &[f32], count: usize) -> Vec<f32> {
    let mut windows = Vec::with_capacity(count * WIDTH * 3);
    let zeros = [0.0; WIDTH];
    for index in 0..count {
        let row = |index: usize| &vectors[index * WIDTH..(index + 1) * WIDTH];
        windows.extend_from_slice(if index > 0 { row(index - 1) } else { &zeros });
        windows.extend_from_slice(row(index));
        windows.extend_from_slice(if index + 1 < count { row(index + 1) } else { &zeros });
    }
    windows
}
