//! Trains the tagger of names and addresses: a linear-chain conditional random field, by stochastic gradients.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use craton_guardrails::ner::NameModel;
use craton_guardrails::policies::pii::tagger::{
    BUCKETS, Gazetteer, KINDS, Kind, LABELS, Tagger, Word, features, flags, may_follow, say, words,
};

use crate::grammar::{Chance, Drawn, Grammar};

/// Texts drawn for each epoch; every epoch draws its own.
const TEXTS: usize = 40_000;
const EPOCHS: usize = 4;
const RATE: f32 = 0.12;
/// In a hundred: words of names that the lists are made not to know, and words that features must do without.
const UNLISTED: usize = 28;
const HIDDEN: usize = 50;
/// In a hundred: texts that the recogniser is not asked about, so that the tagger does without it where it is not there.
const UNASKED: usize = 40;

/// Of this many epochs, the last, the mean of the weights is taken, at every so many texts: single texts sway it less.
const AVERAGED: usize = 2;
const BETWEEN: usize = 1000;

/// The sum of weights at several times.
#[derive(Default)]
struct Mean {
    count: usize,
    table: Vec<[f32; LABELS]>,
    transitions: Vec<[f32; LABELS]>,
}

impl Mean {
    fn add(&mut self, weights: &Weights) {
        self.count += 1;
        for (sums, of) in [(&mut self.table, &weights.table), (&mut self.transitions, &weights.transitions)] {
            sums.resize(of.len(), [0.0; LABELS]);
            let pairs = sums.iter_mut().flatten().zip(of.iter().flatten());
            pairs.for_each(|(sum, it)| *sum += it);
        }
    }

    fn give(self, weights: &mut Weights) {
        for (sums, of) in [(self.table, &mut weights.table), (self.transitions, &mut weights.transitions)] {
            let pairs = of.iter_mut().flatten().zip(sums.into_iter().flatten());
            pairs.for_each(|(it, sum)| *it = sum / self.count.max(1) as f32);
        }
    }
}

struct Weights {
    table: Vec<[f32; LABELS]>,
    squares: Vec<[f32; LABELS]>,
    transitions: Vec<[f32; LABELS]>,
    transition_squares: Vec<[f32; LABELS]>,
}

/// A text as it is trained on.
struct Sequence {
    buckets: Vec<Vec<u32>>,
    labels: Vec<usize>,
}

pub(crate) fn train(folder: &Path, names: Option<&NameModel>) -> anyhow::Result<Tagger> {
    let grammar = Grammar::read(folder)?;
    let gazetteer = grammar.gazetteer();
    let plain = plain_texts(folder, &gazetteer)?;
    let labelled = labelled_texts(folder)?;
    let mut chance = Chance::new(7);
    let mut mean = Mean::default();
    let mut weights = Weights {
        table: vec![[0.0; LABELS]; BUCKETS],
        squares: vec![[1e-2; LABELS]; BUCKETS],
        transitions: vec![[0.0; LABELS]; LABELS + 1],
        transition_squares: vec![[1e-2; LABELS]; LABELS + 1],
    };
    for epoch in 0..EPOCHS {
        let rate = RATE * (1.0 - 0.8 * epoch as f32 / EPOCHS as f32);
        let mut loss = 0.0;
        for step in 0..TEXTS {
            let drawn = match step % 6 {
                0 if !plain.is_empty() => {
                    Drawn { text: plain[chance.below(plain.len())].clone(), ..Drawn::default() }
                }
                1 => joined(&grammar, &mut chance),
                2 => labelled[chance.below(labelled.len())].clone(),
                _ => grammar.draw(&mut chance),
            };
            let sequence = sequence(&drawn, &gazetteer, names, &mut chance);
            loss += weights.learn(&sequence, rate);
            if epoch + AVERAGED >= EPOCHS && step % BETWEEN == 0 {
                mean.add(&weights);
            }
        }
        eprintln!("epoch {epoch}: loss {:.3} a text", loss / TEXTS as f32);
    }
    mean.give(&mut weights);
    Ok(weights.tagger(gazetteer))
}

/// Several texts one after the other, as pages have them.
fn joined(grammar: &Grammar, chance: &mut Chance) -> Drawn {
    let mut all = Drawn::default();
    let joint = ["\n", " ", "\n\n"][chance.below(3)];
    for _ in 0..2 + chance.below(3) {
        let drawn = grammar.draw(chance);
        if !all.text.is_empty() {
            all.text.push_str(joint);
        }
        let by = all.text.len();
        all.text.push_str(&drawn.text);
        all.spans
            .extend(drawn.spans.into_iter().map(|(kind, range)| (kind, range.start + by..range.end + by)));
        all.filled.extend(drawn.filled.into_iter().map(|range| range.start + by..range.end + by));
    }
    all
}

