use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// A map that is read on every call and written only when a new key turns up: reads take no lock.
pub(crate) struct Lookup<K, V> {
    map: ArcSwap<HashMap<K, V>>,
    writer: Mutex<()>,
}

impl<K: Eq + Hash + Clone, V: Clone> Lookup<K, V> {
    pub(crate) fn new() -> Self {
        Self { map: ArcSwap::from_pointee(HashMap::new()), writer: Mutex::new(()) }
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.map.load().get(key).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.map.load().len()
    }

    /// The value of `key`, made by `make` when it is new.
    pub(crate) fn insert_with(&self, key: K, make: impl FnOnce() -> V) -> V {
        let _writer = self.writer.lock();
        if let Some(value) = self.get(&key) {
            return value;
        }
        let mut map = HashMap::clone(&self.map.load());
        let value = make();
        map.insert(key, value.clone());
        self.map.store(Arc::new(map));
        value
    }
}
