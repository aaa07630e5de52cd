//! Denied topics: the weights of the encoder's evidence from half of the topics, and what they measure on the other half, and on
//! topics that were written after both.

use std::path::Path;

use anyhow::Context as _;
use craton_api_bedrock::GuardrailTopicAction;
use craton_guardrails::definition::{Sides, Topic};
use craton_guardrails::policies::topics::{OrdinaryVectors, TopicMatcher, TopicScore, VALUES};
use craton_guardrails::text::View;

use crate::measure::share;
use crate::statics::encoder;

const ROUNDS: usize = 20_000;
const RATE: f32 = 0.5;
const SHRINK: f32 = 1e-3;

/// A topic and texts that are on it, next to it, and about other things.
struct Case {
    topic: Topic,
    group: Group,
    on: Vec<String>,
    near: Vec<String>,
}

/// What the texts of a topic are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Calibrating,
    Measuring,
    /// Written after the weights, and only measured on.
    Fresh,
    /// Topics about what a text does (compares, asks for advice), written after the rules for that, and measured on.
    Acts,
}

/// What one text is to one topic, and what was found.
struct Row {
    kind: Truth,
    text: String,
    topic: String,
    values: [f32; VALUES],
    /// What its comparing counts, which is not fitted.
    compared: f32,
    score: TopicScore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    On,
    Near,
    /// On another topic, or ordinary traffic that the comparison did not use.
    Other,
}

pub(crate) async fn report(folder: &Path) -> anyhow::Result<()> {
    let mut cases = read(&folder.join("topics.tsv"))?;
    let fresh = read(&folder.join("topics-fresh.tsv"))?;
    cases.extend(fresh.into_iter().map(|case| Case { group: Group::Fresh, ..case }));
    let acts = read(&folder.join("topics-acts.tsv"))?;
    cases.extend(acts.into_iter().map(|case| Case { group: Group::Acts, ..case }));
    let background = std::fs::read_to_string(folder.join("background.txt"))?;
    let lines = background.lines().filter(|line| !line.trim().is_empty()).enumerate();
    let ordinary: Vec<String> =
        lines.filter(|(at, _)| at % 4 == 2).map(|(_, line)| line.to_owned()).collect();
    let embedder = encoder()?;
    let seen = OrdinaryVectors::new();
    let mut halves: [Vec<Row>; 4] = std::array::from_fn(|_| Vec::new());
    for (place, case) in cases.iter().enumerate() {
        let matcher = TopicMatcher::new(std::slice::from_ref(&case.topic));
        let mut texts: Vec<(Truth, &String)> = case.on.iter().map(|text| (Truth::On, text)).collect();
        texts.extend(case.near.iter().map(|text| (Truth::Near, text)));
        let others =
            cases.iter().enumerate().filter(|(at, _)| *at != place && cases[*at].group == case.group);
        texts.extend(others.flat_map(|(_, other)| other.on.iter().take(3)).map(|text| (Truth::Other, text)));
        texts.extend(ordinary.iter().map(|text| (Truth::Other, text)));
        for (kind, text) in texts {
            let mut looked = matcher.look(&View::folded(text));
            let evidence = matcher.evidence(text, &embedder, &seen).await.context("the encoder failed")?;
            if looked.is_unsure() {
                matcher.confirm(vec![&mut looked], (&embedder, &seen)).await;
            }
            let score = looked.scores[0];
            let (text, topic) = (text.clone(), case.topic.name.clone());
            let (values, compared) = (evidence[0].values(), evidence[0].done.compared);
            halves[case.group as usize].push(Row { kind, text, topic, values, compared, score });
        }
    }
    let (weights, point) = fit(&halves[0]);
    println!("Weights {weights:.2?}, point {point:.2}, from the calibrating topics.\n");
    println!(
        "| texts | denied by the weights above, everywhere asked | denied as shipped | asked |\n|---|---|---|---|"
    );
    for (name, half) in ["calibrating", "measuring", "fresh", "acts"].into_iter().zip(&halves) {
        for kind in [Truth::On, Truth::Near, Truth::Other] {
            let rows: Vec<&Row> = half.iter().filter(|row| row.kind == kind).collect();
            let by_weights =
                rows.iter().filter(|row| sum(&row.values, &weights) + row.compared > point).count();
            let shipped = rows.iter().filter(|row| row.score.is_on()).count();
            let asked = rows.iter().filter(|row| row.score.full.is_some()).count();
            println!(
                "| {name}: {kind:?} | {} | {} | {} |",
                share(by_weights, rows.len()),
                share(shipped, rows.len()),
                share(asked, rows.len())
            );
        }
    }
    println!("\n| asked from | of On | of Near | of Other |\n|---|---|---|---|");
    for from in [0.5_f32, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0] {
        let asked = |kind: Truth| {
            let rows: Vec<&Row> = halves[0].iter().filter(|row| row.kind == kind).collect();
            share(rows.iter().filter(|row| row.score.light >= from).count(), rows.len())
        };
        println!("| {from} | {} | {} | {} |", asked(Truth::On), asked(Truth::Near), asked(Truth::Other));
    }
    if std::env::var_os("SHOW").is_some() {
        for row in halves.iter().flatten() {
            if row.score.is_on() != (row.kind == Truth::On) {
                eprintln!("{:?} {} {:?} {:.2?}: {}", row.kind, row.topic, row.score, row.values, row.text);
            }
        }
    }
    Ok(())
}

