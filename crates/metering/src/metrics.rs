use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::call::{CallMeter, CallStart};
use crate::lookup::Lookup;
use crate::record::{Outcome, Tokens, UsageRecord, UsageSink};
use crate::request::RequestTimer;

/// Most model ids with labels of their own.
pub const MAX_MODELS: usize = 1000;
const OTHER: &str = "other";

/// Seconds: from a cached answer to a long generation.
const LATENCY_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// How many calls a model's scheduler holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDepth {
    pub model: String,
    /// Waiting for a slot.
    pub queued: usize,
    /// Being answered.
    pub running: usize,
}

/// Asked for the depth of its queues whenever metrics are rendered.
pub trait QueueSource: Send + Sync {
    fn depths(&self) -> Vec<QueueDepth>;
}

/// The counters of one model, looked up once a call.
pub(crate) struct ModelMetrics {
    pub(crate) in_flight: IntGauge,
    pub(crate) latency_s: Histogram,
    pub(crate) first_token_s: Histogram,
    label: String,
    completed: IntCounter,
    cancelled: IntCounter,
    input: IntCounter,
    output: IntCounter,
    cache_read: IntCounter,
    cache_write: IntCounter,
}

#[derive(Clone)]
struct OperationMetrics {
    total: IntCounter,
    duration_s: Histogram,
}

/// All metrics of a server, and the sinks of usage records.
pub struct Metering {
    registry: Registry,
    pub(crate) requests_in_flight: IntGauge,
    requests: IntCounterVec,
    request_duration_s: HistogramVec,
    calls: IntCounterVec,
    calls_in_flight: IntGaugeVec,
    tokens: IntCounterVec,
    latency_s: HistogramVec,
    first_token_s: HistogramVec,
    queue: IntGaugeVec,
    models: Lookup<String, Arc<ModelMetrics>>,
    operations: Lookup<(&'static str, u16), OperationMetrics>,
    sinks: ArcSwap<Vec<Arc<dyn UsageSink>>>,
    queues: Mutex<Vec<Arc<dyn QueueSource>>>,
}

impl Metering {
    /// Fails only if two metrics share a name.
    pub fn new() -> Result<Arc<Self>, prometheus::Error> {
        let registry = Registry::new();
        let metering = Self {
            requests_in_flight: register(
                &registry,
                IntGauge::new("craton_requests_in_flight", "HTTP requests being answered"),
            )?,
            requests: counters(
                &registry,
                "craton_requests_total",
                "HTTP requests answered, by operation and status",
                &["operation", "status"],
            )?,
            request_duration_s: histograms(
                &registry,
                "craton_request_duration_seconds",
                "Time from a request's first byte to its answer's last",
                "operation",
            )?,
            calls: counters(
                &registry,
                "craton_model_calls_total",
                "Calls to models, by model and how they ended",
                &["model", "outcome"],
            )?,
            calls_in_flight: gauges(
                &registry,
                "craton_model_calls_in_flight",
                "Calls being answered",
                &["model"],
            )?,
            tokens: counters(
                &registry,
                "craton_tokens_total",
                "Tokens, by model and direction (input, output, cache_read, cache_write)",
                &["model", "direction"],
            )?,
            latency_s: histograms(
                &registry,
                "craton_model_latency_seconds",
                "Time from sending a call to a model to its end",
                "model",
            )?,
            first_token_s: histograms(
                &registry,
                "craton_first_token_seconds",
                "Time from sending a call to a model to its first increment",
                "model",
            )?,
            queue: gauges(
                &registry,
                "craton_queue_depth",
                "Calls held by a model's scheduler (queued, running)",
                &["model", "state"],
            )?,
            models: Lookup::new(),
            operations: Lookup::new(),
            sinks: ArcSwap::default(),
            queues: Mutex::default(),
            registry,
        };
        Ok(Arc::new(metering))
    }

    /// Adds a receiver of usage records, for calls that begin from now on.
    pub fn add_sink(&self, sink: Arc<dyn UsageSink>) {
        self.sinks.rcu(|sinks| sinks.iter().cloned().chain([Arc::clone(&sink)]).collect::<Vec<_>>());
    }

    /// Adds queues whose depth is shown in the metrics.
    pub fn add_queues(&self, source: Arc<dyn QueueSource>) {
        self.queues.lock().push(source);
    }

