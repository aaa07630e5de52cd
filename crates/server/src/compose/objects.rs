//! Where objects are.

use std::sync::Arc;

use craton_core::Clock;
use craton_objects::{FileObjects, ObjectError, ObjectStore};
use craton_store::Store;

use crate::config::ServerConfig;

/// All buckets: on this machine's file system.
pub(crate) fn objects(
    config: &ServerConfig,
    store: &Store,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn ObjectStore>, ObjectError> {
    let home = FileObjects::open(store.clone(), &config.data_dir.join("objects"), Arc::clone(clock))?;
    Ok(Arc::new(home))
}
