//! Logistic regression, one head a category, with operating points from cross-validation.

use craton_guardrails::policies::content::{BUCKETS, CATEGORIES, ContentModel, Features, Head};

use crate::corpus::Example;

const COUNT: usize = CATEGORIES.len();
const EPOCHS: usize = 14;
const FOLDS: usize = 3;
const RATE: f32 = 0.08;
const DENSE_RATE: f32 = 0.6;
/// Shrinks sparse weights a little at each step, so that one rare word can't decide alone.
const DECAY: f32 = 1e-3;
/// False positives among safe texts that low, medium and high confidence may have, in cross-validation.
const RATES: [f32; 3] = [0.012, 0.004, 0.001];

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
    for category in 0..COUNT {
        let points = points(&training, category);
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
fn speaks(label: Option<usize>, category: usize) -> bool {
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

/// The scores from which confidence is low, medium and high: those that few safe texts reach that the head was not
/// trained on.
fn points(examples: &[&Example], category: usize) -> [f32; 3] {
    let mut safe = Vec::new();
    for fold in 0..FOLDS {
        let of_fold = |index: usize| index % FOLDS == fold;
        let kept: Vec<&Example> = examples
            .iter()
            .enumerate()
            .filter(|(index, _)| !of_fold(*index))
            .map(|(_, example)| *example)
            .collect();
        let raw = fit(&kept, category);
        let judged =
            examples.iter().enumerate().filter(|(index, example)| of_fold(*index) && example.label.is_none());
        safe.extend(judged.map(|(_, example)| score(&raw, &example.features)));
    }
    safe.sort_by(f32::total_cmp);
    let quantile = |rate: f32| {
        let above = (safe.len() as f32 * rate) as usize;
        safe.get(safe.len().saturating_sub(above + 1)).copied().unwrap_or(0.5)
    };
    let low = quantile(RATES[0]).clamp(0.5, 0.9);
    let medium = quantile(RATES[1]).clamp((low + 0.02).max(0.7), 0.95);
    let high = quantile(RATES[2]).clamp((medium + 0.02).max(0.9), 0.985);
    [low, medium, high]
}
