//! Lambda's modelled operations.

mod aliases;
mod concurrency;
mod functions;
mod invoke;
mod permissions;
mod sweep;
mod tags;
mod unserved;
mod versions;

use craton_api_lambda as api;
use craton_core::RequestContext;
use craton_store::{Record, Scope, Transaction};
use craton_wire::ApiError;
use serde_json::Value;

pub use invoke::EVENT_JOB;

use crate::Lambda;
use crate::error::{not_found, service, store_error};
use crate::function::{self, FunctionRef, LATEST, StoredFunction, scope, timestamp};

/// A function's configuration as one of its versions has it.
pub(crate) struct Found {
    pub function: StoredFunction,
    /// `$LATEST` or a number.
    pub version: String,
    pub region: String,
}

/// A function's record, held in a transaction.
struct Held {
    record: Record,
    function: StoredFunction,
}

impl Lambda {
    pub(crate) fn scope(&self, region: &str) -> Scope {
        scope(&self.inner.account.id, region)
    }

    /// The record of a function's `$LATEST`.
    pub(crate) async fn record(&self, reference: &FunctionRef) -> Result<Record, ApiError> {
        let record = self.inner.store.get(&self.scope(&reference.region), &reference.name).await;
        record.map_err(|error| store_error(&error))?.ok_or_else(|| self.missing(reference))
    }

    /// The configuration that a name with a qualifier stands for.
    pub(crate) async fn find(&self, reference: &FunctionRef) -> Result<Found, ApiError> {
        let found = |function: StoredFunction, version: String| Found {
            function,
            version,
            region: reference.region.clone(),
        };
        let number = match reference.qualifier.as_deref() {
            None | Some(LATEST) => None,
            Some(qualifier) => match qualifier.parse::<i64>() {
                Ok(number) => Some(number),
                Err(_) => self.alias_target(reference, qualifier).await?,
            },
        };
        let Some(number) = number else {
            return Ok(found(read(&self.record(reference).await?.body)?, LATEST.to_owned()));
        };
        let version = self.inner.store.version(&self.scope(&reference.region), &reference.name, number).await;
        let version = version.map_err(|error| store_error(&error))?.ok_or_else(|| self.missing(reference))?;
        Ok(found(read(&version.body)?, number.to_string()))
    }

    async fn alias_target(&self, reference: &FunctionRef, name: &str) -> Result<Option<i64>, ApiError> {
        let alias = self.inner.store.alias(&self.scope(&reference.region), &reference.name, name).await;
        let alias = alias.map_err(|error| store_error(&error))?;
        Ok(alias.ok_or_else(|| self.missing(reference))?.number)
    }

    pub(crate) fn missing(&self, reference: &FunctionRef) -> ApiError {
        not_found(format!("Function not found: {}", reference.arn(&self.inner.account.id)))
    }

    /// Changes a function's `$LATEST` and gives it a new revision. With `expected`, only if that is its revision.
    pub(crate) async fn change(
        &self,
        reference: &FunctionRef,
        expected: Option<&str>,
        change: impl FnOnce(&mut StoredFunction),
    ) -> Result<StoredFunction, ApiError> {
        let (revision, now_ms) = (self.inner.ids.uuid(), self.inner.clock.now_ms());
        let changed = self.rewrite(reference, |function| {
            check_revision(function, expected)?;
            change(function);
            function.revision = revision;
            function.modified_ms = now_ms;
            Ok(())
        });
        let function = changed.await?;
        let account = &self.inner.account.id;
        self.inner.pool.retire(&function::arn(&reference.region, account, &function.name, None));
        Ok(function)
    }

    /// Changes what is kept with a function, which nobody else changes meanwhile. Its environments stay.
    pub(crate) async fn rewrite(
        &self,
        reference: &FunctionRef,
        change: impl FnOnce(&mut StoredFunction) -> Result<(), ApiError>,
    ) -> Result<StoredFunction, ApiError> {
        let mut transaction = self.inner.store.begin().await.map_err(|error| store_error(&error))?;
        let mut held =
            self.hold(&mut transaction, reference).await?.ok_or_else(|| self.missing(reference))?;
        change(&mut held.function)?;
        self.put(&mut transaction, reference, &mut held).await?;
        transaction.commit().await.map_err(|error| store_error(&error))?;
        Ok(held.function)
    }

    /// A function that nobody else changes until the transaction ends, nor its qualifiers' policies; None where there is none.
    async fn hold(
        &self,
        transaction: &mut Transaction,
        reference: &FunctionRef,
    ) -> Result<Option<Held>, ApiError> {
        let record = transaction.get(&self.scope(&reference.region), &reference.name).await;
        let Some(record) = record.map_err(|error| store_error(&error))? else { return Ok(None) };
        Ok(Some(Held { function: read(&record.body)?, record }))
    }

