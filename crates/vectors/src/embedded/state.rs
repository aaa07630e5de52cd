//! What an index keeps in memory of its rows: enough to decide which chunks to read.

use std::collections::HashMap;

use super::bits::Bits;
use super::postings::Postings;
use super::scan::Arena;
use crate::{Chunk, Query};

/// Empty slots that are no reason to build a state anew.
const SPARE_SLOTS: usize = 1_024;

/// Chunks by slot: a dense position in the order of their numbers. Slots of chunks that are gone stay empty until the
/// state is built anew.
#[derive(Debug)]
pub(super) struct State {
    numbers: Vec<u64>,
    alive: Bits,
    alive_count: usize,
    arena: Arena,
    postings: Postings,
    owners: HashMap<String, Bits>,
}

impl State {
    pub(super) fn new(dimensions: usize) -> Self {
        Self {
            numbers: Vec::new(),
            alive: Bits::default(),
            alive_count: 0,
            arena: Arena::new(dimensions),
            postings: Postings::default(),
            owners: HashMap::new(),
        }
    }

    pub(super) fn reserve(&mut self, count: usize) {
        self.numbers.reserve(count);
        self.arena.reserve(count);
    }

    /// Takes in a chunk, whose number is larger than those before.
    pub(super) fn insert(&mut self, number: u64, chunk: &Chunk) {
        let Ok(slot) = u32::try_from(self.numbers.len()) else { return };
        self.numbers.push(number);
        self.arena.push(&chunk.vector);
        self.postings.insert(slot, chunk.attributes());
        match self.owners.get_mut(&chunk.document.owner) {
            Some(slots) => slots.insert(slot),
            None => {
                self.owners.insert(chunk.document.owner.clone(), Bits::from_iter([slot]));
            }
        }
        self.alive.insert(slot);
        self.alive_count += 1;
    }

    pub(super) fn remove(&mut self, number: u64) {
        if let Some(slot) = self.slot(number) {
            self.alive.remove(slot);
            self.alive_count -= 1;
        }
    }

    /// The slot of a chunk that is there.
    pub(super) fn slot(&self, number: u64) -> Option<u32> {
        let first = *self.numbers.first()?;
        let guess = usize::try_from(number.checked_sub(first)?).ok()?;
        // Without gaps in the numbers, and mostly there are none, the guess is right.
        let at = match self.numbers.get(guess) {
            Some(found) if *found == number => guess,
            _ => self.numbers.binary_search(&number).ok()?,
        };
        u32::try_from(at).ok().filter(|slot| self.alive.contains(*slot))
    }

    pub(super) fn number(&self, slot: u32) -> u64 {
        self.numbers.get(slot as usize).copied().unwrap_or_default()
    }

    /// The first slot whose number is larger.
    pub(super) fn slot_after(&self, number: u64) -> u32 {
        let at = self.numbers.partition_point(|known| *known <= number);
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    pub(super) fn last_number(&self) -> u64 {
        self.numbers.last().copied().unwrap_or_default()
    }

    pub(super) fn alive(&self) -> &Bits {
        &self.alive
    }

    /// Chunks there are.
    pub(super) fn len(&self) -> usize {
        self.alive_count
    }

    /// Whether so many slots are empty that it should be built anew.
    pub(super) fn is_crowded(&self) -> bool {
        self.slots() > 2 * self.len() + SPARE_SLOTS
    }

    /// Slots, those of gone chunks included.
    pub(super) fn slots(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The slots that a query may return; None when all of them.
    pub(super) fn allowed(&self, query: &Query) -> Option<Bits> {
        let mut allowed = query.filter.as_ref().map(|filter| {
            let mut slots = self.postings.resolve(filter, &self.alive);
            slots.intersect(&self.alive);
            slots
        });
        if let Some(owner) = &query.owner
            && self.owners.keys().any(|known| known != owner && !known.is_empty())
        {
            let mut visible = self.owners.get(owner).cloned().unwrap_or_default();
            if let Some(of_nobody) = self.owners.get("") {
                visible.unite(of_nobody);
            }
            visible.intersect(allowed.as_ref().unwrap_or(&self.alive));
            allowed = Some(visible);
        }
        allowed
    }
}
