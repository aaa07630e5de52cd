//! Which of this crate's resources carry tags.

use craton_core::{Arn, RequestContext};
use craton_wire::ApiError;

use crate::KnowledgeBases;
use crate::records::{self, Place};

impl KnowledgeBases {
    /// Whether `arn` is, in its only spelling, a knowledge base that is there.
    pub async fn has_knowledge_base(&self, context: &RequestContext, arn: &str) -> Result<bool, ApiError> {
        let Ok(parsed) = arn.parse::<Arn>() else { return Ok(false) };
        let (_, id) = parsed.resource_parts();
        let place = Place { account: context.account.id.clone(), region: parsed.region.clone() };
        if records::arn(&place, id) != arn {
            return Ok(false);
        }
        self.exists(&place, id).await
    }

    /// Whether there is a knowledge base with this id.
    pub async fn exists(&self, place: &Place, id: &str) -> Result<bool, ApiError> {
        match self.knowledge_base(place, id).await {
            Ok(_) => Ok(true),
            Err(error) if error.code == "ResourceNotFoundException" => Ok(false),
            Err(error) => Err(error),
        }
    }
}
