//! The assessment: every policy's findings over every piece, what they mean together, and the text as it may pass.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use craton_api_bedrock as control;
use craton_backend::EmbeddingModel;
use craton_wire::ApiError;

use super::report::{Facts, Report};
use super::{Assessed, Guard, Piece, Qualifier, Source};
use crate::ner::NameModel;
use crate::policies::content::{self, Confidence};
use crate::policies::content_full::{FullHeads, LAYERS, Suspect};
use crate::policies::judge::{Judgement, OnFailure, Verdict};
use crate::policies::pii::PiiDetector;
use crate::policies::remembering::Remembering;
use crate::policies::words::profanity;
use crate::policies::{Shown, ciphered, grounding, spelled, topics};
use crate::text::{View, decoded_runs, is_imitated};

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
    /// The same without the pieces that the sentence encoder is to be shown.
    unshown: [f32; 6],
    /// What the heads over the sentence encoder say of those, where they were asked.
    full: Option<[f32; 6]>,
    /// What a guard model said of the categories, where one was asked.
    judged: Option<Judgement>,
    /// Text that was hidden in this one, as it reads: for a guard model.
    hidden: Vec<String>,
    /// What the light classifiers are suspicious of, for the sentence encoder.
    suspects: Vec<Suspect>,
    /// How near it comes to each topic.
    pub topics: topics::Looked,
}

impl Found {
    /// Adds what was found in text that was hidden in this one, short of what has a place.
    fn add(&mut self, inside: Self) {
        self.suspects.extend(inside.suspects);
        content::raise(&mut self.content, &inside.content);
        content::raise(&mut self.unshown, &inside.unshown);
        self.hidden.extend(inside.hidden);
        self.topics.add(inside.topics);
    }

    /// How sure it is that the piece is of a category: by the guard model where it has a say, and by the higher of it and the
    /// classifiers where it has not seen all.
    pub(super) fn confidence(&self, category: usize) -> Confidence {
        let light = |score: f32| content::confidence(category, score);
        self.settled(
            category,
            |judged| judged,
            || match self.full {
                Some(full) => {
                    FullHeads::shipped().confidence(&full)[category].max(light(self.unshown[category]))
                }
                None => light(self.content[category]),
            },
        )
    }

    /// The same as a number from 0 to 1: 0.25, 0.5 and 0.75 are where low, medium and high confidence begin.
    fn severity(&self, category: usize) -> f32 {
        let judged = |judged: Confidence| match judged {
            Confidence::None => 0.0,
            Confidence::Low => 0.25,
            Confidence::Medium => 0.5,
            Confidence::High => 1.0,
        };
        let light = |score: f32| content::severity(score, content::points(category));
        self.settled(category, judged, || match self.full {
            Some(full) => {
                let points = FullHeads::shipped().heads[category].points;
                content::severity(full[category], points).max(light(self.unshown[category]))
            }
            None => light(self.content[category]),
        })
    }

    /// What the guard model says of a category, the classifiers, or the higher of both.
    fn settled<T: PartialOrd>(
        &self,
        category: usize,
        judged: impl Fn(Confidence) -> T,
        classified: impl Fn() -> T,
    ) -> T {
        let Some(judgement) = &self.judged else { return classified() };
        let said = judgement.verdict.get(category).copied().flatten().map(judged);
        match (said, &judgement.failure) {
            (None, _) => classified(),
            (Some(said), None) => said,
            (Some(said), Some(_)) => Some(classified()).filter(|it| *it > said).unwrap_or(said),
        }
    }
}

impl Guard {
    /// Looks at pieces of text that belong together (the turns of one request, the parts of one answer).
    pub async fn assess(self: &Arc<Self>, source: Source, pieces: Vec<Piece>) -> Result<Assessed, ApiError> {
        self.assess_by(source, pieces, self.tools.vectors.embedder.as_ref()).await
    }

    /// The sentence encoder, for a text that is judged again and again while it grows.
    pub(crate) fn remembering(&self) -> Option<Arc<dyn EmbeddingModel>> {
        let encoder = self.tools.vectors.embedder.as_ref()?;
        Some(Arc::new(Remembering::new(Arc::clone(encoder))))
    }

