//! What the directory holds, as plain data. One entity is one row; policies are compiled as they are read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::state::State;
use crate::policy::{Malformed, Policy, PolicyKind};

/// Tags in the order of their keys.
pub type Tags = BTreeMap<String, String>;

/// A policy's text with its compiled form.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Document {
    text: Arc<str>,
    kind: PolicyKind,
    policy: Arc<Policy>,
}

/// A document as it is stored.
#[derive(Serialize, Deserialize)]
struct Written {
    kind: String,
    text: String,
}

impl Document {
    /// Reads and compiles a policy.
    pub fn parse(text: &str, kind: PolicyKind) -> Result<Self, Malformed> {
        Ok(Self { policy: Arc::new(Policy::parse(text, kind)?), text: text.into(), kind })
    }

    /// The same with the principals of `state` by their unique ids.
    pub(super) fn bound(self, state: &State) -> Result<Self, Malformed> {
        match state.bind_principals(&self.text)? {
            Cow::Borrowed(_) => Ok(self),
            Cow::Owned(text) => Self::parse(&text, self.kind),
        }
    }

    /// As it is kept: users and roles of this account that it names as principals, by their unique ids. What is shown
    /// of a trust or resource policy goes through [`State::show_principals`].
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Its length as IAM counts it against quotas: white space is free.
    pub fn billed_len(&self) -> usize {
        self.text.chars().filter(|character| !character.is_whitespace()).count()
    }
}

impl TryFrom<Written> for Document {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let kind = match written.kind.as_str() {
            "managed" => PolicyKind::Managed,
            "inline" => PolicyKind::Inline,
            "trust" => PolicyKind::Trust,
            "resource" => PolicyKind::Resource,
            other => return Err(format!("there are no {other} policies")),
        };
        Self::parse(&written.text, kind).map_err(|malformed| malformed.to_string())
    }
}

impl From<Document> for Written {
    fn from(document: Document) -> Self {
        let kind = match document.kind {
            PolicyKind::Managed => "managed",
            PolicyKind::Inline => "inline",
            PolicyKind::Trust => "trust",
            PolicyKind::Resource => "resource",
        };
        Self { kind: kind.to_owned(), text: document.text.as_ref().to_owned() }
    }
}

/// Policies of a user, a group or a role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Grants {
    /// By name.
    pub inline: BTreeMap<String, Document>,
    /// ARNs of managed policies.
    pub attached: BTreeSet<String>,
}

/// A path and a name under an account.
pub(crate) fn entity_arn(account: &str, kind: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{kind}{path}{name}")
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    /// `AIDA…`.
    pub id: String,
    /// Begins and ends with a slash.
    pub path: String,
    pub created_ms: i64,
    pub tags: Tags,
    /// ARN of the managed policy that bounds it.
    pub boundary: Option<String>,
    pub grants: Grants,
    /// Keys (names in lower case) of its groups.
    pub groups: BTreeSet<String>,
}

impl User {
    pub fn arn(&self, account: &str) -> String {
        entity_arn(account, "user", &self.path, &self.name)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// `AGPA…`.
    pub id: String,
    pub path: String,
    pub created_ms: i64,
    pub grants: Grants,
}

impl Group {
    pub fn arn(&self, account: &str) -> String {
        entity_arn(account, "group", &self.path, &self.name)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    pub name: String,
    /// `AROA…`.
    pub id: String,
    pub path: String,
    pub created_ms: i64,
    pub trust: Document,
    pub description: Option<String>,
    /// The longest session, 3,600 to 43,200 seconds.
    pub max_session_s: i32,
    pub tags: Tags,
    pub boundary: Option<String>,
    pub grants: Grants,
}

impl Role {
    pub fn arn(&self, account: &str) -> String {
        entity_arn(account, "role", &self.path, &self.name)
    }
}

/// A managed policy with its versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManagedPolicy {
    pub arn: String,
    pub name: String,
    /// `ANPA…`.
    pub id: String,
    pub path: String,
    pub description: Option<String>,
    pub created_ms: i64,
    pub updated_ms: i64,
    /// In rising order of their numbers, the oldest first.
    pub versions: Vec<PolicyVersion>,
    /// The number of the version in force.
    pub default_version: u32,
    /// The next version's number; numbers are never used again.
    pub next_version: u32,
    pub tags: Tags,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyVersion {
    pub number: u32,
    pub document: Document,
    pub created_ms: i64,
}

impl ManagedPolicy {
    pub fn version(&self, number: u32) -> Option<&PolicyVersion> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The document in force.
    pub fn document(&self) -> Option<&Document> {
        self.version(self.default_version).map(|version| &version.document)
    }

    /// Whether it is one of AWS's own, which nobody changes.
    pub fn is_aws(&self) -> bool {
        is_aws(&self.arn)
    }
}

pub(crate) fn is_aws(policy_arn: &str) -> bool {
    policy_arn.starts_with("arn:aws:iam::aws:")
}

/// An access key of a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccessKey {
    /// `AKIA…`.
    pub id: String,
    /// The user's id.
    pub user_id: String,
    pub active: bool,
    pub created_ms: i64,
    /// The secret, encrypted for this key.
    pub sealed: String,
}

/// A long-term API key of a user for one service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceCredential {
    /// `ACCA…`.
    pub id: String,
    pub user_id: String,
    /// `bedrock.amazonaws.com`.
    pub service: String,
    /// `BedrockAPIKey-1a2b-at-123456789012`, which the key carries in front of its secret.
    pub alias: String,
    pub active: bool,
    pub created_ms: i64,
    pub expires_ms: Option<i64>,
    /// SHA-256 of the secret, in hexadecimal. The secret is random and long, so that needs no salt.
    pub secret_sha256: String,
}

/// What a Bedrock resource's own policy says of who may use it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResourcePolicy {
    /// The resource's.
    pub arn: String,
    pub document: Document,
    /// Another one with every change.
    pub revision: String,
}

/// When and for what a key was last used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    pub used_ms: i64,
    pub service: String,
    pub region: String,
}
