//! The labelled texts, and which of them are kept from training.
//!
//! What is trained on must not say what is measured on in nearly its words. What is the same as a text that is kept, but for
//! case and signs, goes unused. So do lines that are only trained on (templates, what was written after the others, other
//! people's files) and share half of their words with one that is kept, counted by the shorter of both; of the rest, which
//! was written together and is split by chance, those that have half of all words in common with one. Short everyday texts
//! are all kept, and have so few words that half of all is what counts near them too.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use anyhow::Context as _;
use craton_guardrails::fnv;
use craton_guardrails::policies::content::{CATEGORIES, Features};
use craton_guardrails::policies::lexical::content_words;
use craton_guardrails::text::View;

/// One text: what it is, where it came from, and what the classifiers see of it.
pub(crate) struct Example {
    /// Index into the categories; none for text that nothing is wrong with.
    pub label: Option<usize>,
    pub group: String,
    pub text: String,
    pub features: Features,
    pub held_out: bool,
    /// How much it counts in training.
    pub weight: f32,
    /// One of the short everyday texts, which are measured apart.
    pub everyday: bool,
    /// Ordinary traffic that nothing should be found in: what false alarms are budgeted on.
    pub ordinary: bool,
}

pub(crate) fn read(folder: &Path) -> anyhow::Result<Vec<Example>> {
    let mut examples = Vec::new();
    for file in [
        "content.tsv",
        "plain.tsv",
        "others.tsv",
        "everyday.tsv",
        "xstest.tsv",
        "hatecheck.tsv",
        "advbench.tsv",
    ] {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let mut fields = line.splitn(3, '\t');
            let (Some(label), Some(group), Some(text)) = (fields.next(), fields.next(), fields.next()) else {
                anyhow::bail!("{}: not three fields: {line}", path.display());
            };
            let index = CATEGORIES.iter().position(|category| category.as_str() == label);
            anyhow::ensure!(index.is_some() || label == "safe", "{}: no such label: {label}", path.display());
            examples.push(Example::new(index, group, text));
        }
    }
    let path = folder.join("background.txt");
    let background = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = background.lines().filter(|line| !line.trim().is_empty());
    examples.extend(lines.map(|line| Example::new(None, "background", line)));
    Ok(without_paraphrases(examples))
}

/// Words that texts must share, at least, to be called near.
const FEWEST_SHARED: usize = 2;

fn without_paraphrases(mut examples: Vec<Example>) -> Vec<Example> {
    let held: Vec<(bool, BTreeSet<String>)> = examples
        .iter()
        .filter(|it| it.held_out)
        .map(|it| (it.everyday, content_words(View::folded(&it.text).text())))
        .collect();
    let same: BTreeSet<String> = examples.iter().filter(|it| it.held_out).map(|it| bare(&it.text)).collect();
    let mut with: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, (_, words)) in held.iter().enumerate() {
        words.iter().for_each(|word| with.entry(word).or_default().push(place));
    }
    let before = examples.len();
    examples.retain(|example| {
        if example.held_out {
            return true;
        }
        let words = content_words(View::folded(&example.text).text());
        let mut shared: HashMap<usize, usize> = HashMap::new();
        for place in words.iter().filter_map(|word| with.get(word.as_str())).flatten() {
            *shared.entry(*place).or_default() += 1;
        }
        let only_trained = is_only_trained(&example.group);
        let near = shared.into_iter().any(|(place, shared)| {
            let (everyday, other) = (held[place].0, held[place].1.len());
            let all =
                if only_trained && !everyday { words.len().min(other) } else { words.len() + other - shared };
            shared >= FEWEST_SHARED && shared * 2 >= all
        });
        !near && !same.contains(&bare(&example.text))
    });
    eprintln!("{} texts are too near to those that are kept", before - examples.len());
    examples
}

/// A text without case and signs; signs alone stay.
fn bare(text: &str) -> String {
    let folded = View::folded(text);
    let words: Vec<&str> =
        folded.text().split(|it: char| !it.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { text.to_owned() } else { words.join(" ") }
}

impl Example {
    fn new(label: Option<usize>, group: &str, text: &str) -> Self {
        Self {
            label,
            group: group.to_owned(),
            features: Features::of(View::folded(text).text()),
            held_out: is_held_out(group, text),
            weight: weight_of(group),
            text: text.to_owned(),
            everyday: group == "everyday",
            ordinary: matches!(group, "background" | "b4" | "b5"),
        }
    }
}

/// Three in ten of what was written by hand or by others are kept from training. Lines made from templates are only
/// trained on: to measure on them would be to measure on what was seen. So is what was written later (`train`).
fn is_held_out(group: &str, text: &str) -> bool {
    let hash = fnv::of(text.bytes());
    group == "everyday" || !is_only_trained(group) && (hash >> 17) % 10 < 3
}

/// Other people's everyday texts are many and alike, and so are lines made from templates; our own ordinary ones are what
/// false alarms are counted on.
fn weight_of(group: &str) -> f32 {
    match group {
        "background" | "b4" | "b5" => 2.0,
        "t1" | "t2" | "t6" | "b1" | "b2" | "b3" | "b6" => 0.5,
        _ if group.starts_with("b_") => 0.3,
        _ => 1.0,
    }
}

fn is_only_trained(group: &str) -> bool {
    group.starts_with('t') || group.starts_with('b')
}
