//! The network: hashed embeddings, a mixing layer, four convolutions, and the parser's first layer.

use std::collections::HashMap;
use std::sync::Arc;

use craton_kernels::{Linear, Rows};
use parking_lot::RwLock;

use super::Entity;
use super::kernel::{Maxout, Scratch};
use super::murmur::rows;
use super::parser::Parser;
use super::tokens::{Token, Tokenizer};
use crate::fnv::Quick;

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
    project: Linear,
    lower: Linear,
    /// Columns of the parser's first layer.
    lower_width: usize,
    parser: Parser,
    /// Mixed embeddings by a token's features: they don't depend on its neighbours.
    mixed: RwLock<HashMap<[u64; 4], Arc<[f32]>, Quick>>,
}

impl NameModel {
    pub(super) fn new(weights: Weights, labels: Vec<String>, tokenizer: Tokenizer) -> Option<Self> {
        let mut layers = weights
            .layers
            .into_iter()
            .map(|it| Maxout::new(it.inputs, &it.matrix, &it.bias, (it.gain, it.offset)));
        let mix = layers.next()??;
        let convolutions: Vec<Maxout> = layers.collect::<Option<_>>()?;
        let layers_fit = mix.inputs() == weights.tables.len() * WIDTH
            && mix.outputs() == WIDTH
            && convolutions.len() <= PAD
            && convolutions.iter().all(|it| it.inputs() == 3 * WIDTH && it.outputs() == WIDTH);
        let tables_fit = weights.tables.len() == 4
            && weights
                .tables
                .iter()
                .all(|table| table.count > 0 && table.vectors.len() == table.count * WIDTH);
        let fits = tables_fit
            && layers_fit
            && weights.lower.len() == weights.pad.len() * PARSER_WIDTH
            && weights.project.len() == PARSER_WIDTH * WIDTH
            && weights.project_bias.len() == PARSER_WIDTH;
        if !fits {
            return None;
        }
        let lower_width = weights.lower.len() / PARSER_WIDTH;
        Some(Self {
            tokenizer,
            tables: weights.tables,
            mix,
            convolutions,
            project: Linear::new(&weights.project, &weights.project_bias),
            lower: Linear::new(&weights.lower, &vec![0.0; lower_width]),
            lower_width,
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
        let states = self.states(parts);
        let mut rest = states.as_slice();
        for (text, tokens) in parts {
            let (own, after) = rest.split_at(tokens.len() * self.lower_width);
            rest = after;
            found[*text].extend(self.parser.parse(tokens, own));
        }
    }

    /// For each token of each part, what it adds to the parser's first layer in each of its places.
    fn states(&self, parts: &[(usize, &[Token])]) -> Vec<f32> {
        let mut scratch = Scratch::quick();
        // The network was trained with rows of zeros around a text, which the convolutions change like any other. As many as
        // there are convolutions keep one part from another. One more at each end is what the ends' windows reach into.
        let mut vectors = vec![0.0; (1 + PAD) * WIDTH];
        for (_, part) in parts {
            self.embed(part, &mut vectors);
            vectors.resize(vectors.len() + PAD * WIDTH, 0.0);
        }
        let rows = vectors.len() / WIDTH - 1;
        vectors.resize(vectors.len() + WIDTH, 0.0);
        for convolution in &self.convolutions {
            // A token's window is its vector between those of its neighbours, which is how they lie.
            let mut added = vec![0.0; rows * WIDTH];
            let windows = Rows { data: &vectors, stride: WIDTH };
            convolution.apply(windows, rows, &mut scratch, |row, out| {
                added[row * WIDTH..(row + 1) * WIDTH].copy_from_slice(out);
            });
            vectors[WIDTH..].iter_mut().zip(added).for_each(|(value, added)| *value += added);
        }
        let count: usize = parts.iter().map(|(_, part)| part.len()).sum();
        let mut kept = Vec::with_capacity(count * WIDTH);
        let mut at = 1 + PAD;
        for (_, part) in parts {
            kept.extend_from_slice(&vectors[at * WIDTH..(at + part.len()) * WIDTH]);
            at += part.len() + PAD;
        }
        let kept = Rows { data: &kept, stride: WIDTH };
        let projected = scratch.multiply(&self.project, kept, (count, PARSER_WIDTH)).to_vec();
        let projected = Rows { data: &projected, stride: PARSER_WIDTH };
        scratch.multiply(&self.lower, projected, (count, self.lower_width)).to_vec()
    }

    /// Appends the mixed embedding of every token.
    fn embed(&self, tokens: &[Token], vectors: &mut Vec<f32>) {
        let start = vectors.len();
        vectors.resize(start + tokens.len() * WIDTH, 0.0);
        let vectors = &mut vectors[start..];
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
            return;
        }
        let width = WIDTH * self.tables.len();
        let mut input = Vec::with_capacity(missing.len() * width);
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
        // Kept, so that it may as well be exact.
        let left = Rows { data: &input, stride: width };
        self.mix.apply(left, missing.len(), &mut Scratch::default(), |row, vector| {
            vectors[missing[row] * WIDTH..(missing[row] + 1) * WIDTH].copy_from_slice(vector);
        });
        let mut known = self.mixed.write();
        if known.len() + missing.len() > MOST_MIXED {
            known.clear();
        }
        for index in missing {
            known.insert(tokens[index].features, vectors[index * WIDTH..(index + 1) * WIDTH].into());
        }
    }
}
