//! What of sentences about products is taken for a person, and which persons are found in sentences of the same shapes.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use craton_api_bedrock::GuardrailPiiEntityType as Kind;
use craton_guardrails::ner::NameModel;
use craton_guardrails::policies::pii::PiiDetector;

use crate::measure::share;

/// Which sentences were looked at while the tagger was made, and which were not.
const HALVES: [&str; 2] = ["looked-at", "measuring"];

pub(crate) fn report(folder: &Path, names: Arc<NameModel>) -> anyhow::Result<()> {
    let path = folder.join("brands.tsv");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let detector = PiiDetector::new(&[Kind::Name], Some(names));
    // Of those that were looked at and of those that measure: found of persons, taken for persons of brands.
    let mut counts = [[(0, 0); 2]; 2];
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let [half, kind, words, text] = fields[..] else { anyhow::bail!("not four fields: {line}") };
        let half =
            HALVES.iter().position(|it| *it == half).with_context(|| format!("no such half: {line}"))?;
        let start = text.find(words).with_context(|| format!("not in its text: {line}"))?;
        let wanted = start..start + words.len();
        let touches = |range: &Range<usize>| range.start < wanted.end && wanted.start < range.end;
        let person = kind == "person";
        let findings = detector.find(text);
        let found = findings.iter().any(|it| !person || touches(&it.range));
        let (all, hits) = &mut counts[half][usize::from(person)];
        *all += 1;
        *hits += usize::from(found);
        if half == 0 && found != person && std::env::var_os("SHOW").is_some() {
            let found: Vec<&str> = findings.iter().map(|it| &text[it.range.clone()]).collect();
            eprintln!("{kind} {words}: {text} {found:?}");
        }
    }
    println!("| sentences | products taken for a person | persons found |\n|---|---|---|");
    for (name, [brands, persons]) in HALVES.iter().zip(counts) {
        println!("| {name} | {} | {} |", share(brands.1, brands.0), share(persons.1, persons.0));
    }
    Ok(())
}
