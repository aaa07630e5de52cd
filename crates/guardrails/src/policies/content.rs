//! Harmful content: six linear classifiers over n-grams and light sentence vectors.
//!
//! A text is judged sentence by sentence, and each sentence also together with the one before it; the worst counts. The
//! weights and the operating points behind LOW, MEDIUM and HIGH come from `train-guardrails content` (bench/tools), which trains
//! on `corpus/` and chooses the points on texts that it did not train on. docs/guardrails.md has what they measure.

use std::sync::{Arc, LazyLock};

use craton_api_bedrock::GuardrailContentFilterType as Category;

use super::statics::{Statics, words};
use crate::text::{View, sentences};

/// The categories, in the order of every array of scores.
pub const CATEGORIES: [Category; 6] = [
    Category::Sexual,
    Category::Violence,
    Category::Hate,
    Category::Insults,
    Category::Misconduct,
    Category::PromptAttack,
];
const COUNT: usize = CATEGORIES.len();
/// Buckets that n-grams are hashed into.
pub const BUCKETS: usize = 1 << 16;
/// Longest sentence that is judged whole, in words; of a longer one each part of this length is.
const LONGEST: usize = 60;

/// How sure the classifier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    None,
    Low,
    Medium,
    High,
}

/// The weights of all categories.
#[derive(Debug, Clone, Default)]
pub struct ContentModel {
    pub heads: [Head; COUNT],
    /// [`BUCKETS`] rows of one weight a category.
    pub sparse: Vec<[i8; COUNT]>,
}

#[derive(Debug, Clone, Default)]
pub struct Head {
    pub bias: f32,
    /// What a sparse weight of 1 stands for.
    pub scale: f32,
    /// Scores from which confidence is low, medium, high.
    pub points: [f32; 3],
    pub dense: Vec<f32>,
}

static SHIPPED: LazyLock<Arc<ContentModel>> = LazyLock::new(|| {
    Arc::new(ContentModel::read(include_bytes!("../../data/content.bin")).unwrap_or_default())
});

/// A sentence as the classifiers see it.
#[derive(Debug, Clone, Default)]
pub struct Features {
    /// Buckets of the n-grams, each once.
    pub sparse: Vec<u32>,
    pub dense: Vec<f32>,
}

impl Features {
    /// `text` is folded: lower case, without disguises.
    pub fn of(text: &str) -> Self {
        let words: Vec<&str> = words(text).filter(|word| word.chars().any(char::is_alphanumeric)).collect();
        let mut sparse = Vec::with_capacity(words.len() * 12);
        let mut before = "";
        let mut before2 = "";
        for word in &words {
            sparse.push(bucket(&["w", word]));
            sparse.push(bucket(&["b", before, word]));
            if !before2.is_empty() {
                sparse.push(bucket(&["t", before2, before, word]));
            }
            (before2, before) = (before, word);
            char_grams(word, &mut sparse);
        }
        sparse.sort_unstable();
        sparse.dedup();
        Self { sparse, dense: Statics::shipped().embed(text) }
    }
}

/// N-grams of 3 to 5 characters of a word with its ends marked.
fn char_grams(word: &str, sparse: &mut Vec<u32>) {
    if word.len() > 32 || word.len() < 3 {
        return;
    }
    let marked: Vec<char> = std::iter::once('<').chain(word.chars()).chain(std::iter::once('>')).collect();
    for length in 3..=5 {
        for gram in marked.windows(length) {
            let mut hash = FNV;
            for character in gram {
                hash = mix(hash, *character as u32);
            }
            sparse.push(reduce(hash));
        }
    }
}

const FNV: u64 = 0xcbf2_9ce4_8422_2325;

fn mix(hash: u64, value: u32) -> u64 {
    (hash ^ u64::from(value)).wrapping_mul(0x0000_0100_0000_01b3)
}

fn reduce(hash: u64) -> u32 {
    let folded = hash ^ (hash >> 29) ^ (hash >> 47);
    (folded % BUCKETS as u64) as u32
}

fn bucket(parts: &[&str]) -> u32 {
    let mut hash = FNV;
    for part in parts {
        for byte in part.bytes() {
            hash = mix(hash, u32::from(byte));
        }
        hash = mix(hash, 0x1F);
    }
    reduce(hash)
}

impl ContentModel {
    pub fn shipped() -> Arc<Self> {
        Arc::clone(&SHIPPED)
    }

