//! Where objects are.

use std::collections::BTreeMap;
use std::sync::Arc;

use craton_core::{Account, Clock};
use craton_identity::{Authorizer, Identity};
use craton_objects::{FileObjects, ObjectStore, Objects, S3Objects};
use craton_s3::{S3Front, Sides};
use craton_store::Store;

use crate::config::ServerConfig;
use crate::server::StartError;

/// All buckets: on this machine's file system, but for those that the configuration sends to a real S3.
pub(crate) fn objects(
    config: &ServerConfig,
    store: &Store,
    clock: &Arc<dyn Clock>,
) -> Result<Objects, StartError> {
    let home = FileObjects::open(store.clone(), &config.data_dir.join("objects"), Arc::clone(clock))?;
    let mut away: BTreeMap<String, Arc<dyn ObjectStore>> = BTreeMap::new();
    for bucket in &config.buckets {
        let wrong = |source| StartError::Bucket { name: bucket.name.clone(), source };
        let remote = Arc::new(S3Objects::new(bucket).map_err(wrong)?);
        away.insert(bucket.name.clone(), remote);
    }
    Ok(Objects::new(store.clone(), home).with_away(away))
}

/// The S3 service on these objects.
pub(crate) fn s3(
    config: &ServerConfig,
    (objects, buckets): (Objects, Sides),
    (identity, authorizer, account): (&Arc<Identity>, &Arc<dyn Authorizer>, &Arc<Account>),
) -> S3Front {
    let (identity, authorizer) = (Arc::clone(identity), Arc::clone(authorizer));
    S3Front::new((objects, buckets), identity, authorizer, Arc::clone(account), &config.s3.domain)
}
