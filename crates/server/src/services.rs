//! Everything a route may call, composed once at start.

use std::sync::Arc;

use craton_core::{Account, Clock, IdSource};

use crate::health::HealthSource;

/// The services behind the routes, shared by all requests.
pub(crate) struct Services {
    pub(crate) account: Arc<Account>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) health: Arc<dyn HealthSource>,
}