/// Ordinary texts in which nobody is named, by the lists of first names.
fn plain_texts(folder: &Path, gazetteer: &Gazetteer) -> anyhow::Result<Vec<String>> {
    let mut texts: Vec<String> = Vec::new();
    let background = std::fs::read_to_string(folder.join("background.txt"))?;
    texts.extend(background.lines().map(str::to_owned));
    let content = std::fs::read_to_string(folder.join("content.tsv"))?;
    texts.extend(
        content
            .lines()
            // What was added for content filters later would change the tagger for nothing.
            .filter(|line| !line.starts_with('#') && !line.contains("\ttrain\t"))
            .filter_map(|line| line.split('\t').nth(2))
            .map(str::to_owned),
    );
    let named = |text: &str| {
        let words = words(text, gazetteer);
        let capital = |word: &Word| text[word.range.clone()].starts_with(char::is_uppercase);
        let mut pairs = words.iter().enumerate();
        pairs.any(|(at, word)| at > 0 && capital(word) && word.flags & (flags::FIRST | flags::LAST) != 0)
            || text.contains("street")
            || text.contains("address")
    };
    texts.retain(|text| text.len() > 10 && !named(text));
    Ok(texts)
}

/// Other people's sentences with what they name, from `tagged.tsv`.
fn labelled_texts(folder: &Path) -> anyhow::Result<Vec<Drawn>> {
    let path = folder.join("tagged.tsv");
    let file = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut texts = Vec::new();
    for line in file.lines().filter(|line| !line.starts_with("# ")) {
        let mut fields = line.splitn(3, '\t').skip(1);
        let (Some(named), Some(text)) = (fields.next(), fields.next()) else {
            anyhow::bail!("not three fields: {line}")
        };
        let mut drawn = Drawn { text: text.to_owned(), ..Drawn::default() };
        let mut from = 0;
        for value in named.split('|').filter(|it| !it.is_empty()) {
            let (kind, words) = value.split_once('=').with_context(|| format!("no kind: {line}"))?;
            let start =
                from + text[from..].find(words).with_context(|| format!("not in its text: {line}"))?;
            from = start + words.len();
            let kind = match kind {
                "NAME" => Some(Kind::Name),
                "ORG" => Some(Kind::Organisation),
                "PLACE" => Some(Kind::Place),
                _ => None,
            };
            drawn.spans.extend(kind.map(|kind| (kind, start..from)));
            // The lists are kept from knowing some of these too.
            if kind == Some(Kind::Name) {
                drawn.filled.push(start..from);
            }
        }
        texts.push(drawn);
    }
    anyhow::ensure!(!texts.is_empty(), "{} is empty", path.display());
    Ok(texts)
}

fn sequence(
    drawn: &Drawn,
    gazetteer: &Gazetteer,
    names: Option<&NameModel>,
    chance: &mut Chance,
) -> Sequence {
    let entities = match names {
        Some(names) if chance.below(100) >= UNASKED => names.entities(&drawn.text),
        _ => Vec::new(),
    };
    let mut words = words(&drawn.text, gazetteer);
    say(&mut words, &entities);
    let mut hidden: HashMap<String, (bool, bool)> = HashMap::new();
    for word in &mut words {
        if drawn.filled.iter().any(|range| range.start < word.range.end && word.range.start < range.end) {
            let draw = || (chance.below(100) < UNLISTED, chance.below(100) < HIDDEN);
            let (unlisted, unknown) = *hidden.entry(word.folded.clone()).or_insert_with(draw);
            if unlisted {
                word.flags = 0;
            }
            word.known = !unknown;
        } else if chance.below(100) < 5 {
            word.known = false;
        }
    }
    let mut labels = vec![0; words.len()];
    for (kind, range) in &drawn.spans {
        let base = 1 + 2 * KINDS.iter().position(|it| it == kind).unwrap_or(0);
        let mut inside = 0;
        for (label, word) in labels.iter_mut().zip(&words) {
            if range.start <= word.range.start && word.range.end <= range.end {
                *label = base + inside;
                inside = 1;
            }
        }
    }
    let buckets = (0..words.len())
        .map(|at| {
            let mut buckets = Vec::with_capacity(80);
            features(&words, at, &mut buckets);
            buckets
        })
        .collect();
    Sequence { buckets, labels }
}

impl Weights {
    /// One step along the gradient of a text's likelihood; what it lost before.
    fn learn(&mut self, sequence: &Sequence, rate: f32) -> f32 {
        let count = sequence.labels.len();
        if count == 0 {
            return 0.0;
        }
        let own: Vec<[f32; LABELS]> = sequence.buckets.iter().map(|buckets| self.emission(buckets)).collect();
        let (forward, scales) = self.forward(&own);
        let backward = self.backward(&own, &scales);
        let mut expected = vec![[0.0_f32; LABELS]; LABELS + 1];
        let mut loss = 0.0;
        for at in 0..count {
            let mut chances: [f32; LABELS] =
                std::array::from_fn(|label| forward[at][label] * backward[at][label]);
            let total: f32 = chances.iter().sum::<f32>().max(1e-20);
            chances.iter_mut().for_each(|it| *it /= total);
            let truth = sequence.labels[at];
            loss -= chances[truth].max(1e-9).ln();
            if at == 0 {
                expected[LABELS].iter_mut().zip(chances).for_each(|(sum, it)| *sum += it);
            } else {
                self.add_pairs(&own[at], &forward[at - 1], &backward[at], &mut expected);
            }
            self.step(&sequence.buckets[at], &chances, truth, rate);
        }
        let mut before = LABELS;
        for label in &sequence.labels {
            expected[before][*label] -= 1.0;
            before = *label;
        }
        for (from, row) in expected.iter().enumerate() {
            for (to, gradient) in row.iter().enumerate().filter(|(_, it)| it.abs() > 1e-6) {
                let square = &mut self.transition_squares[from][to];
                *square += gradient * gradient;
                self.transitions[from][to] -= rate * gradient / square.sqrt();
            }
        }
        loss
    }

