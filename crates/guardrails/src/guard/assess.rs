//! The assessment: every policy's findings over every piece, what they mean together, and the text as it may pass.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use craton_api_bedrock as control;
use craton_wire::ApiError;

use super::report::{Facts, Report};
use super::{Assessed, Guard, Piece, Qualifier, Source};
use crate::ner::NameModel;
use crate::policies::content::{self, Confidence};
use crate::policies::content_full::FullHeads;
use crate::policies::judge::{OnFailure, Verdict};
use crate::policies::pii::PiiDetector;
use crate::policies::words::profanity;
use crate::policies::{grounding, topics};
use crate::text::{View, decoded_runs};

/// Text longer than this is judged on a thread of its own, in bytes.
const INLINE: usize = 8 * 1024;
/// How often base64 inside base64 is opened.
const DEPTH: usize = 2;

/// Something found in one piece that has a place.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub what: What,
    pub range: Range<usize>,
    /// As it is in the text.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum What {
    /// Index into the policy's words.
    Word(usize),
    /// Index into the policy's managed lists.
    Managed(usize),
    /// Index into the policy's entities.
    Entity(usize),
    /// Index into the policy's regexes.
    Regex(usize),
}

/// What was found in one piece.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub spots: Vec<Spot>,
    /// Probability of each content category, in the order of [`crate::policies::content::CATEGORIES`].
    pub content: [f32; 6],
    /// Texts that were encoded in it.
    pub opened: Vec<String>,
    /// How sure the heads over the sentence encoder are, where they were asked.
    pub full: Option<[Confidence; 6]>,
    /// What a guard model said of the categories, where one was asked.
    pub judged: Option<Verdict>,
    /// Similarity to each topic, calibrated: above 0 is on topic.
    pub topics: Vec<topics::TopicScore>,
}

impl Found {
    /// How sure it is that the piece is of a category: by the guard model where it has a say.
    pub(super) fn confidence(&self, category: usize) -> Confidence {
        let judged = self.judged.and_then(|verdict| verdict.get(category).copied().flatten());
        let full = || self.full.map(|full| full[category]);
        judged.or_else(full).unwrap_or_else(|| content::confidence(category, self.content[category]))
    }
}

impl Guard {
    /// Looks at pieces of text that belong together (the turns of one request, the parts of one answer).
    pub async fn assess(self: &Arc<Self>, source: Source, pieces: Vec<Piece>) -> Result<Assessed, ApiError> {
        let started = Instant::now();
        let names = self.names(source).await?;
        let bytes: usize = pieces.iter().map(|piece| piece.text.len()).sum();
        let guard = Arc::clone(self);
        let look = move || {
            let found: Vec<Found> = pieces
                .iter()
                .map(|piece| {
                    if piece.is_judged() {
                        guard.look(source, &piece.text, names.as_ref(), DEPTH)
                    } else {
                        Found::default()
                    }
                })
                .collect();
            let grounding = (source == Source::Output).then(|| guard.ground(&pieces)).flatten();
            (pieces, found, grounding)
        };
        let (pieces, mut found, grounding) = if bytes > INLINE {
            let looking = tokio::task::spawn_blocking(look).await;
            looking.map_err(|error| ApiError::internal(error.to_string()))?
        } else {
            look()
        };
        self.second_opinion(&pieces, &mut found).await;
        self.second_look(&pieces, &mut found).await;
        self.ask_guard_model(source, &pieces, &mut found).await?;
        let facts = Facts { guard: self, source, pieces: &pieces, found: &found, grounding };
        let report = Report::of(facts, started.elapsed());
        Ok(report.finish())
    }

    /// The model of names, when a policy on this side needs it.
    async fn names(&self, source: Source) -> Result<Option<Arc<NameModel>>, ApiError> {
        use control::GuardrailPiiEntityType as Kind;
        let entities = self.definition.sensitive.iter().flat_map(|policy| &policy.entities);
        let mut wanted = entities.filter(|entity| entity.sides.on(source).is_some());
        if !wanted.any(|entity| matches!(entity.kind, Kind::Name | Kind::Address)) {
            return Ok(None);
        }
        let Some(source) = &self.tools.vectors.names else { return Ok(None) };
        match source.get().await {
            Ok(model) => Ok(Some(model)),
            Err(reason) => {
                tracing::error!(reason, "the model that finds names can't be used; a guardrail needs it");
                Err(ApiError::unavailable(
                    "The guardrail needs the model that finds names and addresses, which can't be loaded; the server's \
                     log says why. Try again later.",
                ))
            }
        }
    }

    /// Everything that one piece has, short of what takes a large model. What is inside runs of base64, up to `depth`
    /// of them within each other, is found where the run is.
    fn look(&self, source: Source, text: &str, names: Option<&Arc<NameModel>>, depth: usize) -> Found {
        let mut found = Found::default();
        let folded = View::folded(text);
        self.look_at_words(source, text, &folded, &mut found);
        self.look_for_secrets(source, text, names, &mut found);
        if let Some(content) = self.content.as_ref().filter(|_| self.filters_content(source)) {
            found.content = content.scores(&folded);
        }
        if let Some(topics) = self.topics.as_ref().filter(|_| self.denies_topics(source)) {
            found.topics = topics.scores(&folded);
        }
        let Some(depth) = depth.checked_sub(1) else { return found };
        for (range, inner) in decoded_runs(text) {
            let mut inside = self.look(source, &inner, names, depth);
            for spot in inside.spots {
                found.spots.push(Spot { range: range.clone(), ..spot });
            }
            found.opened.append(&mut inside.opened);
            found.opened.push(inner);
            for (score, more) in found.content.iter_mut().zip(inside.content) {
                *score = score.max(more);
            }
            for (topic, more) in found.topics.iter_mut().zip(inside.topics) {
                topic.raise(more);
            }
        }
        found
    }

