//! Agents, on what they call.

use std::sync::Arc;

use craton_agents::{Agents, Parts};
use craton_core::{Clock, IdSource};
use craton_guardrails::Guardrails;
use craton_identity::ServiceRoles;
use craton_knowledge_bases::KnowledgeBases;
use craton_models::Models;
use craton_objects::Objects;
use craton_store::Store;

pub(crate) fn agents(
    (store, objects): (&Store, Objects),
    (models, guardrails, knowledge_bases): (&Models, &Arc<Guardrails>, &KnowledgeBases),
    roles: &ServiceRoles,
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
) -> Agents {
    Agents::new(Parts {
        store: store.clone(),
        objects: Arc::new(objects),
        models: models.clone(),
        guardrails: Arc::clone(guardrails),
        knowledge_bases: knowledge_bases.clone(),
        roles: roles.clone(),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
    })
}
