//! From findings to what the API says of them.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use craton_api_bedrock as control;
use craton_api_bedrock_runtime as api;

use super::assess::{Found, Spot, What};
use super::{Assessed, Guard, Masks, Piece, Source};
use crate::policies::content::{CATEGORIES, Confidence};
use crate::policies::grounding;

/// How much a report tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// What was detected.
    #[default]
    Interventions,
    /// Also what was looked for and not found.
    Full,
}

/// Characters that are one text unit.
const UNIT: usize = 1000;

pub(super) struct Facts<'a> {
    pub guard: &'a Guard,
    pub source: Source,
    pub pieces: &'a [Piece],
    pub found: &'a [Found],
    pub grounding: Option<grounding::Scores>,
}

pub(super) struct Report<'a> {
    facts: Facts<'a>,
    latency: Duration,
    blocked: Vec<&'static str>,
    masked: bool,
}

impl<'a> Report<'a> {
    pub(super) fn of(facts: Facts<'a>, latency: Duration) -> Self {
        Self { facts, latency, blocked: Vec::new(), masked: false }
    }

    pub(super) fn finish(mut self) -> Assessed {
        let topic_policy = self.topics();
        let content_policy = self.content();
        let word_policy = self.words();
        let sensitive = self.sensitive();
        let grounding_policy = self.grounding();
        let usage = self.usage();
        let coverage = self.coverage();
        let (texts, masks) = self.texts();
        let guard = self.facts.guard;
        let metrics = api::GuardrailInvocationMetrics {
            guardrail_processing_latency: Some(i64::try_from(self.latency.as_millis()).unwrap_or(i64::MAX)),
            usage: Some(usage.clone()),
            guardrail_coverage: Some(coverage.clone()),
        };
        self.count(&usage);
        let assessment = api::GuardrailAssessment {
            topic_policy,
            content_policy,
            word_policy,
            sensitive_information_policy: sensitive,
            contextual_grounding_policy: grounding_policy,
            automated_reasoning_policy: None,
            invocation_metrics: Some(metrics),
            applied_guardrail_details: Some(api::AppliedGuardrailDetails {
                guardrail_id: Some(guard.id.clone()),
                guardrail_version: Some(guard.version.clone()),
                guardrail_arn: Some(guard.arn.clone()),
                guardrail_origin: Some(vec![api::GuardrailOrigin::Request]),
                guardrail_ownership: Some(api::GuardrailOwnership::XSelf),
            }),
        };
        Assessed {
            blocked: !self.blocked.is_empty(),
            masked: self.masked,
            texts,
            masks,
            assessment,
            usage,
            coverage,
        }
    }

    fn topics(&mut self) -> Option<api::GuardrailTopicPolicyAssessment> {
        let policy = self.facts.guard.definition.topics.as_ref()?;
        let mut listed = Vec::new();
        for (index, topic) in policy.topics.iter().enumerate() {
            let Some(action) = topic.sides.on(self.facts.source) else { continue };
            let detected = self
                .facts
                .found
                .iter()
                .any(|found| found.topics.scores.get(index).is_some_and(|it| it.is_on()));
            let blocks = detected && action == control::GuardrailTopicAction::Block;
            if blocks {
                self.blocked.push("topicPolicy");
            }
            listed.push(api::GuardrailTopic {
                name: topic.name.clone(),
                r#type: api::GuardrailTopicType::Deny,
                action: if blocks {
                    api::GuardrailTopicPolicyAction::Blocked
                } else {
                    api::GuardrailTopicPolicyAction::None
                },
                detected: Some(detected),
            });
        }
        Some(api::GuardrailTopicPolicyAssessment { topics: listed })
    }

