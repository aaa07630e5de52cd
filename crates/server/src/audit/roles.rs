//! What services did for somebody, mostly with the roles that were given to components: an event each, as CloudTrail has
//! them.

use std::sync::Arc;

use craton_core::{Account, Arn, Clock, IdSource};
use craton_identity::{RoleLog, RoleUse};

use super::{Audit, Event};

/// Writes to the audit log what components do. Their roles are checked only with `enforce_service_roles`; what they do as
/// their callers, always.
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
        let source = role_use.source_arn.map(str::to_owned);
        let of_source = || Some(source.as_deref()?.parse::<Arn>().ok()?.region);
        let region = role_use.region.map(str::to_owned).or_else(of_source);
        let region = region.filter(|region| !region.is_empty());
        let mut event = Event {
            request_id: role_use.request_id.map_or_else(|| self.ids.uuid(), str::to_owned),
            received_ms: self.clock.now_ms(),
            account: self.account.id.clone(),
            region: region.unwrap_or_else(|| self.account.home_region.clone()),
            service: vendor.to_owned().into(),
            operation: name.to_owned().into(),
            principal: Some(Arc::new(role_use.principal.clone())),
            denied: role_use.refused.is_some(),
            invoked_by: Some((role_use.service.to_owned(), source)),
            ..Event::default()
        };
        event.ask(role_use.action, resource.as_ref());
        if let Some(error) = role_use.refused {
            event.fail_as("AccessDenied", error);
        }
        self.audit.record(event);
    }
}
