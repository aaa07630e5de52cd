use std::net::IpAddr;
use std::sync::Arc;

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// `arn:aws:iam::123456789012:root`, a user's or an assumed role's ARN.
    pub arn: String,
    pub access_key_id: String,
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
