//! The network over the encoder's vectors: one hidden layer that all categories share, with operating points from
//! cross-validation.
//!
//! It learns from the light scores of classifiers that had not seen the example, as it will be given such. Everything is
//! drawn from fixed seeds, and sums are made in one order, so that the same corpus gives the same bytes.

use craton_backend::dot;
use craton_guardrails::policies::content::CATEGORIES;
use craton_guardrails::policies::content_full::{FullHeads, Unit, logit};

use crate::content::{FOLDS, speaks};
use crate::corpus::Example;
use crate::grammar::Chance;
use crate::points;

const COUNT: usize = CATEGORIES.len();
/// Networks that are trained from different starts; what they say is averaged, which is one network with the units of all.
const STARTS: usize = 2;
const UNITS: usize = 128;
const EPOCHS: usize = 15;
const BATCH: usize = 64;
/// Of the first step; the steps shrink to none.
const RATE: f32 = 2e-3;
/// Share of what goes in that is left out of each step, so that no single part of it decides.
const LEFT_OUT: f32 = 0.3;
const SHRINK: f32 = 1e-4;
/// Light scores, as logits, vary more than what vectors have in a dimension.
const LIGHT_SCALE: f32 = 0.5;
/// Share of the harmful texts of a category which the encoder would know that its light classifier may keep from it: in short
/// texts, and in longer ones. Lines made from templates, which are easily known, do not count.
const KEPT_BACK: [f32; 2] = [0.02, 0.22];

/// What the network learns from one example.
struct Row {
    input: Vec<f32>,
    truth: [f32; COUNT],
    /// How much the example says about each category.
    weights: [f32; COUNT],
}

/// Weights while they are learnt, and the same again for gradients and their averages.
#[derive(Clone)]
struct Net {
    /// For each unit a weight an input, then its bias.
    hidden: Vec<f32>,
    /// For each category a weight a unit, then its bias.
    heads: Vec<f32>,
}

/// The network for examples, from the encoder's vectors of them and the light scores (a list a category).
pub(crate) fn train(examples: &[&Example], vectors: &[&[f32]], light: &[Vec<f32>]) -> FullHeads {
    let spread = Spread::of(vectors.iter().copied());
    let rows: Vec<Row> = examples
        .iter()
        .zip(vectors)
        .enumerate()
        .map(|(at, (example, vector))| {
            let mut input = spread.apply(vector);
            input.extend(light.iter().map(|scores| logit(scores[at]) * LIGHT_SCALE));
            let of = |it: bool| if it { 1.0 } else { 0.0 };
            Row {
                input,
                truth: std::array::from_fn(|category| of(example.label == Some(category))),
                weights: std::array::from_fn(|category| example.weight * of(speaks(example.label, category))),
            }
        })
        .collect();
    let (nets, full) = fit_all(&rows);
    let mut heads = spread.undo(&nets);
    set_points(&mut heads, examples, light, full);
    heads
}

/// The networks of all rows, and for each category the scores of networks that had not seen the row.
fn fit_all(rows: &[Row]) -> (Vec<Net>, Vec<Vec<f32>>) {
    let fit_some = |fold: usize| -> Vec<Net> {
        let kept = rows.iter().enumerate().filter(|(at, _)| fold == FOLDS || at % FOLDS != fold);
        let kept: Vec<&Row> = kept.map(|(_, row)| row).collect();
        (0..STARTS).map(|start| fit(&kept, start as u64)).collect()
    };
    let fitted: Vec<Vec<Net>> = std::thread::scope(|scope| {
        let work: Vec<_> = (0..=FOLDS).map(|fold| scope.spawn(move || fit_some(fold))).collect();
        work.into_iter().filter_map(|it| it.join().ok()).collect()
    });
    let mut full = vec![vec![0.0; rows.len()]; COUNT];
    let mut fired = vec![0.0; UNITS];
    for (at, row) in rows.iter().enumerate() {
        for net in &fitted[at % FOLDS] {
            let logits = net.logits(&row.input, &mut fired);
            full.iter_mut().zip(logits).for_each(|(full, logit)| full[at] += logit / STARTS as f32);
        }
    }
    full.iter_mut().flatten().for_each(|score| *score = probability(*score));
    (fitted.into_iter().nth(FOLDS).unwrap_or_default(), full)
}

