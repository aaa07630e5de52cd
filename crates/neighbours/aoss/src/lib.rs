//! OpenSearch Serverless, as far as knowledge bases lean on it: collections with their policies, and on a collection's
//! endpoint enough of OpenSearch's own API to make, fill, look at, search and delete an index.
//!
//! * `collections`, `policies`, `tags`: the control plane, one file a resource.
//! * [`rest`]: the collection's endpoint, `<server>/aoss/<collection id>`. Indexes are those of the embedded driver:
//!   what a knowledge base ingests into a collection is found here, and the other way round.
//!
//! Collections are there at once. Encryption is the operator's disk encryption and networks are the operator's: their
//! policies are kept and an encryption policy is asked for, as AWS does. Who may use a collection is decided by IAM
//! (`aoss:APIAccessAll`); data access policies are kept, not enforced.

mod collections;
mod error;
mod policies;
pub mod rest;
mod tags;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use craton_core::{Clock, IdSource, RequestContext};
use craton_store::{Scope, Store};
use craton_vectors::Drivers;

/// What collections stand on.
pub struct Parts {
    pub store: Store,
    pub drivers: Drivers,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    /// Where clients reach this server: `http://127.0.0.1:8473`.
    pub url: String,
}

/// The service; clones share it.
#[derive(Clone)]
pub struct Collections {
    parts: Arc<Parts>,
    /// Held by whoever makes a document that must not be there, from looking to writing.
    creating: Arc<tokio::sync::Mutex<()>>,
}

impl Collections {
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), creating: Arc::default() }
    }

    fn now_ms(&self) -> i64 {
        self.parts.clock.now_ms()
    }
}

fn scope(context: &RequestContext, kind: &'static str) -> Scope {
    Scope::new(kind, &context.account.id, &context.region)
}
