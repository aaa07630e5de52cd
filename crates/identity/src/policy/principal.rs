//! Who a resource policy or a trust policy speaks of.

use super::json::Node;
use super::parse::Malformed;

/// What kind of identity asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequesterKind {
    /// The account's root: no identity policies apply to it.
    Root,
    User,
    /// A session of a role.
    AssumedRole,
    /// A session that a user got with GetFederationToken.
    FederatedUser,
    /// `bedrock.amazonaws.com`; its `arn` is that name.
    Service,
    /// Nobody signed.
    Anonymous,
}

/// Who asks, as policies see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    pub kind: RequesterKind,
    /// The user's or the session's ARN; a service's name.
    pub arn: String,
    /// A session's role.
    pub role_arn: Option<String>,
    /// Twelve digits; empty for services and strangers.
    pub account: String,
}

/// `Principal` or `NotPrincipal`.
#[derive(Debug, Clone)]
pub(super) struct Principals(Box<[Entry]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Everyone,
    Account(Box<str>),
    /// A user, role or session.
    Arn(Box<str>),
    Service(Box<str>),
    /// Federated identities and canonical users: known by their text only.
    Other(Box<str>),
}

/// How closely a principal element names the requester, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Naming {
    No,
    /// Its account, which leaves the decision to the account's own policies.
    Account,
    /// Everyone, or the role of the session.
    Indirect,
    /// The user or the very session.
    Direct,
}

impl Principals {
    pub(super) fn parse(node: &Node) -> Result<Self, Malformed> {
        let Node::Object(members) = node else {
            return match node.text() {
                Some("*") => Ok(Self(Box::new([Entry::Everyone]))),
                Some(text) => Err(Malformed::principal("AWS", text)),
                None => Err(Malformed::SYNTAX),
            };
        };
        let mut entries = Vec::new();
        for (kind, values) in members {
            for value in values.texts().ok_or(Malformed::SYNTAX)? {
                let entry = entry(kind, value).ok_or_else(|| Malformed::principal(kind, value))?;
                entries.push(entry);
            }
        }
        if entries.is_empty() { Err(Malformed::SYNTAX) } else { Ok(Self(entries.into())) }
    }

    pub(super) fn naming(&self, requester: &Requester) -> Naming {
        self.0.iter().map(|entry| entry.naming(requester)).max().unwrap_or(Naming::No)
    }
}

fn entry(kind: &str, value: &str) -> Option<Entry> {
    let plain = !value.is_empty() && !value.contains(['*', '?']);
    match kind {
        "AWS" if value == "*" => Some(Entry::Everyone),
        "AWS" if is_account(value) => Some(Entry::Account(value.into())),
        "AWS" => {
            let parts = super::arn::split(value).filter(|_| plain)?;
            match (parts[2], parts[5]) {
                ("iam", "root") if is_account(parts[4]) => Some(Entry::Account(parts[4].into())),
                ("iam" | "sts", _) if is_account(parts[4]) => Some(Entry::Arn(value.into())),
                _ => None,
            }
        }
        "Service" => (plain && value.contains('.')).then(|| Entry::Service(value.into())),
        "Federated" | "CanonicalUser" => plain.then(|| Entry::Other(value.into())),
        _ => None,
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Entry {
    fn naming(&self, requester: &Requester) -> Naming {
        let when = |condition, naming| if condition { naming } else { Naming::No };
        match self {
            Self::Everyone => Naming::Indirect,
            Self::Account(id) => {
                let member = !matches!(requester.kind, RequesterKind::Service | RequesterKind::Anonymous);
                let root = requester.kind == RequesterKind::Root;
                when(
                    member && **id == *requester.account,
                    if root { Naming::Direct } else { Naming::Account },
                )
            }
            Self::Arn(arn) if **arn == *requester.arn => Naming::Direct,
            Self::Arn(arn) => when(requester.role_arn.as_deref() == Some(arn), Naming::Indirect),
            Self::Service(name) => {
                when(requester.kind == RequesterKind::Service && **name == *requester.arn, Naming::Direct)
            }
            Self::Other(text) => when(**text == *requester.arn, Naming::Direct),
        }
    }
}
