//! Names of flows, their versions and aliases.

use craton_core::{Arn, RequestContext};
use craton_store::Scope;
use craton_wire::ApiError;

use crate::error::flow_not_found;

/// Letters and digits in the id of a flow or an alias.
pub(crate) const ID_LENGTH: usize = 10;
/// The alias that every flow has: its draft.
pub(crate) const TEST_ALIAS: &str = "TSTALIASID";
pub(crate) const DRAFT: &str = "DRAFT";

/// A flow that could be this account's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowRef {
    pub account: String,
    pub region: String,
    pub id: String,
}

impl FlowRef {
    /// Reads `ID` or `arn:…:flow/ID`.
    pub(crate) fn parse(context: &RequestContext, identifier: &str) -> Result<Self, ApiError> {
        let not_found = || flow_not_found(identifier);
        let account = context.account.id.clone();
        if !identifier.starts_with("arn:") {
            return Ok(Self { account, region: context.region.clone(), id: identifier.to_owned() });
        }
        let arn: Arn = identifier.parse().map_err(|_| not_found())?;
        let id = arn.resource.strip_prefix("flow/").filter(|id| !id.contains('/'));
        if arn.service != "bedrock" || arn.account != account {
            return Err(not_found());
        }
        Ok(Self { account, region: arn.region, id: id.ok_or_else(not_found)?.to_owned() })
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::new("flow", self.account.clone(), self.region.clone())
    }

    pub(crate) fn arn(&self) -> String {
        Arn::new("bedrock", &self.region, &self.account, format!("flow/{}", self.id)).to_string()
    }

    /// The ARN of a version: the flow's own for its draft.
    pub(crate) fn version_arn(&self, version: &str) -> String {
        if version == DRAFT { self.arn() } else { format!("{}:{version}", self.arn()) }
    }

    pub(crate) fn alias_arn(&self, alias: &str) -> String {
        format!("{}/alias/{alias}", self.arn())
    }

    pub(crate) fn execution_arn(&self, alias: &str, execution: &str) -> String {
        format!("{}/execution/{execution}", self.alias_arn(alias))
    }

    /// The id of one of the flow's aliases, from its id or ARN.
    pub(crate) fn alias_id<'i>(&self, identifier: &'i str) -> Result<&'i str, ApiError> {
        if !identifier.starts_with("arn:") {
            return Ok(identifier);
        }
        let id = identifier.strip_prefix(&self.alias_arn(""));
        id.filter(|id| !id.is_empty() && !id.contains('/')).ok_or_else(|| alias_not_found(identifier))
    }

    /// The name of an execution under one of the flow's aliases, from its name or ARN.
    pub(crate) fn execution_name<'i>(&self, alias: &str, identifier: &'i str) -> Result<&'i str, ApiError> {
        if !identifier.starts_with("arn:") {
            return Ok(identifier);
        }
        identifier.strip_prefix(&self.execution_arn(alias, "")).ok_or_else(|| execution_not_found(identifier))
    }
}

pub(crate) fn alias_not_found(identifier: &str) -> ApiError {
    ApiError::not_found(format!("Could not find the flow alias {identifier}."))
}

pub(crate) fn execution_not_found(identifier: &str) -> ApiError {
    ApiError::not_found(format!("Could not find the flow execution {identifier}."))
}

/// A version as it is written; the draft has no number.
pub(crate) fn version_number(version: &str) -> Result<Option<i64>, ApiError> {
    if version == DRAFT {
        return Ok(None);
    }
    let number = version.parse().map(Some);
    number.map_err(|_| ApiError::not_found(format!("Could not find version {version} of the flow.")))
}

pub(crate) fn version_name(number: Option<i64>) -> String {
    number.map_or_else(|| DRAFT.to_owned(), |number| number.to_string())
}
