//! Flows, and what their nodes call.

mod agents;
mod lookup;

use std::sync::Arc;

use craton_agents::Agents;
use craton_agents::run::AgentRuns;
use craton_core::{Clock, IdSource};
use craton_flows::{Flows, FlowsConfig, Parts};
use craton_guardrails::Guardrails;
use craton_identity::Permissions;
use craton_inference::Inference;
use craton_knowledge_bases::KnowledgeBases;
use craton_knowledge_bases::retrieval::Retrieval;
use craton_lambda::Lambda;
use craton_models::Models;
use craton_objects::Objects;
use craton_prompts::Prompts;
use craton_sandbox::Sandbox;
use craton_store::Store;

/// The services that nodes call.
pub(crate) struct Called<'s> {
    pub(crate) objects: Objects,
    pub(crate) inference: &'s Inference,
    pub(crate) prompts: &'s Prompts,
    pub(crate) retrieval: &'s Retrieval,
    pub(crate) lambda: &'s Lambda,
    pub(crate) agents: &'s AgentRuns,
    pub(crate) sandbox: Sandbox,
    /// What nodes name besides.
    pub(crate) named: (&'s Agents, &'s Models, &'s Arc<Guardrails>, &'s KnowledgeBases),
}

pub(crate) fn flows(
    config: &FlowsConfig,
    store: &Store,
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
    permissions: &Arc<dyn Permissions>,
    called: Called<'_>,
) -> Flows {
    let (agents, models, guardrails, knowledge_bases) = called.named;
    let lookup = lookup::Services {
        lambda: called.lambda.clone(),
        knowledge_bases: knowledge_bases.clone(),
        prompts: called.prompts.clone(),
        agents: agents.clone(),
        models: models.clone(),
        guardrails: Arc::clone(guardrails),
    };
    Flows::new(Parts {
        store: store.clone(),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        permissions: Arc::clone(permissions),
        objects: Arc::new(called.objects),
        inference: called.inference.clone(),
        prompts: called.prompts.clone(),
        retrieval: called.retrieval.clone(),
        functions: Arc::new(called.lambda.clone()),
        agents: Arc::new(agents::FlowAgents(called.agents.clone())),
        lookup: Arc::new(lookup),
        sandbox: called.sandbox,
        config: config.clone(),
    })
}
