//! Agents ready to run: a definition and its tools, read from the records once for each version that is prepared.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use craton_store::Place;
use parking_lot::Mutex;

use crate::definition::AgentDefinition;
use crate::run::tools::Toolbox;

/// Agents kept ready. Those that are not used fill the place of no other for long: when it is full, all go.
const MOST_KEPT: usize = 256;

/// An agent, and its tools as models and checks need them.
#[derive(Debug, Default)]
pub struct Prepared {
    definition: AgentDefinition,
    pub(crate) toolbox: Toolbox,
}

impl From<AgentDefinition> for Prepared {
    fn from(definition: AgentDefinition) -> Self {
        Self { toolbox: Toolbox::of(&definition), definition }
    }
}

impl Deref for Prepared {
    type Target = AgentDefinition;

    fn deref(&self) -> &AgentDefinition {
        &self.definition
    }
}

/// What tells one state of an agent from all others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub place: Place,
    pub agent_id: String,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// What was prepared last: the revision of its record.
    Draft(i64),
    Version(i64),
}

/// Agents that were read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cache(Arc<Mutex<HashMap<Key, Arc<Prepared>>>>);

impl Cache {
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Prepared>> {
        self.0.lock().get(key).cloned()
    }

    pub(crate) fn keep(&self, key: Key, prepared: &Arc<Prepared>) {
        let mut kept = self.0.lock();
        // An agent has one draft: the one before it is of no use any more.
        if matches!(key.state, State::Draft(_)) {
            kept.retain(|other, _| {
                !(matches!(other.state, State::Draft(_))
                    && (&other.place, &other.agent_id) == (&key.place, &key.agent_id))
            });
        }
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(key, Arc::clone(prepared));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(agent_id: usize, state: State) -> Key {
        let place = Place { account: "1".into(), region: "r".into() };
        Key { place, agent_id: agent_id.to_string(), state }
    }

    #[test]
    fn a_draft_takes_the_place_of_the_one_before_and_no_number_grows_without_bound() {
        let cache = Cache::default();
        let prepared = Arc::new(Prepared::default());
        cache.keep(key(1, State::Draft(1)), &prepared);
        cache.keep(key(1, State::Version(1)), &prepared);
        cache.keep(key(1, State::Draft(2)), &prepared);
        assert!(cache.get(&key(1, State::Draft(1))).is_none());
        assert!(
            cache.get(&key(1, State::Draft(2))).is_some() && cache.get(&key(1, State::Version(1))).is_some()
        );
        for agent in 0..2 * MOST_KEPT {
            cache.keep(key(agent, State::Version(1)), &prepared);
        }
        assert!(cache.0.lock().len() <= MOST_KEPT);
    }
}
