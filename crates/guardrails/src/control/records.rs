//! How guardrails lie in the records.
//!
//! A guardrail's DRAFT is one record of the kind [`GUARDRAIL`]; its numbered versions are the store's
//! ([`craton_store::versions`]), so a number is never given twice and everything goes with the guardrail.

use craton_core::RequestContext;
use craton_store::versions::Version;
use craton_store::{Record, Scope, Store};
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition::Definition;
use crate::error::{not_found, store_error, unreadable};

/// The kind of a guardrail in the records and in ARNs.
pub(crate) const GUARDRAIL: &str = "guardrail";
pub(super) const DRAFT: &str = "DRAFT";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Draft {
    pub arn: String,
    pub definition: Definition,
}

/// What a version keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Published {
    pub description: Option<String>,
    pub definition: Definition,
}

/// A guardrail's id and where it is, from the id or ARN that a client names it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identifier {
    pub account: String,
    pub region: String,
    pub id: String,
}

impl Identifier {
    pub(crate) fn parse(context: &RequestContext, text: &str) -> Result<Self, ApiError> {
        if !text.starts_with("arn:") {
            let account = context.account.id.clone();
            return Ok(Self { account, region: context.region.clone(), id: text.to_owned() });
        }
        let arn: craton_core::Arn = text.parse().map_err(|_| not_found(text))?;
        let (kind, id) = arn.resource_parts();
        if kind != GUARDRAIL || arn.service != "bedrock" || arn.account != context.account.id {
            return Err(not_found(text));
        }
        Ok(Self { id: id.to_owned(), account: arn.account, region: arn.region })
    }

    pub(super) fn drafts(&self) -> Scope {
        Scope::new(GUARDRAIL, &self.account, &self.region)
    }

    pub(super) async fn draft(&self, store: &Store) -> Result<(Record, Draft), ApiError> {
        let record = store.get(&self.drafts(), &self.id).await.map_err(store_error)?;
        let record = record.ok_or_else(|| not_found(&self.id))?;
        let draft = Draft::deserialize(&record.body).map_err(unreadable)?;
        Ok((record, draft))
    }

    async fn version(&self, store: &Store, version: &str) -> Result<Version, ApiError> {
        let missing = || not_found(&format!("{} version {version}", self.id));
        let number: i64 = version.parse().map_err(|_| missing())?;
        let found = store.version(&self.drafts(), &self.id, number).await.map_err(store_error)?;
        found.ok_or_else(missing)
    }

    pub(super) async fn numbered(
        &self,
        store: &Store,
        version: &str,
    ) -> Result<(Version, Published), ApiError> {
        let version = self.version(store, version).await?;
        let published = Published::deserialize(&version.body).map_err(unreadable)?;
        Ok((version, published))
    }

    /// All numbered versions, in their order.
    pub(super) async fn all_numbered(&self, store: &Store) -> Result<Vec<(Version, Published)>, ApiError> {
        let versions = store.list_versions(&self.drafts(), &self.id).await.map_err(store_error)?;
        let read = |version: Version| {
            Ok((version.clone(), Published::deserialize(&version.body).map_err(unreadable)?))
        };
        versions.into_iter().map(read).collect()
    }
}

pub(super) fn guardrail_arn(region: &str, account: &str, id: &str) -> String {
    let partition = craton_core::partition(region);
    format!("arn:{partition}:bedrock:{region}:{account}:{GUARDRAIL}/{id}")
}

/// One version of a guardrail, as the data plane needs it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub id: String,
    pub arn: String,
    pub version: String,
    pub definition: Definition,
}

/// A version as it lies in the records.
pub(crate) struct Lying {
    pub arn: String,
    pub version: String,
    /// Changes whenever what lies there may have.
    pub revision: i64,
    id: String,
    body: Value,
}

impl Lying {
    pub(crate) fn read(self) -> Result<Stored, ApiError> {
        // What the draft and a version keep both have the definition under this name.
        #[derive(Deserialize)]
        struct Kept {
            definition: Definition,
        }
        let definition = Kept::deserialize(&self.body).map_err(unreadable)?.definition;
        let Self { id, arn, version, .. } = self;
        Ok(Stored { id, arn, version, definition })
    }
}

/// Finds a version: `DRAFT` or a number. Without one it is the draft.
pub(crate) async fn find(store: &Store, at: &Identifier, version: Option<&str>) -> Result<Lying, ApiError> {
    let version = version.filter(|version| !version.is_empty()).unwrap_or(DRAFT);
    let arn = guardrail_arn(&at.region, &at.account, &at.id);
    let id = at.id.clone();
    if version == DRAFT {
        let record = store.get(&at.drafts(), &at.id).await.map_err(store_error)?;
        let record = record.ok_or_else(|| not_found(&at.id))?;
        return Ok(Lying { id, arn, version: DRAFT.to_owned(), revision: record.version, body: record.body });
    }
    let found = at.version(store, version).await?;
    // A version never changes.
    Ok(Lying { id, arn, version: found.number.to_string(), revision: found.created_ms, body: found.body })
}

pub(crate) async fn load(store: &Store, at: &Identifier, version: Option<&str>) -> Result<Stored, ApiError> {
    find(store, at, version).await?.read()
}
