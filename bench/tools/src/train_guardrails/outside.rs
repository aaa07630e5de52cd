//! Persons in other people's texts: what of a labelled corpus (tokens and labels in columns, as CoNLL has them) is found.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use craton_api_bedrock::GuardrailPiiEntityType as Kind;
use craton_guardrails::ner::NameModel;
use craton_guardrails::policies::pii::PiiDetector;

use crate::measure::share;

/// Labels of persons, as such corpora write them.
const PERSONS: [&str; 2] = ["person", "PER"];

/// A text and what in it is labelled: whether as a person, and where.
#[derive(Default)]
struct Labelled {
    text: String,
    spans: Vec<(bool, Range<usize>)>,
}

pub(crate) fn report(path: &Path, names: Arc<NameModel>) -> anyhow::Result<()> {
    let file = std::fs::read(path).with_context(|| path.display().to_string())?;
    let detector = PiiDetector::all(Some(names));
    let (mut persons, mut found, mut hits, mut others, mut taken) = (0, 0, 0, 0, 0);
    for part in String::from_utf8_lossy(&file).replace('\r', "").split("\n\n") {
        let labelled = put_together(part.lines());
        let findings = detector.find(&labelled.text);
        let findings: Vec<Range<usize>> =
            findings.into_iter().filter(|it| it.kind == Kind::Name).map(|it| it.range).collect();
        found += findings.len();
        for (is_person, span) in &labelled.spans {
            let shared = |it: &Range<usize>| it.end.min(span.end).saturating_sub(it.start.max(span.start));
            if *is_person {
                persons += 1;
                hits += usize::from(findings.iter().any(|it| shared(it) * 2 > it.len().max(span.len())));
            } else {
                others += 1;
                taken += usize::from(findings.iter().any(|it| shared(it) > 0));
            }
        }
    }
    println!(
        "| persons that are found | what is found that is one | other things that are taken for one |\n|---|---|---|"
    );
    println!("| {} | {} | {} |", share(hits, persons), share(hits, found), share(taken, others));
    Ok(())
}

/// The text of tokens, short of addresses and handles, which are no names as people write them.
fn put_together<'a>(lines: impl Iterator<Item = &'a str>) -> Labelled {
    let mut whole = Labelled::default();
    let mut handle = false;
    for line in lines {
        let mut fields = line.trim_start_matches('\u{feff}').split('\t');
        let (Some(token), Some(label)) = (fields.next(), fields.next()) else { continue };
        let skipped = handle || token.starts_with('@') || token.starts_with("http") || token == "RT";
        handle = token == "@";
        if skipped || token.is_empty() {
            continue;
        }
        if !whole.text.is_empty() && !clings(token, &whole.text) {
            whole.text.push(' ');
        }
        let start = whole.text.len();
        whole.text.push_str(token);
        let range = start..whole.text.len();
        match label.trim().split_once('-') {
            Some(("B", kind)) => whole.spans.push((PERSONS.contains(&kind), range)),
            Some(("I", _)) => {
                if let Some((_, last)) = whole.spans.last_mut() {
                    last.end = range.end;
                }
            }
            _ => {}
        }
    }
    whole
}

/// Whether a token stands behind the text without a space: marks, and what an apostrophe cut off.
fn clings(token: &str, before: &str) -> bool {
    const ENDINGS: [&str; 8] = ["s", "t", "m", "d", "re", "ve", "ll", "n't"];
    let bare = token.trim_start_matches(['\'', '’']);
    token.chars().all(|it| matches!(it, '.' | ',' | '!' | '?' | ':' | ';' | ')' | ']' | '\'' | '’'))
        || ENDINGS.contains(&bare)
            && (bare.len() < token.len() || bare == "n't" || before.ends_with(['\'', '’']))
        || before.ends_with(['(', '[', '$', '£', '€', '#'])
}
