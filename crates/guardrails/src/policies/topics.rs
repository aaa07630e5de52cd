//! Denied topics, from their name, definition and examples alone.
//!
//! How near a sentence is to a topic means little by itself: some topics are near to everything. So each topic is first
//! compared with sentences of ordinary traffic (`corpus/background.txt`), and a sentence counts by how far it stands out
//! from those. A sentence that says what an example says, in its words, is on topic. Of the others, those that stand out by
//! the light vectors, as a whole or by single words, are shown to the sentence encoder, whose similarities to the examples
//! and to the definition then decide together with these. The weights of that decision come from half of the topics of `corpus/topics.tsv`
//! (`train-guardrails topics` prints them and measures on the other half).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use craton_backend::{EmbedRequest, EmbeddingModel};
use tokio::sync::OnceCell;

use super::acronyms::written_out;
use super::lexical::{content_words, is_common};
use super::statics::{Statics, dot, words};
use crate::definition::Topic;
use crate::text::{View, sentences};

/// Sentences of ordinary traffic, a line each.
const BACKGROUND: &str = include_str!("../../corpus/background.txt");
/// Of these sentences the encoder is shown one in so many.
const SHOWN: usize = 4;
/// Most words of a sentence that are compared one by one.
const MOST_WORDS: usize = 60;
/// Most sentences of one text that the encoder is asked about.
const MOST_ASKED: usize = 8;
/// Standard deviations above ordinary traffic from which a whole sentence is on topic where there is no encoder, and from
/// which sentence and words together are worth asking the encoder.
const LIGHT_ON: f32 = 3.6;
const LIGHT_UNSURE: f32 = 0.75;
/// Share of content words that a sentence and an example have in common when they say the same.
const SAME_WORDS: f32 = 0.75;

/// The topics of one guardrail.
pub struct TopicMatcher {
    topics: Vec<Prepared>,
    /// The topics as the encoder sees them, once asked.
    full: OnceCell<Vec<FullTopic>>,
}

struct Prepared {
    texts: Vec<String>,
    examples: Vec<BTreeSet<String>>,
    vectors: Vec<Vec<f32>>,
    whole: Spread,
    /// Vectors of the words of name, definition and examples.
    words: Vec<Vec<f32>>,
    /// How near the nearest word of an ordinary sentence comes, and the second nearest.
    nearest_words: [Spread; 2],
}

/// How far one text stands out towards one topic.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TopicScore {
    /// Standard deviations above ordinary traffic, by the light vectors: of the whole sentence and of its words together,
    /// and of the whole sentence.
    pub light: f32,
    pub whole: f32,
    /// What the encoder said, where it was asked: above 0 is on topic.
    pub full: Option<f32>,
    /// It says what an example says, in its words.
    pub same: bool,
}

impl TopicScore {
    pub fn is_on(&self) -> bool {
        self.same
            || match self.full {
                Some(full) => full > 0.0,
                None => self.whole >= LIGHT_ON,
            }
    }

    pub fn is_unsure(&self) -> bool {
        !self.same && self.light >= LIGHT_UNSURE && self.full.is_none()
    }

    pub(crate) fn raise(&mut self, other: Self) {
        self.light = self.light.max(other.light);
        self.whole = self.whole.max(other.whole);
        self.same |= other.same;
    }
}

/// A sentence by the light vectors.
struct Seen {
    whole: Vec<f32>,
    words: Vec<Vec<f32>>,
}

impl Seen {
    fn of(folded: &str) -> Self {
        let said = words(folded).filter(|word| !is_common(word) && word.starts_with(char::is_alphabetic));
        let words = said.take(MOST_WORDS).filter_map(|word| Statics::shipped().word(word)).collect();
        Self { whole: Statics::shipped().embed(folded), words }
    }
}

static ORDINARY: LazyLock<Vec<Seen>> = LazyLock::new(|| {
    let lines = BACKGROUND.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| Seen::of(View::folded(line).text())).collect()
});

