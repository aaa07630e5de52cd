//! The agent's guardrail: on what goes in, before anything else sees it, and on the answer, before anybody does.

use std::sync::Arc;

use craton_api_bedrock_agent_runtime as api;
use craton_api_bedrock_runtime as found;
use craton_guardrails::{Guard, GuardReference, Piece, Source};
use craton_wire::ApiError;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};

use super::turn::Run;

/// A text after its judgement.
pub(super) struct Judged {
    /// As it may pass, or the guardrail's own words.
    pub text: String,
    pub blocked: bool,
}

impl Run {
    pub(super) async fn guard(&self) -> Result<Option<Arc<Guard>>, ApiError> {
        let Some(guardrail) = &self.agent.guardrail else { return Ok(None) };
        let reference = GuardReference {
            identifier: guardrail.identifier.clone(),
            version: Some(guardrail.version.clone()).filter(|version| !version.is_empty()),
        };
        let guard = self.runs.parts.guardrails.guard(&self.context, &reference).await?;
        self.permit("bedrock:ApplyGuardrail", guard.arn()).await?;
        Ok(Some(guard))
    }

    pub(super) async fn judge(
        &self,
        guard: &Arc<Guard>,
        source: Source,
        text: &str,
    ) -> Result<Judged, ApiError> {
        if !guard.looks_at(source) || text.trim().is_empty() {
            self.trace_guard(source, false, Vec::new());
            return Ok(Judged { text: text.to_owned(), blocked: false });
        }
        let assessed = guard.assess(source, vec![Piece::new(text)]).await?;
        self.trace_guard(source, assessed.intervened(), vec![assessed.assessment.clone()]);
        let passed = match assessed.blocked {
            true => guard.blocked_message(source).to_owned(),
            false => assessed.texts.into_iter().next().unwrap_or_else(|| text.to_owned()),
        };
        Ok(Judged { text: passed, blocked: assessed.blocked })
    }

    pub(super) fn trace_guard(
        &self,
        source: Source,
        intervened: bool,
        assessments: Vec<found::GuardrailAssessment>,
    ) {
        self.tracer.send(|| {
            let told: Vec<api::GuardrailAssessment> = assessments.into_iter().map(assessment).collect();
            let (what, input, output) = match source {
                Source::Input => ("guardrail-pre", Some(told), None),
                Source::Output => ("guardrail-post", None, Some(told)),
            };
            let action =
                if intervened { api::GuardrailAction::Intervened } else { api::GuardrailAction::None };
            api::Trace::GuardrailTrace(api::GuardrailTrace {
                action: Some(action),
                input_assessments: input,
                metadata: None,
                output_assessments: output,
                trace_id: Some(self.tracer.id_of(what)),
            })
        });
    }
}

/// A value of one service's enumeration in another's; none where that one does not have it.
fn same<T: DeserializeOwned>(value: &str) -> Option<T> {
    T::deserialize(StrDeserializer::<Error>::new(value)).ok()
}

/// What was found, in this service's shapes: each assessment with the policies that these have.
fn assessment(from: found::GuardrailAssessment) -> api::GuardrailAssessment {
    api::GuardrailAssessment {
        content_policy: from.content_policy.map(|policy| api::GuardrailContentPolicyAssessment {
            filters: Some(policy.filters.into_iter().map(content).collect()),
        }),
        sensitive_information_policy: from.sensitive_information_policy.map(sensitive),
        topic_policy: from.topic_policy.map(|policy| api::GuardrailTopicPolicyAssessment {
            topics: Some(policy.topics.into_iter().map(topic).collect()),
        }),
        word_policy: from.word_policy.map(words),
    }
}

fn content(from: found::GuardrailContentFilter) -> api::GuardrailContentFilter {
    api::GuardrailContentFilter {
        action: same(from.action.as_str()),
        confidence: same(from.confidence.as_str()),
        r#type: same(from.r#type.as_str()),
    }
}

fn topic(from: found::GuardrailTopic) -> api::GuardrailTopic {
    api::GuardrailTopic {
        action: same(from.action.as_str()),
        name: Some(from.name),
        r#type: same(from.r#type.as_str()),
    }
}

fn words(from: found::GuardrailWordPolicyAssessment) -> api::GuardrailWordPolicyAssessment {
    let custom = from.custom_words.into_iter().map(|word| api::GuardrailCustomWord {
        action: same(word.action.as_str()),
        r#match: Some(word.r#match),
    });
    let managed = from.managed_word_lists.into_iter().map(|word| api::GuardrailManagedWord {
        action: same(word.action.as_str()),
        r#match: Some(word.r#match),
        r#type: same(word.r#type.as_str()),
    });
    api::GuardrailWordPolicyAssessment {
        custom_words: Some(custom.collect()),
        managed_word_lists: Some(managed.collect()),
    }
}

fn sensitive(
    from: found::GuardrailSensitiveInformationPolicyAssessment,
) -> api::GuardrailSensitiveInformationPolicyAssessment {
    let entities = from.pii_entities.into_iter().map(|entity| api::GuardrailPiiEntityFilter {
        action: same(entity.action.as_str()),
        r#match: Some(entity.r#match),
        r#type: same(entity.r#type.as_str()),
    });
    let regexes = from.regexes.into_iter().map(|regex| api::GuardrailRegexFilter {
        action: same(regex.action.as_str()),
        r#match: regex.r#match,
        name: regex.name,
        regex: regex.regex,
    });
    api::GuardrailSensitiveInformationPolicyAssessment {
        pii_entities: Some(entities.collect()),
        regexes: Some(regexes.collect()),
    }
}