    fn look_at_words(&self, source: Source, text: &str, folded: &View, found: &mut Found) {
        let Some(policy) = &self.definition.words else { return };
        if let Some(words) = &self.words {
            for hit in words.find(folded) {
                if policy.words.get(hit.word).is_some_and(|word| word.sides.on(source).is_some()) {
                    found.spots.push(spot(What::Word(hit.word), hit.range, text));
                }
            }
        }
        for (index, list) in policy.managed.iter().enumerate() {
            if list.sides.on(source).is_some() {
                let hits = profanity(text, folded);
                found.spots.extend(hits.into_iter().map(|range| spot(What::Managed(index), range, text)));
            }
        }
    }

    fn look_for_secrets(
        &self,
        source: Source,
        text: &str,
        names: Option<&Arc<NameModel>>,
        found: &mut Found,
    ) {
        let Some(policy) = &self.definition.sensitive else { return };
        let wanted = policy.entities.iter().filter(|entity| entity.sides.on(source).is_some());
        let kinds: Vec<_> = wanted.map(|entity| entity.kind).collect();
        if !kinds.is_empty() {
            for finding in PiiDetector::new(&kinds, names.cloned()).find(text) {
                if let Some(index) = policy.entities.iter().position(|entity| entity.kind == finding.kind) {
                    found.spots.push(spot(What::Entity(index), finding.range, text));
                }
            }
        }
        for (index, (regex, custom)) in self.regexes.iter().zip(&policy.regexes).enumerate() {
            if custom.sides.on(source).is_some() {
                let hits = regex.find_iter(text).filter(|hit| !hit.is_empty());
                found.spots.extend(hits.map(|hit| spot(What::Regex(index), hit.range(), text)));
            }
        }
    }

    /// How well the judged pieces are grounded in the sources, and how relevant they are to the query.
    fn ground(&self, pieces: &[Piece]) -> Option<grounding::Scores> {
        let policy = self.definition.grounding.as_ref()?;
        if !policy.filters.iter().any(|filter| filter.enabled) {
            return None;
        }
        let join = |wanted: &dyn Fn(&Piece) -> bool| {
            let texts: Vec<&str> =
                pieces.iter().filter(|piece| wanted(piece)).map(|piece| piece.text.as_str()).collect();
            texts.join("\n")
        };
        let sources = join(&|piece| piece.is(Qualifier::GroundingSource));
        let query = join(&|piece| piece.is(Qualifier::Query));
        let answer = join(&|piece| {
            piece.is_judged() && !piece.is(Qualifier::Query) && !piece.is(Qualifier::GroundingSource)
        });
        grounding::scores(&sources, &query, &answer)
    }

    /// Shows the sentence encoder what the light classifiers are suspicious of. Without the encoder they stand.
    async fn second_look(&self, pieces: &[Piece], found: &mut [Found]) {
        let vectors = &self.tools.vectors;
        let (Some(content), Some(embedder), true) = (&self.content, &vectors.embedder, vectors.content_heads)
        else {
            return;
        };
        let heads = FullHeads::shipped();
        if heads.dimensions() == 0 {
            return;
        }
        for (piece, found) in pieces.iter().zip(found).filter(|(piece, _)| piece.is_judged()) {
            let mut worst = [Confidence::None; 6];
            found.full = Some(worst);
            if !heads.wants(&found.content) {
                continue;
            }
            for text in std::iter::once(&piece.text).chain(&found.opened) {
                match heads.judge(text, content, embedder).await {
                    Some(sure) => {
                        worst.iter_mut().zip(sure).for_each(|(worst, sure)| *worst = (*worst).max(sure))
                    }
                    None => {
                        found.full = None;
                        break;
                    }
                }
            }
            if found.full.is_some() {
                found.full = Some(worst);
            }
        }
    }

    /// Asks the guard model, where there is one, about harmful content.
    async fn ask_guard_model(
        &self,
        source: Source,
        pieces: &[Piece],
        found: &mut [Found],
    ) -> Result<(), ApiError> {
        let (Some(judge), true) = (&self.tools.vectors.judge, self.filters_content(source)) else {
            return Ok(());
        };
        for (piece, found) in pieces.iter().zip(found) {
            if !piece.is_judged() || piece.text.trim().is_empty() {
                continue;
            }
            match (judge.verdict(source, &piece.text).await, judge.on_failure) {
                (Ok(verdict), _) => found.judged = Some(verdict),
                (Err(reason), OnFailure::Open) => {
                    tracing::warn!(reason, "the guard model could not judge; the classifiers did");
                }
                (Err(reason), OnFailure::Closed) => {
                    tracing::error!(reason, "the guard model could not judge a text");
                    return Err(ApiError::unavailable(
                        "The guardrail's guard model could not judge the content; the server's log says why. Try again later.",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Asks the sentence encoder about topics that the light match is unsure of. Without an encoder, or when it can't
    /// answer, the light match stands.
    async fn second_opinion(&self, pieces: &[Piece], found: &mut [Found]) {
        let (Some(topics), Some(embedder)) = (&self.topics, &self.tools.vectors.embedder) else { return };
        let ordinary = self.tools.vectors.ordinary.as_ref();
        for (piece, found) in pieces.iter().zip(found) {
            if found.topics.iter().any(topics::TopicScore::is_unsure) {
                let texts: Vec<&str> =
                    std::iter::once(&piece.text).chain(&found.opened).map(String::as_str).collect();
                topics.confirm(&texts, (embedder, ordinary), &mut found.topics).await;
            }
        }
    }
}

fn spot(what: What, range: Range<usize>, text: &str) -> Spot {
    Spot { what, text: text[range.clone()].to_owned(), range }
}
