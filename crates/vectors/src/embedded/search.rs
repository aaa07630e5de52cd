//! A search over the caches: from a query to numbers with scores. No row is read here.

use std::collections::HashMap;

use super::Caches;
use super::bits::Bits;
use super::scan::unit;
use super::scoring::{Among, Found, Sought, best_first};
use super::state::State;
use crate::{Query, VectorError, Want, fusion};

/// Above this many candidates the graph is asked instead of scanning them all.
pub(super) const EXACT_LIMIT: usize = 20_000;
/// Candidates of whom there is fewer than one in this many chunks are looked up in the word index by their numbers.
const FEW: usize = 16;
/// Candidates of each part of a hybrid search, at least: as many as a walk of the graph looks at anyway.
const HYBRID_CANDIDATES: usize = 128;

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
            Want::Keywords { text } => {
                let parts = Parts { state: &state, allowed: allowed.as_ref(), limit: query.limit };
                self.worded(&parts, text, (query.limit, &[])).map(|found| found.best)
            }
            Want::Hybrid { vector, text } => {
                let parts = Parts { state: &state, allowed: allowed.as_ref(), limit: query.limit };
                self.hybrid(&parts, vector, text)
            }
        }
    }

    /// Chunks that a query finds, as [`crate::VectorIndex::count`] has it.
    pub(super) fn count(&self, query: &Query) -> Result<u64, VectorError> {
        let all = {
            let state = self.state.read();
            match &query.want {
                Want::Everything => {
                    return Ok(state.allowed(query).map_or(state.len(), |slots| slots.count()) as u64);
                }
                Want::Keywords { .. } => state.len().max(1),
                Want::Semantic { .. } | Want::Hybrid { .. } => query.limit,
            }
        };
        Ok(self.search(&Query { limit: all, ..query.clone() })?.len() as u64)
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

    /// The best by words among those allowed, and the scores of `also`.
    fn worded(
        &self,
        parts: &Parts<'_>,
        text: &str,
        (limit, also): (usize, &[u64]),
    ) -> Result<Found, VectorError> {
        let state = parts.state;
        let slots = parts.allowed.unwrap_or(state.alive());
        let passes = |number: u64| state.slot(number).is_some_and(|slot| slots.contains(slot));
        let few = |slots: &&Bits| slots.count() * FEW < state.len();
        let numbers: Option<Vec<u64>> =
            parts.allowed.filter(few).map(|slots| slots.iter().map(|slot| state.number(slot)).collect());
        let among = match (&numbers, parts.allowed) {
            (Some(numbers), _) => Among::These(numbers),
            (None, Some(_)) => Among::Passing(&passes),
            (None, None) => Among::All,
        };
        let mut found = self.keywords.search(text, &Sought { among, limit, also })?;
        found.best.retain(|(number, _)| passes(*number));
        Ok(found)
    }

    /// Both parts, each candidate of either scored by both.
    fn hybrid(&self, parts: &Parts<'_>, vector: &[f32], text: &str) -> Result<Ranked, VectorError> {
        let wanted = (parts.limit * 2).max(HYBRID_CANDIDATES);
        let state = parts.state;
        let near = self.nearest(state, vector, parts.allowed, wanted)?;
        let numbers: Vec<u64> = near.iter().map(|(number, _)| *number).collect();
        let Found { best, also } = self.worded(parts, text, (wanted, &numbers))?;
        let mut meanings: HashMap<u64, f64> = near.into_iter().collect();
        let words: HashMap<u64, f64> = best.into_iter().chain(also).collect();
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
        best_first(&mut fused, parts.limit);
        Ok(fused)
    }
}

struct Parts<'a> {
    state: &'a State,
    allowed: Option<&'a Bits>,
    limit: usize,
}
