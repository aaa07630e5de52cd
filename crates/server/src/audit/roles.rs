//! What services did with the roles that were given to components: an event each, as CloudTrail has them.

use std::sync::Arc;

use craton_core::{Account, Arn, Clock, IdSource};
use craton_identity::{RoleLog, RoleUse};

use super::{Audit, Event};

/// Writes the uses of roles to the audit log. They are checked only with `enforce_service_roles`.
pub(crate) struct RoleTrail {
    pub(crate) audit: Audit,
    pub(crate) account: Arc<Account>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
}

impl RoleLog for RoleTrail {
    fn used(&self, role_use: &RoleUse<'_>) {
        if !self.audit.enabled() {
            return;
        }
        let (vendor, name) = role_use.action.split_once(':').unwrap_or(("bedrock", role_use.action));
        let resource: Option<Arn> = role_use.resource.parse().ok();
        let source = role_use.usage.source_arn.map(str::to_owned);
        let region = source.as_deref().and_then(|arn| arn.parse::<Arn>().ok()).map(|arn| arn.region);
        let region = region.filter(|region| !region.is_empty());
        let mut event = Event {
            request_id: self.ids.uuid(),
            received_ms: self.clock.now_ms(),
            account: self.account.id.clone(),
            region: region.unwrap_or_else(|| self.account.home_region.clone()),
            service: vendor.to_owned().into(),
            operation: name.to_owned().into(),
            principal: Some(Arc::new(role_use.principal.clone())),
            denied: role_use.refused.is_some(),
            invoked_by: Some((role_use.usage.service.to_owned(), source)),
            ..Event::default()
        };
        event.ask(role_use.action, resource.as_ref());
        if let Some(error) = role_use.refused {
            event.fail(error, None);
            event.error = event.error.take().map(|(_, message)| ("AccessDenied".to_owned(), message));
        }
        self.audit.record(event);
    }
}
