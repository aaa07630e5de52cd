//! Harmful content by the sentence encoder: a second look at what the light classifiers are unsure of.
//!
//! N-grams know words, not what is said with them: "kill the process" and "kill the witness" share most of what they see.
//! So a sentence that the light classifiers find at all suspicious is shown to the embedded sentence encoder, and a small
//! network with one hidden layer over its vector and the light scores decides. Ordinary text is rarely suspicious, so it rarely waits for
//! the encoder, and then for its first layers only. `train-guardrails content` makes `data/content_full.bin`.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use craton_backend::{EmbeddingModel, dot};

use super::content::{CATEGORIES, Confidence, ContentModel};
use crate::text::View;

const COUNT: usize = CATEGORIES.len();
/// Layers of the encoder that the network stands on. What is said with words is known there already, for half of the time; what
/// follows is for telling how alike two sentences are, and makes its judgement worse.
pub const LAYERS: usize = 3;

/// What one unit of the hidden layer sees.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Unit {
    pub bias: f32,
    /// Weights of the light scores, as logits.
    pub light: [f32; COUNT],
    /// Weights of the vector.
    pub dense: Vec<f32>,
}

/// The head of one category.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FullHead {
    pub bias: f32,
    /// A weight a unit of the hidden layer.
    pub units: Vec<f32>,
    /// Light scores from which a sentence is shown to the encoder: of a short text, and of a longer one, which has so many
    /// sentences that some of them would always seem a little suspicious.
    pub gates: [f32; 2],
    /// Scores from which confidence is low, medium, high.
    pub points: [f32; 3],
}

/// A piece of a text that the light classifiers are suspicious of, folded.
#[derive(Debug, Clone)]
pub struct Suspect {
    pub text: String,
    light: [f32; COUNT],
}

/// What the light classifiers say of a text.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    /// The probability of each category: that of the worst piece.
    pub worst: [f32; COUNT],
    /// The same over the pieces that the encoder is not to be shown: of these the light classifiers have the last word.
    pub unshown: [f32; COUNT],
    pub suspects: Vec<Suspect>,
}

/// The hidden layer and the heads of all categories.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FullHeads {
    pub hidden: Vec<Unit>,
    pub heads: [FullHead; COUNT],
}

static SHIPPED: LazyLock<FullHeads> =
    LazyLock::new(|| FullHeads::read(include_bytes!("../../data/content_full.bin")).unwrap_or_default());

/// A probability as a logit, within what a float tells apart.
pub fn logit(score: f32) -> f32 {
    let score = score.clamp(1e-4, 1.0 - 1e-4);
    (score / (1.0 - score)).ln()
}