    /// The probability of each category in one sentence.
    pub fn score(&self, features: &Features) -> [f32; COUNT] {
        if self.sparse.is_empty() {
            return [0.0; COUNT];
        }
        let mut sums = [0_i32; COUNT];
        for bucket in &features.sparse {
            for (sum, weight) in sums.iter_mut().zip(&self.sparse[*bucket as usize]) {
                *sum += i32::from(*weight);
            }
        }
        // N-grams of longer sentences sum to more; what they say is scaled as in training.
        let length = (features.sparse.len().max(1) as f32).sqrt();
        let mut scores = [0.0; COUNT];
        for ((score, head), sum) in scores.iter_mut().zip(&self.heads).zip(sums) {
            let dense: f32 = head.dense.iter().zip(&features.dense).map(|(a, b)| a * b).sum();
            let logit = head.bias + sum as f32 * head.scale / length + dense;
            *score = 1.0 / (1.0 + (-logit).exp());
        }
        scores
    }

    /// The probability of each category in a text: that of its worst sentence, or of two in a row.
    pub fn scores(&self, folded: &View) -> [f32; COUNT] {
        let mut worst = [0.0_f32; COUNT];
        self.each_piece(folded, |_, scores| raise(&mut worst, &scores));
        worst
    }

    /// The scores of every sentence, of every two in a row, and of words that are written with gaps.
    pub fn each_piece(&self, folded: &View, mut each: impl FnMut(&str, [f32; COUNT])) {
        let text = folded.text();
        let mut judge = |piece: &str| each(piece, self.score(&Features::of(piece)));
        let mut before: Option<std::ops::Range<usize>> = None;
        for sentence in sentences(text) {
            judge_parts(&text[sentence.clone()], &mut judge);
            if let Some(before) = before.filter(|before| sentence.end - before.start < 400) {
                judge(&text[before.start..sentence.end]);
            }
            before = Some(sentence);
        }
        for word in crate::text::spaced_words(folded) {
            judge(word.text());
        }
    }

    /// Reads weights as [`Self::write`] wrote them.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at_checked(count)?;
            rest = tail;
            Some(head)
        };
        let dimensions = u32::from_le_bytes(take(4)?.try_into().ok()?) as usize;
        let mut model = Self::default();
        for head in &mut model.heads {
            let mut number = || Some(f32::from_le_bytes(take(4)?.try_into().ok()?));
            head.bias = number()?;
            head.scale = number()?;
            head.points = [number()?, number()?, number()?];
            head.dense = (0..dimensions).map(|_| number()).collect::<Option<_>>()?;
        }
        let rows = take(BUCKETS * COUNT)?.chunks_exact(COUNT);
        model.sparse = rows.map(|row| std::array::from_fn(|index| row[index].cast_signed())).collect();
        Some(model)
    }

    pub fn write(&self) -> Vec<u8> {
        let dimensions = u32::try_from(self.heads[0].dense.len()).unwrap_or(0);
        let mut bytes = dimensions.to_le_bytes().to_vec();
        for head in &self.heads {
            let numbers =
                [head.bias, head.scale].into_iter().chain(head.points).chain(head.dense.iter().copied());
            bytes.extend(numbers.flat_map(f32::to_le_bytes));
        }
        bytes.extend(self.sparse.iter().flatten().map(|weight| weight.cast_unsigned()));
        bytes
    }
}

/// Raises scores to those that are higher.
pub(crate) fn raise(worst: &mut [f32; COUNT], scores: &[f32; COUNT]) {
    for (worst, score) in worst.iter_mut().zip(scores) {
        *worst = worst.max(*score);
    }
}

/// Judges a sentence, in parts when it is very long.
fn judge_parts(sentence: &str, judge: &mut impl FnMut(&str)) {
    let starts: Vec<usize> =
        words(sentence).map(|word| word.as_ptr() as usize - sentence.as_ptr() as usize).collect();
    if starts.len() <= LONGEST {
        return judge(sentence);
    }
    for part in starts.chunks(LONGEST) {
        let end = starts.iter().position(|at| *at == part[0]).and_then(|index| starts.get(index + LONGEST));
        judge(&sentence[part[0]..end.copied().unwrap_or(sentence.len())]);
    }
}

/// What a score means for a category.
pub fn confidence(category: usize, score: f32) -> Confidence {
    let Some(head) = SHIPPED.heads.get(category).filter(|_| !SHIPPED.sparse.is_empty()) else {
        return Confidence::None;
    };
    match head.points {
        [_, _, high] if score >= high => Confidence::High,
        [_, medium, _] if score >= medium => Confidence::Medium,
        [low, _, _] if score >= low => Confidence::Low,
        _ => Confidence::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_read_as_they_were_written() {
        let mut model = ContentModel { sparse: vec![[0; COUNT]; BUCKETS], ..ContentModel::default() };
        model.heads[2] = Head { bias: 0.5, scale: 0.1, points: [0.2, 0.5, 0.9], dense: vec![] };
        model.sparse[77] = [1, -2, 3, 0, 0, -128];
        let read = ContentModel::read(&model.write()).unwrap();
        assert_eq!(read.sparse[77], model.sparse[77]);
        assert_eq!(read.heads[2].points, [0.2, 0.5, 0.9]);
        assert!(ContentModel::read(&[0; 9]).is_none());
    }
}
