//! Tags as `bedrock` has them, and which of this crate's resources carry some.

use std::collections::BTreeMap;

use craton_api_bedrock as api;
use craton_core::RequestContext;
use craton_wire::error::ApiError;

use super::{ModelsService, profiles};
use crate::resolve::ArnRef;

impl ModelsService {
    /// Whether `arn` is, in its only spelling, an application inference profile that is there.
    pub async fn has_inference_profile(&self, context: &RequestContext, arn: &str) -> Result<bool, ApiError> {
        let Some(parsed) = ArnRef::parse(arn) else { return Ok(false) };
        if parsed.kind != profiles::KIND || parsed.account != context.account.id {
            return Ok(false);
        }
        let profile = profiles::find(self.models.store(), parsed.account, parsed.region, parsed.id).await?;
        Ok(profile.is_some_and(|profile| profile.arn == arn))
    }
}

/// Tags by key, refusing what AWS refuses.
pub fn tags_from_list(tags: Vec<api::Tag>) -> Result<BTreeMap<String, String>, ApiError> {
    let mut by_key = BTreeMap::new();
    for api::Tag { key, value } in tags {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::validation("Tag keys starting with aws: are reserved for system use."));
        }
        if let Some(_earlier) = by_key.insert(key.clone(), value) {
            return Err(ApiError::validation(format!("The tag key {key} is given more than once.")));
        }
    }
    Ok(by_key)
}
