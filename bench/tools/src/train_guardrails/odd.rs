//! Personal data that is written in odd ways, and what only looks like some.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use craton_api_bedrock::GuardrailPiiEntityType as Kind;
use craton_guardrails::ner::NameModel;
use craton_guardrails::policies::pii::PiiDetector;
use craton_guardrails::text::decoded_runs;

use crate::measure::share;

/// Which texts were looked at while rules were made, and which were not.
const HALVES: [&str; 2] = ["looked-at", "measuring"];

/// Whether a value of a type was found.
fn is_found(detector: &PiiDetector, text: &str, kind: &str, value: &str) -> bool {
    let Some(start) = text.find(value) else { return false };
    let wanted = start..start + value.len();
    let touches = |range: &std::ops::Range<usize>| range.start < wanted.end && wanted.start < range.end;
    let is = |found: Kind| found.as_str() == kind;
    let inside = |inner: &str| detector.find(inner).iter().any(|it| is(it.kind));
    detector.find(text).iter().any(|it| is(it.kind) && touches(&it.range))
        || decoded_runs(text).iter().any(|(range, inner)| touches(range) && inside(inner))
}

/// Odd forms of personal data, and words that are first names too.
const FILES: [&str; 2] = ["odd.tsv", "commons.tsv"];

pub(crate) fn report(folder: &Path, names: Arc<NameModel>) -> anyhow::Result<()> {
    let detector = PiiDetector::all(Some(names));
    for file in FILES {
        println!("`{file}`:\n");
        measure(&folder.join(file), &detector)?;
        println!();
    }
    Ok(())
}

fn measure(path: &Path, detector: &PiiDetector) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    // Of each half: values and how many were found, texts without any and in how many something was.
    let mut counts = [[(0, 0); 2]; 2];
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [half, kind, value, text] = fields[..] else { anyhow::bail!("not four fields: {line}") };
        let half =
            HALVES.iter().position(|it| *it == half).with_context(|| format!("no such half: {line}"))?;
        anyhow::ensure!(text.contains(value), "not in its text: {line}");
        let empty = kind == "none";
        let found = match empty {
            true => !detector.find(text).is_empty(),
            false => is_found(detector, text, kind, value),
        };
        let (all, hits) = &mut counts[half][usize::from(empty)];
        *all += 1;
        *hits += usize::from(found);
        if half == 0 && found == empty && std::env::var_os("SHOW").is_some() {
            let found = detector.find(text).into_iter().map(|it| (it.kind, &text[it.range]));
            eprintln!("{kind} {value}: {text} {:?}", found.collect::<Vec<_>>());
        }
    }
    println!("| texts | values found | texts without any in which something is found |\n|---|---|---|");
    for (name, [values, empty]) in HALVES.iter().zip(counts) {
        println!("| {name} | {} | {} |", share(values.1, values.0), share(empty.1, empty.0));
    }
    Ok(())
}
