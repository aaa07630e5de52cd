//! Denied topics, from their name, definition and examples alone.
//!
//! How near a sentence is to a topic means little by itself: some topics are near to everything. So each topic is first
//! compared with sentences of ordinary traffic (`corpus/background.txt`), and a sentence counts by how far it stands out
//! from those. A sentence that says what an example says, in its words, is on topic. Of the others, those that stand out by
//! the light vectors, as a whole or by single words, are shown to the sentence encoder: how similar it finds them to the
//! examples, to the definition and its parts, and to ordinary traffic decides together with how they stand out and with what
//! they do: compare, or ask for advice. The weights
//! of that decision come from some of the topics of `corpus/topics.tsv` (`train-guardrails topics` prints them, and measures
//! on the others).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use craton_backend::{EmbeddingModel, dot, normalise};
use tokio::sync::OnceCell;

use super::acronyms::written_out;
use super::lexical::{content_words, is_common};
use super::statics::{Statics, words};
use super::topics_acts::Acts;
pub use super::topics_full::{Evidence, OrdinaryVectors, StandsOut, VALUES};
use super::topics_full::{FullTopic, Ordinary, Spread, nearest};
use super::{Shown, encoded};
use crate::definition::Topic;
use crate::text::{View, sentences};

/// Sentences of ordinary traffic, a line each.
const BACKGROUND: &str = include_str!("../../corpus/background.txt");
/// Of these sentences the encoder is shown one in so many.
const SHOWN: usize = 4;
/// Most words of a sentence that are compared one by one.
const MOST_WORDS: usize = 60;
/// Standard deviations above ordinary traffic from which a whole sentence is on topic where there is no encoder, and from
/// which sentence and words together are worth asking the encoder.
const LIGHT_ON: f32 = 3.6;
const LIGHT_UNSURE: f32 = 2.5;
/// The same in a short text.
const SHORT_UNSURE: f32 = -0.5;
/// Things that a definition names one by one, at most.
const MOST_PARTS: usize = 12;
/// Share of content words that a sentence and an example have in common when they say the same.
const SAME_WORDS: f32 = 0.75;

/// The topics of one guardrail.
pub struct TopicMatcher {
    topics: Vec<Prepared>,
    /// The topics as the encoder sees them, once asked.
    full: OnceCell<Vec<FullTopic>>,
}

struct Prepared {
    acts: Acts,
    texts: Vec<String>,
    /// What the definition names one by one.
    parts: Vec<String>,
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
    /// The whole sentences that the encoder is not to be shown: of these this has the last word.
    pub unshown: f32,
    /// It stands out enough for the encoder to be asked.
    unsure: bool,
}

impl TopicScore {
    pub fn is_on(&self) -> bool {
        self.same
            || match self.full {
                Some(full) => full > 0.0 || self.unshown >= LIGHT_ON,
                None => self.whole >= LIGHT_ON,
            }
    }

    pub fn is_unsure(&self) -> bool {
        !self.same && self.unsure && self.full.is_none()
    }

    pub(crate) fn raise(&mut self, other: Self) {
        self.light = self.light.max(other.light);
        self.whole = self.whole.max(other.whole);
        self.same |= other.same;
        self.unshown = self.unshown.max(other.unshown);
        self.unsure |= other.unsure;
    }
}

/// A sentence by the light vectors.
struct Seen {
    /// The sum of the vectors of its words, and its direction.
    sum: Vec<f32>,
    whole: Vec<f32>,
    words: Vec<Vec<f32>>,
}

impl Seen {
    fn of(folded: &str) -> Self {
        let said = words(folded).filter(|word| !is_common(word) && word.starts_with(char::is_alphabetic));
        let words = said.take(MOST_WORDS).filter_map(|word| Statics::shipped().word(word)).collect();
        let sum = Statics::shipped().sum(folded);
        let mut whole = sum.clone();
        normalise(&mut whole);
        Self { sum, whole, words }
    }
}

/// The sentences of ordinary traffic.
pub(super) fn background() -> impl Iterator<Item = &'static str> {
    BACKGROUND.lines().filter(|line| !line.trim().is_empty())
}

