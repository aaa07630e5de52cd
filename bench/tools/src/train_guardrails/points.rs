//! Operating points: what the scores of six classifiers have to be for low, medium and high confidence.
//!
//! False alarms are a budget that all six share, spent where it brings most. It is counted on texts that the classifiers
//! were not trained on (cross-validation): in ordinary traffic, and in safe texts that are hard on purpose. Starting from
//! where nothing is found, the point is lowered that finds most of its category for what it costs, until the budget of
//! high confidence is spent, then that of medium, then that of low. What a category finds counts more the less of it is
//! found already: else the easy ones would leave nothing to the hard ones.

use craton_guardrails::policies::content::CATEGORIES;

use crate::content::speaks;
use crate::corpus::Example;

const COUNT: usize = CATEGORIES.len();
/// For high, medium and low confidence: the share of ordinary texts that all filters together may stop, and of hard ones.
const BUDGETS: [(f32, f32); 3] = [(0.0015, 0.03), (0.009, 0.1), (0.014, 0.16)];
/// A false alarm in ordinary traffic costs as much as so many in hard texts, as often as they come.
const WORSE: f32 = 4.0;

/// What the last of a category counts at least.
const LEAST: f32 = 0.05;

/// The false alarms so far.
struct Alarms {
    raised: Vec<bool>,
    ordinary: usize,
    hard: usize,
}

/// `scores[category][example]` of classifiers that had not seen the example; for each category the points of low, medium
/// and high confidence.
pub(crate) fn choose(examples: &[&Example], scores: &[Vec<f32>]) -> [[f32; 3]; COUNT] {
    let ordinary = examples.iter().filter(|it| it.ordinary).count();
    let hard = examples.iter().filter(|it| is_hard(it)).count();
    let mut alarms = Alarms { raised: vec![false; examples.len()], ordinary: 0, hard: 0 };
    let mut points = [1.1_f32; COUNT];
    let mut chosen = [[1.1_f32; 3]; COUNT];
    for (level, (most_ordinary, most_hard)) in BUDGETS.into_iter().enumerate() {
        let most = (ordinary as f32 * most_ordinary, hard as f32 * most_hard);
        while let Some((category, point)) = best_step(examples, scores, &points, (&alarms, most)) {
            points[category] = point;
            for at in news(examples, &scores[category], point, &alarms) {
                alarms.raised[at] = true;
                alarms.ordinary += usize::from(examples[at].ordinary);
                alarms.hard += usize::from(is_hard(examples[at]));
            }
        }
        for (chosen, point) in chosen.iter_mut().zip(points) {
            chosen[2 - level] = point;
        }
        let counts = (alarms.ordinary, ordinary, alarms.hard, hard);
        eprintln!(
            "level {level}: alarms in {counts:?} ordinary and hard texts, finds {:.2?}",
            found(examples, scores, &points)
        );
    }
    chosen
}

fn is_hard(example: &Example) -> bool {
    example.label.is_none() && !example.ordinary && !example.group.starts_with('b')
}

/// Whether finding an example is worth something to a category: lines made from templates are found too easily to tell.
fn counts(example: &Example, category: usize) -> bool {
    example.label == Some(category) && example.weight >= 1.0
}

/// Share of each category that is found.
fn found(examples: &[&Example], scores: &[Vec<f32>], points: &[f32; COUNT]) -> [f32; COUNT] {
    std::array::from_fn(|category| {
        let of = |at: &usize| counts(examples[*at], category);
        let all = (0..examples.len()).filter(of).count().max(1);
        let hits =
            (0..examples.len()).filter(of).filter(|at| scores[category][*at] >= points[category]).count();
        hits as f32 / all as f32
    })
}

/// Safe texts that a point would stop and that nothing stops yet.
fn news<'a>(examples: &'a [&Example], scores: &'a [f32], point: f32, alarms: &'a Alarms) -> Vec<usize> {
    let new = |at: &usize| examples[*at].label.is_none() && !alarms.raised[*at] && scores[*at] >= point;
    (0..examples.len()).filter(new).collect()
}

/// The category whose point, lowered, finds most for its cost within the budget, and that point.
fn best_step(
    examples: &[&Example],
    scores: &[Vec<f32>],
    points: &[f32; COUNT],
    (alarms, most): (&Alarms, (f32, f32)),
) -> Option<(usize, f32)> {
    let mut best: Option<(f32, usize, f32)> = None;
    let known = found(examples, scores, points);
    for category in 0..COUNT {
        let missing = (1.0 - known[category]).powi(2) + LEAST;
        let scores = &scores[category];
        let mut rows: Vec<(f32, usize)> = (0..examples.len())
            .filter(|at| scores[*at] < points[category] && scores[*at] > 0.02)
            .filter(|at| speaks(examples[*at].label, category) && !alarms.raised[*at])
            .filter(|at| examples[*at].label.is_none() || counts(examples[*at], category))
            .map(|at| (scores[at], at))
            .collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        let all = examples.iter().filter(|it| counts(it, category)).count().max(1) as f32;
        let (mut gain, mut cost, mut ordinary, mut hard) = (0.0_f32, 0.5_f32, alarms.ordinary, alarms.hard);
        for (score, at) in rows {
            let example = examples[at];
            if example.label.is_some() {
                gain += 1.0 / all;
                let ratio = missing * gain / cost;
                if best.is_none_or(|(most, _, _)| ratio > most) {
                    best = Some((ratio, category, score));
                }
                continue;
            }
            ordinary += usize::from(example.ordinary);
            hard += usize::from(is_hard(example));
            cost += if example.ordinary { WORSE } else { 1.0 };
            if ordinary as f32 > most.0 || hard as f32 > most.1 {
                break;
            }
        }
    }
    best.map(|(_, category, point)| (category, point))
}
