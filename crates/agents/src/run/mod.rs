//! Running agents: InvokeAgent, InvokeInlineAgent, and the memory that sessions leave.
//!
//! A **turn** is a small state machine. It holds a definition, a session and a bounded number of steps; each **step**
//! is one call of a model whose tools are what the agent may do. Whatever the model calls is checked against its
//! schema and carried out, several calls side by side; what comes back goes to the model as results, and the next step
//! begins. A turn ends with an answer, with actions that the caller has to carry out (the session then waits for them),
//! or with an error at one of its bounds.
//!
//! ```text
//! invoke ─ inline | control ─►      definition        session (opened, leased)
//!    └─ frame: guardrail → pre-processing → routing →┐
//!         turn: prompt → step → [parser] → act ─► functions | knowledge | code | collaborate | returned
//!               ▲                          └──── results ──┘
//!       └→ post-processing → guardrail → citations → session kept → chunk, files
//! ```
//!
//! * `invoke`: the two operations; `asked`: what both of them ask; `inline`: a request as a definition; `events`: what the caller is told, as a stream
//!   that *is* the run: nothing is spawned, so dropping it frees a model, a function, a sandbox, a session.
//! * `frame`, `turn`, `step`, `act`: the turn, from its outermost ring to one tool call.
//! * `tools`, `arguments`: what a definition offers a model, and its calls checked and put into the API's form.
//! * `functions`, `knowledge`, `code`, `collaborate`, `returned`: the ways a call is carried out.
//! * [`prompt`], `parser`: what a model reads, and who reads its answers.
//! * `session`, `inputs`, `files`, `conversation`, `memory`, `idle`: what stays, and what is done when nobody comes back.
//! * `guard`, `permit`: who may say and touch what. `trace`, `cut`, `failure`: what the caller sees of all that.
//!
//! A tool that fails is told to the model, which may find another way; failing again in a row ends the turn with
//! DependencyFailedException. Bounds are configured in [`RunsConfig`].

mod act;
mod arguments;
mod asked;
mod code;
mod collaborate;
mod conversation;
mod cut;
mod events;
mod failure;
mod files;
mod frame;
mod functions;
mod guard;
mod idle;
mod inline;
mod inputs;
mod invoke;
mod knowledge;
mod memory;
mod parser;
mod permit;
pub mod prompt;
mod returned;
mod session;
mod step;
mod tell;
pub(crate) mod tools;
mod trace;
mod turn;

use std::sync::Arc;

use craton_backend::function::FunctionInvoker;
use craton_core::{Clock, IdSource};
use craton_guardrails::Guardrails;
use craton_identity::Permissions;
use craton_inference::Inference;
use craton_knowledge_bases::retrieval::Retrieval;
use craton_objects::ObjectStore;
use craton_sandbox::Sandbox;
use craton_store::Store;
use serde::Deserialize;

use crate::control::Agents;
pub(crate) use collaborate::MOST_LEVELS;
use session::Busy;

/// `[agents]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunsConfig {
    /// Calls of a model that one turn may make, its collaborators' included.
    pub max_steps: u32,
    /// Longest time of a turn.
    pub max_run_s: u64,
    /// Longest time that a turn waits for a function of an action group.
    pub function_timeout_s: u64,
}

impl Default for RunsConfig {
    fn default() -> Self {
        Self { max_steps: 25, max_run_s: 600, function_timeout_s: 120 }
    }
}

impl RunsConfig {
    /// The first thing that is wrong, if anything is.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self { max_steps: 0, .. } => Err("max_steps must be at least 1".into()),
            Self { max_run_s: 0, .. } => Err("max_run_s must be at least 1".into()),
            Self { function_timeout_s: 0, .. } => Err("function_timeout_s must be at least 1".into()),
            _ => Ok(()),
        }
    }
}

/// What runs stand on.
#[derive(Clone)]
pub struct RunsParts {
    pub agents: Agents,
    pub inference: Inference,
    pub guardrails: Arc<Guardrails>,
    pub retrieval: Retrieval,
    pub functions: Arc<dyn FunctionInvoker>,
    pub sandbox: Sandbox,
    pub objects: Arc<dyn ObjectStore>,
    /// What a stored agent may do with its role, and the caller of an inline one.
    pub permissions: Arc<dyn Permissions>,
    /// Where sessions and memories are kept.
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    pub config: RunsConfig,
}

/// The service; clones share it.
#[derive(Clone)]
pub struct AgentRuns {
    parts: Arc<RunsParts>,
    busy: Busy,
}

impl AgentRuns {
    pub fn new(parts: RunsParts) -> Self {
        Self { parts: Arc::new(parts), busy: Busy::default() }
    }
}
