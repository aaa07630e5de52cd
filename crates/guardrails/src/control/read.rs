//! From what a client sends to a [`Definition`], refusing what the service model alone can't refuse.

use std::collections::HashSet;
use std::hash::Hash;

use craton_api_bedrock as api;
use craton_wire::ApiError;

use crate::definition::*;
use crate::policies::pii::custom;
use crate::text::View;

/// The parts that CreateGuardrail and UpdateGuardrail share.
pub(super) struct Wanted {
    pub name: String,
    pub description: Option<String>,
    pub topics: Option<api::GuardrailTopicPolicyConfig>,
    pub content: Option<api::GuardrailContentPolicyConfig>,
    pub words: Option<api::GuardrailWordPolicyConfig>,
    pub sensitive: Option<api::GuardrailSensitiveInformationPolicyConfig>,
    pub grounding: Option<api::GuardrailContextualGroundingPolicyConfig>,
    pub reasoning: Option<api::GuardrailAutomatedReasoningPolicyConfig>,
    pub region: Option<api::GuardrailCrossRegionConfig>,
    pub blocked_input_messaging: String,
    pub blocked_outputs_messaging: String,
    pub kms_key: Option<String>,
}

macro_rules! wanted {
    ($input:ident) => {
        crate::control::read::Wanted {
            name: $input.name,
            description: $input.description,
            topics: $input.topic_policy_config,
            content: $input.content_policy_config,
            words: $input.word_policy_config,
            sensitive: $input.sensitive_information_policy_config,
            grounding: $input.contextual_grounding_policy_config,
            reasoning: $input.automated_reasoning_policy_config,
            region: $input.cross_region_config,
            blocked_input_messaging: $input.blocked_input_messaging,
            blocked_outputs_messaging: $input.blocked_outputs_messaging,
            kms_key: $input.kms_key_id,
        }
    };
}
pub(super) use wanted;

impl Wanted {
    pub(super) fn check(self) -> Result<Definition, ApiError> {
        if self.reasoning.is_some() {
            return Err(invalid("This server does not evaluate automated reasoning policies. Remove them"));
        }
        let definition = Definition {
            name: self.name,
            description: self.description,
            blocked_input_messaging: self.blocked_input_messaging,
            blocked_outputs_messaging: self.blocked_outputs_messaging,
            topics: self.topics.map(topics).transpose()?,
            content: self.content.map(content).transpose()?,
            words: self.words.map(words).transpose()?,
            sensitive: self.sensitive.map(sensitive).transpose()?,
            grounding: self.grounding.map(grounding).transpose()?,
            profile: self.region.map(|region| region.guardrail_profile_identifier),
            kms_key: self.kms_key,
        };
        let nothing = definition.topics.is_none()
            && definition.content.is_none()
            && definition.words.is_none()
            && definition.sensitive.is_none()
            && definition.grounding.is_none();
        match nothing {
            true => Err(invalid("A guardrail must have at least one policy. Add a policy")),
            false => Ok(definition),
        }
    }
}

fn topics(config: api::GuardrailTopicPolicyConfig) -> Result<TopicPolicy, ApiError> {
    unique("topic", config.topics_config.iter().map(|topic| topic.name.to_lowercase()))?;
    let topic = |topic: api::GuardrailTopicConfig| {
        let sides = Sides::new(
            api::GuardrailTopicAction::Block,
            (topic.input_action, topic.output_action),
            (topic.input_enabled, topic.output_enabled),
        );
        let examples = topic.examples.unwrap_or_default();
        Topic { name: topic.name, definition: topic.definition, examples, sides }
    };
    let topics: Vec<Topic> = config.topics_config.into_iter().map(topic).collect();
    if topics.iter().any(|topic| is_blank(&topic.definition) || is_blank(&topic.name)) {
        return Err(invalid("A denied topic needs a name and a definition that are not blank. Correct it"));
    }
    if topics.iter().flat_map(|topic| &topic.examples).any(|it| is_blank(it)) {
        return Err(invalid("An example of a denied topic must not be blank. Correct it"));
    }
    Ok(TopicPolicy { topics, tier: config.tier_config.map(|tier| tier.tier_name) })
}

