//! What the shipped classifiers measure on texts that they were not trained on.

use std::path::{Path, PathBuf};

use craton_guardrails::policies::content::{CATEGORIES, Confidence, ContentModel, confidence};
use craton_guardrails::text::{View, sentences};
use serde_json::Value;

use crate::corpus::Example;

/// Counts of one category at one operating point.
#[derive(Default, Clone, Copy)]
struct Counts {
    hits: u32,
    misses: u32,
    false_alarms: u32,
    quiet: u32,
}

const POINTS: [(&str, Confidence); 3] =
    [("LOW", Confidence::High), ("MEDIUM", Confidence::Medium), ("HIGH", Confidence::Low)];

pub(crate) fn report(corpus: &[Example], outside: Option<&Path>, ordinary: &[PathBuf]) -> anyhow::Result<()> {
    let model = ContentModel::shipped();
    let held: Vec<(&Example, [f32; 6])> = corpus
        .iter()
        .filter(|example| example.held_out)
        .map(|example| (example, model.scores(&View::folded(&example.text))))
        .collect();
    let safe = held.iter().filter(|(example, _)| example.label.is_none()).count();
    println!("Held-out texts: {} ({safe} of them safe).\n", held.len());
    println!(
        "| category | strength | precision | recall | F1 | false positives on safe texts |\n|---|---|---|---|---|---|"
    );
    for (category, name) in CATEGORIES.iter().enumerate() {
        for (strength, point) in POINTS {
            let mut counts = Counts::default();
            for (example, scores) in &held {
                let found = confidence(category, scores[category]) >= point;
                match (example.label == Some(category), found) {
                    (true, true) => counts.hits += 1,
                    (true, false) => counts.misses += 1,
                    (false, true) if example.label.is_none() => counts.false_alarms += 1,
                    (false, false) if example.label.is_none() => counts.quiet += 1,
                    // What one category's text is to another is not asked.
                    _ => {}
                }
            }
            println!("| {} | {strength} | {}", name.as_str(), counts.row());
        }
    }
    any_filter(&held);
    if std::env::var_os("SHOW").is_some() {
        for (example, scores) in &held {
            for (category, name) in CATEGORIES.iter().enumerate() {
                let found = confidence(category, scores[category]) >= Confidence::Medium;
                if (example.label.is_none() && found) || (example.label == Some(category) && !found) {
                    eprintln!(
                        "{} {:.2} {:?} {}: {}",
                        name.as_str(),
                        scores[category],
                        example.label.is_some(),
                        example.group,
                        example.text
                    );
                }
            }
        }
    }
    if let Some(path) = outside {
        outside_opinion(&model, path)?;
    }
    for folder in ordinary {
        ordinary_text(&model, folder)?;
    }
    Ok(())
}

/// How many safe texts any of the six filters stops.
fn any_filter(held: &[(&Example, [f32; 6])]) {
    for (strength, point) in POINTS {
        let safe: Vec<_> = held.iter().filter(|(example, _)| example.label.is_none()).collect();
        let stops =
            |scores: &[f32; 6]| (0..6).any(|category| confidence(category, scores[category]) >= point);
        let stopped = safe.iter().filter(|(_, scores)| stops(scores)).count();
        println!("\nAll six filters at {strength} stop {}.", share(stopped, safe.len()));
    }
}

impl Counts {
    fn row(&self) -> String {
        let found = self.hits + self.false_alarms;
        let real = self.hits + self.misses;
        let f1 = f64::from(2 * self.hits) / f64::from((found + real).max(1));
        format!(
            "{} | {} | {f1:.2} | {} |",
            share(self.hits as usize, found as usize),
            share(self.hits as usize, real as usize),
            share(self.false_alarms as usize, (self.false_alarms + self.quiet) as usize),
        )
    }
}

/// A share with its 95 % Wilson interval.
fn share(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let (n, p, z) = (whole as f64, part as f64 / whole as f64, 1.96);
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let (low, high) = ((middle - half).max(0.0) * 100.0, (middle + half).min(1.0) * 100.0);
    format!("{:.1} % ({low:.1}–{high:.1}; {part} of {whole})", p * 100.0)
}

/// The OpenAI moderation evaluation set: other people's texts and labels.
fn outside_opinion(model: &ContentModel, path: &Path) -> anyhow::Result<()> {
    println!(
        "\n{}:\n\n| category | strength | recall | false positives |\n|---|---|---|---|",
        path.display()
    );
    let text = std::fs::read_to_string(path)?;
    let samples: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let scored: Vec<[f32; 6]> = samples
        .iter()
        .map(|sample| model.scores(&View::folded(sample["prompt"].as_str().unwrap_or_default())))
        .collect();
    for (category, labels) in [(0, ["S", "S3"]), (1, ["V", "V2"]), (2, ["H", "H2"]), (3, ["HR", "HR"])] {
        for (strength, point) in POINTS {
            let (mut hits, mut real, mut alarms, mut clean) = (0, 0, 0, 0);
            for (sample, scores) in samples.iter().zip(&scored) {
                let is = |label: &str| sample[label].as_i64() == Some(1);
                let found = confidence(category, scores[category]) >= point;
                let harmful = ["S", "H", "V", "HR", "SH", "S3", "H2", "V2"].into_iter().any(is);
                if labels.into_iter().any(is) {
                    (hits, real) = (hits + usize::from(found), real + 1);
                } else if !harmful {
                    (alarms, clean) = (alarms + usize::from(found), clean + 1);
                }
            }
            println!(
                "| {} | {strength} | {} | {} |",
                CATEGORIES[category].as_str(),
                share(hits, real),
                share(alarms, clean)
            );
        }
    }
    Ok(())
}

/// Paragraphs of Markdown, none of which should be stopped.
fn ordinary_text(model: &ContentModel, folder: &Path) -> anyhow::Result<()> {
    let mut paragraphs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&path)?;
            let prose =
                text.split("\n\n").filter(|it| it.len() > 60 && !it.contains("```") && !it.starts_with('|'));
            paragraphs.extend(prose.map(str::to_owned));
        }
    }
    for (strength, point) in POINTS {
        let mut stopped = 0;
        for paragraph in &paragraphs {
            let scores = model.scores(&View::folded(paragraph));
            let by = (0..6).find(|category| confidence(*category, scores[*category]) >= point);
            stopped += usize::from(by.is_some());
            if let (Some(by), Some(_)) = (by, std::env::var_os("SHOW")) {
                let first = sentences(paragraph).into_iter().next().unwrap_or(0..0);
                eprintln!("{strength} {} {:.2}: {}", CATEGORIES[by].as_str(), scores[by], &paragraph[first]);
            }
        }
        println!(
            "\n{}: at {strength} {} of the paragraphs are stopped.",
            folder.display(),
            share(stopped, paragraphs.len())
        );
    }
    Ok(())
}
