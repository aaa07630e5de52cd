//! Denied topics, from their name, definition and examples alone.
//!
//! How near a sentence is to a topic means little by itself: some topics are near to everything. So each topic is first
//! compared with sentences of ordinary traffic (`corpus/background.txt`), and a sentence counts by how far it stands out
//! from those. The light vectors decide alone where they are sure; where they are not, the sentence encoder is asked,
//! with the same comparison.

use std::sync::{Arc, LazyLock};

use craton_backend::{EmbedRequest, EmbeddingModel};
use tokio::sync::OnceCell;

use super::statics::{Statics, dot};
use crate::definition::Topic;
use crate::text::{View, sentences};

/// Sentences of ordinary traffic, a line each.
const BACKGROUND: &str = include_str!("../../corpus/background.txt");
/// Most sentences of one text that the encoder is asked about.
const MOST_ASKED: usize = 8;
/// Standard deviations above ordinary traffic from which a sentence is on topic: by the light vectors where there is no
/// encoder, by the light vectors to be sure of it, and to be worth asking the encoder.
const LIGHT_ON: f32 = 3.6;
const LIGHT_SURE: f32 = 9.0;
const LIGHT_UNSURE: f32 = 1.6;
/// By the encoder.
const FULL_ON: f32 = 0.0;

/// The topics of one guardrail.
pub struct TopicMatcher {
    topics: Vec<Prepared>,
    /// The topics as the encoder sees them, once asked.
    full: OnceCell<Option<Vec<FullTopic>>>,
}

struct Prepared {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
    mean: f32,
    deviation: f32,
}

/// A topic's texts by the encoder: the definition first, then the examples.
struct FullTopic {
    vectors: Vec<Vec<f32>>,
}

/// How far one text stands out towards one topic.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TopicScore {
    /// Standard deviations above ordinary traffic.
    pub light: f32,
    /// What the encoder said, where it was asked: above 0 is on topic.
    pub full: Option<f32>,
}

impl TopicScore {
    pub fn is_on(&self) -> bool {
        match self.full {
            Some(full) => full > FULL_ON,
            None => self.light >= LIGHT_ON,
        }
    }

    pub fn is_unsure(&self) -> bool {
        self.light >= LIGHT_UNSURE && self.light < LIGHT_SURE && self.full.is_none()
    }

    pub(crate) fn raise(&mut self, other: Self) {
        self.light = self.light.max(other.light);
    }
}

static ORDINARY: LazyLock<Vec<Vec<f32>>> = LazyLock::new(|| {
    let lines = BACKGROUND.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| Statics::shipped().embed(View::folded(line).text())).collect()
});

impl TopicMatcher {
    pub fn new(topics: &[Topic]) -> Self {
        Self { topics: topics.iter().map(prepare).collect(), full: OnceCell::new() }
    }

    /// How far the most telling sentence stands out, for each topic.
    pub fn scores(&self, folded: &View) -> Vec<TopicScore> {
        let mut scores = vec![TopicScore::default(); self.topics.len()];
        let text = folded.text();
        for piece in windows(text) {
            let vector = Statics::shipped().embed(&text[piece]);
            for (score, topic) in scores.iter_mut().zip(&self.topics) {
                score.light = score.light.max(topic.stands_out(&vector));
            }
        }
        scores
    }

