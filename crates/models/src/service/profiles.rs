//! Inference profiles: the system-defined ones of the catalogue and the application ones users create.

use craton_core::partition;
use craton_store::{Record, Scope, Store};
use craton_wire::error::ApiError;
use serde::{Deserialize, Serialize};

use crate::error::store_error;

/// The kind of application profiles in the records and in ARNs.
pub(crate) const KIND: &str = "application-inference-profile";
/// Letters and digits in an application profile's id.
pub(crate) const ID_LENGTH: usize = 12;

/// An application inference profile as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApplicationProfile {
    pub arn: String,
    pub description: Option<String>,
    /// The foundation model id or system profile id it was copied from, which is what serves it.
    pub source_id: String,
    /// ARNs of the models it routes to.
    pub model_arns: Vec<String>,
}

pub(crate) fn scope(account: &str, region: &str) -> Scope {
    Scope::new(KIND, account, region)
}

/// Whether `id` has the form of an application profile's id, so that other ids need no look at the records.
pub(crate) fn is_application_id(id: &str) -> bool {
    id.len() == ID_LENGTH && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The application profile with this id.
pub(crate) async fn find(
    store: &Store,
    account: &str,
    region: &str,
    id: &str,
) -> Result<Option<ApplicationProfile>, ApiError> {
    let record = store.get(&scope(account, region), id).await.map_err(|error| store_error(&error))?;
    record.map(|record| read(&record)).transpose()
}

pub(crate) fn read(record: &Record) -> Result<ApplicationProfile, ApiError> {
    ApplicationProfile::deserialize(&record.body).map_err(|error| store_error(&error.into()))
}

/// `arn:aws:bedrock:REGION:ACCOUNT:inference-profile/ID`.
pub(crate) fn system_arn(region: &str, account: &str, id: &str) -> String {
    format!("arn:{}:bedrock:{region}:{account}:inference-profile/{id}", partition(region))
}

/// `arn:aws:bedrock:REGION:ACCOUNT:application-inference-profile/ID`.
pub(crate) fn application_arn(region: &str, account: &str, id: &str) -> String {
    format!("arn:{}:bedrock:{region}:{account}:{KIND}/{id}", partition(region))
}
