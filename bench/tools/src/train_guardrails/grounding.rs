//! Grounding: answers that their source carries pass, answers with a changed fact do not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use craton_guardrails::policies::grounding::scores;

use crate::measure::share;

const FILES: [&str; 5] = [
    "grounding.tsv",
    "grounding-held.tsv",
    "grounding-fresh.tsv",
    "grounding-kinds.tsv",
    "grounding-roles.tsv",
];
/// The threshold that is measured, between two beside it.
const THRESHOLDS: [f64; 3] = [0.5, 0.7, 0.85];
const MEASURED: f64 = THRESHOLDS[1];

/// Answers of a file by what is wrong with them, with the score and text of each.
#[derive(Default)]
struct Judged {
    sources: usize,
    kinds: BTreeMap<String, Vec<(f64, String)>>,
}

impl Judged {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let (mut source, mut query, mut judged) = ("", "", Self::default());
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (kind, text) = line.split_once('\t').with_context(|| format!("no kind: {line}"))?;
            match kind {
                "source" => {
                    source = text;
                    judged.sources += 1;
                }
                "query" => query = text,
                kind => {
                    let scores = scores(source, query, text).context("nothing to compare")?;
                    let answer = (scores.grounding.unwrap_or(0.0), text.to_owned());
                    judged.kinds.entry(kind.to_owned()).or_default().push(answer);
                }
            }
        }
        Ok(judged)
    }

    /// The scores of answers that are carried, or of those that are not.
    fn scores(&self, carried: bool) -> Vec<f64> {
        let kinds = self.kinds.iter().filter(|(kind, _)| (*kind == "good") == carried);
        kinds.flat_map(|(_, answers)| answers.iter().map(|(score, _)| *score)).collect()
    }

    fn print(&self) {
        let [low, measured, high] = THRESHOLDS;
        println!("| answers | below {low:.2} | below {measured:.2} | below {high:.2} |");
        println!("|---|---|---|---|");
        for (kind, answers) in &self.kinds {
            let scores: Vec<f64> = answers.iter().map(|(score, _)| *score).collect();
            println!("| {kind} | {} |", THRESHOLDS.map(|at| below(&scores, at)).join(" | "));
        }
        let wrong = self.scores(false);
        println!("| all that are not carried | {} |\n", THRESHOLDS.map(|at| below(&wrong, at)).join(" | "));
    }

    /// Prints the answers that the threshold gets wrong.
    fn show(&self) {
        for (kind, answers) in &self.kinds {
            for (score, text) in answers.iter().filter(|(score, _)| (*kind == "good") == (*score < MEASURED))
            {
                eprintln!("{kind} {score:.2}: {text}");
            }
        }
    }
}

/// What of each file's answers is stopped, kind by kind, and of all files in one table.
pub(crate) fn report(folder: &Path) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for file in FILES {
        let judged = Judged::read(&folder.join(file))?;
        println!("`{file}`:\n");
        judged.print();
        if std::env::var_os("SHOW").is_some() {
            judged.show();
        }
        let (good, wrong) = (judged.scores(true), judged.scores(false));
        let answers = good.len() + wrong.len();
        let stopped = [below(&good, MEASURED), below(&wrong, MEASURED)].join(" | ");
        rows.push(format!("| {answers} to {} sources (`corpus/{file}`) | {stopped} |", judged.sources));
    }
    println!("All, at {MEASURED:.2}:\n");
    println!("| answers | stopped of those that are carried | stopped of those that are not |");
    println!("|---|---|---|\n{}", rows.join("\n"));
    Ok(())
}

fn below(scores: &[f64], threshold: f64) -> String {
    share(scores.iter().filter(|score| **score < threshold).count(), scores.len())
}
