//! Counters of assessments and interventions, by guardrail and policy.

use craton_metering::Metering;
use prometheus::{IntCounterVec, Opts};

use crate::guard::Source;

/// What the metrics endpoint shows of guardrails. Guardrails are named by id: an account has few.
#[derive(Debug, Clone)]
pub(crate) struct GuardrailMetrics {
    invocations: IntCounterVec,
    interventions: IntCounterVec,
    text_units: IntCounterVec,
}

impl GuardrailMetrics {
    /// Registers the counters; a second registration with one `Metering` counts on its own.
    pub(crate) fn new(metering: &Metering) -> Option<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels).ok()?;
            if let Err(error) = metering.registry().register(Box::new(counters.clone())) {
                tracing::debug!(%error, name, "these counters are not shown");
            }
            Some(counters)
        };
        Some(Self {
            invocations: counters(
                "craton_guardrail_invocations_total",
                "Assessments of text by a guardrail",
                &["guardrail", "source"],
            )?,
            interventions: counters(
                "craton_guardrail_interventions_total",
                "Assessments in which a policy of a guardrail intervened",
                &["guardrail", "source", "policy"],
            )?,
            text_units: counters(
                "craton_guardrail_text_units_total",
                "Text units (1,000 characters each) that a guardrail's policies looked at",
                &["guardrail", "policy"],
            )?,
        })
    }

    pub(crate) fn invoked(&self, guardrail: &str, source: Source) {
        self.invocations.with_label_values(&[guardrail, source.name()]).inc();
    }

    pub(crate) fn intervened(&self, guardrail: &str, source: Source, policy: &str) {
        self.interventions.with_label_values(&[guardrail, source.name(), policy]).inc();
    }

    pub(crate) fn units(&self, guardrail: &str, policy: &str, units: i32) {
        if let Ok(units @ 1..) = u64::try_from(units) {
            self.text_units.with_label_values(&[guardrail, policy]).inc_by(units);
        }
    }
}
