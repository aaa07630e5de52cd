//! OpenSearch Serverless, as far as knowledge bases lean on it: collections with their policies, and on a collection's
//! endpoint enough of OpenSearch's own API to make, fill, look at, search and delete an index.
//!
//! * `collections`, `policies`, `tags`: the control plane, one file a resource.
//! * `access`: what policies say, and whom they mean.
//! * [`rest`]: the collection's endpoint, `<server>/aoss/<collection id>`. Indexes are those of the embedded driver:
//!   what a knowledge base ingests into a collection is found here, and the other way round.
//!
//! Collections are there at once. Encryption is the operator's disk encryption and networks are the operator's: their
//! policies are kept and an encryption policy is asked for, as AWS does. Who may use a collection is decided by IAM
//! (`aoss:APIAccessAll`, asked by the server) together with data access policies, for all but the root.

mod access;
mod collections;
mod error;
mod policies;
pub mod rest;
mod tags;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use craton_core::{Clock, IdSource, RequestContext};
use craton_identity::PolicySource;
use craton_store::{Scope, Store};
use craton_vectors::Drivers;

/// What collections stand on.
pub struct Parts {
    pub store: Store,
    pub drivers: Drivers,
    /// Knows the users and roles that data access policies name.
    pub principals: Arc<dyn PolicySource>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    /// Where clients reach this server: `http://127.0.0.1:8473`.
    pub url: String,
}

/// The service; clones share it.
#[derive(Clone)]
pub struct Collections {
    parts: Arc<Parts>,
    /// One for each index that was written to, held from looking whether a document is there to writing it. Other
    /// servers on the same records are not kept out.
    writing: Arc<parking_lot::Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

impl Collections {
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), writing: Arc::default() }
    }

    /// The lock of an index's writers; locks that nobody holds or waits for are let go.
    fn writers_of(&self, collection: &str, index: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut writing = self.writing.lock();
        writing.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(writing.entry(format!("{collection}/{index}")).or_default())
    }

    fn now_ms(&self) -> i64 {
        self.parts.clock.now_ms()
    }
}

fn scope(context: &RequestContext, kind: &'static str) -> Scope {
    Scope::new(kind, &context.account.id, &context.region)
}