fn probability(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Chooses what is shown to the encoder, and the points of low, medium and high confidence.
fn set_points(heads: &mut FullHeads, examples: &[&Example], light: &[Vec<f32>], mut full: Vec<Vec<f32>>) {
    let known = points::choose(examples, &full);
    for (category, head) in heads.heads.iter_mut().enumerate() {
        let real = (0..examples.len())
            .filter(|at| examples[*at].label == Some(category) && examples[*at].weight >= 1.0)
            .filter(|at| full[category][*at] >= known[category][0]);
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
    let points = points::choose(examples, &full);
    for (category, head) in heads.heads.iter_mut().enumerate() {
        head.points = points[category];
        eprintln!("{}: gates {:.3?}, points {:.3?}", CATEGORIES[category].as_str(), head.gates, head.points);
    }
}

/// The light scores that few of these texts stay below.
fn gates(mut light: Vec<f32>) -> [f32; 2] {
    light.sort_by(f32::total_cmp);
    KEPT_BACK.map(|share| light.get((light.len() as f32 * share) as usize).copied().unwrap_or(0.5))
}

/// What vectors have in common: early layers have much, and the network learns faster from what is left.
struct Spread {
    mean: Vec<f32>,
    scale: f32,
}

impl Spread {
    fn of<'a>(vectors: impl Iterator<Item = &'a [f32]> + Clone) -> Self {
        let count = vectors.clone().count().max(1) as f32;
        let width = vectors.clone().next().map_or(0, <[f32]>::len);
        let mut mean = vec![0.0_f32; width];
        for vector in vectors.clone() {
            mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / count);
        }
        let away =
            |vector: &[f32]| vector.iter().zip(&mean).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / count;
        let scale = (width as f32).sqrt() / vectors.map(away).sum::<f32>().sqrt().max(1e-6);
        Self { mean, scale }
    }

    fn apply(&self, vector: &[f32]) -> Vec<f32> {
        vector.iter().zip(&self.mean).map(|(value, mean)| (value - mean) * self.scale).collect()
    }

    /// Networks over vectors that this was applied to become one over the vectors themselves, which says what they say
    /// on average.
    fn undo(&self, nets: &[Net]) -> FullHeads {
        let width = self.mean.len();
        let mut heads = FullHeads::default();
        let share = 1.0 / nets.len().max(1) as f32;
        for net in nets {
            for weights in net.hidden.chunks_exact(width + COUNT + 1) {
                let dense: Vec<f32> = weights[..width].iter().map(|weight| weight * self.scale).collect();
                let light = std::array::from_fn(|category| weights[width + category] * LIGHT_SCALE);
                let bias = weights[width + COUNT] - dot(&dense, &self.mean);
                heads.hidden.push(Unit { bias, light, dense });
            }
            for (head, weights) in heads.heads.iter_mut().zip(net.heads.chunks_exact(UNITS + 1)) {
                head.bias += weights[UNITS] * share;
                head.units.extend(weights[..UNITS].iter().map(|weight| weight * share));
            }
        }
        heads
    }
}

impl Net {
    fn new(width: usize, chance: &mut Chance) -> Self {
        let mut drawn = |count: usize, inputs: usize, bias: f32| {
            let scale = (3.0 / inputs as f32).sqrt();
            let mut weights = Vec::with_capacity(count * (inputs + 1));
            for _ in 0..count {
                weights.extend((0..inputs).map(|_| (2.0 * chance.share() - 1.0) * scale));
                weights.push(bias);
            }
            weights
        };
        let hidden = drawn(UNITS, width, 0.0);
        Self { hidden, heads: drawn(COUNT, UNITS, -2.0) }
    }

    fn zeroed(&self) -> Self {
        Self { hidden: vec![0.0; self.hidden.len()], heads: vec![0.0; self.heads.len()] }
    }

