//! What classifiers measure on texts that they were not trained on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use craton_backend::EmbeddingModel;
use craton_guardrails::policies::content::{CATEGORIES, Confidence, ContentModel};
use craton_guardrails::policies::content_full::FullHeads;
use craton_guardrails::text::View;
use serde_json::Value;

use crate::corpus::Example;
use crate::statics::encoder;

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

/// How sure the filters are of a text, by the light classifiers alone and with the encoder's second look.
#[derive(Clone, Copy)]
struct Judged {
    light: [Confidence; 6],
    full: [Confidence; 6],
    every: [Confidence; 6],
    scores: [f32; 6],
    shown: bool,
}

/// Bytes of a text that is as long as a page.
const PAGE: usize = 1000;

struct Judge {
    model: ContentModel,
    heads: FullHeads,
    embedder: Arc<dyn EmbeddingModel>,
}

impl Judge {
    async fn look(&self, text: &str) -> anyhow::Result<Judged> {
        let light_scores = self.model.scores(&View::folded(text));
        let light = std::array::from_fn(|category| {
            let points = self.model.heads[category].points;
            let sure = [Confidence::Low, Confidence::Medium, Confidence::High].into_iter().zip(points);
            let reached = sure.filter(|(_, point)| light_scores[category] >= *point);
            reached.map(|(sure, _)| sure).max().unwrap_or(Confidence::None)
        });
        let heads = &self.heads;
        let judged = heads.judge(text, &self.model, &self.embedder).await;
        let (full, scores) = judged.context("the encoder failed")?;
        // What it would say if it were shown everything.
        let vectors = crate::statics::encoded(&self.embedder, View::folded(text).text()).await?;
        let every = heads.confidence(&heads.score(&vectors, &light_scores));
        let shown = heads.wants(&light_scores, PAGE);
        Ok(Judged { light, full, every, scores, shown })
    }
}

pub(crate) async fn report(
    corpus: &[Example],
    crate_folder: &Path,
    outside: Option<&Path>,
    ordinary: &[PathBuf],
) -> anyhow::Result<()> {
    let (folder, data) = (crate_folder.join("corpus"), crate_folder.join("data"));
    let read = |name: &str| std::fs::read(data.join(name)).with_context(|| name.to_owned());
    let model = ContentModel::read(&read("content.bin")?).context("content.bin is something else")?;
    let heads = FullHeads::read(&read("content_full.bin")?).context("content_full.bin is something else")?;
    let judge = Judge { model, heads, embedder: encoder()? };
    let mut held: Vec<(&Example, Judged)> = Vec::new();
    for example in corpus.iter().filter(|example| example.held_out && !example.everyday) {
        held.push((example, judge.look(&example.text).await?));
    }
    let safe = held.iter().filter(|(example, _)| example.label.is_none()).count();
    println!("Held-out texts: {} ({safe} of them safe, all of them hard).\n", held.len());
    println!(
        "| category | strength | precision | recall | F1 | false positives on hard safe texts |\n|---|---|---|---|---|---|"
    );
    for (category, name) in CATEGORIES.iter().enumerate() {
        for (strength, point) in POINTS {
            println!(
                "| {} | {strength} | {}",
                name.as_str(),
                count(&held, category, point, |it| it.full).row()
            );
        }
    }
    println!("\nIf everything were shown to the encoder, at HIGH:\n");
    println!(
        "| category | precision | recall | F1 | false positives on hard safe texts |\n|---|---|---|---|---|"
    );
    for (category, name) in CATEGORIES.iter().enumerate() {
        println!("| {} | {}", name.as_str(), count(&held, category, Confidence::Low, |it| it.every).row());
    }
    println!("\nThe light classifiers alone, as where there is no encoder, at HIGH:\n");
    println!(
        "| category | precision | recall | F1 | false positives on hard safe texts |\n|---|---|---|---|---|"
    );
    for (category, name) in CATEGORIES.iter().enumerate() {
        println!("| {} | {}", name.as_str(), count(&held, category, Confidence::Low, |it| it.light).row());
    }
    any_filter("hard safe texts", held.iter().filter(|(it, _)| it.label.is_none()).map(|(_, judged)| judged));
    everyday(&judge, corpus).await?;
    let business = std::fs::read_to_string(folder.join("business.txt"))?;
    let mut judged = Vec::new();
    for line in business.lines().filter(|line| !line.trim().is_empty()) {
        judged.push(judge.look(line).await?);
        let stopped = judged.last().is_some_and(|it| it.full.iter().any(|sure| *sure > Confidence::None));
        if stopped && std::env::var_os("SHOW").is_some() {
            eprintln!("business {:.2?}: {line}", judged.last().map(|it| it.scores));
        }
    }
    any_filter("sentences of ordinary business", judged.iter());
    let shown = judged.iter().filter(|it| it.shown).count();
    println!("\nOf those, on pages of them, the encoder is shown {}.", share(shown, judged.len()));
    held.iter().for_each(|it| show("held", Some(it)));
    if let Some(path) = outside {
        outside_opinion(&judge, path).await?;
    }
    for folder in ordinary {
        ordinary_text(&judge, folder).await?;
    }
    Ok(())
}

