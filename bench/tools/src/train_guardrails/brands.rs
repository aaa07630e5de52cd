//! What of sentences about products, companies, places, titles and other things is taken for a person, and which persons are
//! found in sentences of the same shapes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use craton_api_bedrock::GuardrailPiiEntityType as Kind;
use craton_guardrails::ner::NameModel;
use craton_guardrails::policies::pii::PiiDetector;

use crate::measure::share;

/// The files, of which the first was looked at while the tagger was made; of the second only the totals were.
const FILES: [&str; 2] = ["brands.tsv", "brands-fresh.tsv"];

pub(crate) fn report(folder: &Path, names: Arc<NameModel>) -> anyhow::Result<()> {
    let detector = PiiDetector::new(&[Kind::Name], Some(names));
    for file in FILES {
        measure(&folder.join(file), &detector)?;
    }
    Ok(())
}

fn measure(path: &Path, detector: &PiiDetector) -> anyhow::Result<()> {
    let shown = path.ends_with(FILES[0]) && std::env::var_os("SHOW").is_some();
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    // Of each kind: the sentences, and those in which somebody (for persons: that person) was found.
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, kind, words, text] = fields[..] else { anyhow::bail!("not four fields: {line}") };
        let start = text.find(words).with_context(|| format!("not in its text: {line}"))?;
        let wanted = start..start + words.len();
        let touches = |range: &Range<usize>| range.start < wanted.end && wanted.start < range.end;
        let person = kind == "person";
        let findings = detector.find(text);
        let found = findings.iter().any(|it| !person || touches(&it.range));
        let (all, hits) = counts.entry(kind).or_default();
        *all += 1;
        *hits += usize::from(found);
        if shown && found != person {
            let found: Vec<&str> = findings.iter().map(|it| &text[it.range.clone()]).collect();
            eprintln!("{kind} {words}: {text} {found:?}");
        }
    }
    println!("`{}`:\n", path.file_name().unwrap_or_default().display());
    println!("| sentences about | in which somebody is found |\n|---|---|");
    let (mut all, mut hits) = (0, 0);
    for (kind, (of, found)) in &counts {
        println!("| {kind} | {} |", share(*found, *of));
        if *kind != "person" {
            (all, hits) = (all + of, hits + found);
        }
    }
    println!("| all but persons | {} |\n", share(hits, all));
    Ok(())
}
