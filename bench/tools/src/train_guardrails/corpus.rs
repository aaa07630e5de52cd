//! The labelled texts, and which of them are kept from training.

use std::path::Path;

use anyhow::Context as _;
use craton_guardrails::policies::content::{CATEGORIES, Features};
use craton_guardrails::text::View;

/// One text: what it is, where it came from, and what the classifiers see of it.
pub(crate) struct Example {
    /// Index into the categories; none for text that nothing is wrong with.
    pub label: Option<usize>,
    pub group: String,
    pub text: String,
    pub features: Features,
    pub held_out: bool,
    /// Ordinary traffic that nothing should be found in: what false alarms are budgeted on.
    pub ordinary: bool,
}

pub(crate) fn read(folder: &Path) -> anyhow::Result<Vec<Example>> {
    let mut examples = Vec::new();
    for file in ["content.tsv", "xstest.tsv", "hatecheck.tsv", "advbench.tsv"] {
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
    Ok(examples)
}

impl Example {
    fn new(label: Option<usize>, group: &str, text: &str) -> Self {
        Self {
            label,
            group: group.to_owned(),
            features: Features::of(View::folded(text).text()),
            held_out: is_held_out(group, text),
            text: text.to_owned(),
            ordinary: matches!(group, "background" | "b4"),
        }
    }
}

/// Three in ten of what was written by hand or by others are kept from training. Lines made from templates are only
/// trained on: to measure on them would be to measure on what was seen. So is what was written later (`train`), none of which
/// shares most of its words with a text that is kept, so that the measure stays the same.
fn is_held_out(group: &str, text: &str) -> bool {
    let only_trained = group.starts_with('t') || group.starts_with('b');
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    !only_trained && (hash >> 17) % 10 < 3
}
