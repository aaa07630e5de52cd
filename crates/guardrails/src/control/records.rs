//! How guardrails lie in the records.
//!
//! A guardrail's DRAFT is one record of the kind [`GUARDRAIL`]. Each numbered version is a record of the kind
//! [`VERSION`] whose id is `GUARDRAIL-ID:00000007`, so that the versions of one guardrail list together in their order.
//! The number of the next version is kept in the draft, and is taken by a compare-and-swap on it.

use craton_core::RequestContext;
use craton_store::{Record, Scope, Store};
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::definition::Definition;
use crate::error::{not_found, store_error, unreadable};

/// The kind of a guardrail's draft in the records, and of a guardrail in ARNs.
pub(crate) const GUARDRAIL: &str = "guardrail";
pub(super) const VERSION: &str = "guardrail-version";
pub(super) const DRAFT: &str = "DRAFT";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Draft {
    pub arn: String,
    pub next_version: u64,
    pub definition: Definition,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Numbered {
    pub number: u64,
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

    pub(super) fn versions(&self) -> Scope {
        Scope::new(VERSION, &self.account, &self.region)
    }

    /// What the ids of this guardrail's numbered versions start with.
    pub(super) fn prefix(&self) -> String {
        format!("{}:", self.id)
    }

    pub(super) fn version_id(&self, number: u64) -> String {
        format!("{}:{number:08}", self.id)
    }

    pub(super) async fn draft(&self, store: &Store) -> Result<(Record, Draft), ApiError> {
        let record = store.get(&self.drafts(), &self.id).await.map_err(store_error)?;
        let record = record.ok_or_else(|| not_found(&self.id))?;
        let draft = Draft::deserialize(&record.body).map_err(unreadable)?;
        Ok((record, draft))
    }

    pub(super) async fn numbered(
        &self,
        store: &Store,
        version: &str,
    ) -> Result<(Record, Numbered), ApiError> {
        let missing = || not_found(&format!("{} version {version}", self.id));
        let number: u64 = version.parse().map_err(|_| missing())?;
        let record = store.get(&self.versions(), &self.version_id(number)).await.map_err(store_error)?;
        let record = record.ok_or_else(missing)?;
        let numbered = Numbered::deserialize(&record.body).map_err(unreadable)?;
        Ok((record, numbered))
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
    /// Changes whenever the definition under this version's name may have.
    pub revision: i64,
    pub definition: Definition,
}

/// Loads a version: `DRAFT` or a number. Without one it is the draft.
pub(crate) async fn load(store: &Store, at: &Identifier, version: Option<&str>) -> Result<Stored, ApiError> {
    let version = version.filter(|version| !version.is_empty()).unwrap_or(DRAFT);
    let arn = guardrail_arn(&at.region, &at.account, &at.id);
    let id = at.id.clone();
    if version == DRAFT {
        let (record, draft) = at.draft(store).await?;
        let version = DRAFT.to_owned();
        return Ok(Stored { id, arn, version, revision: record.version, definition: draft.definition });
    }
    let (record, numbered) = at.numbered(store, version).await?;
    let version = numbered.number.to_string();
    Ok(Stored { id, arn, version, revision: record.version, definition: numbered.definition })
}
