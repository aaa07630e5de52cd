//! Definitions of guardrails to test and to measure with.

use craton_api_bedrock::{
    GuardrailFilterStrength, GuardrailManagedWordsType, GuardrailPiiEntityType,
    GuardrailSensitiveInformationAction, GuardrailTopicAction, GuardrailWordAction,
};
use craton_guardrails::definition::{
    ContentPolicy, Definition, ManagedWords, PiiEntity, SensitivePolicy, Sides, Topic, TopicPolicy, Word,
    WordPolicy,
};

/// All sensitive information is masked.
pub(crate) fn masking() -> Definition {
    let action = GuardrailSensitiveInformationAction::Anonymize;
    let entities = GuardrailPiiEntityType::ALL.iter().map(|kind| PiiEntity {
        kind: *kind,
        action,
        sides: Sides::both(action),
    });
    let sensitive = SensitivePolicy { entities: entities.collect(), regexes: Vec::new() };
    Definition { sensitive: Some(sensitive), ..Definition::named("masking") }
}

/// The same, and two phrases and profanity are blocked.
pub(crate) fn patterns() -> Definition {
    let word = |text: &str| Word { text: text.to_owned(), sides: Sides::both(GuardrailWordAction::Block) };
    let managed = ManagedWords {
        kind: GuardrailManagedWordsType::Profanity,
        sides: Sides::both(GuardrailWordAction::Block),
    };
    let words = WordPolicy {
        words: vec![word("competitors-product-name"), word("project bluebird")],
        managed: vec![managed],
    };
    Definition { words: Some(words), ..masking() }
}

/// Every policy but grounding, at its strongest.
pub(crate) fn everything() -> Definition {
    let topic = |name: &str, definition: &str, example: &str| Topic {
        name: name.to_owned(),
        definition: definition.to_owned(),
        examples: vec![example.to_owned()],
        sides: Sides::both(GuardrailTopicAction::Block),
    };
    let topics = vec![
        topic(
            "legal advice",
            "Requests for specific legal advice or representation",
            "Can I sue my employer?",
        ),
        topic("investments", "Recommendations to buy or sell securities", "Which stock should I buy?"),
    ];
    Definition {
        topics: Some(TopicPolicy { topics, tier: None }),
        content: Some(ContentPolicy::every(GuardrailFilterStrength::High)),
        ..patterns()
    }
}
