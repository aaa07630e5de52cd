//! Everything a route may call, composed once at start.

use std::sync::Arc;

use craton_core::{Account, Clock, IdSource};
use craton_identity::{Authorizer, Identity};
use craton_inference::Inference;
use craton_metering::Metering;
use craton_models::ModelsService;
use craton_prompts::Prompts;
use craton_store::Store;

use crate::health::HealthSource;

/// The services behind the routes, shared by all requests.
pub(crate) struct Services {
    pub(crate) account: Arc<Account>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) identity: Identity,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) store: Store,
    /// Requests come over TLS.
    pub(crate) secure: bool,
    pub(crate) inference: Inference,
    pub(crate) models: ModelsService,
    pub(crate) prompts: Prompts,
    pub(crate) metering: Arc<Metering>,
    pub(crate) health: Arc<dyn HealthSource>,
}
