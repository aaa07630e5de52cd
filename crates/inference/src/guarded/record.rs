use std::sync::Arc;

use craton_api_bedrock_runtime as api;
use craton_guardrails::Assessed;
use craton_guardrails::guard::{Scope, narrow};
use craton_wire::types::Map;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::TraceLevel;
use super::applied::Applied;

/// What guardrails did with one call. Clones share it.
#[derive(Debug, Clone)]
pub struct GuardRecord {
    level: TraceLevel,
    told: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    intervened: bool,
    reason: Option<&'static str>,
    input: Map<api::GuardrailAssessment>,
    output: Map<Vec<api::GuardrailAssessment>>,
    model_output: Vec<String>,
}

impl GuardRecord {
    pub(super) fn new(level: TraceLevel) -> Self {
        Self { level, told: Arc::default() }
    }

    fn scope(&self) -> Scope {
        match self.level {
            TraceLevel::Full => Scope::Full,
            TraceLevel::Enabled | TraceLevel::Disabled => Scope::Interventions,
        }
    }

    pub(super) fn input(&self, applied: &Applied, assessed: Assessed) {
        let mut told = self.told.lock();
        told.note(assessed.intervened(), assessed.reason());
        let assessment = self.shown(applied, assessed.assessment);
        told.input.insert(applied.guard.id().to_owned(), assessment);
    }

    /// What came of the answer, or of a part of it: `happened` says whether anything was changed.
    pub(super) fn output(
        &self,
        applied: &Applied,
        assessments: Vec<api::GuardrailAssessment>,
        happened: (bool, &'static str),
    ) {
        let mut told = self.told.lock();
        told.note(happened.0, happened.1);
        let list = told.output.entry(applied.guard.id().to_owned()).or_default();
        list.extend(assessments.into_iter().map(|assessment| self.shown(applied, assessment)));
    }

    /// An assessment as far as the call wants to be told, with whose wish it was.
    fn shown(&self, applied: &Applied, mut assessment: api::GuardrailAssessment) -> api::GuardrailAssessment {
        narrow(&mut assessment, self.scope());
        if let Some(details) = &mut assessment.applied_guardrail_details {
            details.guardrail_origin = Some(applied.origins());
        }
        assessment
    }

    /// What the model wrote before a guardrail changed it.
    pub(super) fn model_output(&self, text: &str) {
        if self.level != TraceLevel::Disabled {
            self.told.lock().model_output.push(text.to_owned());
        }
    }

    /// Whether anything was blocked or anonymised, on either side.
    pub fn intervened(&self) -> bool {
        self.told.lock().intervened
    }

    /// The trace that the call asked for.
    pub fn trace(&self) -> Option<api::GuardrailTraceAssessment> {
        if self.level == TraceLevel::Disabled {
            return None;
        }
        let told = self.told.lock();
        Some(api::GuardrailTraceAssessment {
            model_output: (!told.model_output.is_empty()).then(|| told.model_output.clone()),
            input_assessment: (!told.input.is_empty()).then(|| told.input.clone()),
            output_assessments: (!told.output.is_empty()).then(|| told.output.clone()),
            action_reason: Some(told.reason.unwrap_or("No action.").to_owned()),
        })
    }

    /// What InvokeModel's bodies say: `amazon-bedrock-guardrailAction` and, if it was asked for, `amazon-bedrock-trace`.
    pub fn body_fields(&self) -> Vec<(&'static str, Value)> {
        let action = if self.intervened() { "INTERVENED" } else { "NONE" };
        let mut fields = vec![("amazon-bedrock-guardrailAction", Value::from(action))];
        if let Some(trace) = self.trace() {
            let told = self.told.lock();
            let mut guardrail = serde_json::to_value(&trace).unwrap_or_default();
            // Bodies have their lists and names a little differently from Converse's trace.
            if let Some(object) = guardrail.as_object_mut() {
                object.remove("inputAssessment");
                object.remove("outputAssessments");
                if !told.input.is_empty() {
                    object.insert("input".to_owned(), json!(told.input));
                }
                if !told.output.is_empty() {
                    let outputs: Vec<Value> = told
                        .output
                        .iter()
                        .flat_map(|(guard, list)| list.iter().map(move |it| json!({ guard.as_str(): it })))
                        .collect();
                    object.insert("outputs".to_owned(), Value::Array(outputs));
                }
            }
            fields.push(("amazon-bedrock-trace", json!({ "guardrail": guardrail })));
        }
        fields
    }
}

impl Told {
    fn note(&mut self, intervened: bool, reason: &'static str) {
        self.intervened |= intervened;
        // The gravest reason stays: blocked before masked before nothing.
        if intervened && self.reason != Some("Guardrail blocked.") {
            self.reason = Some(reason);
        }
    }
}
