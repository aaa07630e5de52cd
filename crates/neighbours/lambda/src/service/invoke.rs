//! Invoke, and the same for agents and flows.

use std::sync::Arc;
use std::time::Duration;

use craton_api_lambda as api;
use craton_backend::function::{FunctionAnswer, FunctionCall, FunctionError, FunctionInvoker};
use craton_core::{RequestContext, first_chars};
use craton_store::jobs::{Ended, Handler, Job, JobContext, JobError, NewJob};
use craton_store::{StoreError, Transaction};
use craton_wire::ApiError;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{base64, unserved};
use crate::Lambda;
use crate::error::{function_error, service, store_error};
use crate::function::{self, FunctionRef, LATEST, language};
use crate::mapped::{Far, FarCall, Function, Place, folder_mark};
use crate::runtime::{Event, Launch, MAX_PAYLOAD_BYTES, Outcome};

/// The kind of the jobs that asynchronous calls are.
pub const EVENT_JOB: &str = "lambda-event";
/// AWS's limit of an asynchronous call's event.
const MAX_EVENT_BYTES: usize = 1 << 20;
/// AWS tries an asynchronous call three times.
const EVENT_ATTEMPTS: u32 = 3;
/// How long an asynchronous call waits for a place, and between two looks for one.
const EVENT_AGE: Duration = Duration::from_secs(6 * 60 * 60);
const EVENT_WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));

/// The client context is synchronous calls' only, as AWS has it.
#[derive(Debug, Serialize, Deserialize)]
struct QueuedEvent {
    arn: String,
    payload: String,
}

/// A call that is ready to run.
enum Ready {
    Run(Box<Launch>),
    Post {
        name: String,
        url: String,
        patience: Duration,
    },
    /// A function of another Lambda.
    Far {
        name: String,
        far: Arc<Far>,
        qualifier: Option<String>,
        patience: Duration,
    },
}

impl Lambda {
    pub async fn invoke(
        &self,
        context: &RequestContext,
        input: api::InvocationRequest,
    ) -> Result<api::InvocationResponse, ApiError> {
        let reference = FunctionRef::parse(context, &input.function_name, input.qualifier.as_deref())?;
        unserved::in_invocation(&input)?;
        let payload = input.payload.map(|payload| payload.0).unwrap_or_default();
        let asynchronous = input.invocation_type == Some(api::InvocationType::Event);
        check_payload(&payload, if asynchronous { MAX_EVENT_BYTES } else { MAX_PAYLOAD_BYTES })?;
        let (ready, version) = self.ready(&reference).await?;
        let mut response =
            api::InvocationResponse { executed_version: Some(version), ..api::InvocationResponse::default() };
        match input.invocation_type {
            Some(api::InvocationType::DryRun) => response.status_code = Some(204),
            Some(api::InvocationType::Event) => {
                self.enqueue(&reference, &payload).await?;
                response.executed_version = None;
                response.status_code = Some(202);
            }
            Some(api::InvocationType::RequestResponse) | None => {
                let event = self.event(&reference, payload, input.client_context)?;
                let outcome = self.run(ready, event).await.map_err(function_error)?;
                response.status_code = Some(200);
                response.function_error = outcome.failed.then(|| "Unhandled".to_owned());
                if input.log_type == Some(api::LogType::Tail) {
                    response.log_result = Some(base64(outcome.log_tail.as_bytes()));
                }
                response.payload = Some(outcome.payload.into());
            }
        }
        Ok(response)
    }

    fn event(
        &self,
        reference: &FunctionRef,
        payload: bytes::Bytes,
        client_context: Option<String>,
    ) -> Result<Event, ApiError> {
        Ok(Event {
            request_id: self.inner.pool.request_id(),
            // No payload is an empty event, however the call is made.
            payload: if payload.is_empty() { bytes::Bytes::from_static(b"{}") } else { payload },
            invoked_arn: reference.arn(&self.inner.account.id),
            client_context: client_context.map(|context| read_context(&context)).transpose()?,
        })
    }

    async fn enqueue(&self, reference: &FunctionRef, payload: &bytes::Bytes) -> Result<(), ApiError> {
        let event = QueuedEvent {
            arn: reference.arn(&self.inner.account.id),
            payload: String::from_utf8_lossy(payload).into_owned(),
        };
        let id = format!("{EVENT_JOB}-{}", self.inner.ids.uuid());
        let mut job = NewJob::new(id, EVENT_JOB, json!(event), self.inner.clock.now_ms());
        job.max_attempts = EVENT_ATTEMPTS;
        self.inner.store.enqueue(job).await.map_err(|error| store_error(&error))
    }