    fn content(&mut self) -> Option<api::GuardrailContentPolicyAssessment> {
        let policy = self.facts.guard.definition.content.as_ref()?;
        let mut filters = Vec::new();
        for filter in &policy.filters {
            let Some(action) = filter.sides.on(self.facts.source) else { continue };
            let Some(strength) = filter.strength(self.facts.source) else { continue };
            let Some(index) = CATEGORIES.iter().position(|category| *category == filter.kind) else {
                continue;
            };
            let confidence = self.facts.found.iter().map(|found| found.confidence(index)).max();
            let confidence = confidence.unwrap_or(Confidence::None);
            let detected = reaches(confidence, strength);
            let blocks = detected && action == control::GuardrailContentFilterAction::Block;
            if blocks {
                self.blocked.push("contentPolicy");
            }
            filters.push(api::GuardrailContentFilter {
                r#type: same(filter.kind.as_str(), api::GuardrailContentFilterType::ALL[0]),
                confidence: match confidence {
                    Confidence::None => api::GuardrailContentFilterConfidence::None,
                    Confidence::Low => api::GuardrailContentFilterConfidence::Low,
                    Confidence::Medium => api::GuardrailContentFilterConfidence::Medium,
                    Confidence::High => api::GuardrailContentFilterConfidence::High,
                },
                filter_strength: Some(same(strength.as_str(), api::GuardrailContentFilterStrength::None)),
                action: if blocks {
                    api::GuardrailContentPolicyAction::Blocked
                } else {
                    api::GuardrailContentPolicyAction::None
                },
                detected: Some(detected),
            });
        }
        Some(api::GuardrailContentPolicyAssessment { filters })
    }