    fn emission(&self, buckets: &[u32]) -> [f32; LABELS] {
        let mut sums = [0.0; LABELS];
        for bucket in buckets {
            for (sum, weight) in sums.iter_mut().zip(&self.table[*bucket as usize]) {
                *sum += weight;
            }
        }
        let most = sums.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        sums.map(|sum| (sum - most).exp().max(1e-12))
    }

    fn factor(&self, from: usize, to: usize) -> f32 {
        if may_follow(from, to) { self.transitions[from][to].exp() } else { 0.0 }
    }

    fn forward(&self, own: &[[f32; LABELS]]) -> (Vec<[f32; LABELS]>, Vec<f32>) {
        let mut forward: Vec<[f32; LABELS]> = Vec::with_capacity(own.len());
        let mut scales = Vec::with_capacity(own.len());
        let factors = self.factors();
        for emission in own {
            let mut row = [0.0; LABELS];
            for (label, value) in row.iter_mut().enumerate() {
                let before: f32 = match forward.last() {
                    Some(last) => (0..LABELS).map(|from| last[from] * factors[from][label]).sum(),
                    None => factors[LABELS][label],
                };
                *value = before * emission[label];
            }
            let total: f32 = row.iter().sum::<f32>().max(1e-30);
            row.iter_mut().for_each(|value| *value /= total);
            forward.push(row);
            scales.push(total);
        }
        (forward, scales)
    }

    fn backward(&self, own: &[[f32; LABELS]], scales: &[f32]) -> Vec<[f32; LABELS]> {
        let factors = self.factors();
        let mut backward = vec![[1.0; LABELS]; own.len()];
        for at in (0..own.len().saturating_sub(1)).rev() {
            let next = backward[at + 1];
            for (label, value) in backward[at].iter_mut().enumerate() {
                let sum: f32 = (0..LABELS).map(|to| factors[label][to] * own[at + 1][to] * next[to]).sum();
                *value = sum / scales[at + 1];
            }
        }
        backward
    }

    fn factors(&self) -> [[f32; LABELS]; LABELS + 1] {
        std::array::from_fn(|from| std::array::from_fn(|to| self.factor(from, to)))
    }

    fn add_pairs(
        &self,
        own: &[f32; LABELS],
        before: &[f32; LABELS],
        after: &[f32; LABELS],
        expected: &mut [[f32; LABELS]],
    ) {
        let mut pairs = [[0.0_f32; LABELS]; LABELS];
        let mut total = 0.0;
        for (from, row) in pairs.iter_mut().enumerate() {
            for (to, value) in row.iter_mut().enumerate() {
                *value = before[from] * self.factor(from, to) * own[to] * after[to];
                total += *value;
            }
        }
        for (row, pairs) in expected.iter_mut().zip(pairs) {
            row.iter_mut().zip(pairs).for_each(|(sum, pair)| *sum += pair / total.max(1e-30));
        }
    }

    fn step(&mut self, buckets: &[u32], chances: &[f32; LABELS], truth: usize, rate: f32) {
        for bucket in buckets {
            let (row, squares) = (&mut self.table[*bucket as usize], &mut self.squares[*bucket as usize]);
            for (label, (weight, square)) in row.iter_mut().zip(squares).enumerate() {
                let gradient = chances[label] - f32::from(u8::from(label == truth)) + 1e-5 * *weight;
                if gradient.abs() > 1e-4 {
                    *square += gradient * gradient;
                    *weight -= rate * gradient / square.sqrt();
                }
            }
        }
    }

    fn tagger(&self, gazetteer: Gazetteer) -> Tagger {
        // A few weights are much larger than all others: they are cut.
        let mut sizes: Vec<f32> =
            self.table.iter().flatten().map(|weight| weight.abs()).filter(|it| *it > 0.0).collect();
        sizes.sort_by(f32::total_cmp);
        let most = sizes.get(sizes.len().saturating_sub(1 + sizes.len() / 2000)).copied().unwrap_or(1.0);
        let scale = most / 127.0;
        let small = |weight: f32| (weight / scale).round().clamp(-127.0, 127.0) as i8;
        Tagger {
            gazetteer,
            scale,
            transitions: self.transitions.clone(),
            weights: self.table.iter().map(|row| row.map(small)).collect(),
        }
    }
}
