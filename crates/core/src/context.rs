use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The account and home region this server plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    pub home_region: String,
}

impl Default for Account {
    fn default() -> Self {
        Self { id: "123456789012".into(), home_region: "us-east-1".into() }
    }
}

/// Who signed the request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Principal {
    /// `arn:aws:iam::123456789012:root`, a user's or an assumed role's ARN.
    pub arn: String,
    /// Empty where no key was used: a service that acts with a role.
    pub access_key_id: String,
    /// The account's id for its root, `AIDA…` for a user, `AROA…:name` for a role's session.
    pub user_id: String,
    /// Of temporary credentials.
    pub session: Option<Arc<Session>>,
}

/// Temporary credentials, as their token describes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session {
    pub kind: SessionKind,
    /// The ARN, with its path, of the role that was assumed or of the user (or root) who asked.
    pub issuer_arn: String,
    /// The issuer's own id: `AROA…`, `AIDA…` or the account's.
    pub issuer_id: String,
    /// The role session's name; empty in other kinds.
    pub name: String,
    /// Policies passed when it began, as documents and as ARNs of managed policies. With neither, none was passed.
    pub policies: Vec<String>,
    pub policy_arns: Vec<String>,
    pub tags: BTreeMap<String, String>,
    /// Tags that go on into sessions of roles assumed with this one.
    pub transitive_tags: Vec<String>,
    pub source_identity: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub issued_ms: i64,
    pub expires_ms: i64,
}

/// How temporary credentials were got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SessionKind {
    AssumedRole,
    /// GetSessionToken: the caller itself, for a while.
    SessionToken,
}

impl Principal {
    /// A principal with a key of its own, or none.
    pub fn new(arn: impl Into<String>, access_key_id: impl Into<String>) -> Self {
        Self { arn: arn.into(), access_key_id: access_key_id.into(), ..Self::default() }
    }

    /// Whose what it begins is: the user's or the role's own id, whoever assumed that and however often.
    pub fn owner_id(&self) -> &str {
        self.session.as_ref().map_or(&self.user_id, |session| &session.issuer_id)
    }

    pub fn is_root(&self) -> bool {
        self.arn.ends_with(":root")
    }
}

/// What every handler is told about the request besides its input. Built once by the server's pipeline.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// UUID, also sent back as `x-amzn-RequestId`.
    pub request_id: String,
    pub account: Arc<Account>,
    /// The region the client signed for.
    pub region: String,
    pub principal: Arc<Principal>,
    pub source_ip: Option<IpAddr>,
    /// Milliseconds since the Unix epoch.
    pub received_ms: i64,
}