    /// For metrics of other crates.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Starts measuring a call to a model. `metadata` is the request's own, for its usage record.
    pub fn call(self: &Arc<Self>, start: CallStart<'_>, metadata: Vec<(String, String)>) -> CallMeter {
        CallMeter::begin(Arc::clone(self), start, metadata)
    }

    /// Starts measuring an HTTP request. `operation` is a modelled name or a constant.
    pub fn request(self: &Arc<Self>, operation: &'static str) -> RequestTimer {
        RequestTimer::begin(Arc::clone(self), operation)
    }

    /// The metrics in Prometheus's text format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        // Held until all is read, so that two readers don't add to one another's depths.
        let queues = self.queues.lock();
        self.queue.reset();
        for depth in queues.iter().flat_map(|source| source.depths()) {
            let states = [("queued", depth.queued), ("running", depth.running)];
            for (state, count) in states {
                self.queue
                    .with_label_values(&[&depth.model, state])
                    .add(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    pub(crate) fn model(&self, id: &str) -> Arc<ModelMetrics> {
        if let Some(metrics) = self.models.get(id) {
            return metrics;
        }
        // One label in reserve for `other`.
        let key = if self.models.len() + 1 < MAX_MODELS { id } else { OTHER };
        self.models.insert_with(key.to_owned(), || Arc::new(self.model_metrics(key)))
    }

    fn model_metrics(&self, label: &str) -> ModelMetrics {
        let tokens = |direction: &str| self.tokens.with_label_values(&[label, direction]);
        ModelMetrics {
            in_flight: self.calls_in_flight.with_label_values(&[label]),
            latency_s: self.latency_s.with_label_values(&[label]),
            first_token_s: self.first_token_s.with_label_values(&[label]),
            completed: self.calls.with_label_values(&[label, "completed"]),
            cancelled: self.calls.with_label_values(&[label, "cancelled"]),
            input: tokens("input"),
            output: tokens("output"),
            cache_read: tokens("cache_read"),
            cache_write: tokens("cache_write"),
            label: label.to_owned(),
        }
    }

    pub(crate) fn has_sinks(&self) -> bool {
        !self.sinks.load().is_empty()
    }

    pub(crate) fn record(&self, record: &UsageRecord) {
        for sink in self.sinks.load().iter() {
            sink.record(record);
        }
    }

    pub(crate) fn count(&self, model: &ModelMetrics, outcome: &Outcome, tokens: &Tokens) {
        match outcome {
            Outcome::Completed { .. } => model.completed.inc(),
            Outcome::Cancelled => model.cancelled.inc(),
            Outcome::Failed { code } => self.calls.with_label_values(&[&model.label, code.as_ref()]).inc(),
        }
        let counts = [
            (&model.input, tokens.input),
            (&model.output, tokens.output),
            (&model.cache_read, tokens.cache_read),
            (&model.cache_write, tokens.cache_write),
        ];
        for (counter, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            counter.inc_by(u64::from(count));
        }
    }

    pub(crate) fn observe_request(&self, operation: &'static str, status: u16, duration: Duration) {
        let key = (operation, status);
        let metrics = self.operations.get(&key).unwrap_or_else(|| {
            self.operations.insert_with(key, || OperationMetrics {
                total: self.requests.with_label_values(&[operation, &status.to_string()]),
                duration_s: self.request_duration_s.with_label_values(&[operation]),
            })
        });
        metrics.total.inc();
        metrics.duration_s.observe(duration.as_secs_f64());
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: Result<C, prometheus::Error>,
) -> Result<C, prometheus::Error> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
    register(registry, HistogramVec::new(options, &[label]))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use craton_core::{Account, Principal, RequestContext};

    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<UsageRecord>>);
    impl UsageSink for Kept {
        fn record(&self, record: &UsageRecord) {
            self.0.lock().push(record.clone());
        }
    }

    fn context() -> RequestContext {
        RequestContext {
            request_id: "r-1".into(),
            account: Arc::new(Account::default()),
            region: "us-east-1".into(),
            principal: Arc::new(Principal::new("arn:aws:iam::1:root", "AK")),
            source_ip: None,
            received_ms: 7,
        }
    }

    fn start<'a>(context: &'a RequestContext, model_id: &'a str) -> CallStart<'a> {
        CallStart {
            context,
            operation: "Converse",
            model_id,
            invoked_id: "us.x",
            profile_arn: None,
            served_by: "local/x",
            streamed: true,
        }
    }

    fn metered() -> (Arc<Metering>, Arc<Kept>) {
        let metering = Metering::new().unwrap();
        let kept = Arc::new(Kept::default());
        metering.add_sink(kept.clone());
        (metering, kept)
    }

    #[test]
    fn a_completed_call_is_recorded_once_with_what_the_model_reported() {
        let (metering, kept) = metered();
        let context = context();
        let mut meter = metering.call(start(&context, "m"), vec![("team".into(), "a".into())]);
        assert!(metering.render().unwrap().contains("craton_model_calls_in_flight{model=\"m\"} 1"));
        meter.increment();
        meter.increment();
        meter.complete("end_turn", Tokens { input: 5, output: 9, ..Tokens::default() });
        meter.fail("ThrottlingException".into());
        drop(meter);
        let records = kept.0.lock();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].tokens, Tokens { input: 5, output: 9, ..Tokens::default() });
        assert_eq!(records[0].outcome, Outcome::Completed { stop_reason: "end_turn" });
        assert_eq!(records[0].metadata, [("team".to_owned(), "a".to_owned())]);
        assert!(records[0].first_token_ms.is_some());
        let text = metering.render().unwrap();
        for line in [
            "craton_model_calls_total{model=\"m\",outcome=\"completed\"} 1",
            "craton_tokens_total{direction=\"output\",model=\"m\"} 9",
            "craton_model_calls_in_flight{model=\"m\"} 0",
            "craton_first_token_seconds_count{model=\"m\"} 1",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn a_dropped_call_is_recorded_as_cancelled_with_what_had_arrived() {
        let (metering, kept) = metered();
        let context = context();
        let mut meter = metering.call(start(&context, "m"), Vec::new());
        meter.prompt(Tokens { input: 11, ..Tokens::default() });
        meter.increment();
        drop(meter);
        let records = kept.0.lock();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].outcome, Outcome::Cancelled);
        assert_eq!(records[0].tokens, Tokens { input: 11, output: 1, estimated: true, ..Tokens::default() });
    }