    fn words(&mut self) -> Option<api::GuardrailWordPolicyAssessment> {
        let policy = self.facts.guard.definition.words.as_ref()?;
        let mut report = api::GuardrailWordPolicyAssessment::default();
        let act = |action: control::GuardrailWordAction, blocked: &mut Vec<&'static str>| match action {
            control::GuardrailWordAction::Block => {
                blocked.push("wordPolicy");
                api::GuardrailWordPolicyAction::Blocked
            }
            control::GuardrailWordAction::None => api::GuardrailWordPolicyAction::None,
        };
        // Nothing is listed twice.
        let mut listed: HashSet<(bool, &str)> = HashSet::new();
        for spot in self.facts.found.iter().flat_map(|found| &found.spots) {
            match spot.what {
                What::Word(index) => {
                    let Some(action) =
                        policy.words.get(index).and_then(|word| word.sides.on(self.facts.source))
                    else {
                        continue;
                    };
                    let action = act(action, &mut self.blocked);
                    if listed.insert((true, &spot.text)) {
                        let r#match = spot.text.clone();
                        report.custom_words.push(api::GuardrailCustomWord {
                            r#match,
                            action,
                            detected: Some(true),
                        });
                    }
                }
                What::Managed(index) => {
                    let Some(action) =
                        policy.managed.get(index).and_then(|list| list.sides.on(self.facts.source))
                    else {
                        continue;
                    };
                    let action = act(action, &mut self.blocked);
                    if listed.insert((false, &spot.text)) {
                        report.managed_word_lists.push(api::GuardrailManagedWord {
                            r#match: spot.text.clone(),
                            r#type: api::GuardrailManagedWordType::Profanity,
                            action,
                            detected: Some(true),
                        });
                    }
                }
                What::Entity(_) | What::Regex(_) => {}
            }
        }
        Some(report)
    }

    fn sensitive(&mut self) -> Option<api::GuardrailSensitiveInformationPolicyAssessment> {
        use api::GuardrailSensitiveInformationPolicyAction as Done;
        use control::GuardrailSensitiveInformationAction as Action;
        let policy = self.facts.guard.definition.sensitive.as_ref()?;
        let mut report = api::GuardrailSensitiveInformationPolicyAssessment::default();
        let mut listed: HashSet<(What, &str)> = HashSet::new();
        for spot in self.facts.found.iter().flat_map(|found| &found.spots) {
            let Some(action) = self.facts.action(spot) else { continue };
            let action = match action {
                Action::Block => Done::Blocked,
                Action::Anonymize => Done::Anonymized,
                Action::None => Done::None,
            };
            if action == Done::Blocked {
                self.blocked.push("sensitiveInformationPolicy");
            }
            if !listed.insert((spot.what, &spot.text)) {
                continue;
            }
            let r#match = spot.text.clone();
            match spot.what {
                What::Entity(index) => {
                    let Some(entity) = policy.entities.get(index) else { continue };
                    let r#type = same(entity.kind.as_str(), api::GuardrailPiiEntityType::Address);
                    let detected = Some(true);
                    report.pii_entities.push(api::GuardrailPiiEntityFilter {
                        r#match,
                        r#type,
                        action,
                        detected,
                    });
                }
                What::Regex(index) => {
                    let Some(regex) = policy.regexes.get(index) else { continue };
                    report.regexes.push(api::GuardrailRegexFilter {
                        name: Some(regex.name.clone()),
                        r#match: Some(r#match),
                        regex: Some(regex.pattern.clone()),
                        action,
                        detected: Some(true),
                    });
                }
                What::Word(_) | What::Managed(_) => {}
            }
        }
        Some(report)
    }

    fn grounding(&mut self) -> Option<api::GuardrailContextualGroundingPolicyAssessment> {
        use control::GuardrailContextualGroundingFilterType as Kind;
        let policy = self.facts.guard.definition.grounding.as_ref()?;
        let scores = self.facts.grounding.as_ref()?;
        let mut filters = Vec::new();
        for filter in policy.filters.iter().filter(|filter| filter.enabled) {
            let (score, r#type) = match filter.kind {
                Kind::Grounding => (scores.grounding, api::GuardrailContextualGroundingFilterType::Grounding),
                Kind::Relevance => (scores.relevance, api::GuardrailContextualGroundingFilterType::Relevance),
            };
            let Some(score) = score else { continue };
            let detected = score < filter.threshold;
            let blocks = detected && filter.action == control::GuardrailContextualGroundingAction::Block;
            if blocks {
                self.blocked.push("contextualGroundingPolicy");
            }
            filters.push(api::GuardrailContextualGroundingFilter {
                r#type,
                threshold: filter.threshold,
                score,
                action: if blocks {
                    api::GuardrailContextualGroundingPolicyAction::Blocked
                } else {
                    api::GuardrailContextualGroundingPolicyAction::None
                },
                detected: Some(detected),
            });
        }
        Some(api::GuardrailContextualGroundingPolicyAssessment { filters: Some(filters) })
    }

    /// The pieces with placeholders in place of what is anonymised.
    fn texts(&mut self) -> (Vec<String>, Vec<Masks>) {
        let mut texts = Vec::with_capacity(self.facts.pieces.len());
        let mut masks = Vec::with_capacity(self.facts.pieces.len());
        for (piece, found) in self.facts.pieces.iter().zip(self.facts.found) {
            let mut replaced: Masks = Vec::new();
            for spot in &found.spots {
                if self.facts.action(spot) == Some(control::GuardrailSensitiveInformationAction::Anonymize)
                    && let Some(placeholder) = self.facts.placeholder(spot)
                {
                    replaced.push((spot.range.clone(), placeholder));
                }
            }
            // Overlapping findings are replaced together by the first one's placeholder, so that nothing of them stays.
            replaced.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
            let mut merged: Masks = Vec::with_capacity(replaced.len());
            for (range, placeholder) in replaced {
                match merged.last_mut() {
                    Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
                    _ => merged.push((range, placeholder)),
                }
            }
            self.masked |= !merged.is_empty();
            texts.push(with_masks(&piece.text, &merged));
            masks.push(merged);
        }
        (texts, masks)
    }

    fn usage(&self) -> api::GuardrailUsage {
        let facts = &self.facts;
        let definition = &facts.guard.definition;
        let chars: usize =
            facts.pieces.iter().filter(|it| it.is_judged()).map(|it| it.text.chars().count()).sum();
        let all: usize = facts.pieces.iter().map(|it| it.text.chars().count()).sum();
        let units = |used: bool, chars: usize| match used {
            true => i32::try_from(chars.div_ceil(UNIT).max(1)).unwrap_or(i32::MAX),
            false => 0,
        };
        let sensitive = definition.sensitive.as_ref();
        api::GuardrailUsage {
            topic_policy_units: units(definition.topics.is_some(), chars),
            content_policy_units: units(definition.content.is_some(), chars),
            word_policy_units: units(definition.words.is_some(), chars),
            sensitive_information_policy_units: units(
                sensitive.is_some_and(|it| !it.entities.is_empty()),
                chars,
            ),
            sensitive_information_policy_free_units: units(
                sensitive.is_some_and(|it| !it.regexes.is_empty()),
                chars,
            ),
            contextual_grounding_policy_units: units(facts.grounding.is_some(), all),
            content_policy_image_units: definition.content.is_some().then_some(0),
            automated_reasoning_policy_units: None,
            automated_reasoning_policies: None,
        }
    }

    fn coverage(&self) -> api::GuardrailCoverage {
        let count = |pieces: &mut dyn Iterator<Item = &Piece>| {
            i32::try_from(pieces.map(|piece| piece.text.chars().count()).sum::<usize>()).unwrap_or(i32::MAX)
        };
        let pieces = self.facts.pieces;
        api::GuardrailCoverage {
            text_characters: Some(api::GuardrailTextCharactersCoverage {
                guarded: Some(count(&mut pieces.iter().filter(|piece| piece.is_judged()))),
                total: Some(count(&mut pieces.iter())),
            }),
            images: None,
        }
    }

    fn count(&self, usage: &api::GuardrailUsage) {
        let (guard, source) = (self.facts.guard, self.facts.source);
        let Some(metrics) = &guard.tools.metrics else { return };
        metrics.invoked(&guard.id, source);
        let mut policies = self.blocked.clone();
        policies.extend(self.masked.then_some("sensitiveInformationPolicy"));
        policies.sort_unstable();
        policies.dedup();
        for policy in policies {
            metrics.intervened(&guard.id, source, policy);
        }
        metrics.units(&guard.id, "topicPolicy", usage.topic_policy_units);
        metrics.units(&guard.id, "contentPolicy", usage.content_policy_units);
        metrics.units(&guard.id, "wordPolicy", usage.word_policy_units);
        metrics.units(&guard.id, "sensitiveInformationPolicy", usage.sensitive_information_policy_units);
        metrics.units(&guard.id, "contextualGroundingPolicy", usage.contextual_grounding_policy_units);
    }
}

