//! From a [`Definition`] to what GetGuardrail shows.

use craton_api_bedrock as api;
use craton_wire::types::Timestamp;

use crate::definition::*;

/// Where a version is and since when.
pub(super) struct Place {
    pub id: String,
    pub arn: String,
    pub version: String,
    pub description: Option<String>,
    pub created_ms: i64,
    pub updated_ms: i64,
}

pub(super) fn details(place: Place, definition: Definition) -> api::GetGuardrailResponse {
    api::GetGuardrailResponse {
        name: definition.name,
        description: place.description,
        guardrail_id: place.id,
        guardrail_arn: place.arn,
        version: place.version,
        status: api::GuardrailStatus::Ready,
        topic_policy: definition.topics.map(topics),
        content_policy: definition.content.map(content),
        word_policy: definition.words.map(words),
        sensitive_information_policy: definition.sensitive.map(sensitive),
        contextual_grounding_policy: definition.grounding.map(grounding),
        automated_reasoning_policy: None,
        cross_region_details: definition.profile.as_deref().map(cross_region),
        created_at: Timestamp::from_ms(place.created_ms),
        updated_at: Timestamp::from_ms(place.updated_ms),
        status_reasons: Some(Vec::new()),
        failure_recommendations: Some(Vec::new()),
        blocked_input_messaging: definition.blocked_input_messaging,
        blocked_outputs_messaging: definition.blocked_outputs_messaging,
        kms_key_arn: definition.kms_key,
    }
}

pub(super) fn summary(place: Place, definition: &Definition) -> api::GuardrailSummary {
    api::GuardrailSummary {
        id: place.id,
        arn: place.arn,
        status: api::GuardrailStatus::Ready,
        name: definition.name.clone(),
        description: place.description,
        version: place.version,
        created_at: Timestamp::from_ms(place.created_ms),
        updated_at: Timestamp::from_ms(place.updated_ms),
        cross_region_details: definition.profile.as_deref().map(cross_region),
    }
}

fn cross_region(profile: &str) -> api::GuardrailCrossRegionDetails {
    let id = profile.rsplit('/').next().unwrap_or(profile).to_owned();
    let arn = profile.starts_with("arn:").then(|| profile.to_owned());
    api::GuardrailCrossRegionDetails { guardrail_profile_id: Some(id), guardrail_profile_arn: arn }
}

fn topics(policy: TopicPolicy) -> api::GuardrailTopicPolicy {
    let topic = |topic: Topic| api::GuardrailTopic {
        name: topic.name,
        definition: topic.definition,
        examples: Some(topic.examples),
        r#type: Some(api::GuardrailTopicType::Deny),
        input_action: Some(topic.sides.input),
        output_action: Some(topic.sides.output),
        input_enabled: Some(topic.sides.input_enabled),
        output_enabled: Some(topic.sides.output_enabled),
    };
    let tier = policy.tier.unwrap_or(api::GuardrailTopicsTierName::Classic);
    api::GuardrailTopicPolicy {
        topics: policy.topics.into_iter().map(topic).collect(),
        tier: Some(api::GuardrailTopicsTier { tier_name: tier }),
    }
}

fn content(policy: ContentPolicy) -> api::GuardrailContentPolicy {
    let filter = |filter: ContentFilter| api::GuardrailContentFilter {
        r#type: filter.kind,
        input_strength: filter.input_strength,
        output_strength: filter.output_strength,
        input_modalities: Some(vec![api::GuardrailModality::Text]),
        output_modalities: Some(vec![api::GuardrailModality::Text]),
        input_action: Some(filter.sides.input),
        output_action: Some(filter.sides.output),
        input_enabled: Some(filter.sides.input_enabled),
        output_enabled: Some(filter.sides.output_enabled),
    };
    let tier = policy.tier.unwrap_or(api::GuardrailContentFiltersTierName::Classic);
    api::GuardrailContentPolicy {
        filters: Some(policy.filters.into_iter().map(filter).collect()),
        tier: Some(api::GuardrailContentFiltersTier { tier_name: tier }),
    }
}

fn words(policy: WordPolicy) -> api::GuardrailWordPolicy {
    let word = |word: Word| api::GuardrailWord {
        text: word.text,
        input_action: Some(word.sides.input),
        output_action: Some(word.sides.output),
        input_enabled: Some(word.sides.input_enabled),
        output_enabled: Some(word.sides.output_enabled),
    };
    let list = |list: ManagedWords| api::GuardrailManagedWords {
        r#type: list.kind,
        input_action: Some(list.sides.input),
        output_action: Some(list.sides.output),
        input_enabled: Some(list.sides.input_enabled),
        output_enabled: Some(list.sides.output_enabled),
    };
    api::GuardrailWordPolicy {
        words: Some(policy.words.into_iter().map(word).collect()),
        managed_word_lists: Some(policy.managed.into_iter().map(list).collect()),
    }
}

fn sensitive(policy: SensitivePolicy) -> api::GuardrailSensitiveInformationPolicy {
    let entity = |entity: PiiEntity| api::GuardrailPiiEntity {
        r#type: entity.kind,
        action: entity.action,
        input_action: Some(entity.sides.input),
        output_action: Some(entity.sides.output),
        input_enabled: Some(entity.sides.input_enabled),
        output_enabled: Some(entity.sides.output_enabled),
    };
    let regex = |regex: CustomRegex| api::GuardrailRegex {
        name: regex.name,
        description: regex.description,
        pattern: regex.pattern,
        action: regex.action,
        input_action: Some(regex.sides.input),
        output_action: Some(regex.sides.output),
        input_enabled: Some(regex.sides.input_enabled),
        output_enabled: Some(regex.sides.output_enabled),
    };
    api::GuardrailSensitiveInformationPolicy {
        pii_entities: Some(policy.entities.into_iter().map(entity).collect()),
        regexes: Some(policy.regexes.into_iter().map(regex).collect()),
    }
}

fn grounding(policy: GroundingPolicy) -> api::GuardrailContextualGroundingPolicy {
    let filter = |filter: GroundingFilter| api::GuardrailContextualGroundingFilter {
        r#type: filter.kind,
        threshold: filter.threshold,
        action: Some(filter.action),
        enabled: Some(filter.enabled),
    };
    let tier = policy.tier.map(|tier_name| api::GuardrailContextualGroundingTier { tier_name });
    api::GuardrailContextualGroundingPolicy {
        filters: policy.filters.into_iter().map(filter).collect(),
        tier,
    }
}
