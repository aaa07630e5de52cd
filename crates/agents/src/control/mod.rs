//! The control plane: agents with what hangs on them, their versions and aliases, and the snapshots that runs work from.
//!
//! An agent is a record of its settings, and records of its action groups, knowledge bases and collaborators beside it.
//! Together they are its draft. PrepareAgent checks the draft and settles it into a [`records::Snapshot`], which the
//! built-in alias `TSTALIASID` serves until the next preparation succeeds, however the draft is edited meanwhile.
//! Versions are copies of the prepared snapshot under numbers; aliases point at them.
//!
//! Every change of a draft goes through [`edit::Edit`], which holds the agent's record and marks it NOT_PREPARED in
//! the same transaction, so that a preparation that read the draft before the change can't be written after it.
//!
//! The work of these operations is short and is done when they answer. Their answers carry the status that AWS's carry
//! at that point (CREATING, UPDATING, PREPARING, VERSIONING, DELETING), and the next request sees how it ended.
//!
//! * `agent`, `action_group`, `knowledge_base`, `collaborator`, `version`, `alias`: the operations, one file a resource.
//! * `prepare`, `compile`: from a draft to a snapshot, and why not.
//! * `resolve`: from an agent and alias to the definition a run works from.

mod action_group;
mod agent;
mod alias;
mod collaborator;
mod compile;
mod edit;
mod knowledge_base;
mod prepare;
mod prompt_overrides;
pub(crate) mod records;
mod resolve;
mod settings;
mod version;

use std::sync::Arc;

use craton_backend::function::FunctionInvoker;
use craton_core::{Clock, IdSource};
use craton_guardrails::Guardrails;
use craton_identity::Permissions;
use craton_knowledge_bases::KnowledgeBases;
use craton_models::Models;
use craton_objects::ObjectStore;
use craton_store::Store;

use crate::prepared::Cache;

pub(crate) use action_group::MOST_ENABLED as MOST_ACTION_GROUPS;
pub(crate) use knowledge_base::MOST as MOST_KNOWLEDGE_BASES;
pub(crate) use prompt_overrides::{check as check_prompts, compile as compile_prompts};
pub(crate) use records::kinds;
pub use resolve::AliasRef;
pub(crate) use settings::refuse_custom;

/// What agents stand on.
#[derive(Clone)]
pub struct Parts {
    pub store: Store,
    /// Where schemas of action groups may be.
    pub objects: Arc<dyn ObjectStore>,
    pub models: Models,
    pub guardrails: Arc<Guardrails>,
    pub knowledge_bases: KnowledgeBases,
    /// What an agent may do with its role.
    pub permissions: Arc<dyn Permissions>,
    /// Where functions of action groups and parsers are.
    pub functions: Arc<dyn FunctionInvoker>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
}

/// The service; clones share it.
#[derive(Clone)]
pub struct Agents {
    parts: Arc<Parts>,
    prepared: Cache,
}

impl Agents {
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), prepared: Cache::default() }
    }
}
