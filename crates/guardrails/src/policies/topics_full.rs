//! Denied topics by the sentence encoder: what its vector of a sentence says for a topic, together with the light vectors.
//!
//! Vectors are compared by how they differ from the mean of ordinary traffic. The weights come from some of the topics of
//! `corpus/topics.tsv`; `train-guardrails topics` prints them, and measures on the others.

use std::sync::Arc;

use craton_backend::{dot, normalise};
use tokio::sync::OnceCell;

use super::topics_acts::Done;

/// Ordinary traffic as a sentence encoder sees it: computed once for each encoder.
pub type OrdinaryVectors = OnceCell<Arc<Ordinary>>;

/// What vectors of ordinary traffic have in common, and how each differs from that.
#[derive(Debug)]
pub struct Ordinary {
    mean: Vec<f32>,
    vectors: Vec<Vec<f32>>,
}

impl Ordinary {
    pub(super) fn new(vectors: Vec<Vec<f32>>) -> Self {
        let mut mean = vec![0.0_f32; vectors.first().map_or(0, Vec::len)];
        for vector in &vectors {
            mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / vectors.len() as f32);
        }
        let mut ordinary = Self { mean, vectors: Vec::new() };
        ordinary.vectors = vectors.into_iter().map(|vector| ordinary.apart(vector)).collect();
        ordinary
    }

    /// The direction in which a vector differs from ordinary traffic.
    fn apart(&self, mut vector: Vec<f32>) -> Vec<f32> {
        vector.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value -= mean);
        normalise(&mut vector);
        vector
    }
}

/// A topic by the encoder: the name and definition, what that names one by one, the examples, and ordinary traffic.
pub(super) struct FullTopic {
    definition: Vec<f32>,
    examples: Vec<Vec<f32>>,
    parts: Vec<Vec<f32>>,
    to_definition: Spread,
    to_examples: Spread,
    to_parts: Spread,
    ordinary: Arc<Ordinary>,
}

/// Mean and standard deviation.
#[derive(Clone, Copy)]
pub(super) struct Spread(f32, f32);

impl Spread {
    pub(super) fn of(values: &[f32]) -> Self {
        let count = values.len().max(1) as f32;
        let mean = values.iter().sum::<f32>() / count;
        let variance = values.iter().map(|it| (it - mean).powi(2)).sum::<f32>() / count;
        Self(mean, variance.sqrt().max(0.02))
    }

    pub(super) fn of_value(self, value: f32) -> f32 {
        (value - self.0) / self.1
    }
}

/// How far a sentence stands out by the light vectors: as a whole, its nearest word, its second nearest word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StandsOut(pub(super) [f32; 3]);

impl StandsOut {
    pub(super) fn light(&self) -> f32 {
        let [whole, first, second] = self.0;
        0.5 * whole + 0.5 * first + 0.25 * second
    }
}

/// What speaks for a sentence being on a topic, and against it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Cosine to the nearest example (to the definition where there is none), and to the definition.
    pub example: f32,
    pub definition: f32,
    /// Cosine to the nearest of what the definition names one by one, and the same in standard deviations above ordinary
    /// traffic.
    pub part: f32,
    pub part_out: f32,
    /// Cosine to the nearest of ordinary traffic: what people also ask about is less likely to be the topic.
    pub ordinary: f32,
    /// Example and definition in standard deviations above ordinary traffic.
    pub example_out: f32,
    pub definition_out: f32,
    pub light: StandsOut,
    pub done: Done,
}

/// Things that [`Evidence`] has.
pub const VALUES: usize = 13;
/// Their weights, and what they must sum to.
const WEIGHTS: [f32; VALUES] =
    [5.65, 2.43, 0.28, -0.38, 0.28, 5.74, 0.34, -5.89, 0.23, 0.11, 1.29, -0.63, -0.64];
const POINT: f32 = 5.04;

impl Evidence {
    pub fn values(&self) -> [f32; VALUES] {
        let [whole, first, second] = self.light.0;
        let Self { example, definition, part, part_out, ordinary, example_out, definition_out, .. } = *self;
        let [advice, asks, procedure] =
            [self.done.advice, self.done.asks, self.done.procedure].map(|it| f32::from(u8::from(it)));
        [
            example,
            definition,
            whole,
            first,
            second,
            part,
            part_out,
            ordinary,
            example_out,
            definition_out,
            advice,
            asks,
            procedure,
        ]
    }

    /// Above 0 is on topic.
    pub fn margin(&self) -> f32 {
        self.values().iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum::<f32>()
            + self.done.compared
            - POINT
    }
}

impl FullTopic {
    pub(super) fn new(vectors: Vec<Vec<f32>>, parts: Vec<Vec<f32>>, ordinary: &Arc<Ordinary>) -> Self {
        let mut vectors = vectors.into_iter().map(|vector| ordinary.apart(vector));
        let definition = vectors.next().unwrap_or_default();
        let mut examples: Vec<Vec<f32>> = vectors.collect();
        if examples.is_empty() {
            examples.push(definition.clone());
        }
        let mut parts: Vec<Vec<f32>> = parts.into_iter().map(|vector| ordinary.apart(vector)).collect();
        parts.push(definition.clone());
        let spread = |near: &dyn Fn(&[f32]) -> f32| {
            Spread::of(&ordinary.vectors.iter().map(|it| near(it)).collect::<Vec<f32>>())
        };
        let to_parts = spread(&|it| nearest(&parts, it));
        let to_definition = spread(&|it| dot(it, &definition));
        let to_examples = spread(&|it| nearest(&examples, it));
        let ordinary = Arc::clone(ordinary);
        Self { definition, examples, parts, to_definition, to_examples, to_parts, ordinary }
    }

    pub(super) fn evidence(&self, vector: &[f32], light: StandsOut, done: Done) -> Evidence {
        let vector = &self.ordinary.apart(vector.to_vec());
        let part = nearest(&self.parts, vector);
        let example = nearest(&self.examples, vector);
        let definition = dot(&self.definition, vector);
        Evidence {
            example,
            definition,
            example_out: self.to_examples.of_value(example),
            definition_out: self.to_definition.of_value(definition),
            part,
            part_out: self.to_parts.of_value(part),
            ordinary: nearest(&self.ordinary.vectors, vector),
            light,
            done,
        }
    }
}

pub(super) fn nearest(vectors: &[Vec<f32>], vector: &[f32]) -> f32 {
    vectors.iter().map(|it| dot(it, vector)).fold(0.0, f32::max)
}
