use craton_core::{Arn, RequestContext};
use craton_wire::ApiError;

use crate::error::prompt_not_found;

/// Letters and digits in a prompt's id.
pub(crate) const ID_LENGTH: usize = 10;

/// Whether a model id is a prompt's ARN, with a version or without.
pub fn is_prompt_arn(model_id: &str) -> bool {
    model_id.starts_with("arn:") && model_id.contains(":prompt/")
}

/// What a prompt's id or ARN says, for prompts that could be this account's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PromptRef {
    pub region: String,
    pub id: String,
    /// None: the draft.
    pub version: Option<i64>,
}

impl PromptRef {
    /// Reads `ID`, `arn:…:prompt/ID` or `arn:…:prompt/ID:VERSION`; the version may be `DRAFT`.
    pub(crate) fn parse(context: &RequestContext, identifier: &str) -> Result<Self, ApiError> {
        let not_found = || prompt_not_found(identifier);
        let (region, resource) = if identifier.starts_with("arn:") {
            let arn: Arn = identifier.parse().map_err(|_| not_found())?;
            if arn.service != "bedrock" || arn.account != context.account.id {
                return Err(not_found());
            }
            let resource = arn.resource.strip_prefix("prompt/").ok_or_else(not_found)?.to_owned();
            (arn.region, resource)
        } else {
            (context.region.clone(), identifier.to_owned())
        };
        let (id, version) = match resource.split_once(':') {
            None => (resource.as_str(), None),
            Some((id, version)) => (id, version_number(version).map_err(|()| not_found())?),
        };
        Ok(Self { region, id: id.to_owned(), version })
    }

    pub(crate) fn arn(&self, account: &str) -> String {
        arn(&self.region, account, &self.id)
    }
}

/// `DRAFT` is no number; anything else must be one.
pub(crate) fn version_number(version: &str) -> Result<Option<i64>, ()> {
    match version {
        "DRAFT" => Ok(None),
        // One spelling a number, as AWS has it: policies name versions.
        number if !number.starts_with(|first: char| ('1'..='9').contains(&first)) => Err(()),
        number => number.parse().map(Some).map_err(|_| ()),
    }
}

pub(crate) fn arn(region: &str, account: &str, id: &str) -> String {
    Arn::new("bedrock", region, account, format!("prompt/{id}")).to_string()
}
