//! What the KV cache holds, counted.
//!
//! llama.cpp keeps one pool of cells for all sequences; a cell shared by several sequences (a common prefix) is
//! stored once. It does not say how many cells are free, so this ledger mirrors every append, share, cut and
//! release and counts.

use std::collections::HashMap;

/// One sequence's cells, in order of position.
type Cells = Vec<u32>;

#[derive(Debug, Default)]
pub(crate) struct KvLedger {
    capacity: usize,
    /// How many sequences refer to each cell; free cells are listed in `free`.
    references: Vec<u32>,
    free: Vec<u32>,
    sequences: HashMap<i32, Cells>,
}

impl KvLedger {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    pub(crate) fn used(&self) -> usize {
        self.references.len() - self.free.len()
    }

    pub(crate) fn available(&self) -> usize {
        self.capacity.saturating_sub(self.used())
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tokens held by a sequence.
    #[cfg(test)]
    pub(crate) fn length(&self, sequence: i32) -> usize {
        self.sequences.get(&sequence).map_or(0, Vec::len)
    }

    /// `count` tokens were computed for `sequence`.
    pub(crate) fn append(&mut self, sequence: i32, count: usize) {
        for _ in 0..count {
            let cell = self.free.pop().unwrap_or_else(|| {
                self.references.push(0);
                u32::try_from(self.references.len() - 1).unwrap_or(u32::MAX)
            });
            if let Some(references) = self.references.get_mut(cell as usize) {
                *references = 1;
            }
            self.sequences.entry(sequence).or_default().push(cell);
        }
    }

    /// `to`, empty until now, shares the first `count` tokens of `from`.
    pub(crate) fn share(&mut self, from: i32, to: i32, count: usize) {
        let shared: Cells = self
            .sequences
            .get(&from)
            .map(|cells| cells.iter().take(count).copied().collect())
            .unwrap_or_default();
        for cell in &shared {
            if let Some(references) = self.references.get_mut(*cell as usize) {
                *references += 1;
            }
        }
        self.sequences.insert(to, shared);
    }

    /// `sequence` holds its first `length` tokens only.
    pub(crate) fn cut(&mut self, sequence: i32, length: usize) {
        let Some(cells) = self.sequences.get_mut(&sequence) else { return };
        let cells = cells.split_off(length.min(cells.len()));
        self.forget(cells);
    }

    /// `sequence` holds nothing any more.
    pub(crate) fn release(&mut self, sequence: i32) {
        let cells = self.sequences.remove(&sequence).unwrap_or_default();
        self.forget(cells);
    }

    fn forget(&mut self, cells: Cells) {
        for cell in cells {
            if let Some(references) = self.references.get_mut(cell as usize) {
                *references -= 1;
                if *references == 0 {
                    self.free.push(cell);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_shared_prefix_is_stored_once() {
        let mut ledger = KvLedger::new(100);
        ledger.append(0, 10);
        ledger.share(0, 1, 6);
        ledger.append(1, 3);
        assert_eq!((ledger.used(), ledger.available(), ledger.length(1)), (13, 87, 9));
        ledger.release(0);
        assert_eq!(ledger.used(), 9);
        ledger.release(1);
        assert_eq!(ledger.used(), 0);
    }

    proptest! {
        #[test]
        fn the_count_is_that_of_distinct_cells(steps in proptest::collection::vec((0_u8..4, 0_i32..5, 0_i32..5, 0_usize..9), 0..60)) {
            let mut ledger = KvLedger::new(1000);
            for (kind, a, b, n) in steps {
                match kind {
                    0 => ledger.append(a, n),
                    1 if a != b => {
                        ledger.release(b);
                        ledger.share(a, b, n);
                    }
                    2 => ledger.cut(a, n),
                    _ => ledger.release(a),
                }
                let distinct: HashSet<u32> = ledger.sequences.values().flatten().copied().collect();
                prop_assert_eq!(ledger.used(), distinct.len());
            }
        }
    }
}
