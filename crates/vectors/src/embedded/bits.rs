/// A set of slots, one bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The set of all slots below `count`.
    #[cfg(test)]
    pub(super) fn below(count: usize) -> Self {
        let mut words = vec![u64::MAX; count / 64];
        if !count.is_multiple_of(64) {
            words.push((1 << (count % 64)) - 1);
        }
        Self { words }
    }

    pub(super) fn insert(&mut self, slot: u32) {
        let word = slot as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (slot % 64);
    }

    pub(super) fn remove(&mut self, slot: u32) {
        if let Some(word) = self.words.get_mut(slot as usize / 64) {
            *word &= !(1 << (slot % 64));
        }
    }

    pub(super) fn contains(&self, slot: u32) -> bool {
        self.words.get(slot as usize / 64).is_some_and(|word| word & (1 << (slot % 64)) != 0)
    }

    pub(super) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn intersect(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    pub(super) fn unite(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= !other;
        }
    }

    /// Its slots, ascending, from `start` on.
    pub(super) fn iter_from(&self, start: u32) -> impl Iterator<Item = u32> {
        let first = start as usize / 64;
        self.words.iter().enumerate().skip(first).flat_map(move |(at, word)| {
            let below = if at == first { (1_u64 << (start % 64)) - 1 } else { 0 };
            let mut rest = word & !below;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                let slot = u32::try_from(at * 64).unwrap_or(u32::MAX).checked_add(bit)?;
                (rest != 0).then(|| {
                    rest &= rest - 1;
                    slot
                })
            })
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.iter_from(0)
    }
}

impl FromIterator<u32> for Bits {
    fn from_iter<I: IntoIterator<Item = u32>>(slots: I) -> Self {
        let mut bits = Self::default();
        slots.into_iter().for_each(|slot| bits.insert(slot));
        bits
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(a in prop::collection::btree_set(0_u32..400, 0..80),
                            b in prop::collection::btree_set(0_u32..300, 0..80), from in 0_u32..400) {
            let (left, right): (Bits, Bits) = (a.iter().copied().collect(), b.iter().copied().collect());
            let with = |change: fn(&mut Bits, &Bits)| {
                let mut bits = left.clone();
                change(&mut bits, &right);
                bits.iter().collect::<BTreeSet<u32>>()
            };
            prop_assert_eq!(with(Bits::intersect), &a & &b);
            prop_assert_eq!(with(Bits::unite), &a | &b);
            prop_assert_eq!(with(Bits::subtract), &a - &b);
            prop_assert_eq!(left.count(), a.len());
            let tail: Vec<u32> = a.range(from..).copied().collect();
            prop_assert_eq!(left.iter_from(from).collect::<Vec<_>>(), tail);
        }
    }

    #[test]
    fn below_is_exact() {
        for count in [0, 1, 63, 64, 65, 200] {
            assert_eq!(Bits::below(count).iter().count(), count);
        }
    }
}