static ORDINARY: LazyLock<Vec<Seen>> =
    LazyLock::new(|| background().map(|line| Seen::of(View::folded(line).text())).collect());

impl TopicMatcher {
    pub fn new(topics: &[Topic]) -> Self {
        Self { topics: topics.iter().map(prepare).collect(), full: OnceCell::new() }
    }

    /// How far the most telling sentence stands out, for each topic, and what is to be shown to the encoder.
    pub fn look(&self, folded: &View) -> Looked {
        let mut looked =
            Looked { scores: vec![TopicScore::default(); self.topics.len()], ..Looked::default() };
        let text = folded.text();
        let mut before: Option<Heard> = None;
        for place in sentences(text) {
            let heard = self.hear(text, place);
            self.note(&mut looked, (text, &heard.place), &heard.out, |example| {
                says_the_same(example, &heard.words, &BTreeSet::new())
            });
            // Each with the one before it, when both are short.
            if let Some(before) = before.filter(|it| heard.place.end - it.place.start <= 160) {
                let place = before.place.start..heard.place.end;
                let out = self.together(&before, &heard);
                self.note(&mut looked, (text, &place), &out, |example| {
                    says_the_same(example, &before.words, &heard.words)
                });
            }
            before = Some(heard);
        }
        looked.choose(super::Allowance::of(text.len(), 1));
        looked
    }

    fn hear(&self, text: &str, place: Range<usize>) -> Heard {
        let said = long_form(&text[place.clone()]);
        let seen = Seen::of(&said);
        let near: Vec<[f32; 2]> =
            self.topics.iter().map(|topic| nearest_words(&topic.words, &seen.words)).collect();
        let topics = self.topics.iter().zip(&near);
        let out = topics.map(|(topic, near)| topic.stands_out(&seen.whole, *near)).collect();
        Heard { words: content_words(&said), sum: seen.sum, place, near, out }
    }

    /// How far two sentences in a row stand out as one.
    fn together(&self, before: &Heard, after: &Heard) -> Vec<StandsOut> {
        let mut whole: Vec<f32> = before.sum.iter().zip(&after.sum).map(|(a, b)| a + b).collect();
        normalise(&mut whole);
        let near = before.near.iter().zip(&after.near).map(|(a, b)| {
            let mut all = [a[0], a[1], b[0], b[1]];
            all.sort_by(|a, b| b.total_cmp(a));
            [all[0], all[1]]
        });
        self.topics.iter().zip(near).map(|(topic, near)| topic.stands_out(&whole, near)).collect()
    }

    fn note(
        &self,
        looked: &mut Looked,
        (text, place): (&str, &Range<usize>),
        out: &[StandsOut],
        same: impl Fn(&BTreeSet<String>) -> bool,
    ) {
        let from = if text.len() <= super::SHORT { SHORT_UNSURE } else { LIGHT_UNSURE };
        let (mut best, mut whole) = (f32::MIN, f32::MIN);
        for ((score, topic), out) in looked.scores.iter_mut().zip(&self.topics).zip(out) {
            score.light = score.light.max(out.light());
            score.whole = score.whole.max(out.0[0]);
            score.same |= topic.examples.iter().any(&same);
            score.unsure |= out.light() >= from;
            best = best.max(out.light());
            whole = whole.max(out.0[0]);
        }
        if best < from && whole >= LIGHT_ON {
            looked.quiet.push((place.clone(), out.to_vec()));
        }
        if best >= from {
            let text = long_form(&text[place.clone()]).into_owned();
            looked.asked.push(Asked { best, place: place.clone(), text, out: out.to_vec() });
        }
    }

