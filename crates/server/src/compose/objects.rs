//! Where objects are, and their upkeep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use craton_core::{Account, Clock, DAY_MS};
use craton_identity::{Authorizer, Identity};
use craton_objects::{FileObjects, ObjectStore, Objects, S3Objects};
use craton_s3::{S3Front, Sides};
use craton_store::Store;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{S3Config, ServerConfig};
use crate::server::StartError;

const HOUR: Duration = Duration::from_secs(3600);

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

/// Sweeps up once what a crash may have left, then now and then aborts uploads that nobody completed.
pub(crate) fn keep_objects(
    objects: &Objects,
    config: &ServerConfig,
    clock: &Arc<dyn Clock>,
) -> AbortOnDropHandle<()> {
    let keeping = keep(objects.clone(), config.s3.clone(), Arc::clone(clock));
    AbortOnDropHandle::new(tokio::spawn(keeping))
}

async fn keep(objects: Objects, config: S3Config, clock: Arc<dyn Clock>) {
    match objects.home().sweep().await {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "content files that no object has were removed"),
        Err(error) => tracing::warn!(%error, "content files could not be swept up"),
    }
    if config.upload_expiry_days == 0 {
        return;
    }
    loop {
        let before_ms = clock.now_ms() - i64::from(config.upload_expiry_days) * DAY_MS;
        match objects.home().expire_uploads(before_ms).await {
            Ok(0) => {}
            Ok(aborted) => tracing::info!(aborted, "uploads that were never completed were aborted"),
            Err(error) => tracing::warn!(%error, "old uploads could not be aborted"),
        }
        tokio::time::sleep(HOUR).await;
    }
}