impl Facts<'_> {
    /// What the policy does with something sensitive.
    fn action(&self, spot: &Spot) -> Option<control::GuardrailSensitiveInformationAction> {
        let policy = self.guard.definition.sensitive.as_ref()?;
        match spot.what {
            What::Entity(index) => policy.entities.get(index)?.sides.on(self.source),
            What::Regex(index) => policy.regexes.get(index)?.sides.on(self.source),
            What::Word(_) | What::Managed(_) => None,
        }
    }

    fn placeholder(&self, spot: &Spot) -> Option<String> {
        let policy = self.guard.definition.sensitive.as_ref()?;
        match spot.what {
            What::Entity(index) => Some(format!("{{{}}}", policy.entities.get(index)?.kind.as_str())),
            What::Regex(index) => Some(format!("{{{}}}", policy.regexes.get(index)?.name)),
            What::Word(_) | What::Managed(_) => None,
        }
    }
}

/// A text with ranges (in order, apart) replaced.
pub(super) fn with_masks(text: &str, masks: &[(Range<usize>, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (range, placeholder) in masks {
        out.push_str(&text[at..range.start]);
        out.push_str(placeholder);
        at = range.end;
    }
    out.push_str(&text[at..]);
    out
}

/// Whether a filter of this strength acts on this confidence: a strong filter acts on little.
fn reaches(confidence: Confidence, strength: control::GuardrailFilterStrength) -> bool {
    use control::GuardrailFilterStrength as Strength;
    match strength {
        Strength::None => false,
        Strength::Low => confidence == Confidence::High,
        Strength::Medium => confidence >= Confidence::Medium,
        Strength::High => confidence >= Confidence::Low,
    }
}

/// The value of one service's enum as the other's: they have the same names.
fn same<T: std::str::FromStr>(name: &str, or: T) -> T {
    name.parse().unwrap_or(or)
}

/// Leaves out of an assessment what was looked for and not found.
pub fn narrow(assessment: &mut api::GuardrailAssessment, scope: Scope) {
    if scope == Scope::Full {
        return;
    }
    if let Some(topics) = &mut assessment.topic_policy {
        topics.topics.retain(|topic| topic.detected == Some(true));
    }
    if let Some(content) = &mut assessment.content_policy {
        content.filters.retain(|filter| filter.detected == Some(true));
    }
    let empty = assessment.topic_policy.as_ref().is_some_and(|policy| policy.topics.is_empty());
    if empty {
        assessment.topic_policy = None;
    }
    if assessment.content_policy.as_ref().is_some_and(|policy| policy.filters.is_empty()) {
        assessment.content_policy = None;
    }
    let no_words = |it: &api::GuardrailWordPolicyAssessment| {
        it.custom_words.is_empty() && it.managed_word_lists.is_empty()
    };
    if assessment.word_policy.as_ref().is_some_and(no_words) {
        assessment.word_policy = None;
    }
    let nothing = |it: &api::GuardrailSensitiveInformationPolicyAssessment| {
        it.pii_entities.is_empty() && it.regexes.is_empty()
    };
    if assessment.sensitive_information_policy.as_ref().is_some_and(nothing) {
        assessment.sensitive_information_policy = None;
    }
    let none = |it: &api::GuardrailContextualGroundingPolicyAssessment| {
        it.filters.as_ref().is_none_or(Vec::is_empty)
    };
    if assessment.contextual_grounding_policy.as_ref().is_some_and(none) {
        assessment.contextual_grounding_policy = None;
    }
}
