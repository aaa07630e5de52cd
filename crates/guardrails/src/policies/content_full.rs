//! Harmful content by the sentence encoder: a second look at what the light classifiers are unsure of.
//!
//! N-grams know words, not what is said with them: "kill the process" and "kill the witness" share most of what they see.
//! So a sentence that the light classifiers find at all suspicious is shown to the embedded sentence encoder, and a linear
//! head over its vector, together with the light score, decides. Ordinary text is rarely suspicious, so it rarely waits for
//! the encoder. `train-guardrails content` makes `data/content_full.bin`.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use craton_backend::EmbeddingModel;

use super::content::{CATEGORIES, Confidence, ContentModel};
use super::statics::dot;
use crate::text::View;

const COUNT: usize = CATEGORIES.len();

/// The head of one category.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FullHead {
    pub bias: f32,
    /// Weight of the light score, as a logit.
    pub light: f32,
    pub dense: Vec<f32>,
    /// Light scores from which a sentence is shown to the encoder.
    pub gate: f32,
    /// Scores from which confidence is low, medium, high.
    pub points: [f32; 3],
}

/// A piece of a text that the light classifiers are suspicious of, folded.
#[derive(Debug, Clone)]
pub struct Suspect {
    pub text: String,
    light: [f32; COUNT],
}

/// The heads of all categories.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FullHeads {
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
        self.heads[0].dense.len()
    }

    /// Whether a sentence is suspicious enough to be shown to the encoder.
    pub fn wants(&self, light: &[f32; COUNT]) -> bool {
        self.dimensions() > 0 && self.heads.iter().zip(light).any(|(head, light)| *light >= head.gate)
    }

    /// The probability of each category, from a sentence's vector and light scores.
    pub fn score(&self, vector: &[f32], light: &[f32; COUNT]) -> [f32; COUNT] {
        std::array::from_fn(|index| {
            let head = &self.heads[index];
            let dense = dot(&head.dense, vector);
            1.0 / (1.0 + (-(head.bias + head.light * logit(light[index]) + dense)).exp())
        })
    }

    /// What scores mean.
    pub fn confidence(&self, scores: &[f32; COUNT]) -> [Confidence; COUNT] {
        std::array::from_fn(|index| match self.heads[index].points {
            [_, _, high] if scores[index] >= high => Confidence::High,
            [_, medium, _] if scores[index] >= medium => Confidence::Medium,
            [low, _, _] if scores[index] >= low => Confidence::Low,
            _ => Confidence::None,
        })
    }

    /// The light scores of a text, and what of it is to be shown to the encoder: the most suspicious pieces, none of which
    /// has a part of another.
    pub fn look(&self, folded: &View, model: &ContentModel) -> ([f32; COUNT], Vec<Suspect>) {
        let mut worst = [0.0_f32; COUNT];
        let mut pieces: Vec<(f32, Option<Range<usize>>, Suspect)> = Vec::new();
        model.each_piece(folded, |place, piece, light| {
            super::content::raise(&mut worst, &light);
            if self.wants(&light) {
                let most =
                    self.heads.iter().zip(&light).map(|(head, light)| logit(*light) - logit(head.gate));
                let most = most.fold(f32::MIN, f32::max);
                pieces.push((most, place, Suspect { text: piece.to_owned(), light }));
            }
        });
        pieces.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut taken: Vec<Range<usize>> = Vec::new();
        let mut suspects = Vec::new();
        for (_, place, suspect) in pieces {
            if let Some(place) = place {
                if taken.iter().any(|other| other.start < place.end && place.start < other.end) {
                    continue;
                }
                taken.push(place);
            }
            suspects.push(suspect);
            if suspects.len() >= super::most_shown(folded.text().len()) {
                break;
            }
        }
        (worst, suspects)
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

    /// The same for one text, asking the encoder; none when it can't be asked.
    pub async fn scores(
        &self,
        text: &str,
        model: &ContentModel,
        embedder: &Arc<dyn EmbeddingModel>,
    ) -> Option<[f32; COUNT]> {
        let (_, suspects) = self.look(&View::folded(text), model);
        let texts: Vec<String> = suspects.iter().map(|it| it.text.clone()).collect();
        let vectors = super::encoded(embedder, texts).await?;
        self.decide(suspects.iter().zip(vectors.iter().map(Vec::as_slice)))
    }

    /// Reads heads as [`Self::write`] wrote them.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes.chunks_exact(4).map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]));
        let dimensions = numbers.next()? as usize;
        if bytes.len() != 4 * (1 + COUNT * (6 + dimensions)) {
            return None;
        }
        let mut heads = Self::default();
        for head in &mut heads.heads {
            (head.bias, head.light, head.gate) = (numbers.next()?, numbers.next()?, numbers.next()?);
            head.points = [numbers.next()?, numbers.next()?, numbers.next()?];
            head.dense = numbers.by_ref().take(dimensions).collect();
        }
        Some(heads)
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = (self.dimensions() as f32).to_le_bytes().to_vec();
        for head in &self.heads {
            let numbers = [head.bias, head.light, head.gate].into_iter().chain(head.points);
            bytes.extend(numbers.chain(head.dense.iter().copied()).flat_map(f32::to_le_bytes));
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_read_as_they_were_written() {
        let mut heads = FullHeads::default();
        for head in &mut heads.heads {
            *head =
                FullHead { bias: 1.0, light: 0.5, dense: vec![0.25; 8], gate: 0.1, points: [0.5, 0.7, 0.9] };
        }
        assert_eq!(FullHeads::read(&heads.write()), Some(heads));
        assert_eq!(FullHeads::read(&[0; 7]), None);
        assert_eq!(FullHeads::shipped().dimensions(), 384);
    }
}
