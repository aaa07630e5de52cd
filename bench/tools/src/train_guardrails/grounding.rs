//! Grounding: answers that their source carries pass, answers with a changed fact do not.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use craton_guardrails::policies::grounding::scores;

use crate::measure::share;

/// The threshold that is measured, and two beside it.
const THRESHOLDS: [f64; 3] = [0.5, 0.7, 0.85];

pub(crate) fn report(folder: &Path, file: &str) -> anyhow::Result<()> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let (mut source, mut query) = ("", "");
    let mut found: BTreeMap<&str, Vec<(f64, &str)>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (kind, text) = line.split_once('\t').with_context(|| format!("no kind: {line}"))?;
        match kind {
            "source" => source = text,
            "query" => query = text,
            kind => {
                let scores = scores(source, query, text).context("nothing to compare")?;
                found.entry(kind).or_default().push((scores.grounding.unwrap_or(0.0), text));
            }
        }
    }
    println!(
        "| answers | below {:.2} | below {:.2} | below {:.2} |",
        THRESHOLDS[0], THRESHOLDS[1], THRESHOLDS[2]
    );
    println!("|---|---|---|---|");
    let mut all = Vec::new();
    for (kind, rows) in &found {
        all.extend(rows.iter().filter(|_| *kind != "good").copied());
        println!("| {kind} | {} |", below(rows));
    }
    println!("| all that are not carried | {} |", below(&all));
    if std::env::var_os("SHOW").is_some() {
        for (kind, rows) in &found {
            for (score, text) in rows.iter().filter(|(score, _)| (*kind == "good") == (*score < 0.7)) {
                eprintln!("{kind} {score:.2}: {text}");
            }
        }
    }
    Ok(())
}

fn below(rows: &[(f64, &str)]) -> String {
    let cells = THRESHOLDS.map(|at| share(rows.iter().filter(|(score, _)| *score < at).count(), rows.len()));
    cells.join(" | ")
}
