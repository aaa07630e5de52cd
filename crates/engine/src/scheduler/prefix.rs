//! Finished sequences kept for their prefixes.
//!
//! A conversation's next request begins with all of the last one; many requests begin with the same system prompt.
//! The tokens of what is kept are compared with each new prompt, and the longest common beginning is shared instead
//! of computed again. The least recently useful goes first when room is needed.

use llama_cpp_2::token::LlamaToken;

#[derive(Debug)]
pub(crate) struct CachedSequence {
    pub(crate) id: i32,
    pub(crate) tokens: Vec<LlamaToken>,
    used_at: u64,
}

#[derive(Debug, Default)]
pub(crate) struct PrefixCache {
    entries: Vec<CachedSequence>,
    clock: u64,
}

/// Tokens that two sequences have in common at their beginnings.
pub(crate) fn common_prefix(a: &[LlamaToken], b: &[LlamaToken]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl PrefixCache {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry with the longest beginning in common: (its sequence, tokens in common).
    pub(crate) fn best(&self, tokens: &[LlamaToken]) -> Option<(i32, usize)> {
        self.entries
            .iter()
            .map(|entry| (entry.id, common_prefix(&entry.tokens, tokens)))
            .filter(|(_, common)| *common > 0)
            .max_by_key(|(_, common)| *common)
    }

    pub(crate) fn touch(&mut self, id: i32) {
        self.clock += 1;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.used_at = self.clock;
        }
    }

    /// Keeps a sequence. Entries that it contains whole are returned: they have become useless.
    pub(crate) fn insert(&mut self, id: i32, tokens: Vec<LlamaToken>) -> Vec<i32> {
        self.clock += 1;
        let (contained, kept) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| entry.tokens.len() <= tokens.len() && tokens.starts_with(&entry.tokens));
        self.entries = kept;
        self.entries.push(CachedSequence { id, tokens, used_at: self.clock });
        let contained: Vec<CachedSequence> = contained;
        contained.into_iter().map(|entry| entry.id).collect()
    }

    /// Removes the least recently used entry.
    pub(crate) fn evict(&mut self) -> Option<i32> {
        let at = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.used_at)?.0;
        Some(self.entries.swap_remove(at).id)
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(ids: &[i32]) -> Vec<LlamaToken> {
        ids.iter().copied().map(LlamaToken).collect()
    }

    #[test]
    fn the_longest_common_beginning_wins_and_contained_entries_go() {
        let mut cache = PrefixCache::default();
        assert!(cache.insert(1, tokens(&[1, 2, 3])).is_empty());
        assert!(cache.insert(2, tokens(&[1, 2, 4, 5])).is_empty());
        assert_eq!(cache.best(&tokens(&[1, 2, 4, 9])), Some((2, 3)));
        assert_eq!(cache.best(&tokens(&[7])), None);
        assert_eq!(cache.insert(3, tokens(&[1, 2, 3, 4])), [1]);
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn the_least_recently_used_is_evicted_first() {
        let mut cache = PrefixCache::default();
        cache.insert(1, tokens(&[1]));
        cache.insert(2, tokens(&[2]));
        cache.touch(1);
        assert_eq!(cache.evict(), Some(2));
        assert_eq!(cache.evict(), Some(1));
        assert_eq!(cache.evict(), None);
    }
}
