//! Everything a route may call, composed once at start.

use std::sync::Arc;

use craton_agents::Agents;
use craton_agents::run::AgentRuns;
use craton_aoss::Collections;
use craton_core::{Account, Clock, IdSource};
use craton_flows::Flows;
use craton_guardrails::Guardrails;
use craton_iam::{Iam, Sts};
use craton_identity::directory::Directory;
use craton_identity::{Authorizer, Identity};
use craton_inference::Inference;
use craton_knowledge_bases::KnowledgeBases;
use craton_knowledge_bases::retrieval::Retrieval;
use craton_lambda::Lambda;
use craton_metering::Metering;
use craton_models::ModelsService;
use craton_prompts::Prompts;
use craton_s3::{S3Front, Sides};
use craton_sessions::Sessions;
use craton_store::Store;

use crate::audit::Audit;
use crate::health::HealthSource;

/// The services behind the routes, shared by all requests.
pub(crate) struct Services {
    pub(crate) account: Arc<Account>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    /// Users, roles and policies, those of resources too.
    pub(crate) directory: Directory,
    pub(crate) store: Store,
    pub(crate) audit: Audit,
    /// Requests come over TLS.
    pub(crate) secure: bool,
    pub(crate) inference: Inference,
    pub(crate) guardrails: Arc<Guardrails>,
    pub(crate) models: ModelsService,
    pub(crate) s3: S3Front,
    /// Buckets' policies and objects' tags, for whoever asks what S3 would answer.
    pub(crate) buckets: Sides,
    pub(crate) prompts: Prompts,
    pub(crate) flows: Flows,
    pub(crate) collections: Collections,
    pub(crate) lambda: Lambda,
    pub(crate) knowledge_bases: KnowledgeBases,
    pub(crate) agents: Agents,
    pub(crate) agent_runs: AgentRuns,
    pub(crate) retrieval: Retrieval,
    pub(crate) sessions: Sessions,
    pub(crate) iam: Iam,
    pub(crate) sts: Sts,
    pub(crate) metering: Arc<Metering>,
    pub(crate) health: Arc<dyn HealthSource>,
}
