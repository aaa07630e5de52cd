//! The service in a credential scope → how its requests name their operation: a path, a header or a form.
//!
//! Services that share a signing name (Bedrock's four) share one router; every other has its own, so that equal paths
//! of different services never meet.

use http::HeaderMap;

use crate::error::ApiError;
use crate::route::{Match, Router};
use crate::table::{Protocol, ServiceTable};

/// The front doors of every service with a table.
#[derive(Debug)]
pub struct Dispatcher {
    fronts: Vec<Front>,
}

/// What a signing name stands for.
#[derive(Debug)]
pub struct Front {
    /// The service in the credential scope.
    pub service: &'static str,
    entry: Entry,
}

#[derive(Debug)]
enum Entry {
    Paths(Router),
    Target { table: &'static ServiceTable, prefix: &'static str },
    Form(&'static ServiceTable),
}

/// What the head of a request says about its operation.
#[derive(Debug, Clone)]
pub enum Found {
    Operation(Match),
    /// A form in the body names it: see [`crate::query::find`].
    InBody(&'static ServiceTable),
}

impl Dispatcher {
    pub fn new(tables: &[&'static ServiceTable]) -> Self {
        let mut fronts: Vec<Front> = Vec::new();
        for table in tables {
            if fronts.iter().any(|front| front.service == table.signing_name) {
                continue;
            }
            let entry = match table.protocol {
                Protocol::Query { .. } => Entry::Form(table),
                Protocol::Json { target_prefix, .. } => Entry::Target { table, prefix: target_prefix },
                Protocol::RestJson => {
                    let mates = tables.iter().filter(|mate| mate.signing_name == table.signing_name);
                    Entry::Paths(Router::new(&mates.copied().collect::<Vec<_>>()))
                }
            };
            fronts.push(Front { service: table.signing_name, entry });
        }
        Self { fronts }
    }

    /// `None` for a service that has no table here.
    pub fn front(&self, service: &str) -> Option<&Front> {
        self.fronts.iter().find(|front| front.service == service)
    }
}

impl Front {
    /// The one table behind this name; `None` where paths decide between several services. Errors that no operation
    /// gives are written in its protocol.
    pub fn table(&self) -> Option<&'static ServiceTable> {
        match &self.entry {
            Entry::Paths(_) => None,
            Entry::Target { table, .. } | Entry::Form(table) => Some(table),
        }
    }

    /// The operation, from everything but the body. `path` is still encoded, without its query.
    pub fn find(&self, method: &str, path: &str, headers: &HeaderMap) -> Result<Found, ApiError> {
        match &self.entry {
            Entry::Target { .. } | Entry::Form(_) if path != "/" => {
                Err(ApiError::unknown_operation("There is no operation at this path."))
            }
            Entry::Paths(router) => Ok(Found::Operation(router.route(method, path)?)),
            Entry::Form(table) => Ok(Found::InBody(table)),
            Entry::Target { table, prefix } => {
                let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
                let Some(target) = target else {
                    return Err(ApiError::unknown_operation("The request has no X-Amz-Target header."));
                };
                let name = target.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
                let operation = name.and_then(|name| table.operation(name)).ok_or_else(|| {
                    let shown: String = target.chars().filter(char::is_ascii_graphic).take(128).collect();
                    ApiError::unknown_operation(format!("There is no operation {shown}."))
                })?;
                Ok(Found::Operation(Match::named(table, operation)))
            }
        }
    }
}