    fn logits(&self, input: &[f32], fired: &mut [f32]) -> [f32; COUNT] {
        let width = input.len();
        for (fired, weights) in fired.iter_mut().zip(self.hidden.chunks_exact(width + 1)) {
            *fired = (dot(&weights[..width], input) + weights[width]).max(0.0);
        }
        let mut logits = [0.0; COUNT];
        for (logit, weights) in logits.iter_mut().zip(self.heads.chunks_exact(UNITS + 1)) {
            *logit = dot(&weights[..UNITS], fired) + weights[UNITS];
        }
        logits
    }

    /// Adds the gradient of one row to `sums`.
    fn learn(&self, row: &Row, input: &[f32], fired: &mut [f32], sums: &mut Self) {
        let scores = self.logits(input, fired).map(probability);
        let mut back = [0.0_f32; UNITS];
        for (category, score) in scores.iter().enumerate() {
            let error = (score - row.truth[category]) * row.weights[category] / BATCH as f32;
            let at = category * (UNITS + 1);
            let (weights, sums) = (&self.heads[at..at + UNITS], &mut sums.heads[at..=at + UNITS]);
            for unit in 0..UNITS {
                sums[unit] += error * fired[unit];
                back[unit] += error * weights[unit];
            }
            sums[UNITS] += error;
        }
        let width = input.len();
        for ((sums, error), fired) in sums.hidden.chunks_exact_mut(width + 1).zip(back).zip(fired) {
            if *fired > 0.0 {
                sums[..width].iter_mut().zip(input).for_each(|(sum, value)| *sum += error * value);
                sums[width] += error;
            }
        }
    }
}

/// Adam's averages of gradients and of their squares.
struct Averages {
    first: Net,
    second: Net,
    steps: i32,
}

impl Averages {
    fn step(&mut self, net: &mut Net, sums: &Net, rate: f32) {
        self.steps += 1;
        let (one, two) = (1.0 - 0.9_f32.powi(self.steps), 1.0 - 0.999_f32.powi(self.steps));
        let update = |weights: &mut [f32], sums: &[f32], first: &mut [f32], second: &mut [f32]| {
            for (((weight, sum), first), second) in weights.iter_mut().zip(sums).zip(first).zip(second) {
                *first = 0.9 * *first + 0.1 * sum;
                *second = 0.999 * *second + 0.001 * sum * sum;
                let towards = (*first / one) / ((*second / two).sqrt() + 1e-8);
                *weight -= rate * (towards + SHRINK * *weight);
            }
        };
        update(&mut net.hidden, &sums.hidden, &mut self.first.hidden, &mut self.second.hidden);
        update(&mut net.heads, &sums.heads, &mut self.first.heads, &mut self.second.heads);
    }
}

fn fit(rows: &[&Row], start: u64) -> Net {
    let mut chance = Chance::new(5 + start);
    let width = rows.first().map_or(0, |row| row.input.len());
    let mut net = Net::new(width, &mut chance);
    let mut averages = Averages { first: net.zeroed(), second: net.zeroed(), steps: 0 };
    let (mut sums, mut fired, mut input) = (net.zeroed(), vec![0.0; UNITS], vec![0.0; width]);
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let steps = EPOCHS * rows.len().div_ceil(BATCH);
    for _ in 0..EPOCHS {
        for at in (1..order.len()).rev() {
            order.swap(at, chance.below(at + 1));
        }
        for batch in order.chunks(BATCH) {
            sums.hidden.fill(0.0);
            sums.heads.fill(0.0);
            for at in batch {
                for (kept, value) in input.iter_mut().zip(&rows[*at].input) {
                    *kept = if chance.share() < LEFT_OUT { 0.0 } else { value / (1.0 - LEFT_OUT) };
                }
                net.learn(rows[*at], &input, &mut fired, &mut sums);
            }
            let left = 1.0 - averages.steps as f32 / steps as f32;
            averages.step(&mut net, &sums, RATE * left);
        }
    }
    net
}
