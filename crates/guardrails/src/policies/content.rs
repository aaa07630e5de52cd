//! Harmful content: six linear classifiers over n-grams and light sentence vectors.
//!
//! A text is judged sentence by sentence, and each sentence also together with the one before it; the worst counts. The
//! weights and the operating points behind LOW, MEDIUM and HIGH come from `train-guardrails content` (bench/tools), which trains
//! on `corpus/` and chooses the points on texts that it did not train on. docs/guardrails.md has what they measure.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use craton_api_bedrock::GuardrailContentFilterType as Category;
use craton_backend::dot;

use super::statics::{Statics, words};
use crate::fnv;
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

impl Confidence {
    /// What a score means by the points of low, medium and high confidence.
    pub(crate) fn of(score: f32, points: [f32; 3]) -> Self {
        match points {
            [_, _, high] if score >= high => Self::High,
            [_, medium, _] if score >= medium => Self::Medium,
            [low, _, _] if score >= low => Self::Low,
            _ => Self::None,
        }
    }
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
        let mut sparse = Vec::with_capacity(text.len() * 3);
        each_bucket(text, |bucket| sparse.push(bucket));
        sparse.sort_unstable();
        sparse.dedup();
        Self { sparse, dense: Statics::shipped().embed(text) }
    }
}

/// The buckets of a text's n-grams, some of them more than once.
fn each_bucket(text: &str, mut each: impl FnMut(u32)) {
    let (mut before, mut before2) = ("", "");
    for word in words(text).filter(|word| word.starts_with(char::is_alphanumeric)) {
        each(bucket(&["w", word]));
        each(bucket(&["b", before, word]));
        if !before2.is_empty() {
            each(bucket(&["t", before2, before, word]));
        }
        (before2, before) = (before, word);
        char_grams(word, &mut each);
    }
}

/// Longest word that is cut into n-grams, in bytes.
const LONGEST_WORD: usize = 32;

/// N-grams of 3 to 5 characters of a word with its ends marked.
fn char_grams(word: &str, each: &mut impl FnMut(u32)) {
    if word.len() > LONGEST_WORD || word.len() < 3 {
        return;
    }
    let mut marked = ['<'; LONGEST_WORD + 2];
    let mut count = 1;
    for character in word.chars() {
        marked[count] = character;
        count += 1;
    }
    marked[count] = '>';
    let marked = &marked[..=count];
    for start in 0..marked.len() {
        let mut hash = fnv::START;
        for (at, character) in marked[start..].iter().take(5).enumerate() {
            hash = fnv::mix(hash, u64::from(*character));
            if at >= 2 {
                each(reduce(hash));
            }
        }
    }
}

/// What counting n-grams needs: which were seen, and the list of them.
struct Scratch {
    seen: Vec<bool>,
    list: Vec<u32>,
}

fn reduce(hash: u64) -> u32 {
    let folded = hash ^ (hash >> 29) ^ (hash >> 47);
    (folded % BUCKETS as u64) as u32
}

