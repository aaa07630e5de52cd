//! Logistic regression, one head a category, with operating points from cross-validation.

use craton_backend::dot;
use craton_guardrails::policies::content::{BUCKETS, CATEGORIES, ContentModel, Features, Head};
use craton_guardrails::policies::content_full::{FullHead, FullHeads, logit};

use crate::corpus::Example;
use crate::points;

const COUNT: usize = CATEGORIES.len();
const EPOCHS: usize = 14;
const FOLDS: usize = 3;
const RATE: f32 = 0.08;
const DENSE_RATE: f32 = 0.6;
/// Shrinks sparse weights a little at each step, so that one rare word can't decide alone.
const DECAY: f32 = 1e-3;
/// Share of the harmful texts of a category which the encoder would know that its light classifier may keep from it: in short
/// texts, and in longer ones.
const KEPT_BACK: [f32; 2] = [0.05, 0.2];
const FULL_ROUNDS: usize = 1500;
const FULL_RATE: f32 = 4.0;
const SHRINK: f32 = 2e-4;

/// Weights before they are made small.
#[derive(Clone)]
struct Raw {
    bias: f32,
    sparse: Vec<f32>,
    dense: Vec<f32>,
}

pub(crate) fn train(corpus: &[Example]) -> ContentModel {
    let training: Vec<&Example> = corpus.iter().filter(|example| !example.held_out).collect();
    let mut model = ContentModel { sparse: vec![[0; COUNT]; BUCKETS], ..ContentModel::default() };
    let unseen: Vec<Vec<f32>> = (0..COUNT).map(|category| unseen_scores(&training, category)).collect();
    let points = points::choose(&training, &unseen);
    for category in 0..COUNT {
        let points = points[category];
        let raw = fit(&training, category);
        let most = raw.sparse.iter().fold(1e-9_f32, |most, weight| most.max(weight.abs()));
        let scale = most / 127.0;
        for (row, weight) in model.sparse.iter_mut().zip(&raw.sparse) {
            row[category] = (weight / scale).round() as i8;
        }
        model.heads[category] = Head { bias: raw.bias, scale, points, dense: raw.dense };
        eprintln!("{}: points {points:?}", CATEGORIES[category].as_str());
    }
    model
}

/// Whether an example says anything about a category: what threatens is often also misconduct, what hates also insults.
pub(crate) fn speaks(label: Option<usize>, category: usize) -> bool {
    let name = |index: usize| CATEGORIES[index].as_str();
    match label {
        None => true,
        Some(label) if label == category => true,
        Some(label) => !matches!(
            (name(label), name(category)),
            ("VIOLENCE", "MISCONDUCT")
                | ("MISCONDUCT", "VIOLENCE")
                | ("HATE", "INSULTS" | "VIOLENCE")
                | ("INSULTS", "HATE")
        ),
    }
}

fn fit(examples: &[&Example], category: usize) -> Raw {
    let dimensions = examples.first().map_or(0, |example| example.features.dense.len());
    let mut raw = Raw { bias: -1.0, sparse: vec![0.0; BUCKETS], dense: vec![0.0; dimensions] };
    let mut sparse_sums = vec![1e-3_f32; BUCKETS];
    let mut dense_sums = vec![1e-3_f32; dimensions];
    let wanted: Vec<&&Example> = examples.iter().filter(|example| speaks(example.label, category)).collect();
    let positives = wanted.iter().filter(|example| example.label == Some(category)).count().max(1);
    // Rare categories weigh as much as half of what is safe.
    let weight_of_positive = ((wanted.len() - positives) as f32 / positives as f32 * 0.5).clamp(1.0, 6.0);
    for epoch in 0..EPOCHS {
        for step in 0..wanted.len() {
            // A fixed walk through all examples, another each epoch.
            let example = wanted[(step * 7919 + epoch * 104_729) % wanted.len()];
            let truth = f32::from(u8::from(example.label == Some(category)));
            let weight = if truth > 0.5 { weight_of_positive } else { 1.0 };
            let error = (score(&raw, &example.features) - truth) * weight;
            let length = (example.features.sparse.len().max(1) as f32).sqrt();
            for bucket in &example.features.sparse {
                let at = *bucket as usize;
                let gradient = error / length + DECAY * raw.sparse[at];
                sparse_sums[at] += gradient * gradient;
                raw.sparse[at] -= RATE * gradient / sparse_sums[at].sqrt();
            }
            for (at, value) in example.features.dense.iter().enumerate() {
                let gradient = error * value;
                dense_sums[at] += gradient * gradient;
                raw.dense[at] -= DENSE_RATE * gradient / dense_sums[at].sqrt();
            }
            raw.bias -= 0.01 * error;
        }
    }
    raw
}

