//! Who a resource policy or a trust policy speaks of.

use super::json::Node;
use super::parse::Malformed;
use super::statement::Effect;

/// What kind of identity asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
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
    #[default]
    Anonymous,
}

/// Who asks, as policies see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requester {
    pub kind: RequesterKind,
    /// The user's or the session's ARN; a service's name.
    pub arn: String,
    /// The user's unique id (`AIDA…`), a session's role's with its own name (`AROA…:name`); empty where nobody knows it.
    pub id: String,
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
    /// The same by its unique id, which nobody else ever gets.
    Id(Box<str>),
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

    /// Whether a `NotPrincipal` of these leaves the requester out. From a `Deny` only who is named as such: the user or
    /// the very session. Naming the account does not exempt its members, since AWS asks for the account's ARN beside
    /// every user's, nor does naming a role exempt its sessions.
    pub(super) fn except(&self, requester: &Requester, effect: Effect) -> bool {
        match effect {
            Effect::Allow => self.naming(requester) != Naming::No,
            Effect::Deny => self
                .0
                .iter()
                .any(|entry| *entry == Entry::Everyone || entry.naming(requester) == Naming::Direct),
        }
    }
}

/// Whether a principal is given by a unique id, or by one with a session's name.
pub(crate) fn is_unique_id(value: &str) -> bool {
    let id = value.split_once(':').map_or(value, |(id, _)| id);
    (id.starts_with("AIDA") || id.starts_with("AROA"))
        && (16..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn entry(kind: &str, value: &str) -> Option<Entry> {
    let plain = !value.is_empty() && !value.contains(['*', '?']);
    match kind {
        "AWS" if value == "*" => Some(Entry::Everyone),
        "AWS" if is_account(value) => Some(Entry::Account(value.into())),
        "AWS" if plain && is_unique_id(value) => Some(Entry::Id(value.into())),
        "AWS" => {
            let parts = super::arn::split(value).filter(|_| plain)?;
            let kind = parts[5].split_once('/').map_or(parts[5], |(kind, _)| kind);
            match (parts[2], kind) {
                _ if !is_account(parts[4]) => None,
                // Accounts of other partitions are other accounts.
                ("iam", "root") if parts[5] == "root" && parts[1] == "aws" => {
                    Some(Entry::Account(parts[4].into()))
                }
                ("iam", "user" | "role") | ("sts", "assumed-role" | "federated-user") => {
                    Some(Entry::Arn(value.into()))
                }
                // A group is nobody.
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
            Self::Id(id) if **id == *requester.id => Naming::Direct,
            Self::Id(id) => {
                let role = requester.id.split_once(':').map(|(role, _)| role);
                when(requester.kind == RequesterKind::AssumedRole && role == Some(id), Naming::Indirect)
            }
            Self::Service(name) => {
                when(requester.kind == RequesterKind::Service && **name == *requester.arn, Naming::Direct)
            }
            Self::Other(text) => when(**text == *requester.arn, Naming::Direct),
        }
    }
}
