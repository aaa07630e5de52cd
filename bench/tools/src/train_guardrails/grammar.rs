//! Texts drawn from a grammar, with what in them is whose.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use anyhow::Context as _;
use craton_guardrails::policies::pii::tagger::{Gazetteer, KINDS, Kind, flags};
use craton_guardrails::text::View;

/// A rule's ways to be written, each as often as its weight says.
struct Rule {
    label: Option<Kind>,
    ways: Vec<String>,
}

/// The rules of `corpus/personal.txt` and the values of `corpus/names.tsv`.
pub(crate) struct Grammar {
    rules: HashMap<String, Rule>,
    values: HashMap<String, Vec<Vec<String>>>,
}

/// A text, the stretches in it that are labelled, and those that came from a list of names.
#[derive(Default, Clone)]
pub(crate) struct Drawn {
    pub text: String,
    pub spans: Vec<(Kind, Range<usize>)>,
    pub filled: Vec<Range<usize>>,
}

/// A generator of numbers that is the same everywhere.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66_D1CE_4E5B)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % count.max(1) as u64) as usize
    }

    /// From zero to nearly one.
    pub(crate) fn share(&mut self) -> f32 {
        const STEPS: usize = 1 << 24;
        self.below(STEPS) as f32 / STEPS as f32
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

impl Grammar {
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("personal.txt");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut rules: HashMap<String, Rule> = HashMap::new();
        let mut current: Option<String> = None;
        for line in text.lines().filter(|line| !line.starts_with('#') || line.starts_with("##")) {
            if let Some(head) = line.strip_prefix("= ") {
                let (name, label) = head.split_once(' ').unwrap_or((head, ""));
                let label = KINDS.into_iter().find(|kind| format!("{kind:?}").eq_ignore_ascii_case(label));
                rules.insert(name.to_owned(), Rule { label: label.or(kind_of(head)), ways: Vec::new() });
                current = Some(name.to_owned());
                continue;
            }
            let rule =
                current.as_ref().and_then(|name| rules.get_mut(name)).context("a line before a rule")?;
            let (times, way) = match line.split_once("| ") {
                Some((times, way)) if times.len() <= 2 && times.parse::<usize>().is_ok() => {
                    (times.parse().unwrap_or(1), way)
                }
                _ => (1, line),
            };
            rule.ways.extend(std::iter::repeat_n(way.to_owned(), times));
        }
        Ok(Self { rules, values: values(folder)? })
    }

    /// Words that are parts of names and places.
    pub(crate) fn gazetteer(&self) -> Gazetteer {
        let mut known = Vec::new();
        for (kind, lists) in &self.values {
            for value in lists.iter().flatten() {
                let parts: Vec<String> = value
                    .split([' ', '-', '\''])
                    .map(|part| View::folded(part).text().to_owned())
                    .filter(|part| part.chars().count() > 2)
                    .collect();
                let flag = match kind.as_str() {
                    "first" => flags::FIRST,
                    "last" => flags::LAST,
                    "city" if parts.len() == 1 => flags::CITY,
                    "city" => flags::CITY_PART,
                    _ => flags::COUNTRY,
                };
                known.extend(parts.into_iter().map(|part| (part, flag)));
            }
        }
        Gazetteer::new(known)
    }

    /// One text.
    pub(crate) fn draw(&self, chance: &mut Chance) -> Drawn {
        let mut drawn = Drawn::default();
        self.expand("text", chance, &mut drawn, 0);
        let style = chance.below(100);
        if style < 9 {
            drawn.recase(char::to_lowercase);
        } else if style < 13 {
            drawn.recase(char::to_uppercase);
        }
        drawn
    }

    fn expand(&self, name: &str, chance: &mut Chance, drawn: &mut Drawn, depth: usize) {
        let start = drawn.text.len();
        if let Some(rule) = self.rules.get(name) {
            let way = chance.pick(&rule.ways).cloned().unwrap_or_default();
            self.write(&way, chance, drawn, depth + 1);
            if let Some(kind) = rule.label {
                let outer = start..drawn.text.len();
                drawn.spans.retain(|(_, inner)| inner.start < outer.start);
                drawn.spans.push((kind, outer));
            }
            return;
        }
        let loud = name == "CITY";
        let lists = self.values.get(&name.to_lowercase());
        // A language first, then one of its names: small lists count as much as long ones.
        let value = lists.and_then(|lists| chance.pick(lists)).and_then(|list| chance.pick(list));
        let value = value.cloned().unwrap_or_default();
        drawn.text.push_str(&if loud { value.to_uppercase() } else { value });
        drawn.filled.push(start..drawn.text.len());
    }

    fn write(&self, way: &str, chance: &mut Chance, drawn: &mut Drawn, depth: usize) {
        let mut rest = way;
        while let Some(character) = rest.chars().next() {
            if depth < 20
                && let Some(end) = rest.strip_prefix('{').and_then(|rest| rest.find('}'))
            {
                self.expand(&rest[1..=end], chance, drawn, depth);
                rest = &rest[end + 2..];
                continue;
            }
            if let Some(after) = rest.strip_prefix("\\n") {
                drawn.text.push('\n');
                rest = after;
                continue;
            }
            drawn.text.push(match character {
                '#' => char::from(b'0' + chance.below(10) as u8),
                '?' if depth > 1 => char::from(b'A' + chance.below(26) as u8),
                other => other,
            });
            rest = &rest[character.len_utf8()..];
        }
    }
}

/// Short forms of labels in the grammar.
fn kind_of(head: &str) -> Option<Kind> {
    head.ends_with(" ORG").then_some(Kind::Organisation)
}

fn values(folder: &Path) -> anyhow::Result<HashMap<String, Vec<Vec<String>>>> {
    let path = folder.join("names.tsv");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut values: HashMap<String, Vec<Vec<String>>> = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.splitn(3, '\t');
        let (Some(kind), Some(_), Some(list)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        values.entry(kind.to_owned()).or_default().push(list.split(',').map(str::to_owned).collect());
    }
    Ok(values)
}

impl Drawn {
    /// All letters in one case; what is labelled stays so.
    fn recase<I: Iterator<Item = char>>(&mut self, change: fn(char) -> I) {
        let mut text = String::with_capacity(self.text.len());
        let mut at = Vec::with_capacity(self.text.len() + 1);
        for (start, character) in self.text.char_indices() {
            at.resize(start + 1, text.len());
            text.extend(change(character));
        }
        at.resize(self.text.len() + 1, text.len());
        let moved = |range: &Range<usize>| at[range.start]..at[range.end];
        self.spans.iter_mut().for_each(|(_, range)| *range = moved(range));
        self.filled.iter_mut().for_each(|range| *range = moved(range));
        self.text = text;
    }
}