/// Ordinary traffic as a sentence encoder sees it: computed once for each encoder.
pub type OrdinaryVectors = OnceCell<Vec<Vec<f32>>>;

impl TopicMatcher {
    pub fn new(topics: &[Topic]) -> Self {
        Self { topics: topics.iter().map(prepare).collect(), full: OnceCell::new() }
    }

    /// How far the most telling sentence stands out, for each topic.
    pub fn scores(&self, folded: &View) -> Vec<TopicScore> {
        let mut scores = vec![TopicScore::default(); self.topics.len()];
        let text = folded.text();
        for piece in windows(text) {
            let said = long_form(&text[piece]);
            let seen = Seen::of(&said);
            let words = content_words(&said);
            for (score, topic) in scores.iter_mut().zip(&self.topics) {
                let out = topic.stands_out(&seen);
                score.light = score.light.max(out.light());
                score.whole = score.whole.max(out.0[0]);
                score.same |= topic.examples.iter().any(|example| says_the_same(example, &words));
            }
        }
        scores
    }

    /// Asks the encoder about the sentences that stand out. Leaves the scores as they are when it can't answer.
    pub async fn confirm(
        &self,
        texts: &[&str],
        (embedder, ordinary): (&Arc<dyn EmbeddingModel>, &OrdinaryVectors),
        scores: &mut [TopicScore],
    ) {
        let full = self.full.get_or_try_init(|| self.encode_topics(embedder, ordinary)).await;
        let Ok(full) = full else { return };
        let mut asked: Vec<(f32, String, Vec<StandsOut>)> = Vec::new();
        for text in texts {
            let folded = View::folded(text);
            for piece in windows(folded.text()) {
                let said = long_form(&folded.text()[piece]);
                let seen = Seen::of(&said);
                let out: Vec<StandsOut> = self.topics.iter().map(|topic| topic.stands_out(&seen)).collect();
                let best = out.iter().map(|it| it.light()).fold(f32::MIN, f32::max);
                if best >= LIGHT_UNSURE {
                    asked.push((best, said.into_owned(), out));
                }
            }
        }
        if asked.is_empty() {
            return;
        }
        asked.sort_by(|a, b| b.0.total_cmp(&a.0));
        asked.truncate(MOST_ASKED);
        let texts = asked.iter().map(|(_, text, _)| text.clone()).collect();
        let Some(vectors) = embed(embedder, texts).await else { return };
        for (index, (score, full)) in scores.iter_mut().zip(full).enumerate() {
            if score.is_unsure() {
                let margins = vectors.iter().zip(&asked).map(|(vector, (_, _, out))| {
                    out.get(index).map_or(f32::MIN, |out| full.evidence(vector, *out).margin())
                });
                score.full = Some(margins.fold(f32::MIN, f32::max));
            }
        }
    }

    /// What the encoder sees of a sentence, for each topic: for choosing the weights.
    pub async fn evidence(
        &self,
        text: &str,
        embedder: &Arc<dyn EmbeddingModel>,
        ordinary: &OrdinaryVectors,
    ) -> Option<Vec<Evidence>> {
        let full = self.full.get_or_try_init(|| self.encode_topics(embedder, ordinary)).await.ok()?;
        let folded = View::folded(text);
        let said = long_form(folded.text());
        let seen = Seen::of(&said);
        let vectors = embed(embedder, vec![said.into_owned()]).await?;
        let pairs = full.iter().zip(&self.topics);
        Some(pairs.map(|(full, topic)| full.evidence(&vectors[0], topic.stands_out(&seen))).collect())
    }

    async fn encode_topics(
        &self,
        embedder: &Arc<dyn EmbeddingModel>,
        ordinary: &OrdinaryVectors,
    ) -> Result<Vec<FullTopic>, Unanswered> {
        let shown = || async {
            let lines = BACKGROUND.lines().filter(|line| !line.trim().is_empty()).step_by(SHOWN);
            let texts = lines.map(|line| View::folded(line).text().to_owned()).collect();
            embed(embedder, texts).await.ok_or(Unanswered)
        };
        let ordinary = ordinary.get_or_try_init(shown).await?;
        let mut full = Vec::with_capacity(self.topics.len());
        for topic in &self.topics {
            let vectors = embed(embedder, topic.texts.clone()).await.ok_or(Unanswered)?;
            full.push(FullTopic::new(vectors, ordinary));
        }
        Ok(full)
    }
}

