use std::sync::Arc;
use std::time::{Duration, Instant};

use craton_core::RequestContext;

use crate::metrics::{Metering, ModelMetrics};
use crate::record::{Outcome, Tokens, UsageRecord};

/// What is known of a call when it begins.
#[derive(Debug, Clone, Copy)]
pub struct CallStart<'a> {
    pub context: &'a RequestContext,
    pub operation: &'static str,
    pub model_id: &'a str,
    pub invoked_id: &'a str,
    pub profile_arn: Option<&'a str>,
    pub served_by: &'a str,
    pub streamed: bool,
}

/// Measures one call to a model. Dropping it unfinished records the call as cancelled.
pub struct CallMeter {
    metering: Arc<Metering>,
    model: Arc<ModelMetrics>,
    /// What the sinks are told; not kept when nobody listens.
    record: Option<UsageRecord>,
    finished: bool,
    started: Instant,
    first_token_ms: Option<u64>,
    tokens: Tokens,
}

impl CallMeter {
    pub(crate) fn begin(
        metering: Arc<Metering>,
        start: CallStart<'_>,
        metadata: Vec<(String, String)>,
    ) -> Self {
        let model = metering.model(start.model_id);
        model.in_flight.inc();
        let record = metering.has_sinks().then(|| begun(start, metadata));
        Self {
            metering,
            model,
            record,
            finished: false,
            started: Instant::now(),
            first_token_ms: None,
            tokens: Tokens { estimated: true, ..Tokens::default() },
        }
    }

    /// Milliseconds since the call began.
    pub fn elapsed_ms(&self) -> u64 {
        milliseconds(self.started.elapsed())
    }

    /// What the prompt cost, as far as it is known before the end.
    pub fn prompt(&mut self, tokens: Tokens) {
        self.tokens = Tokens { output: self.tokens.output, estimated: true, ..tokens };
    }

    /// An increment of the answer arrived; the first one sets the time to first token.
    pub fn increment(&mut self) {
        self.tokens.output = self.tokens.output.saturating_add(1);
        if self.first_token_ms.is_none() {
            let elapsed = self.started.elapsed();
            self.first_token_ms = Some(milliseconds(elapsed));
            self.model.first_token_s.observe(elapsed.as_secs_f64());
        }
    }

    /// Milliseconds from the start to the first increment.
    pub fn first_token_ms(&self) -> Option<u64> {
        self.first_token_ms
    }

    /// The call is over and the model said what it cost.
    pub fn complete(&mut self, stop_reason: &'static str, tokens: Tokens) {
        self.tokens = Tokens { estimated: false, ..tokens };
        self.finish(Outcome::Completed { stop_reason });
    }

    /// The call ended with an error.
    pub fn fail(&mut self, code: std::borrow::Cow<'static, str>) {
        self.finish(Outcome::Failed { code });
    }

    fn finish(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let latency = self.started.elapsed();
        self.model.in_flight.dec();
        self.model.latency_s.observe(latency.as_secs_f64());
        self.metering.count(&self.model, &outcome, &self.tokens);
        if let Some(mut record) = self.record.take() {
            record.latency_ms = milliseconds(latency);
            record.first_token_ms = self.first_token_ms;
            record.tokens = self.tokens;
            record.outcome = outcome;
            self.metering.record(&record);
        }
    }
}

fn begun(start: CallStart<'_>, metadata: Vec<(String, String)>) -> UsageRecord {
    let context = start.context;
    UsageRecord {
        request_id: context.request_id.clone(),
        operation: start.operation,
        account_id: context.account.id.clone(),
        region: context.region.clone(),
        principal_arn: context.principal.arn.clone(),
        model_id: start.model_id.to_owned(),
        invoked_id: start.invoked_id.to_owned(),
        profile_arn: start.profile_arn.map(str::to_owned),
        served_by: start.served_by.to_owned(),
        started_ms: context.received_ms,
        latency_ms: 0,
        first_token_ms: None,
        streamed: start.streamed,
        tokens: Tokens::default(),
        outcome: Outcome::Cancelled,
        metadata,
    }
}

fn milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for CallMeter {
    fn drop(&mut self) {
        self.finish(Outcome::Cancelled);
    }
}