    /// Asks the encoder about the sentences that stand out. Leaves the scores as they are when it can't answer.
    pub async fn confirm(&self, text: &str, embedder: &Arc<dyn EmbeddingModel>, scores: &mut [TopicScore]) {
        let full = self.full.get_or_init(|| self.encode_topics(embedder)).await;
        let Some(full) = full else { return };
        let folded = View::folded(text);
        let plain = folded.text();
        let mut asked: Vec<(f32, String)> = windows(plain)
            .into_iter()
            .map(|piece| {
                let vector = Statics::shipped().embed(&plain[piece.clone()]);
                let best = self.topics.iter().map(|topic| topic.stands_out(&vector)).fold(f32::MIN, f32::max);
                (best, plain[piece].to_owned())
            })
            .filter(|(best, _)| *best >= LIGHT_UNSURE)
            .collect();
        asked.sort_by(|a, b| b.0.total_cmp(&a.0));
        asked.truncate(MOST_ASKED);
        let texts: Vec<String> = asked.into_iter().map(|(_, text)| text).collect();
        let request = EmbedRequest { texts, truncate: true, ..EmbedRequest::default() };
        let Ok(embedded) = embedder.embed(request).await else { return };
        for ((score, topic), full) in scores.iter_mut().zip(&self.topics).zip(full) {
            if score.light < LIGHT_UNSURE {
                continue;
            }
            let best = embedded.vectors.iter().map(|vector| full.margin(vector)).fold(f32::MIN, f32::max);
            score.full = Some(best);
            let _ = topic;
        }
    }

    async fn encode_topics(&self, embedder: &Arc<dyn EmbeddingModel>) -> Option<Vec<FullTopic>> {
        let mut full = Vec::with_capacity(self.topics.len());
        for topic in &self.topics {
            let request =
                EmbedRequest { texts: topic.texts.clone(), truncate: true, ..EmbedRequest::default() };
            match embedder.embed(request).await {
                Ok(embedded) => full.push(FullTopic { vectors: embedded.vectors }),
                Err(error) => {
                    tracing::warn!(%error, "the sentence encoder can't be asked about denied topics");
                    return None;
                }
            }
        }
        Some(full)
    }
}

/// Similarity to an example, and to the definition, from which a sentence is on topic by the encoder. Chosen on
/// `corpus/topics.tsv`, whose topics no constant here was derived from.
const EXAMPLE_POINT: f32 = 0.52;
const DEFINITION_POINT: f32 = 0.42;

impl FullTopic {
    fn margin(&self, vector: &[f32]) -> f32 {
        let Some((definition, examples)) = self.vectors.split_first() else { return -1.0 };
        let example = examples.iter().map(|it| dot(it, vector)).fold(f32::MIN, f32::max) - EXAMPLE_POINT;
        let definition = dot(definition, vector) - DEFINITION_POINT;
        example.max(definition)
    }
}

fn prepare(topic: &Topic) -> Prepared {
    let name = topic.name.replace(['-', '_', '.'], " ");
    let mut texts = vec![format!("{name}: {}", topic.definition)];
    texts.extend(topic.examples.iter().cloned());
    let vectors: Vec<Vec<f32>> =
        texts.iter().map(|text| Statics::shipped().embed(View::folded(text).text())).collect();
    let near = |vector: &[f32]| nearest(&vectors, vector);
    let ordinary: Vec<f32> = ORDINARY.iter().map(|vector| near(vector)).collect();
    let count = ordinary.len().max(1) as f32;
    let mean = ordinary.iter().sum::<f32>() / count;
    let variance = ordinary.iter().map(|it| (it - mean).powi(2)).sum::<f32>() / count;
    Prepared { texts, mean, deviation: variance.sqrt().max(0.02), vectors }
}

impl Prepared {
    fn stands_out(&self, vector: &[f32]) -> f32 {
        (nearest(&self.vectors, vector) - self.mean) / self.deviation
    }
}

fn nearest(vectors: &[Vec<f32>], vector: &[f32]) -> f32 {
    vectors.iter().map(|it| dot(it, vector)).fold(0.0, f32::max)
}

/// Each sentence, and each with the one before it when both are short.
fn windows(text: &str) -> Vec<std::ops::Range<usize>> {
    let sentences = sentences(text);
    let pairs = sentences.windows(2).map(|pair| pair[0].start..pair[1].end).filter(|pair| pair.len() <= 160);
    let pairs: Vec<_> = pairs.collect();
    sentences.into_iter().chain(pairs).collect()
}