/// The encoder could not be asked; the next call asks again.
#[derive(Debug)]
struct Unanswered;

async fn embed(embedder: &Arc<dyn EmbeddingModel>, texts: Vec<String>) -> Option<Vec<Vec<f32>>> {
    let request = EmbedRequest { texts, truncate: true, ..EmbedRequest::default() };
    match embedder.embed(request).await {
        Ok(embedded) => Some(embedded.vectors),
        Err(error) => {
            tracing::warn!(%error, "the sentence encoder can't be asked about denied topics");
            None
        }
    }
}

/// A topic by the encoder: the name and definition, the examples, and how near ordinary traffic comes to each.
struct FullTopic {
    definition: Vec<f32>,
    examples: Vec<Vec<f32>>,
    to_definition: Spread,
    to_examples: Spread,
}

/// Mean and standard deviation.
#[derive(Clone, Copy)]
struct Spread(f32, f32);

impl Spread {
    fn of(values: &[f32]) -> Self {
        let count = values.len().max(1) as f32;
        let mean = values.iter().sum::<f32>() / count;
        let variance = values.iter().map(|it| (it - mean).powi(2)).sum::<f32>() / count;
        Self(mean, variance.sqrt().max(0.02))
    }

    fn of_value(self, value: f32) -> f32 {
        (value - self.0) / self.1
    }
}

/// How far a sentence stands out by the light vectors: as a whole, its nearest word, its second nearest word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StandsOut([f32; 3]);

impl StandsOut {
    fn light(&self) -> f32 {
        let [whole, first, second] = self.0;
        0.5 * whole + 0.5 * first + 0.25 * second
    }
}

/// What speaks for a sentence being on a topic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Cosine to the nearest example (to the definition where there is none), and to the definition.
    pub example: f32,
    pub definition: f32,
    /// The same in standard deviations above ordinary traffic.
    pub example_out: f32,
    pub definition_out: f32,
    pub light: StandsOut,
}

/// Things that [`Evidence`] has.
pub const VALUES: usize = 7;
/// Their weights, and what they must sum to.
const WEIGHTS: [f32; VALUES] = [1.90, 0.79, 0.54, 1.24, 1.21, 0.00, 0.06];
const POINT: f32 = 7.8;

impl Evidence {
    pub fn values(&self) -> [f32; VALUES] {
        let [whole, first, second] = self.light.0;
        [self.example, self.definition, self.example_out, self.definition_out, whole, first, second]
    }

    /// Above 0 is on topic.
    pub fn margin(&self) -> f32 {
        self.values().iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum::<f32>() - POINT
    }
}

impl FullTopic {
    fn new(vectors: Vec<Vec<f32>>, ordinary: &[Vec<f32>]) -> Self {
        let mut vectors = vectors.into_iter();
        let definition = vectors.next().unwrap_or_default();
        let mut examples: Vec<Vec<f32>> = vectors.collect();
        if examples.is_empty() {
            examples.push(definition.clone());
        }
        let to_definition: Vec<f32> = ordinary.iter().map(|it| dot(it, &definition)).collect();
        let to_examples: Vec<f32> = ordinary.iter().map(|it| nearest(&examples, it)).collect();
        Self {
            to_definition: Spread::of(&to_definition),
            to_examples: Spread::of(&to_examples),
            definition,
            examples,
        }
    }

    fn evidence(&self, vector: &[f32], light: StandsOut) -> Evidence {
        let example = nearest(&self.examples, vector);
        let definition = dot(&self.definition, vector);
        Evidence {
            example,
            definition,
            example_out: self.to_examples.of_value(example),
            definition_out: self.to_definition.of_value(definition),
            light,
        }
    }
}

