use std::collections::BTreeMap;

use craton_core::{Arn, RequestContext};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Whether something is at most so large as JSON: asked before it is put together for the records.
pub fn fits(body: &impl Serialize, most_bytes: usize) -> bool {
    /// Counts what is written, down from a bound.
    struct Room(usize);
    impl std::io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::FileTooLarge)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(most_bytes), body).is_ok()
}

/// Where records of one kind live: whose they are and in which region.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The resource's type in kebab case, such as `application-inference-profile`.
    pub kind: &'static str,
    pub account: String,
    pub region: String,
}

/// Whose resources: an account and a region.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    pub account: String,
    pub region: String,
}

impl Place {
    pub fn of(context: &RequestContext) -> Self {
        Self { account: context.account.id.clone(), region: context.region.clone() }
    }

    pub fn scope(&self, kind: &'static str) -> Scope {
        Scope::new(kind, &self.account, &self.region)
    }

    /// The ARN of a resource of Bedrock's here, such as `agent/ID`.
    pub fn bedrock_arn(&self, resource: String) -> String {
        Arn::new("bedrock", &self.region, &self.account, resource).to_string()
    }
}

impl Scope {
    pub fn new(kind: &'static str, account: impl Into<String>, region: impl Into<String>) -> Self {
        Self { kind, account: account.into(), region: region.into() }
    }
}

/// One durable resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub id: String,
    /// Unique among its scope when set.
    pub name: Option<String>,
    pub body: Value,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub updated_ms: i64,
    /// 1 when created, one more with each update.
    pub version: i64,
}

/// A resource to be created, with everything that must appear together with it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRecord {
    pub id: String,
    pub name: Option<String>,
    pub body: Value,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
    pub idempotency: Option<Idempotency>,
    /// The key tags are kept under (the resource's ARN), and the tags.
    pub tags: Option<(String, BTreeMap<String, String>)>,
}

/// A client's promise that requests with this token are one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Idempotency {
    pub token: String,
    /// A digest of everything else in the request.
    pub request_hash: String,
    /// What the operation answers, now and to every repetition.
    pub answer: Value,
}

impl Idempotency {
    /// `request` is everything that was asked besides the token.
    pub fn of(token: String, request: &Value, answer: Value) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, request.to_string().as_bytes());
        Self { token, request_hash: hex::encode(digest), answer }
    }

    /// The same for a request that may have no token, and whose answer is known by an id.
    pub fn answering(token: Option<String>, request: &Value, id: &str) -> Option<Self> {
        Self::with(token, request, Value::String(id.to_owned()))
    }

    /// The same for any answer.
    pub fn with(token: Option<String>, request: &Value, answer: Value) -> Option<Self> {
        token.map(|token| Self::of(token, request, answer))
    }
}

/// What came of a creation.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    New(Record),
    /// The token was seen with the same request: nothing was written, this was the first answer.
    Repeated(Value),
}

/// Which records to list: ids that start with `prefix`, after `after`, at most `limit`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Range {
    pub prefix: String,
    /// The last id of the page before.
    pub after: Option<String>,
    /// 0 means no limit.
    pub limit: u32,
}