fn score(raw: &Raw, features: &Features) -> f32 {
    let length = (features.sparse.len().max(1) as f32).sqrt();
    let sparse: f32 = features.sparse.iter().map(|bucket| raw.sparse[*bucket as usize]).sum();
    let dense: f32 = features.dense.iter().zip(&raw.dense).map(|(a, b)| a * b).sum();
    1.0 / (1.0 + (-(raw.bias + sparse / length + dense)).exp())
}

/// The heads over the encoder's vectors (one an example), trained on light scores of classifiers that had not seen the
/// example.
pub(crate) fn train_full(corpus: &[Example], vectors: &[Vec<f32>]) -> FullHeads {
    let training = || corpus.iter().zip(vectors).filter(|(example, _)| !example.held_out);
    let spread = Spread::of(training().map(|(_, vector)| vector.as_slice()));
    let training: Vec<(&Example, Vec<f32>)> =
        training().map(|(example, vector)| (example, spread.apply(vector))).collect();
    let examples: Vec<&Example> = training.iter().map(|(example, _)| *example).collect();
    let light: Vec<Vec<f32>> = (0..COUNT).map(|category| unseen_scores(&examples, category)).collect();
    let mut heads = FullHeads::default();
    let mut full: Vec<Vec<f32>> = Vec::new();
    for category in 0..COUNT {
        let rows: Vec<Row<'_>> = training
            .iter()
            .zip(&light[category])
            .map(|((example, vector), light)| Row {
                vector,
                light: logit(*light),
                truth: example.label == Some(category),
                speaks: speaks(example.label, category),
            })
            .collect();
        let mut unseen = vec![0.0; rows.len()];
        for fold in 0..FOLDS {
            let kept = rows.iter().enumerate().filter(|(at, row)| at % FOLDS != fold && row.speaks);
            let kept: Vec<&Row<'_>> = kept.map(|(_, it)| it).collect();
            let head = fit_full(&kept);
            for (at, row) in rows.iter().enumerate().filter(|(at, _)| at % FOLDS == fold) {
                unseen[at] = full_score(&head, row);
            }
        }
        full.push(unseen);
        let all: Vec<&Row<'_>> = rows.iter().filter(|row| row.speaks).collect();
        heads.heads[category] = fit_full(&all);
    }
    let known = points::choose(&examples, &full);
    for (category, head) in heads.heads.iter_mut().enumerate() {
        let real = (0..examples.len())
            .filter(|at| examples[*at].label == Some(category) && full[category][*at] >= known[category][0]);
        head.gates = gates(real.map(|at| light[category][at]).collect());
    }
    // What no light classifier is suspicious of is never shown to the encoder.
    let shown = |at: usize| (0..COUNT).any(|category| light[category][at] >= heads.heads[category].gates[0]);
    for at in (0..examples.len()).filter(|at| !shown(*at)) {
        full.iter_mut().for_each(|scores| scores[at] = 0.0);
    }
    let asked = (0..examples.len()).filter(|at| examples[*at].ordinary && shown(*at)).count();
    let ordinary = examples.iter().filter(|it| it.ordinary).count();
    eprintln!("shown to the encoder: {asked} of {ordinary} ordinary texts");
    let points = points::choose(&examples, &full);
    for (category, head) in heads.heads.iter_mut().enumerate() {
        head.points = points[category];
        spread.undo(head);
        eprintln!("{}: gates {:.3?}, points {:.3?}", CATEGORIES[category].as_str(), head.gates, head.points);
    }
    heads
}