    /// What runs a function, and the version of it.
    async fn ready(&self, reference: &FunctionRef) -> Result<(Ready, String), ApiError> {
        if let Some(mapped) = self.inner.mapped.get(&reference.name) {
            return Ok((self.ready_mapped(reference, mapped).await?, LATEST.to_owned()));
        }
        let found = self.find(reference).await?;
        let reserved_concurrency = self.reserved_concurrency(reference, &found).await?;
        let (language, language_version) = language(&found.function.runtime)?;
        let function = &found.function;
        let launch = Launch {
            key: format!("{}:{}", function.environment_key(), found.version),
            name: function.name.clone(),
            arn: function::arn(&reference.region, &self.inner.account.id, &function.name, None),
            version: found.version.clone(),
            language,
            language_version: language_version.to_owned(),
            handler: function.handler.clone(),
            folder: self.inner.code.folder(&function.code),
            role: function.role.clone(),
            region: reference.region.clone(),
            memory_mib: function.memory_mib,
            ephemeral_mib: function.ephemeral_mib,
            timeout_s: function.timeout_s,
            variables: function.variables.clone(),
            reserved_concurrency,
        };
        Ok((Ready::Run(Box::new(launch)), found.version))
    }

    /// What runs a function that configuration sends elsewhere.
    async fn ready_mapped(&self, reference: &FunctionRef, mapped: &Function) -> Result<Ready, ApiError> {
        let (name, patience) = (reference.name.clone(), Duration::from_secs(mapped.timeout_s.into()));
        let (folder, runtime, handler) = match &mapped.place {
            Place::Url(url) => return Ok(Ready::Post { name, url: url.clone(), patience }),
            Place::Aws(far) => {
                let (far, qualifier) = (Arc::clone(far), reference.qualifier.clone());
                return Ok(Ready::Far { name, far, qualifier, patience });
            }
            Place::Folder { folder, runtime, handler } => (folder, runtime, handler),
        };
        let (language, language_version) = language(runtime)?;
        let sources = folder.clone();
        let mark = tokio::task::spawn_blocking(move || folder_mark(&sources)).await;
        let arn = function::arn(&reference.region, &self.inner.account.id, &reference.name, None);
        Ok(Ready::Run(Box::new(Launch {
            // With its region, which is in its environment.
            key: format!("{arn}:{}", mark.map_err(|error| service(&error))?),
            name,
            arn,
            version: LATEST.to_owned(),
            language,
            language_version: language_version.to_owned(),
            handler: handler.clone(),
            folder: folder.clone(),
            role: String::new(),
            region: reference.region.clone(),
            memory_mib: 512,
            ephemeral_mib: 512,
            timeout_s: mapped.timeout_s,
            variables: Default::default(),
            reserved_concurrency: None,
        })))
    }

    /// Calls count wherever their function runs.
    async fn run(&self, ready: Ready, event: Event) -> Result<Outcome, FunctionError> {
        let (name, reserved) = match &ready {
            Ready::Run(launch) => (&launch.arn, launch.reserved_concurrency),
            Ready::Post { name, .. } | Ready::Far { name, .. } => (name, None),
        };
        let _place = self.inner.pool.admit(name, reserved)?;
        match ready {
            Ready::Run(launch) => {
                // Whoever mapped a folder knows it, and looks there for what went wrong.
                let own = self.inner.mapped.get(&launch.name).is_none();
                let folder = own.then(|| launch.folder.clone());
                let outcome = self.inner.pool.call(*launch, event).await?;
                Ok(match folder {
                    Some(folder) => placed(outcome, &folder),
                    None => outcome,
                })
            }
            Ready::Post { url, patience, .. } => self.inner.mapped.post(&url, event.payload, patience).await,
            Ready::Far { far, qualifier, patience, .. } => {
                let call = FarCall { event, qualifier, now_ms: self.inner.clock.now_ms() };
                self.inner.mapped.call(&far, call, patience).await
            }
        }
    }
}

/// Where AWS has a function's code. Tracebacks name files there, not where this server keeps them.
const TASK_ROOT: &str = "/var/task";

/// What came of a call, with paths of the function's code as AWS has them.
fn placed(mut outcome: Outcome, folder: &std::path::Path) -> Outcome {
    let folder = folder.to_string_lossy();
    outcome.log_tail = outcome.log_tail.replace(&*folder, TASK_ROOT);
    if outcome.failed
        && let Ok(text) = std::str::from_utf8(&outcome.payload)
        && text.contains(&*folder)
    {
        outcome.payload = text.replace(&*folder, TASK_ROOT).into();
    }
    outcome
}

/// A client context is JSON in base64; as one line of JSON, it can go on in a header.
fn read_context(text: &str) -> Result<String, ApiError> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok();
    let context = bytes
        .and_then(|bytes| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes).ok());
    // The one character that JSON writes as it is and headers refuse.
    let context = context.map(|context| json!(context).to_string().replace('\u{7f}', "\\u007f"));
    context.ok_or_else(|| {
        ApiError::new(
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        )
    })
}