fn sum(values: &[f32; VALUES], weights: &[f32; VALUES]) -> f32 {
    values.iter().zip(weights).map(|(value, weight)| value * weight).sum()
}

/// Logistic regression on whether a text is on the topic, over values of one spread; the point is where sixteen in a
/// hundred of the neighbours, which are close on purpose, and four in a thousand of the others pass.
fn fit(rows: &[Row]) -> ([f32; VALUES], f32) {
    let scales: [f32; VALUES] = std::array::from_fn(|at| {
        let count = rows.len().max(1) as f32;
        let mean = rows.iter().map(|row| row.values[at]).sum::<f32>() / count;
        let variance = rows.iter().map(|row| (row.values[at] - mean).powi(2)).sum::<f32>() / count;
        variance.sqrt().max(1e-6)
    });
    let mut weights = [0.3_f32; VALUES];
    let mut bias = -6.0_f32;
    for _ in 0..ROUNDS {
        let mut gradient = [0.0_f32; VALUES + 1];
        let mut total = 0.0;
        for row in rows {
            let truth = f32::from(u8::from(row.kind == Truth::On));
            let weight = match row.kind {
                Truth::On => 6.0,
                Truth::Near => 3.0,
                Truth::Other => 1.0,
            };
            let values: [f32; VALUES] = std::array::from_fn(|at| row.values[at] / scales[at]);
            let error = (1.0 / (1.0 + (-(sum(&values, &weights) + bias)).exp()) - truth) * weight;
            for (slot, value) in gradient.iter_mut().zip(values.iter().chain([&1.0])) {
                *slot += error * value;
            }
            total += weight;
        }
        for (weight, slot) in weights.iter_mut().zip(gradient) {
            *weight -= RATE * (slot / total + SHRINK * *weight);
        }
        bias -= RATE * gradient[VALUES] / total;
    }
    weights.iter_mut().zip(scales).for_each(|(weight, scale)| *weight /= scale);
    let passes = |kind: Truth, share: f32| {
        let mut sums: Vec<f32> = {
            let rows = rows.iter().filter(|row| row.kind == kind);
            rows.map(|row| sum(&row.values, &weights) + row.compared).collect()
        };
        sums.sort_by(|a, b| b.total_cmp(a));
        sums.get((sums.len() as f32 * share) as usize).copied().unwrap_or(-bias)
    };
    let point = passes(Truth::Near, 0.16).max(passes(Truth::Other, 0.0043));
    (weights, point)
}

fn read(path: &Path) -> anyhow::Result<Vec<Case>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let fields: Vec<&str> = line.splitn(3, '\t').collect();
        let [kind, name, text] = fields[..] else { anyhow::bail!("not three fields: {line}") };
        if kind == "topic" || kind == "calibrating" {
            let sides = Sides::new(GuardrailTopicAction::Block, (None, None), (None, None));
            let topic =
                Topic { name: name.to_owned(), definition: text.to_owned(), examples: Vec::new(), sides };
            let measures = kind == "topic" && cases.len() % 2 == 1;
            let group = if measures { Group::Measuring } else { Group::Calibrating };
            cases.push(Case { topic, group, on: Vec::new(), near: Vec::new() });
            continue;
        }
        let case =
            cases.last_mut().filter(|case| case.topic.name == name).context("a text before its topic")?;
        match kind {
            "example" => case.topic.examples.push(text.to_owned()),
            "on" => case.on.push(text.to_owned()),
            "off" => case.near.push(text.to_owned()),
            other => anyhow::bail!("no such kind: {other}"),
        }
    }
    Ok(cases)
}
