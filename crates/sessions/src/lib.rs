//! Sessions: where applications keep the state of their conversations, step by step (LangGraph's checkpoints, for one).
//!
//! A session has invocations, and an invocation has steps: text and images that are stored as they come and given back
//! as they were. Nothing here calls a model, and these sessions are not those of InvokeAgent.
//!
//! A session is ACTIVE while it is used, EXPIRED when nothing was written to it for `idle_s`, ENDED after EndSession;
//! only an active one takes more, only one that is not active can be deleted. Lists begin with what is newest. A step's
//! content is a record of its own beside the step, so that lists don't read it.
//!
//! * `service`: the operations, as methods of [`Sessions`] named after them.
//! * `content`: what a step may hold.
//! * `records`: what is kept, and under which names.

mod content;
mod error;
mod records;
mod service;

use std::sync::Arc;

use craton_core::{Clock, IdSource};
use craton_store::Store;
use serde::Deserialize;

/// `[sessions]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionsConfig {
    /// A session that nothing was written to for so long expires.
    pub idle_s: u32,
    /// Sessions that are not active are deleted after so many days; 0 keeps them.
    pub retention_days: u32,
}

impl Default for SessionsConfig {
    fn default() -> Self {
        Self { idle_s: 3600, retention_days: 30 }
    }
}

/// The sessions of all accounts and regions; clones share them.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    config: SessionsConfig,
}

impl Sessions {
    pub fn new(store: Store, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>, config: SessionsConfig) -> Self {
        Self { store, clock, ids, config }
    }
}
