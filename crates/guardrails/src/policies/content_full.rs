//! Harmful content by the sentence encoder: a second look at what the light classifiers are unsure of.
//!
//! N-grams know words, not what is said with them: "kill the process" and "kill the witness" share most of what they see.
//! So a sentence that the light classifiers find at all suspicious is shown to the embedded sentence encoder, and a linear
//! head over its vector, together with the light score, decides. Ordinary text is rarely suspicious, so it rarely waits for
//! the encoder. `train-guardrails content` makes `data/content_full.bin`.

use std::sync::{Arc, LazyLock};

use craton_backend::{EmbedRequest, EmbeddingModel};

use super::content::{CATEGORIES, Confidence, ContentModel};
use crate::text::View;

const COUNT: usize = CATEGORIES.len();
/// Most sentences of one text that the encoder is shown.
const MOST_SHOWN: usize = 12;

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
            let dense: f32 = head.dense.iter().zip(vector).map(|(a, b)| a * b).sum();
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

    /// How sure it is of each category in a text; none when the encoder can't be asked.
    pub async fn judge(
        &self,
        text: &str,
        model: &ContentModel,
        embedder: &Arc<dyn EmbeddingModel>,
    ) -> Option<[Confidence; COUNT]> {
        let scores = self.scores(text, model, embedder).await?;
        Some(self.confidence(&scores))
    }

    /// The probability of each category in a text: that of the worst sentence that was shown to the encoder.
    pub async fn scores(
        &self,
        text: &str,
        model: &ContentModel,
        embedder: &Arc<dyn EmbeddingModel>,
    ) -> Option<[f32; COUNT]> {
        let mut worst = [0.0_f32; COUNT];
        let mut shown: Vec<(f32, String, [f32; COUNT])> = Vec::new();
        model.each_piece(&View::folded(text), |piece, light| {
            if self.wants(&light) {
                shown.push((light.iter().copied().fold(0.0, f32::max), piece.to_owned(), light));
            }
        });
        if shown.is_empty() {
            return Some(worst);
        }
        shown.sort_by(|a, b| b.0.total_cmp(&a.0));
        shown.truncate(MOST_SHOWN);
        let texts = shown.iter().map(|(_, text, _)| text.clone()).collect();
        let request = EmbedRequest { texts, truncate: true, ..EmbedRequest::default() };
        let vectors = match embedder.embed(request).await {
            Ok(embedded) => embedded.vectors,
            Err(error) => {
                tracing::warn!(%error, "the sentence encoder can't be asked about harmful content");
                return None;
            }
        };
        for (vector, (_, _, light)) in vectors.iter().zip(&shown) {
            if vector.len() != self.dimensions() {
                return None;
            }
            super::content::raise(&mut worst, &self.score(vector, light));
        }
        Some(worst)
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