    #[test]
    fn a_failed_call_is_counted_by_its_error() {
        let (metering, _) = metered();
        let context = context();
        metering.call(start(&context, "m"), Vec::new()).fail("ModelTimeoutException".into());
        let line = "craton_model_calls_total{model=\"m\",outcome=\"ModelTimeoutException\"} 1";
        assert!(metering.render().unwrap().contains(line));
    }

    #[test]
    fn labels_stay_bounded() {
        let (metering, _) = metered();
        for n in 0..MAX_MODELS * 2 {
            metering.model(&format!("m{n}"));
        }
        assert_eq!(metering.models.len(), MAX_MODELS);
        assert_eq!(metering.model("never seen").label, OTHER);
        assert_eq!(metering.model("m3").label, "m3");
    }

    #[test]
    fn requests_count_by_status_and_a_lost_client_is_499() {
        let (metering, _) = metered();
        metering.request("Converse").finish(200);
        drop(metering.request("Converse"));
        let text = metering.render().unwrap();
        assert!(text.contains("craton_requests_total{operation=\"Converse\",status=\"200\"} 1"));
        assert!(text.contains("craton_requests_total{operation=\"Converse\",status=\"499\"} 1"));
        assert!(text.contains("craton_requests_in_flight 0"));
    }

    #[test]
    fn queues_are_sampled_when_rendered() {
        struct Queue(AtomicUsize);
        impl QueueSource for Queue {
            fn depths(&self) -> Vec<QueueDepth> {
                vec![QueueDepth {
                    model: "smollm2".into(),
                    queued: self.0.fetch_add(1, Ordering::Relaxed),
                    running: 2,
                }]
            }
        }
        let (metering, _) = metered();
        metering.add_queues(Arc::new(Queue(AtomicUsize::new(4))));
        assert!(
            metering.render().unwrap().contains("craton_queue_depth{model=\"smollm2\",state=\"queued\"} 4")
        );
        assert!(
            metering.render().unwrap().contains("craton_queue_depth{model=\"smollm2\",state=\"queued\"} 5")
        );
    }
}