/// The light scores that few of these texts stay below.
fn gates(mut light: Vec<f32>) -> [f32; 2] {
    light.sort_by(f32::total_cmp);
    KEPT_BACK.map(|share| light.get((light.len() as f32 * share) as usize).copied().unwrap_or(0.5))
}

/// What vectors have in common: early layers have much, and heads learn faster from what is left.
struct Spread {
    mean: Vec<f32>,
    scale: f32,
}

impl Spread {
    fn of<'a>(vectors: impl Iterator<Item = &'a [f32]> + Clone) -> Self {
        let count = vectors.clone().count().max(1) as f32;
        let mut mean = vec![0.0_f32; vectors.clone().next().map_or(0, <[f32]>::len)];
        for vector in vectors.clone() {
            mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / count);
        }
        let away =
            |vector: &[f32]| vector.iter().zip(&mean).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / count;
        let scale = 1.0 / vectors.map(away).sum::<f32>().sqrt().max(1e-6);
        Self { mean, scale }
    }

    fn apply(&self, vector: &[f32]) -> Vec<f32> {
        vector.iter().zip(&self.mean).map(|(value, mean)| (value - mean) * self.scale).collect()
    }

    /// A head over vectors that this was applied to becomes one over the vectors themselves.
    fn undo(&self, head: &mut FullHead) {
        head.dense.iter_mut().for_each(|weight| *weight *= self.scale);
        head.bias -= head.dense.iter().zip(&self.mean).map(|(weight, mean)| weight * mean).sum::<f32>();
    }
}

struct Row<'a> {
    vector: &'a [f32],
    light: f32,
    truth: bool,
    speaks: bool,
}

/// Scores of a category by classifiers that were trained without the example.
fn unseen_scores(examples: &[&Example], category: usize) -> Vec<f32> {
    let mut scores = vec![0.0; examples.len()];
    for fold in 0..FOLDS {
        let kept: Vec<&Example> =
            examples.iter().enumerate().filter(|(at, _)| at % FOLDS != fold).map(|(_, it)| *it).collect();
        let raw = fit(&kept, category);
        for (at, example) in examples.iter().enumerate().filter(|(at, _)| at % FOLDS == fold) {
            scores[at] = score(&raw, &example.features);
        }
    }
    scores
}

fn full_score(head: &FullHead, row: &Row<'_>) -> f32 {
    let dense = dot(&head.dense, row.vector);
    1.0 / (1.0 + (-(head.bias + head.light * row.light + dense)).exp())
}

/// Logistic regression over all rows at a time.
fn fit_full(rows: &[&Row<'_>]) -> FullHead {
    let width = rows.first().map_or(0, |row| row.vector.len());
    let mut head = FullHead { bias: -1.0, light: 0.3, dense: vec![0.0; width], ..FullHead::default() };
    let real = rows.iter().filter(|row| row.truth).count().max(1);
    let weight_of_real = ((rows.len() - real) as f32 / real as f32 * 0.5).clamp(1.0, 6.0);
    let total: f32 = rows.iter().map(|row| if row.truth { weight_of_real } else { 1.0 }).sum();
    for _ in 0..FULL_ROUNDS {
        let (mut bias, mut light, mut dense) = (0.0, 0.0, vec![0.0_f32; width]);
        for row in rows {
            let weight = if row.truth { weight_of_real } else { 1.0 };
            let error = (full_score(&head, row) - f32::from(u8::from(row.truth))) * weight / total;
            bias += error;
            light += error * row.light;
            dense.iter_mut().zip(row.vector).for_each(|(sum, value)| *sum += error * value);
        }
        head.bias -= FULL_RATE * bias;
        head.light -= 0.02 * FULL_RATE * light;
        for (weight, gradient) in head.dense.iter_mut().zip(dense) {
            *weight -= 8.0 * FULL_RATE * (gradient + SHRINK * 0.1 * *weight);
        }
    }
    head
}