    async fn put(
        &self,
        transaction: &mut Transaction,
        reference: &FunctionRef,
        held: &mut Held,
    ) -> Result<(), ApiError> {
        held.record.body = write(&held.function)?;
        let (scope, now_ms) = (self.scope(&reference.region), self.inner.clock.now_ms());
        let updated = transaction.update(&scope, &held.record, Some(held.record.version), now_ms).await;
        updated.map(drop).map_err(|error| store_error(&error))
    }

    /// Calls of a function that may run at the same time, whichever version is called; None: as many as the server allows.
    pub(crate) async fn reserved_concurrency(
        &self,
        reference: &FunctionRef,
        found: &Found,
    ) -> Result<Option<u32>, ApiError> {
        if found.version == LATEST {
            return Ok(found.function.reserved_concurrency);
        }
        Ok(read(&self.record(reference).await?.body)?.reserved_concurrency)
    }

    pub(crate) fn configuration(&self, found: &Found) -> api::FunctionConfiguration {
        let Found { function, version, region } = found;
        let qualifier = Some(version.as_str()).filter(|version| *version != LATEST);
        let variables = Some(&function.variables).filter(|variables| !variables.is_empty());
        api::FunctionConfiguration {
            function_name: Some(function.name.clone()),
            function_arn: Some(function::arn(region, &self.inner.account.id, &function.name, qualifier)),
            runtime: function.runtime.parse().ok(),
            role: Some(function.role.clone()),
            handler: Some(function.handler.clone()),
            code_size: i64::try_from(function.code_bytes).ok(),
            description: Some(function.description.clone()),
            timeout: i32::try_from(function.timeout_s).ok(),
            memory_size: i32::try_from(function.memory_mib).ok(),
            last_modified: Some(timestamp(function.modified_ms)),
            code_sha256: hex::decode(&function.code).ok().map(|hash| base64(&hash)),
            version: Some(version.clone()),
            environment: variables.map(|variables| api::EnvironmentResponse {
                variables: Some(variables.clone().into_iter().collect()),
                error: None,
            }),
            tracing_config: Some(api::TracingConfigResponse { mode: Some(api::TracingMode::PassThrough) }),
            revision_id: Some(function.revision.clone()),
            state: Some(api::State::Active),
            last_update_status: Some(api::LastUpdateStatus::Successful),
            package_type: Some(api::PackageType::Zip),
            architectures: function.architecture.parse().ok().map(|one| vec![one]),
            ephemeral_storage: i32::try_from(function.ephemeral_mib)
                .ok()
                .map(|size| api::EphemeralStorage { size }),
            ..api::FunctionConfiguration::default()
        }
    }
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn check_revision(function: &StoredFunction, expected: Option<&str>) -> Result<(), ApiError> {
    check_expected(&function.revision, expected)
}

pub(crate) fn check_expected(revision: &str, expected: Option<&str>) -> Result<(), ApiError> {
    match expected {
        Some(expected) if expected != revision => Err(ApiError::new(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to \
             retrieve the latest Revision Id.",
        )),
        _ => Ok(()),
    }
}

pub(crate) fn read(body: &Value) -> Result<StoredFunction, ApiError> {
    serde_json::from_value(body.clone()).map_err(|error| service(&error))
}

pub(crate) fn write(function: &StoredFunction) -> Result<Value, ApiError> {
    serde_json::to_value(function).map_err(|error| service(&error))
}

/// A page of a list, by Marker and MaxItems; the marker is the last name seen.
pub(crate) fn page<T>(
    items: Vec<T>,
    marker: Option<&str>,
    max_items: Option<i32>,
    key: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let size = max_items.and_then(|count| usize::try_from(count).ok()).unwrap_or(50).clamp(1, 10_000);
    let mut rest = items.into_iter().filter(|item| marker.is_none_or(|marker| key(item).as_str() > marker));
    let page: Vec<T> = rest.by_ref().take(size).collect();
    let next = rest.next().and_then(|_| page.last().map(&key));
    (page, next)
}

/// The reference of an operation that changes a function: never to a version.
pub(crate) fn unqualified(context: &RequestContext, name: &str) -> Result<FunctionRef, ApiError> {
    let reference = FunctionRef::parse(context, name, None)?;
    match reference.qualifier.as_deref() {
        None | Some(LATEST) => Ok(FunctionRef { qualifier: None, ..reference }),
        Some(_) => {
            Err(crate::error::invalid("The operation cannot be performed on a function version or alias."))
        }
    }
}
