//! The recogniser of names against what spaCy 3.8 itself said of the same texts with the same weights
//! (`fixtures/agreement.json`; made with `spacy.load(…, exclude=["tagger", "parser", …])` over made-up letters).

use std::collections::HashSet;

use craton_guardrails::ner::NameModel;
use craton_models::DEFAULT_NAME_MODEL;
use craton_models::files::{ModelFiles, Progress};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    text: String,
    entities: Vec<(usize, usize, String)>,
}

struct Quiet;

impl Progress for Quiet {
    fn note(&self, _message: &str) {}
}

pub(crate) fn model() -> NameModel {
    let files = ModelFiles::from_environment().unwrap();
    let installed = files.pull(DEFAULT_NAME_MODEL, &Quiet).unwrap().remove(0);
    NameModel::load(&installed.path()).unwrap()
}

#[test]
fn agrees_with_the_original() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/agreement.json")).unwrap();
    let model = model();
    let (mut both, mut ours_only, mut theirs_only) = (0_u32, 0_u32, 0_u32);
    for case in &cases {
        // The fixture counts characters.
        let chars = |at: usize| case.text[..at].chars().count();
        let ours: HashSet<(usize, usize, String)> = model
            .entities(&case.text)
            .into_iter()
            .map(|it| (chars(it.range.start), chars(it.range.end), it.label.name().to_owned()))
            .collect();
        let theirs: HashSet<_> = case.entities.iter().cloned().collect();
        both += ours.intersection(&theirs).count() as u32;
        ours_only += ours.difference(&theirs).count() as u32;
        theirs_only += theirs.difference(&ours).count() as u32;
        if ours != theirs && std::env::var_os("SHOW").is_some() {
            eprintln!(
                "{:?}\n  ours   {:?}\n  theirs {:?}",
                case.text,
                ours.difference(&theirs),
                theirs.difference(&ours)
            );
        }
    }
    let agreement = f64::from(both) / f64::from(both + ours_only + theirs_only);
    eprintln!("{both} entities the same, {ours_only} only ours, {theirs_only} only theirs: {agreement:.4}");
    assert!(agreement >= 0.99, "{agreement}");
}
