//! One decision from all the policies that apply.

use std::fmt;
use std::sync::Arc;

use super::keys::Keys;
use super::principal::{Naming, Requester, RequesterKind};
use super::statement::{Effect, Policy, Prepared};

/// What is asked: may `requester` do `action` on `resource`?
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub requester: &'a Requester,
    /// `bedrock:InvokeModel`; case doesn't matter.
    pub action: &'a str,
    /// An ARN, or `*` for an action on no resource.
    pub resource: &'a str,
    pub keys: &'a dyn Keys,
}

/// The policies that apply to a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policies<'a> {
    /// Those of the user with their groups, or of the role.
    pub identity: &'a [Arc<Policy>],
    pub boundary: Option<&'a Policy>,
    /// Those passed when the session began; `None` where none were passed.
    pub session: Option<&'a [Arc<Policy>]>,
    pub resource: ResourceSide<'a>,
}

/// What the resource itself has to say.
#[derive(Debug, Clone, Copy, Default)]
pub enum ResourceSide<'a> {
    /// It has no policy.
    #[default]
    Silent,
    /// A policy in the requester's own account: it may grant what identity policies don't.
    Own(&'a Policy),
    /// A role's trust policy: nothing is allowed without it.
    Trust(&'a Policy),
}

impl<'a> ResourceSide<'a> {
    fn policy(self) -> Option<&'a Policy> {
        match self {
            Self::Silent => None,
            Self::Own(policy) | Self::Trust(policy) => Some(policy),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyType {
    Identity,
    Resource,
    Trust,
    Boundary,
    Session,
}

impl PolicyType {
    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity-based policy",
            Self::Resource => "resource-based policy",
            Self::Trust => "role trust policy",
            Self::Boundary => "permissions boundary",
            Self::Session => "session policy",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Deny(Denial),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// A statement says no; otherwise no statement says yes.
    pub explicit: bool,
    /// Where the statement is, or is missing.
    pub by: PolicyType,
}

impl Denial {
    const fn explicit(by: PolicyType) -> Self {
        Self { explicit: true, by }
    }

    const fn implicit(by: PolicyType) -> Self {
        Self { explicit: false, by }
    }

    /// The end of AWS's message: `because no identity-based policy allows the bedrock:InvokeModel action`.
    pub fn reason(self, action: &str) -> impl fmt::Display {
        let by = self.by.name();
        let article = if by.starts_with('i') { "an" } else { "a" };
        if self.explicit {
            format!("with an explicit deny in {article} {by}")
        } else {
            format!("because no {by} allows the {action} action")
        }
    }
}

/// What the policies of one kind come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Denies,
    /// How closely the closest `Allow` names the requester; [`Naming::No`] when there is none.
    Allows(Naming),
}

fn side<'p>(policies: impl IntoIterator<Item = &'p Policy>, prepared: &Prepared<'_>) -> Side {
    let mut closest = Naming::No;
    for statement in policies.into_iter().flat_map(|policy| policy.statements.iter()) {
        // An `Allow` that could add nothing needn't be matched.
        if statement.effect == Effect::Allow && closest == Naming::Direct {
            continue;
        }
        let naming = statement.naming(prepared);
        match statement.effect {
            Effect::Deny if naming != Naming::No => return Side::Denies,
            Effect::Deny => {}
            Effect::Allow => closest = closest.max(naming),
        }
    }
    Side::Allows(closest)
}

/// Decides: an explicit deny anywhere ends it; otherwise every kind of policy that limits must allow, and identity or
/// resource policies must grant. The root of the account is never refused what is the account's own to give.
pub fn evaluate(request: &Request<'_>, policies: &Policies<'_>) -> Verdict {
    let kind = request.requester.kind;
    if kind == RequesterKind::Root && matches!(policies.resource, ResourceSide::Silent | ResourceSide::Own(_))
    {
        return Verdict::Allow;
    }
    let prepared = Prepared::new(request);
    let owned = |list: &[Arc<Policy>]| side(list.iter().map(Arc::as_ref), &prepared);
    let identity = owned(policies.identity);
    let resource = policies.resource.policy().map(|policy| side([policy], &prepared));
    let boundary = policies.boundary.map(|policy| side([policy], &prepared));
    let session = policies.session.map(owned);
    let of_resource = match policies.resource {
        ResourceSide::Trust(_) => PolicyType::Trust,
        _ => PolicyType::Resource,
    };
    for (side, by) in [
        (Some(identity), PolicyType::Identity),
        (resource, of_resource),
        (boundary, PolicyType::Boundary),
        (session, PolicyType::Session),
    ] {
        if side == Some(Side::Denies) {
            return Verdict::Deny(Denial::explicit(by));
        }
    }
    let granted = match resource {
        Some(Side::Allows(naming)) => naming,
        _ => Naming::No,
    };
    let allows = |side: Side| matches!(side, Side::Allows(naming) if naming != Naming::No);
    let by_identity = allows(identity);
    let refused = |by| Verdict::Deny(Denial::implicit(by));
    match policies.resource {
        // Services and strangers have no identity policies: the resource alone decides.
        _ if matches!(kind, RequesterKind::Service | RequesterKind::Anonymous) => {
            return if granted >= Naming::Indirect { Verdict::Allow } else { refused(of_resource) };
        }
        ResourceSide::Trust(_) if granted == Naming::No => return refused(PolicyType::Trust),
        // In its own account, a grant to the very user or session passes by what boundary and session allow.
        ResourceSide::Own(_) | ResourceSide::Trust(_) if granted == Naming::Direct => return Verdict::Allow,
        _ if !by_identity && granted < Naming::Indirect => return refused(PolicyType::Identity),
        _ => {}
    }
    if boundary.is_some_and(|side| !allows(side)) {
        return refused(PolicyType::Boundary);
    }
    if session.is_some_and(|side| !allows(side)) {
        return refused(PolicyType::Session);
    }
    Verdict::Allow
}