    /// As [`Self::assess`], by this sentence encoder.
    pub(crate) async fn assess_by(
        self: &Arc<Self>,
        source: Source,
        pieces: Vec<Piece>,
        encoder: Option<&Arc<dyn EmbeddingModel>>,
    ) -> Result<Assessed, ApiError> {
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
        self.second_look(&mut found, encoder).await;
        let enough = |verdict: &Verdict| self.is_blocked_by(source, verdict);
        self.ask_guard_model(source, &pieces, &mut found, enough).await?;
        let facts = Facts { guard: self, source, pieces: &pieces, found: &found, grounding };
        let report = Report::of(facts, started.elapsed());
        Ok(report.finish())
    }

    /// How severe texts are in each content category, from 0 to 1: by the same judges as [`Self::assess`].
    pub(crate) async fn severities(
        self: &Arc<Self>,
        texts: Vec<(Source, String)>,
    ) -> Result<[f32; content::CATEGORIES.len()], ApiError> {
        let guard = Arc::clone(self);
        let look = move || {
            let found: Vec<Found> =
                texts.iter().map(|(source, text)| guard.look(*source, text, None, DEPTH)).collect();
            (texts, found)
        };
        let looking = tokio::task::spawn_blocking(look).await;
        let (texts, mut found) = looking.map_err(|error| ApiError::internal(error.to_string()))?;
        self.second_look(&mut found, self.tools.vectors.embedder.as_ref()).await;
        let mut worst = [0.0_f32; content::CATEGORIES.len()];
        for ((source, text), found) in texts.into_iter().zip(found) {
            let mut found = [found];
            self.ask_guard_model(source, &[Piece::new(text)], &mut found, |_| false).await?;
            for (category, worst) in worst.iter_mut().enumerate() {
                *worst = worst.max(found[0].severity(category));
            }
        }
        Ok(worst)
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
    /// of them within each other, or written in a cipher is found where the run is.
    fn look(&self, source: Source, text: &str, names: Option<&Arc<NameModel>>, depth: usize) -> Found {
        let mut found = Found::default();
        let folded = View::folded(text);
        self.look_at_words(source, text, &folded, &mut found);
        self.look_for_secrets(source, text, names, &mut found);
        // Words and secrets with gaps between their letters have a place of their own; what they mean has not.
        let spelled = spelled::read(&folded);
        let said = spelled.as_deref().map(View::folded);
        let said = said.as_ref().unwrap_or(&folded);
        self.look_at_meaning(source, said, &mut found);
        if let Some(lines) = spelled::broken_lines(said.text()) {
            let mut inside = Found::default();
            self.look_at_meaning(source, &View::folded(&lines), &mut inside);
            found.add(inside);
            found.hidden.push(lines);
        }
        found.hidden.extend(spelled);
        let Some(depth) = depth.checked_sub(1) else { return found };
        for (range, inner) in decoded_runs(text).into_iter().chain(ciphered::read(text)) {
            let mut inside = self.look(source, &inner, names, depth);
            for spot in std::mem::take(&mut inside.spots) {
                found.spots.push(Spot { range: range.clone(), ..spot });
            }
            found.add(inside);
            found.hidden.push(inner);
        }
        found
    }

    fn look_at_meaning(&self, source: Source, folded: &View, found: &mut Found) {
        if let Some(content) = self.content.as_ref().filter(|_| self.filters_content(source)) {
            let looked = FullHeads::shipped().look(folded, content);
            (found.content, found.unshown) = (looked.worst, looked.unshown);
            found.suspects = looked.suspects;
        }
        if let Some(topics) = self.topics.as_ref().filter(|_| self.denies_topics(source)) {
            found.topics = topics.look(folded);
        }
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
                let hits = profanity(folded);
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
        // Patterns are written for what people read, but may also name a character that the views replace.
        let plain = Some(View::plain(text)).filter(|view| !self.regexes.is_empty() && view.text() != text);
        let views: Vec<View> = match self.regexes.is_empty() {
            true => Vec::new(),
            false => plain.into_iter().chain(View::bared(text)).collect(),
        };
        for (index, (regex, custom)) in self.regexes.iter().zip(&policy.regexes).enumerate() {
            if custom.sides.on(source).is_none() {
                continue;
            }
            let mut ranges: Vec<Range<usize>> = regex.find_iter(text).map(|hit| hit.range()).collect();
            for view in &views {
                let known: HashSet<Range<usize>> = ranges.iter().cloned().collect();
                let hits = regex.find_iter(view.text()).map(|hit| view.original(hit.range()));
                ranges.extend(hits.filter(|range| !known.contains(range)));
            }
            let ranges = ranges.into_iter().filter(|range| !range.is_empty());
            found.spots.extend(ranges.map(|range| spot(What::Regex(index), range, text)));
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

    /// Shows the sentence encoder what the light classifiers are suspicious of and what stands out towards a topic, at once.
    /// Without the encoder, or where it can't answer, what the light ones say stands.
    async fn second_look(&self, found: &mut [Found], encoder: Option<&Arc<dyn EmbeddingModel>>) {
        let Some(embedder) = encoder else { return };
        let (mut looked, mut suspects) = (Vec::new(), Vec::new());
        let mut full = vec![None; found.len()];
        for it in found.iter_mut() {
            suspects.push(std::mem::take(&mut it.suspects));
            looked.push(&mut it.topics);
        }
        tokio::join!(
            self.judge_suspects(embedder, &suspects, &mut full),
            self.confirm_topics(embedder, looked)
        );
        found.iter_mut().zip(full).for_each(|(found, full)| found.full = full);
    }

    async fn judge_suspects(
        &self,
        embedder: &Arc<dyn EmbeddingModel>,
        suspects: &[Vec<Suspect>],
        full: &mut [Option<[f32; 6]>],
    ) {
        let heads = FullHeads::shipped();
        if self.content.is_none() || !self.tools.vectors.content_heads || heads.dimensions() == 0 {
            return;
        }
        let texts = suspects.iter().flatten().map(|it| it.text.as_str());
        let Some(shown) = Shown::to(embedder, texts, Some(LAYERS)).await else { return };
        for (full, suspects) in full.iter_mut().zip(suspects) {
            *full = heads.decide(suspects.iter().filter_map(|it| Some((it, shown.vector(&it.text)?))));
        }
    }

    async fn confirm_topics(&self, embedder: &Arc<dyn EmbeddingModel>, looked: Vec<&mut topics::Looked>) {
        let unsure: Vec<_> = looked.into_iter().filter(|it| it.is_unsure()).collect();
        if let Some(topics) = self.topics.as_ref().filter(|_| !unsure.is_empty()) {
            topics.confirm(unsure, (embedder, self.tools.vectors.ordinary.as_ref())).await;
        }
    }

    /// Asks the guard model, where there is one, about harmful content.
    async fn ask_guard_model(
        &self,
        source: Source,
        pieces: &[Piece],
        found: &mut [Found],
        enough: impl Fn(&Verdict) -> bool,
    ) -> Result<(), ApiError> {
        let (Some(judge), true) = (&self.tools.vectors.judge, self.filters_content(source)) else {
            return Ok(());
        };
        for (piece, found) in pieces.iter().zip(found) {
            if !piece.is_judged() || piece.text.trim().is_empty() {
                continue;
            }
            // A guard model reads as people do, but no base64, and letters of other alphabets as what they are.
            let plain = View::plain(&piece.text);
            let folded = is_imitated(&piece.text).then(|| View::folded(&piece.text));
            let hidden = found.hidden.join("\n");
            let mut texts = vec![plain.text()];
            texts.extend(folded.as_ref().map(View::text));
            texts.push(&hidden);
            let judgement = judge.judge(source, &texts, &enough).await;
            match (&judgement.failure, judge.on_failure) {
                (None, _) => {}
                (Some(reason), OnFailure::Open) => {
                    tracing::warn!(
                        reason,
                        "the guard model could not judge all of a text; the classifiers did"
                    );
                }
                (Some(reason), OnFailure::Closed) => {
                    tracing::error!(reason, "the guard model could not judge a text");
                    return Err(ApiError::unavailable(
                        "The guardrail's guard model could not judge the content; the server's log says why. Try again later.",
                    ));
                }
            }
            found.judged = Some(judgement);
        }
        Ok(())
    }

    /// Whether a filter blocks what a guard model has found so far, whatever else there is.
    fn is_blocked_by(&self, source: Source, verdict: &Verdict) -> bool {
        let filters = self.definition.content.iter().flat_map(|policy| &policy.filters);
        filters.into_iter().any(|filter| {
            let of = content::CATEGORIES.iter().zip(verdict).find(|(category, _)| **category == filter.kind);
            let found = of.and_then(|(_, said)| *said).is_some_and(|said| said == Confidence::High);
            found && filter.blocks(source)
        })
    }
}

fn spot(what: What, range: Range<usize>, text: &str) -> Spot {
    Spot { what, text: text[range.clone()].to_owned(), range }
}
