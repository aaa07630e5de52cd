//! What is kept of a function, and the names it goes by.

use std::collections::BTreeMap;

use craton_api_lambda as api;
use craton_core::{Arn, RequestContext};
use craton_store::Scope;
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::invalid;

pub(crate) const LATEST: &str = "$LATEST";

/// A function's configuration: of `$LATEST`, or frozen in a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredFunction {
    pub name: String,
    pub runtime: String,
    pub handler: String,
    pub role: String,
    pub description: String,
    pub timeout_s: u32,
    pub memory_mib: u32,
    pub ephemeral_mib: u32,
    pub variables: BTreeMap<String, String>,
    pub architecture: String,
    /// Hexadecimal SHA-256 of the archive, which names its folder.
    pub code: String,
    pub code_bytes: u64,
    pub revision: String,
    pub modified_ms: i64,
    /// Calls that may run at the same time; None: as many as the server allows.
    #[serde(default)]
    pub reserved_concurrency: Option<u32>,
    /// Statements of the resource policies, of the function as of its versions and aliases.
    #[serde(default)]
    pub statements: Vec<Value>,
    /// Of the resource policies; None where they never changed.
    #[serde(default)]
    pub policy_revision: Option<String>,
}

impl StoredFunction {
    /// What an environment of this function must have been started with to be used again.
    pub(crate) fn environment_key(&self) -> String {
        format!("{}:{}", self.name, self.revision)
    }

    /// What a version keeps: not what is the function's as a whole, and may change after the version is published.
    pub(crate) fn frozen(self) -> Self {
        Self { reserved_concurrency: None, statements: Vec::new(), policy_revision: None, ..self }
    }
}

/// A function's name, ARN or partial ARN, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionRef {
    pub region: String,
    pub name: String,
    /// A version's number, `$LATEST` or an alias's name.
    pub qualifier: Option<String>,
}

impl FunctionRef {
    /// Reads `NAME`, `NAME:QUALIFIER`, `ACCOUNT:function:NAME` or an ARN. A qualifier given apart must agree.
    pub(crate) fn parse(
        context: &RequestContext,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<Self, ApiError> {
        let mut parsed = Self::read(&context.region, &context.account.id, text)?;
        match (qualifier, &parsed.qualifier) {
            (Some(apart), Some(within)) if apart != within => {
                return Err(invalid(
                    "The derived qualifier from the function name does not match the specified qualifier.",
                ));
            }
            (Some(apart), _) => parsed.qualifier = Some(apart.to_owned()),
            (None, _) => {}
        }
        Ok(parsed)
    }

    pub(crate) fn read(region: &str, account: &str, text: &str) -> Result<Self, ApiError> {
        let bad = || invalid(format!("{text} is not a function's name or ARN."));
        let (region, rest) = if text.starts_with("arn:") {
            let arn: Arn = text.parse().map_err(|_| bad())?;
            let rest = arn.resource.strip_prefix("function:").ok_or_else(bad)?.to_owned();
            if arn.service != "lambda" || arn.account != account {
                return Err(crate::error::not_found(format!("Function not found: {text}")));
            }
            (arn.region, rest)
        } else {
            let rest = text.split_once(":function:").map_or(text, |(_, rest)| rest);
            (region.to_owned(), rest.strip_prefix("function:").unwrap_or(rest).to_owned())
        };
        let (name, qualifier) = match rest.split_once(':') {
            Some((name, qualifier)) => (name.to_owned(), Some(qualifier.to_owned())),
            None => (rest, None),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(bad());
        }
        Ok(Self { region, name, qualifier })
    }

    pub(crate) fn arn(&self, account: &str) -> String {
        arn(&self.region, account, &self.name, self.qualifier.as_deref())
    }
}

/// The ARN, with its qualifier, of the function that a request names in one of Lambda's ways; `None` for what is no
/// function's name, or another account's.
pub fn function_arn(context: &RequestContext, name: &str, qualifier: Option<&str>) -> Option<Arn> {
    let mut found = FunctionRef::read(&context.region, &context.account.id, name).ok()?;
    if let Some(qualifier) = qualifier {
        found.qualifier = Some(qualifier.to_owned());
    }
    found.arn(&context.account.id).parse().ok()
}

pub(crate) fn arn(region: &str, account: &str, name: &str, qualifier: Option<&str>) -> String {
    let qualifier = qualifier.map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
    Arn::new("lambda", region, account, format!("function:{name}{qualifier}")).to_string()
}

/// What functions are called among the records.
pub(crate) const KIND: &str = "lambda-function";

pub(crate) fn scope(account: &str, region: &str) -> Scope {
    Scope::new(KIND, account, region)
}

/// How AWS writes when a function was changed: `2026-11-22T10:11:12.123+0000`.
pub(crate) fn timestamp(ms: i64) -> String {
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+0000"
    );
    let moment = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    moment.ok().and_then(|moment| moment.format(&format).ok()).unwrap_or_default()
}

/// Which language's environment runs a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Language {
    Python,
    Node,
}

/// The language and version number of a runtime's name, for those that run here.
pub(crate) fn language(runtime: &str) -> Result<(Language, &str), ApiError> {
    if let Some(version) = runtime.strip_prefix("python3.").map(|_| &runtime["python".len()..]) {
        return Ok((Language::Python, version));
    }
    if let Some(version) = runtime.strip_prefix("nodejs") {
        return Ok((Language::Node, version.trim_end_matches(".x")));
    }
    Err(invalid(format!("The runtime {runtime} is not served here. Functions run on python3.x and nodejs.")))
}

pub(crate) fn runtime_name(runtime: api::Runtime) -> String {
    runtime.as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let read = |text: &str| FunctionRef::read("us-east-1", "123456789012", text);
        let plain = FunctionRef { region: "us-east-1".into(), name: "f".into(), qualifier: None };
        assert_eq!(read("f").unwrap(), plain);
        assert_eq!(read("123456789012:function:f").unwrap(), plain);
        let live = FunctionRef { qualifier: Some("live".into()), region: "eu-west-1".into(), ..plain };
        assert_eq!(read("arn:aws:lambda:eu-west-1:123456789012:function:f:live").unwrap(), live);
        assert_eq!(live.arn("123456789012"), "arn:aws:lambda:eu-west-1:123456789012:function:f:live");
        for wrong in ["", "a b", "arn:aws:s3:::bucket", "arn:aws:lambda:eu-west-1:999999999999:function:f"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn runtimes_that_run_here() {
        assert_eq!(language("python3.11").unwrap(), (Language::Python, "3.11"));
        assert_eq!(language("nodejs20.x").unwrap(), (Language::Node, "20"));
        assert!(language("java21").is_err());
    }
}