fn content(config: api::GuardrailContentPolicyConfig) -> Result<ContentPolicy, ApiError> {
    unique("content filter", config.filters_config.iter().map(|filter| filter.r#type))?;
    let mut filters = Vec::with_capacity(config.filters_config.len());
    for filter in config.filters_config {
        let modalities = [&filter.input_modalities, &filter.output_modalities];
        if modalities.into_iter().flatten().any(|list| list.contains(&api::GuardrailModality::Image)) {
            return Err(invalid(
                "This server's content filters look at text only. Remove the IMAGE modality",
            ));
        }
        let attack = filter.r#type == api::GuardrailContentFilterType::PromptAttack;
        if attack && filter.output_strength != api::GuardrailFilterStrength::None {
            return Err(invalid(
                "The PROMPT_ATTACK filter looks at input only: its output strength must be NONE. Correct it",
            ));
        }
        let sides = Sides::new(
            api::GuardrailContentFilterAction::Block,
            (filter.input_action, filter.output_action),
            (filter.input_enabled, filter.output_enabled),
        );
        filters.push(ContentFilter {
            kind: filter.r#type,
            input_strength: filter.input_strength,
            output_strength: filter.output_strength,
            sides,
        });
    }
    let none = api::GuardrailFilterStrength::None;
    if filters.iter().all(|filter| filter.input_strength == none && filter.output_strength == none) {
        return Err(invalid(
            "A content policy needs a filter whose strength is not NONE for the input or for the output. Add one",
        ));
    }
    Ok(ContentPolicy { filters, tier: config.tier_config.map(|tier| tier.tier_name) })
}

fn words(config: api::GuardrailWordPolicyConfig) -> Result<WordPolicy, ApiError> {
    let words = config.words_config.unwrap_or_default();
    let managed = config.managed_word_lists_config.unwrap_or_default();
    if words.is_empty() && managed.is_empty() {
        return Err(invalid("A word policy needs words or a managed word list. Add some"));
    }
    unique("word", words.iter().map(|word| word.text.to_lowercase()))?;
    unique("managed word list", managed.iter().map(|list| list.r#type))?;
    if words.iter().any(|word| is_blank(&word.text)) {
        return Err(invalid("A word must not be blank. Correct it"));
    }
    let block = api::GuardrailWordAction::Block;
    let words = words.into_iter().map(|word| Word {
        sides: Sides::new(
            block,
            (word.input_action, word.output_action),
            (word.input_enabled, word.output_enabled),
        ),
        text: word.text,
    });
    let managed = managed.into_iter().map(|list| ManagedWords {
        kind: list.r#type,
        sides: Sides::new(
            block,
            (list.input_action, list.output_action),
            (list.input_enabled, list.output_enabled),
        ),
    });
    Ok(WordPolicy { words: words.collect(), managed: managed.collect() })
}

fn sensitive(config: api::GuardrailSensitiveInformationPolicyConfig) -> Result<SensitivePolicy, ApiError> {
    let entities = config.pii_entities_config.unwrap_or_default();
    let regexes = config.regexes_config.unwrap_or_default();
    if entities.is_empty() && regexes.is_empty() {
        return Err(invalid("A sensitive information policy needs entities or regexes. Add some"));
    }
    unique("PII entity", entities.iter().map(|entity| entity.r#type))?;
    unique("regex", regexes.iter().map(|regex| regex.name.to_lowercase()))?;
    for regex in &regexes {
        custom::compile(&regex.pattern).map_err(|reason| {
            invalid(format!("The pattern of the regex {} is not valid: {reason}. Correct it", regex.name))
        })?;
    }
    let entities = entities.into_iter().map(|entity| PiiEntity {
        kind: entity.r#type,
        action: entity.action,
        sides: Sides::new(
            entity.action,
            (entity.input_action, entity.output_action),
            (entity.input_enabled, entity.output_enabled),
        ),
    });
    let regexes = regexes.into_iter().map(|regex| CustomRegex {
        sides: Sides::new(
            regex.action,
            (regex.input_action, regex.output_action),
            (regex.input_enabled, regex.output_enabled),
        ),
        name: regex.name,
        description: regex.description,
        pattern: regex.pattern,
        action: regex.action,
    });
    Ok(SensitivePolicy { entities: entities.collect(), regexes: regexes.collect() })
}

fn grounding(config: api::GuardrailContextualGroundingPolicyConfig) -> Result<GroundingPolicy, ApiError> {
    unique("contextual grounding filter", config.filters_config.iter().map(|filter| filter.r#type))?;
    if config.filters_config.iter().any(|filter| !(0.0..1.0).contains(&filter.threshold)) {
        return Err(invalid(
            "The threshold of a contextual grounding filter must be at least 0 and less than 1. Correct it",
        ));
    }
    let filter = |filter: api::GuardrailContextualGroundingFilterConfig| GroundingFilter {
        kind: filter.r#type,
        threshold: filter.threshold,
        action: filter.action.unwrap_or(api::GuardrailContextualGroundingAction::Block),
        enabled: filter.enabled.unwrap_or(true),
    };
    let filters = config.filters_config.into_iter().map(filter).collect();
    Ok(GroundingPolicy { filters, tier: config.tier_config.map(|tier| tier.tier_name) })
}

/// Whether there is nothing in a text that anybody could see, and so nothing that could be found.
fn is_blank(text: &str) -> bool {
    View::folded(text).text().trim().is_empty()
}

fn unique<T: Hash + Eq>(what: &str, keys: impl Iterator<Item = T>) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    match keys.into_iter().all(|key| seen.insert(key)) {
        true => Ok(()),
        false => {
            Err(invalid(format!("The guardrail has the same {what} more than once. Remove the repetition")))
        }
    }
}

fn invalid(reason: impl std::fmt::Display) -> ApiError {
    ApiError::validation(format!("{reason} and try again."))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn refusal_of_words(word: &str) -> Option<String> {
        let config: Value = json!({"wordsConfig": [{"text": word}]});
        words(serde_json::from_value(config).unwrap()).err().map(|error| error.message.to_string())
    }

    #[test]
    fn words_that_nothing_could_match_are_refused() {
        for word in ["   ", "\u{200b}\u{200b}", "\u{ad} \u{feff}"] {
            assert_eq!(
                refusal_of_words(word).as_deref(),
                Some("A word must not be blank. Correct it and try again."),
                "{word:?}"
            );
        }
        for word in ["apple", "---", "C++", "\u{1f346}", "Москва"] {
            assert_eq!(refusal_of_words(word), None, "{word}");
        }
    }

    #[test]
    fn topics_with_blank_parts_are_refused() {
        let refused = |name: &str, definition: &str, example: &str| {
            let config = json!({"topicsConfig":
                [{"name": name, "definition": definition, "examples": [example], "type": "DENY"}]});
            topics(serde_json::from_value(config).unwrap()).is_err()
        };
        assert!(!refused("a", "b", "c"));
        assert!(refused(" ", "b", "c") && refused("a", "\u{200b}", "c") && refused("a", "b", " "));
    }
}
