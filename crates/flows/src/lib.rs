//! Flows: graphs of nodes, validated, versioned and run.
//!
//! A flow is a record whose body is its draft; versions and aliases are the store's.
//!
//! * `flow`, `version`, `alias`: the control plane's operations, as methods of [`Flows`] named after them.
//! * [`expression`]: the languages of node inputs and conditions.
//! * [`definition`]: what a definition says, what is wrong with it, and the graph that it becomes; `named`: what of the
//!   things that it names is not there; `quota`: how much of what it may have.
//! * `run`: the order in which a graph's nodes run; `work`: what they do.
//! * `invoke`: InvokeFlow, and `conversation`: runs that wait for an agent's user.
//! * `execution`, `execution_job`: runs as durable jobs.

mod alias;
mod config;
mod conversation;
pub mod definition;
mod error;
mod execution;
mod execution_job;
pub mod expression;
mod flow;
mod identifier;
mod invoke;
mod named;
mod quota;
mod run;
mod runnable;
#[cfg(test)]
mod testing;
mod version;
mod work;

use std::sync::Arc;

use craton_api_bedrock_agent::{FlowDefinition, FlowStatus};
use craton_backend::function::FunctionInvoker;
use craton_core::{Clock, IdSource};
use craton_identity::{Permissions, ServiceUse};
use craton_inference::Inference;
use craton_knowledge_bases::retrieval::Retrieval;
use craton_objects::ObjectStore;
use craton_prompts::Prompts;
use craton_sandbox::Sandbox;
use craton_store::Store;
use craton_store::jobs::Runner;
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};

pub use config::FlowsConfig;
pub use named::{Lookup, Named};
pub use work::{AgentAnswer, AgentCall, AgentCaller, AgentSaid};

/// The output that a loop may have besides those its controller gives it: how often it went round.
pub(crate) const ITERATION_COUNT: &str = "iterationCount";

/// What flows stand on.
#[derive(Clone)]
pub struct Parts {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    /// What a flow may do with its role.
    pub permissions: Arc<dyn Permissions>,
    pub objects: Arc<dyn ObjectStore>,
    pub inference: Inference,
    pub prompts: Prompts,
    pub retrieval: Retrieval,
    pub functions: Arc<dyn FunctionInvoker>,
    pub agents: Arc<dyn AgentCaller>,
    /// Knows what nodes name.
    pub lookup: Arc<dyn Lookup>,
    /// Where inline code runs.
    pub sandbox: Sandbox,
    pub config: FlowsConfig,
}

/// The service; clones share it.
#[derive(Clone)]
pub struct Flows {
    parts: Arc<Parts>,
}

impl Flows {
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Has `runner` do this service's jobs.
    pub fn handle_jobs(&self, runner: Runner) -> Runner {
        let most = self.parts.config.concurrent_executions;
        runner.handle(execution::JOB, most, Arc::new(execution_job::Executions(self.clone())))
    }

    /// Whether Bedrock may act with a flow's role.
    fn check_trust(&self, role_arn: &str, flow_arn: &str) -> Result<(), ApiError> {
        self.parts.permissions.check_trust(&ServiceUse {
            role_arn,
            service: "bedrock.amazonaws.com",
            source_arn: Some(flow_arn),
        })
    }
}

/// A flow as it is kept, as a draft or a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredFlow {
    name: String,
    description: Option<String>,
    execution_role_arn: String,
    customer_encryption_key_arn: Option<String>,
    definition: FlowDefinition,
    status: FlowStatus,
}
