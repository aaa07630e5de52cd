//! Environments, the Runtime API they speak, and the pool that keeps them warm.

mod api;
mod clients;
mod environment;
mod logs;
mod output;
mod pool;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;

pub(crate) use api::error_payload;
pub use logs::log_path;
pub(crate) use pool::{Pool, PoolParts};

use crate::function::Language;

/// AWS's limit of a synchronous call's event and of its answer.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 6 << 20;

/// The users and roles of the account, as far as functions have to do with them.
pub trait Credentials: Send + Sync {
    /// Environment variables for a function with this role: keys, session token, endpoint. Never a secret of the
    /// server's own.
    fn variables(&self, role_arn: &str, function_arn: &str) -> BTreeMap<String, String>;

    /// A PEM file with the certificates by which a function knows the endpoint, where the machine's own are not enough.
    fn certificates(&self) -> Option<PathBuf> {
        None
    }

    /// Whether a function may be given this role. Without roles that are checked, any.
    fn may_be_given(&self, _role_arn: &str, _function_arn: &str) -> bool {
        true
    }

    /// A policy with the unique ids of the users and roles that are its principals; `None` where one of them is nobody.
    fn bind_principals(&self, policy: &str) -> Option<String> {
        Some(policy.to_owned())
    }

    /// The same policy as it is shown, with their ARNs.
    fn show_principals(&self, policy: &str) -> String {
        policy.to_owned()
    }
}

/// Everything an environment is started with.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Environments with equal keys are interchangeable.
    pub key: String,
    pub name: String,
    pub arn: String,
    /// `$LATEST` or a number.
    pub version: String,
    pub language: Language,
    pub language_version: String,
    pub handler: String,
    pub folder: PathBuf,
    pub role: String,
    pub region: String,
    pub memory_mib: u32,
    /// The largest file it can write.
    pub ephemeral_mib: u32,
    pub timeout_s: u32,
    pub variables: BTreeMap<String, String>,
    pub reserved_concurrency: Option<u32>,
}

/// One event for a function.
#[derive(Debug)]
pub(crate) struct Event {
    pub request_id: String,
    pub payload: Bytes,
    /// The ARN that was called, with the qualifier it was called by.
    pub invoked_arn: String,
    pub client_context: Option<String>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub payload: Bytes,
    pub failed: bool,
    /// The last 4 KiB that the function printed.
    pub log_tail: String,
}