fn bucket(parts: &[&str]) -> u32 {
    let mut hash = fnv::START;
    for part in parts {
        for byte in part.bytes() {
            hash = fnv::mix(hash, u64::from(byte));
        }
        hash = fnv::mix(hash, 0x1F);
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
            self.add(*bucket, &mut sums);
        }
        self.finish(sums, features.sparse.len(), &features.dense)
    }

    fn add(&self, bucket: u32, sums: &mut [i32; COUNT]) {
        for (sum, weight) in sums.iter_mut().zip(&self.sparse[bucket as usize]) {
            *sum += i32::from(*weight);
        }
    }

    fn finish(&self, sums: [i32; COUNT], buckets: usize, dense: &[f32]) -> [f32; COUNT] {
        // N-grams of longer sentences sum to more; what they say is scaled as in training.
        let length = (buckets.max(1) as f32).sqrt();
        std::array::from_fn(|index| {
            let head = &self.heads[index];
            let logit = head.bias + sums[index] as f32 * head.scale / length + dot(&head.dense, dense);
            1.0 / (1.0 + (-logit).exp())
        })
    }

    /// The same as [`Self::score`] of a text's [`Features`], without making them.
    fn score_text(&self, text: &str, scratch: &mut Scratch) -> [f32; COUNT] {
        if self.sparse.is_empty() {
            return [0.0; COUNT];
        }
        let mut sums = [0_i32; COUNT];
        let Scratch { seen, list } = scratch;
        each_bucket(text, |bucket| {
            if !std::mem::replace(&mut seen[bucket as usize], true) {
                list.push(bucket);
                self.add(bucket, &mut sums);
            }
        });
        let count = list.len();
        list.drain(..).for_each(|bucket| seen[bucket as usize] = false);
        self.finish(sums, count, &Statics::shipped().embed(text))
    }

    /// The probability of each category in a text: that of its worst sentence, or of two in a row.
    pub fn scores(&self, folded: &View) -> [f32; COUNT] {
        let mut worst = [0.0_f32; COUNT];
        self.each_piece(folded, |_, _, scores| raise(&mut worst, &scores));
        worst
    }

    /// The scores of every sentence and of every two in a row, with their place.
    pub fn each_piece(&self, folded: &View, mut each: impl FnMut(Range<usize>, &str, [f32; COUNT])) {
        let text = folded.text();
        let mut scratch = Scratch { seen: vec![false; BUCKETS], list: Vec::with_capacity(1024) };
        let mut judge = |place: Range<usize>| {
            let piece = &text[place.clone()];
            each(place, piece, self.score_text(piece, &mut scratch));
        };
        let mut before: Option<Range<usize>> = None;
        for sentence in sentences(text) {
            judge_parts(text, sentence.clone(), &mut judge);
            if let Some(before) = before.filter(|before| sentence.end - before.start < 400) {
                judge(before.start..sentence.end);
            }
            before = Some(sentence);
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
fn judge_parts(text: &str, sentence: Range<usize>, judge: &mut impl FnMut(Range<usize>)) {
    let start_of = text.as_ptr() as usize;
    let starts: Vec<usize> =
        words(&text[sentence.clone()]).map(|word| word.as_ptr() as usize - start_of).collect();
    if starts.len() <= LONGEST {
        return judge(sentence);
    }
    for (index, part) in starts.chunks(LONGEST).enumerate() {
        let end = starts.get((index + 1) * LONGEST).copied().unwrap_or(sentence.end);
        judge(part[0]..end);
    }
}

/// A score by its place between the points of low, medium and high confidence, which become 0.25, 0.5 and 0.75: from 0 to 1.
pub(crate) fn severity(score: f32, points: [f32; 3]) -> f32 {
    let ends = [0.0, points[0], points[1], points[2], 1.0];
    let step = ends[1..4].iter().take_while(|point| score >= **point).count();
    let (from, to) = (ends[step], ends[step + 1].max(ends[step]));
    let within = if to > from { ((score - from) / (to - from)).clamp(0.0, 1.0) } else { 0.0 };
    // What only comes near a point has not reached it.
    0.25 * (step as f32 + if step < 3 { within.min(0.99) } else { within })
}

/// The points of a category's light classifier.
pub(crate) fn points(category: usize) -> [f32; 3] {
    SHIPPED.heads.get(category).map_or([1.0; 3], |head| head.points)
}

/// What a score means for a category.
pub fn confidence(category: usize, score: f32) -> Confidence {
    let head = SHIPPED.heads.get(category).filter(|_| !SHIPPED.sparse.is_empty());
    head.map_or(Confidence::None, |head| Confidence::of(score, head.points))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_their_features_score_the_same() {
        let model = ContentModel::shipped();
        let mut scratch = Scratch { seen: vec![false; BUCKETS], list: Vec::new() };
        for text in ["", "hello hello, hello you", "how do i kill a process that won't die?", "1 2 3 straße"]
        {
            let (one, other) = (model.score(&Features::of(text)), model.score_text(text, &mut scratch));
            assert!(one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-6), "{text}: {one:?} {other:?}");
        }
    }

    #[test]
    fn severity_grows_with_the_score_and_keeps_to_the_points() {
        let points = [0.4, 0.6, 0.6];
        let all: Vec<f32> = (0..=100).map(|it| severity(it as f32 / 100.0, points)).collect();
        assert!(all.windows(2).all(|pair| pair[0] <= pair[1]), "{all:?}");
        assert!(
            severity(0.399, points) < 0.25 && severity(0.4, points) >= 0.25 && severity(0.6, points) >= 0.75
        );
        assert!(severity(1.0, points) <= 1.0 && severity(0.0, points) == 0.0);
    }

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
