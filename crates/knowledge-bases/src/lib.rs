//! Knowledge bases: documents in, cited answers out.
//!
//! Owns knowledge bases and their data sources, ingestion jobs, documents put in directly, and retrieval.
//!
//! * `knowledge_base`, `data_source`, `ingestion_job`, `documents`, `tags`: the operations, one file a resource.
//! * [`ingestion`]: the work itself. `ingestion::sync` lists, compares, reads, cuts, embeds and indexes, in that order,
//!   all of its control flow in one function; it runs as a durable job and takes up where a killed one left off.
//! * `members`: requests in which a type chooses what else is said.
//! * `records`: what is stored of a resource, and the conditions for changing it.
//! * `index`: the vector index and the embedding model of a knowledge base; `storage`: where the index is.
//!
//! Documents come from strangers: a document that can't be read fails alone, with its reason.

mod config;
mod data_source;
mod documents;
mod error;
mod index;
pub mod ingestion;
mod ingestion_job;
mod knowledge_base;
mod members;
mod records;
pub mod retrieval;
mod storage;
mod tags;
mod upkeep;

use std::sync::Arc;

use craton_api_bedrock_agent::OpenSearchServerlessFieldMapping;
use craton_core::{Clock, IdSource, RequestContext};
use craton_identity::Permissions;
use craton_inference::{Backends, Inference};
use craton_metering::Metering;
use craton_models::Models;
use craton_objects::ObjectStore;
use craton_store::Store;
use craton_store::jobs::Runner;
use craton_vectors::Drivers;
use craton_wire::ApiError;

use futures::future::BoxFuture;

pub use config::{AccessError, KnowledgeBasesConfig, OpenSearchCluster, PostgresDatabase};
use retrieval::{Retrieval, RetrievalParts};

/// An index of a collection, as a knowledge base asks for it.
#[derive(Debug, Clone, Copy)]
pub struct CollectionIndex<'a> {
    pub collection_arn: &'a str,
    pub name: &'a str,
    pub fields: &'a OpenSearchServerlessFieldMapping,
    /// Length of the vectors.
    pub dimensions: usize,
}

/// Knows the collections that an index can be in.
pub trait KnownCollections: Send + Sync {
    /// Whether `arn` is, in its only spelling, a collection that is there.
    fn has_collection<'a>(
        &'a self,
        context: &'a RequestContext,
        arn: &'a str,
    ) -> BoxFuture<'a, Result<bool, ApiError>>;

    /// Refuses, with OpenSearch's reason, what the mapping of an index that is there does not fit.
    fn check_index<'a>(
        &'a self,
        context: &'a RequestContext,
        index: CollectionIndex<'a>,
    ) -> BoxFuture<'a, Result<(), ApiError>>;

    /// Notes what a knowledge base calls its fields, for whoever reads the index by OpenSearch's own API.
    fn name_fields<'a>(
        &'a self,
        context: &'a RequestContext,
        index: CollectionIndex<'a>,
        knowledge_base: &'a str,
    ) -> BoxFuture<'a, Result<(), ApiError>>;
}

/// What knowledge bases stand on.
#[derive(Clone)]
pub struct Parts {
    pub store: Store,
    pub objects: Arc<dyn ObjectStore>,
    pub drivers: Drivers,
    pub collections: Arc<dyn KnownCollections>,
    /// Where what is embedded is counted.
    pub metering: Arc<Metering>,
    /// Where indexes of type RDS may be.
    pub databases: Vec<PostgresDatabase>,
    /// Where indexes in OpenSearch may be.
    pub clusters: Vec<OpenSearchCluster>,
    pub models: Models,
    pub backends: Arc<dyn Backends>,
    /// What a knowledge base may do with its role.
    pub permissions: Arc<dyn Permissions>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    pub config: KnowledgeBasesConfig,
}

/// The service; clones share it.
#[derive(Clone)]
pub struct KnowledgeBases {
    parts: Arc<Parts>,
}

impl KnowledgeBases {
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Searches and answers from the knowledge bases kept here.
    pub fn retrieval(&self, inference: Inference) -> Retrieval {
        let Parts { objects, store, clock, ids, .. } = (*self.parts).clone();
        Retrieval::new(RetrievalParts {
            searchables: Arc::new(self.clone()),
            inference,
            objects,
            store,
            clock,
            ids,
        })
    }

    /// Has `runner` do this service's jobs.
    pub fn handle_jobs(&self, runner: Runner) -> Runner {
        let syncs = self.parts.config.concurrent_syncs;
        runner
            .handle(upkeep::KIND, 1, Arc::new(upkeep::Upkeep(self.clone())))
            .handle(ingestion::SYNC, syncs, Arc::new(ingestion::SyncHandler(self.clone())))
            .handle(ingestion::DIRECT, 1, Arc::new(ingestion::DirectHandler(self.clone())))
    }
}
