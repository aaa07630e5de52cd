//! Whether the principal may: after the request is read and before anything of it is checked or acted on.

use craton_core::RequestContext;
use craton_wire::ApiError;
use craton_wire::bind::Unchecked;
use craton_wire::route::Match;
use http::request::Parts;

use super::Pipeline;
use crate::access::{self, Asker, Lookups, Subject};
use crate::audit::Trail;

impl Pipeline {
    /// AccessDeniedException with the first permission that is missing.
    pub(super) async fn authorize(
        &self,
        parts: &Parts,
        found: &Match,
        read: &Unchecked,
        (context, trail): (&RequestContext, &Trail),
    ) -> Result<(), ApiError> {
        let document = read.document();
        let subject = Subject { table: found.table, operation: found.operation, document, context };
        let questions = access::questions(Lookups::of(&self.services), subject).await;
        let asker = Asker { context, headers: &parts.headers, document, trail };
        access::ask(&self.services, asker, &questions).await
    }
}
