//! Whether somebody may begin a session of a role: the role's trust policy and the caller's own policies together.

use craton_core::Principal;

use crate::authorize::PrincipalKeys;
use crate::policy::{Keys, Request, ResourceSide, Verdict, evaluate};
use crate::source::{PolicySource, RolePolicies, requester};

/// Whether `principal` may do `action` (`sts:AssumeRole`, `sts:TagSession`, `sts:SetSourceIdentity`) on a role.
/// `context` has the request's keys, such as `sts:externalid`.
pub fn may_assume(
    source: &dyn PolicySource,
    principal: &Principal,
    role: &RolePolicies,
    action: &str,
    context: &dyn Keys,
) -> bool {
    let requester = requester(principal);
    let attached = source.attached(principal).unwrap_or_default();
    let keys = PrincipalKeys { principal, requester: &requester, attached: &attached, request: context };
    let request = Request { requester: &requester, action, resource: &role.arn, keys: &keys };
    evaluate(&request, &attached.policies(ResourceSide::Trust(&role.trust))) == Verdict::Allow
}
