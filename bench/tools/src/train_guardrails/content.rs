//! The light classifiers: logistic regression, one head a category, with operating points from cross-validation.

use craton_guardrails::policies::content::{BUCKETS, CATEGORIES, ContentModel, Features, Head};

use crate::corpus::Example;
use crate::points;

const COUNT: usize = CATEGORIES.len();
const EPOCHS: usize = 14;
/// Parts that the examples are cut into for cross-validation.
pub(crate) const FOLDS: usize = 3;
const RATE: f32 = 0.08;
const DENSE_RATE: f32 = 0.6;
/// Shrinks sparse weights a little at each step, so that one rare word can't decide alone.
const DECAY: f32 = 1e-3;
/// Weights before they are made small.
#[derive(Clone)]
struct Raw {
    bias: f32,
    sparse: Vec<f32>,
    dense: Vec<f32>,
}

/// The classifiers, and for each category the scores of all examples that are trained on, by classifiers that had not seen
/// them.
pub(crate) fn train(training: &[&Example]) -> (ContentModel, Vec<Vec<f32>>) {
    let mut model = ContentModel { sparse: vec![[0; COUNT]; BUCKETS], ..ContentModel::default() };
    let fitted: Vec<(Vec<f32>, Raw)> = std::thread::scope(|scope| {
        let work = (0..COUNT).map(|category| {
            scope.spawn(move || (unseen_scores(training, category), fit(training, category)))
        });
        let work: Vec<_> = work.collect();
        work.into_iter().filter_map(|it| it.join().ok()).collect()
    });
    let (unseen, raws): (Vec<Vec<f32>>, Vec<Raw>) = fitted.into_iter().unzip();
    let points = points::choose(training, &unseen);
    for (category, raw) in raws.into_iter().enumerate() {
        let points = points[category];
        let most = raw.sparse.iter().fold(1e-9_f32, |most, weight| most.max(weight.abs()));
        let scale = most / 127.0;
        for (row, weight) in model.sparse.iter_mut().zip(&raw.sparse) {
            row[category] = (weight / scale).round() as i8;
        }
        model.heads[category] = Head { bias: raw.bias, scale, points, dense: raw.dense };
        eprintln!("{}: points {points:?}", CATEGORIES[category].as_str());
    }
    (model, unseen)
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
            let weight = example.weight * if truth > 0.5 { weight_of_positive } else { 1.0 };
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
