//! Agents, on what they call, and their runs.

use std::sync::Arc;

use craton_agents::run::{AgentRuns, RunsParts};
use craton_agents::{Agents, Parts};
use craton_core::{Clock, IdSource};
use craton_guardrails::Guardrails;
use craton_identity::{Authorizer, ServiceRoles};
use craton_inference::Inference;
use craton_knowledge_bases::KnowledgeBases;
use craton_knowledge_bases::retrieval::Retrieval;
use craton_lambda::Lambda;
use craton_models::Models;
use craton_objects::Objects;
use craton_sandbox::Sandbox;
use craton_store::Store;

use crate::config::ServerConfig;

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

/// Runs of agents.
pub(crate) fn agent_runs(
    (agents, config): (&Agents, &ServerConfig),
    (inference, guardrails, retrieval): (&Inference, &Arc<Guardrails>, &Retrieval),
    (functions, sandbox, objects): (&Lambda, &Sandbox, Objects),
    (roles, authorizer): (&ServiceRoles, &Arc<dyn Authorizer>),
    (store, clock, ids): (&Store, &Arc<dyn Clock>, &Arc<dyn IdSource>),
) -> AgentRuns {
    AgentRuns::new(RunsParts {
        definitions: Arc::new(agents.clone()),
        inference: inference.clone(),
        guardrails: Arc::clone(guardrails),
        retrieval: retrieval.clone(),
        functions: Arc::new(functions.clone()),
        sandbox: sandbox.clone(),
        objects: Arc::new(objects),
        roles: roles.clone(),
        authorizer: Arc::clone(authorizer),
        store: store.clone(),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        config: config.agents.clone(),
    })
}