    /// Asks the encoder about the sentences of texts that stand out. Leaves the scores as they are when it can't answer.
    pub async fn confirm(
        &self,
        mut looked: Vec<&mut Looked>,
        (embedder, ordinary): (&Arc<dyn EmbeddingModel>, &OrdinaryVectors),
    ) {
        let encode = || self.encode_topics(embedder, ordinary);
        let Ok(full) = self.full.get_or_try_init(encode).await else { return };
        let texts = looked.iter().flat_map(|it| &it.asked).map(|it| it.text.as_str());
        let Some(shown) = Shown::to(embedder, texts, None).await else { return };
        for looked in &mut looked {
            let asked = looked.asked.iter().filter_map(|it| Some((it, shown.vector(&it.text)?)));
            decide((full, &self.topics), &mut looked.scores, asked);
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
        let vector = encoded(embedder, vec![said.clone().into_owned()], None).await?.pop()?;
        let pairs = full.iter().zip(&self.topics);
        let light =
            |topic: &Prepared| topic.stands_out(&seen.whole, nearest_words(&topic.words, &seen.words));
        Some(
            pairs.map(|(full, topic)| full.evidence(&vector, light(topic), topic.acts.done(&said))).collect(),
        )
    }

    async fn encode_topics(
        &self,
        embedder: &Arc<dyn EmbeddingModel>,
        ordinary: &OrdinaryVectors,
    ) -> Result<Vec<FullTopic>, Unanswered> {
        let shown = || async {
            let texts =
                background().step_by(SHOWN).map(|line| View::folded(line).text().to_owned()).collect();
            let vectors = encoded(embedder, texts, None).await.ok_or(Unanswered)?;
            Ok(Arc::new(Ordinary::new(vectors)))
        };
        let ordinary = ordinary.get_or_try_init(shown).await?;
        let mut full = Vec::with_capacity(self.topics.len());
        for topic in &self.topics {
            let vectors = encoded(embedder, topic.texts.clone(), None).await.ok_or(Unanswered)?;
            let parts = encoded(embedder, topic.parts.clone(), None).await.ok_or(Unanswered)?;
            full.push(FullTopic::new(vectors, parts, ordinary));
        }
        Ok(full)
    }
}

/// The encoder could not be asked; the next call asks again.
#[derive(Debug)]
struct Unanswered;

/// What was found of topics without the encoder, and what it is to be asked about.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    pub scores: Vec<TopicScore>,
    pub asked: Vec<Asked>,
    /// Pieces that the encoder is not worth asking about, and that the light vectors are sure of: they decide there.
    quiet: Vec<(Range<usize>, Vec<StandsOut>)>,
}

/// A piece of a text that the encoder is to be asked about.
#[derive(Debug, Clone)]
pub struct Asked {
    pub text: String,
    best: f32,
    place: Range<usize>,
    out: Vec<StandsOut>,
}

impl Looked {
    /// Leaves what stands out most, none of which has a part of another.
    fn choose(&mut self, mut allowance: super::Allowance) {
        self.asked.sort_by(|a, b| b.best.total_cmp(&a.best));
        let quiet = &mut self.quiet;
        self.asked.retain(|it| {
            let shown = allowance.take(&it.place);
            if !shown {
                quiet.push((it.place.clone(), it.out.clone()));
            }
            shown
        });
        // A piece that has a part of one that is shown is judged there.
        for (_, out) in self.quiet.drain(..).filter(|(place, _)| !allowance.touches(place)) {
            for (score, out) in self.scores.iter_mut().zip(out) {
                score.unshown = score.unshown.max(out.0[0]);
            }
        }
    }

    pub fn is_unsure(&self) -> bool {
        self.scores.iter().any(TopicScore::is_unsure)
    }

    /// Adds what was found in text that was encoded in this one.
    pub(crate) fn add(&mut self, inside: Self) {
        for (score, more) in self.scores.iter_mut().zip(inside.scores) {
            score.raise(more);
        }
        self.asked.extend(inside.asked);
    }
}

/// Settles what was unsure by the encoder's vectors of what it was asked about.
fn decide<'a>(
    (full, topics): (&[FullTopic], &[Prepared]),
    scores: &mut [TopicScore],
    asked: impl Iterator<Item = (&'a Asked, &'a [f32])>,
) {
    let asked: Vec<(&Asked, &[f32])> = asked.collect();
    for (index, (score, (full, topic))) in scores.iter_mut().zip(full.iter().zip(topics)).enumerate() {
        if score.is_unsure() {
            let margins = asked.iter().map(|(asked, vector)| {
                let done = topic.acts.done(&asked.text);
                asked.out.get(index).map_or(f32::MIN, |out| full.evidence(vector, *out, done).margin())
            });
            score.full = Some(margins.fold(f32::MIN, f32::max));
        }
    }
}

