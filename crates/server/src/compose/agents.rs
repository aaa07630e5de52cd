//! Agents, on what they call, and their runs.

use std::sync::Arc;

use craton_agents::run::{AgentRuns, RunsParts};
use craton_agents::{Agents, Parts};
use craton_core::{Clock, IdSource};
use craton_guardrails::Guardrails;
use craton_identity::Permissions;
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
    (permissions, functions): (&Arc<dyn Permissions>, &Lambda),
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
) -> Agents {
    Agents::new(Parts {
        store: store.clone(),
        objects: Arc::new(objects),
        models: models.clone(),
        guardrails: Arc::clone(guardrails),
        knowledge_bases: knowledge_bases.clone(),
        permissions: Arc::clone(permissions),
        functions: Arc::new(functions.clone()),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
    })
}

/// Runs of agents.
pub(crate) fn agent_runs(
    (agents, config): (&Agents, &ServerConfig),
    (inference, guardrails, retrieval): (&Inference, &Arc<Guardrails>, &Retrieval),
    (functions, sandbox, objects): (&Lambda, &Sandbox, Objects),
    permissions: &Arc<dyn Permissions>,
    (store, clock, ids): (&Store, &Arc<dyn Clock>, &Arc<dyn IdSource>),
) -> AgentRuns {
    AgentRuns::new(RunsParts {
        agents: agents.clone(),
        inference: inference.clone(),
        guardrails: Arc::clone(guardrails),
        retrieval: retrieval.clone(),
        functions: Arc::new(functions.clone()),
        sandbox: sandbox.clone(),
        objects: Arc::new(objects),
        permissions: Arc::clone(permissions),
        store: store.clone(),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        config: config.agents.clone(),
    })
}