impl FullHeads {
    pub fn shipped() -> &'static Self {
        &SHIPPED
    }

    pub fn dimensions(&self) -> usize {
        self.hidden.first().map_or(0, |unit| unit.dense.len())
    }

    /// Whether a sentence of a text of so many bytes is suspicious enough to be shown to the encoder.
    pub fn wants(&self, light: &[f32; COUNT], bytes: usize) -> bool {
        self.dimensions() > 0 && self.suspicion(light, bytes) >= 0.0
    }

    /// How far the light scores are above the gates, by the category that is farthest.
    fn suspicion(&self, light: &[f32; COUNT], bytes: usize) -> f32 {
        let long = usize::from(bytes > super::SHORT);
        let above = self.heads.iter().zip(light).map(|(head, light)| logit(*light) - logit(head.gates[long]));
        above.fold(f32::MIN, f32::max)
    }

    /// The probability of each category, from a sentence's vector and light scores.
    pub fn score(&self, vector: &[f32], light: &[f32; COUNT]) -> [f32; COUNT] {
        let light = light.map(logit);
        let fired: Vec<f32> = self.hidden.iter().map(|unit| unit.fire(vector, &light)).collect();
        std::array::from_fn(|index| {
            let head = &self.heads[index];
            1.0 / (1.0 + (-(head.bias + dot(&head.units, &fired))).exp())
        })
    }

    /// What scores mean.
    pub fn confidence(&self, scores: &[f32; COUNT]) -> [Confidence; COUNT] {
        std::array::from_fn(|index| Confidence::of(scores[index], self.heads[index].points))
    }

    /// The light scores of a text, and what of it is to be shown to the encoder: the most suspicious pieces, none of which
    /// has a part of another.
    pub fn look(&self, folded: &View, model: &ContentModel) -> Looked {
        let mut looked = Looked::default();
        let bytes = folded.text().len();
        let mut pieces: Vec<(f32, Range<usize>, Suspect)> = Vec::new();
        let mut others: Vec<(Range<usize>, [f32; COUNT])> = Vec::new();
        model.each_piece(folded, |place, piece, light| {
            super::content::raise(&mut looked.worst, &light);
            if self.wants(&light, bytes) {
                let suspect = Suspect { text: piece.to_owned(), light };
                pieces.push((self.suspicion(&light, bytes), place, suspect));
            } else {
                others.push((place, light));
            }
        });
        pieces.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut allowance = super::Allowance::of(bytes, 2);
        for (_, place, suspect) in pieces {
            match allowance.take(&place) {
                true => looked.suspects.push(suspect),
                false => others.push((place, suspect.light)),
            }
        }
        for (_, light) in others.iter().filter(|(place, _)| !allowance.touches(place)) {
            super::content::raise(&mut looked.unshown, light);
        }
        looked
    }

    /// The probability of each category: that of the worst of the pieces that the encoder was shown.
    pub fn decide<'a>(
        &self,
        shown: impl IntoIterator<Item = (&'a Suspect, &'a [f32])>,
    ) -> Option<[f32; COUNT]> {
        let mut worst = [0.0_f32; COUNT];
        for (suspect, vector) in shown {
            if vector.len() != self.dimensions() {
                return None;
            }
            super::content::raise(&mut worst, &self.score(vector, &suspect.light));
        }
        Some(worst)
    }

    /// What they and the light classifiers make of one text, and the probabilities that they saw; none when the encoder
    /// can't be asked.
    pub async fn judge(
        &self,
        text: &str,
        model: &ContentModel,
        embedder: &Arc<dyn EmbeddingModel>,
    ) -> Option<([Confidence; COUNT], [f32; COUNT])> {
        let Looked { suspects, unshown, .. } = self.look(&View::folded(text), model);
        let texts: Vec<String> = suspects.iter().map(|it| it.text.clone()).collect();
        let vectors = super::encoded(embedder, texts, Some(LAYERS)).await?;
        let scores = self.decide(suspects.iter().zip(vectors.iter().map(Vec::as_slice)))?;
        let mut sure = self.confidence(&scores);
        for (category, sure) in sure.iter_mut().enumerate() {
            let light = Confidence::of(unshown[category], model.heads[category].points);
            *sure = (*sure).max(light);
        }
        Some((sure, scores))
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes.chunks_exact(4).map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]));
        let (dimensions, units) = (numbers.next()? as usize, numbers.next()? as usize);
        let most = bytes.len();
        if dimensions > most || units > most {
            return None;
        }
        let numbers_of_all = 2 + units * (1 + COUNT + dimensions) + COUNT * (6 + units);
        if most != 4 * numbers_of_all {
            return None;
        }
        let mut read = Self::default();
        for _ in 0..units {
            let mut unit = Unit { bias: numbers.next()?, ..Unit::default() };
            for light in &mut unit.light {
                *light = numbers.next()?;
            }
            unit.dense = numbers.by_ref().take(dimensions).collect();
            read.hidden.push(unit);
        }
        for head in &mut read.heads {
            head.bias = numbers.next()?;
            head.gates = [numbers.next()?, numbers.next()?];
            head.points = [numbers.next()?, numbers.next()?, numbers.next()?];
            head.units = numbers.by_ref().take(units).collect();
        }
        Some(read)
    }

    pub fn write(&self) -> Vec<u8> {
        let mut numbers = vec![self.dimensions() as f32, self.hidden.len() as f32];
        for unit in &self.hidden {
            numbers.push(unit.bias);
            numbers.extend(unit.light.iter().chain(&unit.dense));
        }
        for head in &self.heads {
            numbers.push(head.bias);
            numbers.extend(head.gates.iter().chain(&head.points).chain(&head.units));
        }
        numbers.into_iter().flat_map(f32::to_le_bytes).collect()
    }
}

impl Unit {
    fn fire(&self, vector: &[f32], light: &[f32; COUNT]) -> f32 {
        (self.bias + dot(&self.dense, vector) + dot(&self.light, light)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_read_as_they_were_written() {
        let mut heads = FullHeads::default();
        for head in &mut heads.heads {
            let (gates, points) = ([0.1, 0.2], [0.5, 0.7, 0.9]);
            *head = FullHead { bias: 1.0, units: vec![0.5, -0.25], gates, points };
        }
        heads.hidden = vec![Unit { bias: 0.5, light: [0.1; COUNT], dense: vec![0.25; 8] }; 2];
        assert_eq!(FullHeads::read(&heads.write()).as_ref(), Some(&heads));
        let scores = heads.score(&[1.0; 8], &[0.5; COUNT]);
        // Each unit fires with 0.5 + 8 × 0.25; the light scores say nothing.
        let expected = 1.0 / (1.0 + (-(1.0_f32 + 0.25 * 2.5)).exp());
        assert!(scores.iter().all(|it| (it - expected).abs() < 1e-6), "{scores:?}");
        assert_eq!(FullHeads::read(&[0; 7]), None);
        assert_eq!(FullHeads::shipped().dimensions(), 384);
    }

    #[test]
    fn what_is_not_shown_is_judged_all_the_same() {
        let hidden = vec![Unit { dense: vec![0.0; 8], ..Unit::default() }];
        let mut heads = FullHeads { hidden, ..FullHeads::default() };
        heads.heads.iter_mut().for_each(|head| head.gates = [0.0; 2]);
        let model = ContentModel::shipped();
        let text: String = (0..60).map(|at| format!("Kill process number {at}. ")).collect();
        let text = format!("{text}I will kill you and burn your house down.");
        let folded = View::folded(&text);
        let looked = heads.look(&folded, &model);
        assert_eq!(looked.suspects.len(), 3);
        let places = looked.suspects.iter().map(|it| {
            let start = folded.text().find(&it.text).unwrap();
            start..start + it.text.len()
        });
        let places: Vec<Range<usize>> = places.collect();
        let mut left = [0.0_f32; COUNT];
        model.each_piece(&folded, |place, _, light| {
            if !places.iter().any(|shown| shown.start < place.end && place.start < shown.end) {
                crate::policies::content::raise(&mut left, &light);
            }
        });
        assert!(left[1] > 0.0 && looked.unshown == left, "{left:?} {:?}", looked.unshown);
    }
}