/// A sentence as it was looked at.
struct Heard {
    place: Range<usize>,
    words: BTreeSet<String>,
    sum: Vec<f32>,
    /// For each topic how near its two nearest words come.
    near: Vec<[f32; 2]>,
    out: Vec<StandsOut>,
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
        acts: Acts::of(topic),
        examples,
        whole: Spread::of(&whole),
        nearest_words: [spread(0), spread(1)],
        words: known,
        vectors,
        texts,
        parts: parts(&name, &topic.definition),
    }
}

/// What a definition names one by one, each with the topic's name: "weapons: buying", "weapons: building firearms".
fn parts(name: &str, definition: &str) -> Vec<String> {
    let named = named_parts(View::folded(definition).text()).into_iter().take(MOST_PARTS);
    let named = named.map(|part| format!("{name}: {part}"));
    named.chain([name.to_owned()]).collect()
}

/// What a folded definition names one by one.
pub(super) fn named_parts(definition: &str) -> Vec<String> {
    let definition = definition.replace(" or ", ", ").replace(" and ", ", ");
    let parts = definition.split([',', ';', '.', ':']).map(str::trim).filter(|part| part.len() > 3);
    parts.map(str::to_owned).collect()
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

/// Whether words, of one or two sentences, are those of an example.
fn says_the_same(example: &BTreeSet<String>, words: &BTreeSet<String>, more: &BTreeSet<String>) -> bool {
    let shared = example.iter().filter(|word| words.contains(*word) || more.contains(*word)).count();
    let said = words.len() + more.iter().filter(|word| !words.contains(*word)).count();
    let all = example.len() + said - shared;
    shared > 0 && shared as f32 >= SAME_WORDS * all as f32
}

impl Prepared {
    fn stands_out(&self, whole: &[f32], [first, second]: [f32; 2]) -> StandsOut {
        StandsOut([
            self.whole.of_value(nearest(&self.vectors, whole)),
            self.nearest_words[0].of_value(first),
            self.nearest_words[1].of_value(second),
        ])
    }
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
        let on = |text: &str| matcher.look(&View::folded(text)).scores[0].is_on();
        for text in
            ["Can I sue my employer for this?", "Hello! is my NDA enforceable", "can i sue my employers?"]
        {
            assert!(on(text), "{text}");
        }
        for text in ["My employer is great.", "How do I open the file?", "What is the refund policy?"] {
            assert!(!on(text), "{text}");
        }
    }

    #[test]
    fn a_piece_that_is_shown_takes_no_verdict_from_one_that_is_not() {
        let out = |whole: f32, word: f32| vec![StandsOut([whole, word, word])];
        let place = |at: usize| at * 10..at * 10 + 8;
        let quiet = out(4.0, 0.1);
        assert!(quiet[0].light() < LIGHT_UNSURE && quiet[0].0[0] >= LIGHT_ON);
        let asked =
            |at: usize, best: f32| Asked { text: String::new(), best, place: place(at), out: out(1.0, 4.0) };
        let looked = |quiet_at: usize| {
            let mut looked = Looked {
                scores: vec![TopicScore { whole: 4.0, unsure: true, ..TopicScore::default() }],
                asked: vec![asked(0, 3.0), asked(2, 2.9)],
                quiet: vec![(place(quiet_at), quiet.clone())],
            };
            looked.choose(crate::policies::Allowance::of(300, 1));
            looked
        };
        let mut decoy = looked(1);
        assert!(decoy.asked.len() == 1 && decoy.scores[0].unshown == 4.0);
        decoy.scores[0].full = Some(-1.0);
        assert!(decoy.scores[0].is_on(), "the encoder has not seen it");
        let mut part = looked(0);
        part.scores[0].full = Some(-1.0);
        assert!(!part.scores[0].is_on(), "the encoder has seen it");
    }
}
