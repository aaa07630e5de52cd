//! A search over the caches: from a query to numbers with scores. No row is read here.

use std::collections::HashMap;
use std::sync::Arc;

use super::Caches;
use super::bits::Bits;
use super::keywords::Allowed;
use super::scan::unit;
use super::state::State;
use crate::{Query, VectorError, Want, fusion};

/// Above this many candidates the graph is asked instead of scanning them all.
pub(super) const EXACT_LIMIT: usize = 20_000;
/// Up to this many candidates are looked up in the word index one by one, instead of all that have the words.
const LOOKED_UP: usize = 12_000;
/// Candidates of each part of a hybrid search, at least.
const HYBRID_CANDIDATES: usize = 200;

/// A chunk's number and its score.
pub(super) type Ranked = Vec<(u64, f64)>;

impl Caches {
    /// The best chunks for a query, best first.
    pub(super) fn search(&self, query: &Query) -> Result<Ranked, VectorError> {
        let state = self.state.read();
        let allowed = state.allowed(query);
        match &query.want {
            Want::Everything => {
                let slots = allowed.as_ref().unwrap_or(state.alive());
                Ok(slots.iter().take(query.limit).map(|slot| (state.number(slot), 1.0)).collect())
            }
            Want::Semantic { vector } => self.nearest(&state, vector, allowed.as_ref(), query.limit),
            Want::Keywords { text } => self.keywords_in(&state, text, allowed.as_ref(), query.limit),
            Want::Hybrid { vector, text } => {
                let parts = Parts { state: &state, allowed: allowed.as_ref(), limit: query.limit };
                self.hybrid(&parts, vector, text)
            }
        }
    }

    fn nearest(
        &self,
        state: &State,
        vector: &[f32],
        allowed: Option<&Bits>,
        limit: usize,
    ) -> Result<Ranked, VectorError> {
        let query = unit(vector);
        let count = allowed.map_or(state.len(), Bits::count);
        let slots = allowed.unwrap_or(state.alive());
        let graph = self.graph.read();
        let found = match graph.as_ref().filter(|_| count > EXACT_LIMIT) {
            None => state.arena().nearest(slots.iter(), &query, limit),
            Some(graph) => {
                let passes = |number: u64| state.slot(number).is_some_and(|slot| slots.contains(slot));
                let through = graph.through();
                let near = graph.nearest(&query, limit, passes)?;
                let tail = slots.iter_from(state.slot_after(through));
                let near = near.into_iter().filter(|number| *number <= through);
                let candidates = near.filter_map(|number| state.slot(number)).chain(tail);
                state.arena().nearest(candidates, &query, limit)
            }
        };
        let score = |found: &super::scan::Scored| (state.number(found.slot), fusion::semantic(found.score));
        Ok(found.iter().map(score).collect())
    }

    fn keywords_in(
        &self,
        state: &State,
        text: &str,
        allowed: Option<&Bits>,
        limit: usize,
    ) -> Result<Ranked, VectorError> {
        let numbers = |slots: &Bits| slots.iter().map(|slot| state.number(slot)).collect::<Vec<u64>>();
        let mut found = match allowed {
            None => self.keywords.search(text, None, limit)?,
            Some(slots) if slots.count() <= LOOKED_UP => self.keywords.scores(text, &numbers(slots))?,
            Some(slots) => self.keywords.search(text, Some(only(numbers(slots))), limit)?,
        };
        found.retain(|(number, _)| state.slot(*number).is_some());
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(limit);
        Ok(found)
    }

    /// Both parts, each candidate of either scored by both.
    fn hybrid(&self, parts: &Parts<'_>, vector: &[f32], text: &str) -> Result<Ranked, VectorError> {
        let wanted = (parts.limit * 2).max(HYBRID_CANDIDATES);
        let state = parts.state;
        let (by_meaning, by_words) = std::thread::scope(|scope| {
            let worded = scope.spawn(|| self.keywords_in(state, text, parts.allowed, wanted));
            let near = self.nearest(state, vector, parts.allowed, wanted);
            let panicked = |_| Err(VectorError::Internal("a search by words panicked".into()));
            (near, worded.join().unwrap_or_else(panicked))
        });
        let (by_meaning, by_words) = (by_meaning?, by_words?);
        let mut words: HashMap<u64, f64> = by_words.into_iter().collect();
        let mut meanings: HashMap<u64, f64> = by_meaning.into_iter().collect();
        let missing: Vec<u64> =
            meanings.keys().filter(|number| !words.contains_key(number)).copied().collect();
        words.extend(self.keywords.scores(text, &missing)?);
        let query = unit(vector);
        for number in words.keys() {
            if let Some(slot) = state.slot(*number) {
                meanings
                    .entry(*number)
                    .or_insert_with(|| fusion::semantic(state.arena().cosine(slot, &query)));
            }
        }
        let fused = meanings.into_iter().map(|(number, meaning)| {
            (number, fusion::hybrid(meaning, words.get(&number).copied().unwrap_or_default()))
        });
        let mut fused: Ranked = fused.collect();
        fused.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        fused.truncate(parts.limit);
        Ok(fused)
    }
}

struct Parts<'a> {
    state: &'a State,
    allowed: Option<&'a Bits>,
    limit: usize,
}

/// Lets these numbers through.
fn only(numbers: Vec<u64>) -> Allowed {
    let first = numbers.iter().min().copied().unwrap_or_default();
    let place = move |number: u64| number.checked_sub(first).and_then(|place| u32::try_from(place).ok());
    let bits: Bits = numbers.into_iter().filter_map(place).collect();
    Arc::new(move |number| place(number).is_some_and(|place| bits.contains(place)))
}
