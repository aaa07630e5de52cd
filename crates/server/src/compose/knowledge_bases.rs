//! Knowledge bases, on what they keep their documents and vectors in.

use std::sync::Arc;

use craton_core::{Clock, IdSource};
use craton_identity::ServiceRoles;
use craton_inference::Backends;
use craton_knowledge_bases::{KnowledgeBases, Parts};
use craton_models::Models;
use craton_objects::Objects;
use craton_store::Store;

use crate::config::ServerConfig;

pub(crate) fn knowledge_bases(
    config: &ServerConfig,
    (store, objects, drivers): (&Store, Objects, craton_vectors::Drivers),
    (models, backends): (&Models, Arc<dyn Backends>),
    roles: &ServiceRoles,
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
) -> KnowledgeBases {
    KnowledgeBases::new(Parts {
        store: store.clone(),
        objects: Arc::new(objects),
        drivers,
        models: models.clone(),
        backends,
        roles: roles.clone(),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        config: config.knowledge_bases.clone(),
    })
}