fn check_payload(payload: &[u8], limit: usize) -> Result<(), ApiError> {
    if payload.len() > limit {
        return Err(ApiError::new(
            "RequestTooLargeException",
            format!("Request must be smaller than {limit} bytes for the Invoke operation"),
        ));
    }
    if payload.is_empty() {
        return Ok(());
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(payload) {
        Ok(_) => Ok(()),
        Err(error) => Err(ApiError::new(
            "InvalidRequestContentException",
            format!("Could not parse request body into json: {error}"),
        )),
    }
}

impl FunctionInvoker for Lambda {
    fn invoke(&self, call: FunctionCall) -> BoxFuture<'_, Result<FunctionAnswer, FunctionError>> {
        async move {
            let (reference, ready, executed_version) = self.ready_by_arn(&call.arn).await?;
            check_payload(&call.payload, MAX_PAYLOAD_BYTES)
                .map_err(|error| FunctionError::Invalid(error.message.clone()))?;
            let event = self
                .event(&reference, call.payload.clone(), None)
                .map_err(|error| FunctionError::Invalid(error.message.clone()))?;
            let Outcome { payload, failed, log_tail } = self.run(ready, event).await?;
            Ok(FunctionAnswer { payload, failed, log_tail, executed_version })
        }
        .boxed()
    }

    fn check<'a>(&'a self, arn: &'a str) -> BoxFuture<'a, Result<(), FunctionError>> {
        async move {
            let reference = self.reference(arn)?;
            if self.inner.mapped.get(&reference.name).is_some() {
                return Ok(());
            }
            self.find(&reference).await.map(drop).map_err(|error| as_function_error(arn, error))
        }
        .boxed()
    }
}

impl Lambda {
    async fn ready_by_arn(&self, arn: &str) -> Result<(FunctionRef, Ready, String), FunctionError> {
        let reference = self.reference(arn)?;
        let ready = self.ready(&reference).await;
        let (ready, version) = ready.map_err(|error| as_function_error(arn, error))?;
        Ok((reference, ready, version))
    }

    fn reference(&self, arn: &str) -> Result<FunctionRef, FunctionError> {
        let account = &self.inner.account;
        let unknown = |_| FunctionError::NotFound(arn.to_owned());
        FunctionRef::read(&account.home_region, &account.id, arn).map_err(unknown)
    }
}

fn as_function_error(arn: &str, error: ApiError) -> FunctionError {
    match error.code.as_ref() {
        "ResourceNotFoundException" => FunctionError::NotFound(arn.to_owned()),
        _ => FunctionError::Unavailable(error.message),
    }
}

/// Runs asynchronous calls.
#[async_trait::async_trait]
impl Handler for Lambda {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        let event: QueuedEvent = job.payload()?;
        let call = FunctionCall { arn: event.arn, payload: event.payload.into() };
        match FunctionInvoker::invoke(self, call).await {
            Ok(answer) if answer.failed => {
                let said = String::from_utf8_lossy(&answer.payload);
                Err(JobError::Retry(first_chars(&said, 2_000).to_owned()))
            }
            Ok(_) => Ok(()),
            Err(error @ (FunctionError::NotFound(_) | FunctionError::Invalid(_))) => {
                Err(JobError::Fail(error.to_string()))
            }
            // The function has not begun: that is no attempt.
            Err(error @ (FunctionError::Throttled(_) | FunctionError::Unavailable(_))) => {
                let age_ms = self.inner.clock.now_ms().saturating_sub(job.job().created_ms);
                let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
                if age >= EVENT_AGE {
                    return Err(JobError::Fail(error.to_string()));
                }
                let (least, most) = EVENT_WAITS;
                Err(JobError::Later { reason: error.to_string(), wait: (age / 2).clamp(least, most) })
            }
        }
    }

    async fn ended(&self, _: &mut Transaction, job: &Job, ended: &Ended) -> Result<(), StoreError> {
        if let Ended::Failed(reason) = ended {
            tracing::warn!(job = %job.id, reason, "an asynchronous call of a function failed for good");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_context_is_an_object_that_fits_a_header() {
        let read = |text: &str| read_context(&base64(text.as_bytes()));
        let context = read("{\"custom\":\n{\"a\": \"\u{7f}ä\"}}").unwrap();
        assert_eq!(context, "{\"custom\":{\"a\":\"\\u007fä\"}}");
        assert!(http::HeaderValue::from_bytes(context.as_bytes()).is_ok());
        for wrong in ["[]", "1", "{", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read_context("no base64").is_err());
    }
}