/// Short everyday texts that nothing is wrong with, and short plain ones that something is.
async fn everyday(judge: &Judge, corpus: &[Example]) -> anyhow::Result<()> {
    let mut judged: Vec<(&Example, Judged)> = Vec::new();
    for example in corpus.iter().filter(|it| it.everyday) {
        judged.push((example, judge.look(&example.text).await?));
        show("everyday", judged.last());
    }
    println!(
        "\n| short plain texts of | strength | found by its own filter | stopped by any filter |\n|---|---|---|---|"
    );
    for (category, name) in CATEGORIES.iter().enumerate() {
        let real: Vec<&Judged> =
            judged.iter().filter(|(it, _)| it.label == Some(category)).map(|(_, judged)| judged).collect();
        for (strength, point) in POINTS {
            let own = real.iter().filter(|it| it.full[category] >= point).count();
            let any = real.iter().filter(|it| it.full.iter().any(|sure| *sure >= point)).count();
            println!(
                "| {} | {strength} | {} | {} |",
                name.as_str(),
                share(own, real.len()),
                share(any, real.len())
            );
        }
    }
    any_filter(
        "short everyday texts",
        judged.iter().filter(|(it, _)| it.label.is_none()).map(|(_, judged)| judged),
    );
    Ok(())
}

/// Tells what went wrong with a text, when `SHOW` is set.
fn show(what: &str, judged: Option<&(&Example, Judged)>) {
    let Some((example, judged)) = judged.filter(|_| std::env::var_os("SHOW").is_some()) else { return };
    for (category, name) in CATEGORIES.iter().enumerate() {
        let found = judged.full[category] >= Confidence::Low;
        if (example.label.is_none() && found) || (example.label == Some(category) && !found) {
            let (score, real) = (judged.scores[category], example.label.is_some());
            let (sure, group) = (judged.full[category], &example.group);
            eprintln!("{what} {} {score:.2} {sure:?} {real:?} {group}: {}", name.as_str(), example.text);
        }
    }
}

fn count(
    held: &[(&Example, Judged)],
    category: usize,
    point: Confidence,
    of: impl Fn(&Judged) -> [Confidence; 6],
) -> Counts {
    let mut counts = Counts::default();
    for (example, judged) in held {
        let found = of(judged)[category] >= point;
        match (example.label == Some(category), found) {
            (true, true) => counts.hits += 1,
            (true, false) => counts.misses += 1,
            (false, true) if example.label.is_none() => counts.false_alarms += 1,
            (false, false) if example.label.is_none() => counts.quiet += 1,
            // What one category's text is to another is not asked.
            _ => {}
        }
    }
    counts
}

/// How many safe texts any of the six filters stops.
fn any_filter<'a>(what: &str, judged: impl Iterator<Item = &'a Judged> + Clone) {
    for (strength, point) in POINTS {
        let stopped = judged.clone().filter(|it| it.full.iter().any(|sure| *sure >= point)).count();
        println!(
            "\nAll six filters at {strength} stop {} of the {what}.",
            share(stopped, judged.clone().count())
        );
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
pub(crate) fn share(part: usize, whole: usize) -> String {
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
async fn outside_opinion(judge: &Judge, path: &Path) -> anyhow::Result<()> {
    println!(
        "\n{}:\n\n| category | strength | recall | false positives |\n|---|---|---|---|",
        path.display()
    );
    let text = std::fs::read_to_string(path)?;
    let samples: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let mut judged = Vec::with_capacity(samples.len());
    for sample in &samples {
        judged.push(judge.look(sample["prompt"].as_str().unwrap_or_default()).await?);
    }
    for (category, labels) in [(0, ["S", "S3"]), (1, ["V", "V2"]), (2, ["H", "H2"]), (3, ["HR", "HR"])] {
        for (strength, point) in POINTS {
            let (mut hits, mut real, mut alarms, mut clean) = (0, 0, 0, 0);
            for (sample, judged) in samples.iter().zip(&judged) {
                let is = |label: &str| sample[label].as_i64() == Some(1);
                let found = judged.full[category] >= point;
                let harmful = ["S", "H", "V", "HR", "SH", "S3", "H2", "V2"].into_iter().any(is);
                if labels.into_iter().any(is) {
                    (hits, real) = (hits + usize::from(found), real + 1);
                } else if !harmful {
                    (alarms, clean) = (alarms + usize::from(found), clean + 1);
                }
            }
            let name = CATEGORIES[category].as_str();
            println!("| {name} | {strength} | {} | {} |", share(hits, real), share(alarms, clean));
        }
    }
    Ok(())
}

/// Paragraphs of Markdown, none of which should be stopped.
async fn ordinary_text(judge: &Judge, folder: &Path) -> anyhow::Result<()> {
    let mut judged = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&path)?;
            let prose =
                text.split("\n\n").filter(|it| it.len() > 60 && !it.contains("```") && !it.starts_with('|'));
            for paragraph in prose {
                judged.push(judge.look(paragraph).await?);
            }
        }
    }
    any_filter(&format!("paragraphs of {}", folder.display()), judged.iter());
    Ok(())
}
