//! What calls everything else: agents, their runs, and flows.

use std::sync::Arc;

use craton_agents::Agents;
use craton_agents::run::AgentRuns;
use craton_core::{Clock, IdSource};
use craton_flows::Flows;
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

use super::agents::{agent_runs, agents};
use super::flows::{Called, flows};
use crate::config::ServerConfig;

type Resources<'s> = (&'s Models, &'s Arc<Guardrails>, &'s KnowledgeBases);
type Services<'s> = (&'s Inference, &'s Prompts, &'s Retrieval, (&'s Lambda, &'s Sandbox));

pub(crate) fn orchestration(
    config: &ServerConfig,
    (store, objects): (&Store, &Objects),
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
    permissions: &Arc<dyn Permissions>,
    (resources, services): (Resources<'_>, Services<'_>),
) -> (Agents, AgentRuns, Flows) {
    let (inference, prompts, retrieval, (lambda, sandbox)) = services;
    let agents = agents((store, objects.clone()), resources, (permissions, lambda), (clock, ids));
    let sandbox = sandbox.clone();
    let runs = agent_runs(
        (&agents, config),
        (inference, resources.1, retrieval),
        (lambda, &sandbox, objects.clone()),
        permissions,
        (store, clock, ids),
    );
    let named = (&agents, resources.0, resources.1, resources.2);
    let objects = objects.clone();
    let called = Called { objects, inference, prompts, retrieval, lambda, agents: &runs, sandbox, named };
    let flows = flows(&config.flows, store, (clock, ids), permissions, called);
    (agents, runs, flows)
}