fn prepare(topic: &Topic) -> Prepared {
    let name = topic.name.replace(['-', '_', '.'], " ");
    let mut texts = vec![format!("{name}: {}", topic.definition)];
    texts.extend(topic.examples.iter().cloned());
    let long: Vec<String> =
        texts.iter().skip(1).filter_map(|it| written_out(View::folded(it).text())).collect();
    texts.extend(long);
    let folded: Vec<View> = texts.iter().map(|text| View::folded(text)).collect();
    let vectors: Vec<Vec<f32>> = folded.iter().map(|text| Statics::shipped().embed(text.text())).collect();
    let mut known = BTreeSet::new();
    for text in &folded {
        known.extend(
            words(text.text()).filter(|word| !is_common(word) && word.starts_with(char::is_alphabetic)),
        );
    }
    let known: Vec<Vec<f32>> = known.into_iter().filter_map(|word| Statics::shipped().word(word)).collect();
    let whole: Vec<f32> = ORDINARY.iter().map(|seen| nearest(&vectors, &seen.whole)).collect();
    let nearest: Vec<[f32; 2]> = ORDINARY.iter().map(|seen| nearest_words(&known, &seen.words)).collect();
    let spread = |place: usize| Spread::of(&nearest.iter().map(|it| it[place]).collect::<Vec<f32>>());
    let examples = folded.iter().skip(1).map(|text| content_words(text.text())).collect();
    Prepared {
        examples,
        whole: Spread::of(&whole),
        nearest_words: [spread(0), spread(1)],
        words: known,
        vectors,
        texts,
    }
}

/// How near the two words of a sentence come that are nearest to any of a topic's.
fn nearest_words(topic: &[Vec<f32>], sentence: &[Vec<f32>]) -> [f32; 2] {
    let mut best = [0.0_f32; 2];
    for word in sentence {
        let similarity = topic.iter().map(|it| dot(it, word)).fold(0.0, f32::max);
        if similarity > best[0] {
            best = [similarity, best[0]];
        } else if similarity > best[1] {
            best[1] = similarity;
        }
    }
    best
}

/// A folded text without short forms.
fn long_form(text: &str) -> Cow<'_, str> {
    written_out(text).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn says_the_same(example: &BTreeSet<String>, words: &BTreeSet<String>) -> bool {
    let shared = example.intersection(words).count();
    let all = example.len() + words.len() - shared;
    shared > 0 && shared as f32 >= SAME_WORDS * all as f32
}

impl Prepared {
    fn stands_out(&self, seen: &Seen) -> StandsOut {
        let [first, second] = nearest_words(&self.words, &seen.words);
        StandsOut([
            self.whole.of_value(nearest(&self.vectors, &seen.whole)),
            self.nearest_words[0].of_value(first),
            self.nearest_words[1].of_value(second),
        ])
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

#[cfg(test)]
mod tests {
    use craton_api_bedrock::GuardrailTopicAction;

    use super::*;
    use crate::definition::Sides;

    #[test]
    fn an_example_is_denied_without_an_encoder_however_it_is_dressed() {
        let topic = Topic {
            name: "legal-advice".to_owned(),
            definition: "Requests for specific legal advice".to_owned(),
            examples: vec!["Can I sue my employer for this?".to_owned(), "Is my NDA enforceable?".to_owned()],
            sides: Sides::new(GuardrailTopicAction::Block, (None, None), (None, None)),
        };
        let matcher = TopicMatcher::new(&[topic]);
        let on = |text: &str| matcher.scores(&View::folded(text))[0].is_on();
        for text in
            ["Can I sue my employer for this?", "Hello! is my NDA enforceable", "can i sue my employers?"]
        {
            assert!(on(text), "{text}");
        }
        for text in ["My employer is great.", "How do I open the file?", "What is the refund policy?"] {
            assert!(!on(text), "{text}");
        }
    }
}
