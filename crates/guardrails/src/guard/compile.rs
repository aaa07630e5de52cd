use craton_api_bedrock::{
    GuardrailContentFilterAction, GuardrailFilterStrength, GuardrailManagedWordsType, GuardrailPiiEntityType,
    GuardrailSensitiveInformationAction, GuardrailTopicAction, GuardrailWordAction,
};

use super::{Guard, Tools};
use crate::control::Stored;
use crate::definition::*;
use crate::policies::content::{CATEGORIES, ContentModel};
use crate::policies::pii::custom;
use crate::policies::statics::Statics;
use crate::policies::topics::TopicMatcher;
use crate::policies::words::WordMatcher;
use crate::service::Vectors;

impl Guard {
    /// Makes a stored version ready; the error says in words what of it can't be used.
    pub(crate) fn compile(stored: Stored, tools: Tools) -> Result<Self, String> {
        let definition = &stored.definition;
        let words = definition.words.as_ref().filter(|policy| !policy.words.is_empty());
        let words = words
            .map(|policy| WordMatcher::new(policy.words.iter().map(|word| word.text.as_str())))
            .transpose()?;
        let regexes = definition.sensitive.iter().flat_map(|policy| &policy.regexes);
        let regexes: Result<Vec<_>, String> = regexes.map(|regex| custom::compile(&regex.pattern)).collect();
        if definition.content.is_some() && ContentModel::shipped().sparse.is_empty() {
            return Err("This build has no weights for content filters.".to_owned());
        }
        if definition.topics.is_some() && Statics::shipped().dimensions() == 0 {
            return Err("This build has no vectors for denied topics.".to_owned());
        }
        let content = definition.content.as_ref().map(|_| ContentModel::shipped());
        let topics = definition.topics.as_ref().map(|policy| TopicMatcher::new(&policy.topics));
        Ok(Self {
            id: stored.id,
            arn: stored.arn,
            version: stored.version,
            words,
            regexes: regexes?,
            content,
            topics,
            definition: stored.definition,
            tools,
        })
    }

    /// A guard with words and sensitive information only, for tests.
    pub fn with_patterns(vectors: Vectors) -> Result<Self, String> {
        let definition = Definition { topics: None, content: None, ..everything() };
        Self::compile(stored(definition), Tools { vectors, metrics: None })
    }

    /// A guard that masks all sensitive information and blocks nothing, for measuring streams.
    pub fn masking(vectors: Vectors) -> Result<Self, String> {
        let definition = Definition { topics: None, content: None, words: None, ..everything() };
        Self::compile(stored(definition), Tools { vectors, metrics: None })
    }

    /// A guard with every policy at its strongest, for measuring.
    pub fn with_everything(vectors: Vectors) -> Result<Self, String> {
        Self::compile(stored(everything()), Tools { vectors, metrics: None })
    }
}

fn stored(definition: Definition) -> Stored {
    Stored {
        id: "everything00".to_owned(),
        arn: "arn:aws:bedrock:us-east-1:123456789012:guardrail/everything00".to_owned(),
        version: "DRAFT".to_owned(),
        definition,
    }
}

/// Every policy but grounding.
fn everything() -> Definition {
    let sides = |action| Sides::new(action, (None, None), (None, None));
    let filters = CATEGORIES.iter().map(|kind| ContentFilter {
        kind: *kind,
        input_strength: GuardrailFilterStrength::High,
        output_strength: GuardrailFilterStrength::High,
        sides: sides_of_content(),
    });
    let topic = |name: &str, definition: &str, example: &str| Topic {
        name: name.to_owned(),
        definition: definition.to_owned(),
        examples: vec![example.to_owned()],
        sides: Sides::new(GuardrailTopicAction::Block, (None, None), (None, None)),
    };
    let entities = GuardrailPiiEntityType::ALL.iter().map(|kind| PiiEntity {
        kind: *kind,
        action: GuardrailSensitiveInformationAction::Anonymize,
        sides: sides(GuardrailSensitiveInformationAction::Anonymize),
    });
    let word = |text: &str| Word {
        text: text.to_owned(),
        sides: Sides::new(GuardrailWordAction::Block, (None, None), (None, None)),
    };
    Definition {
        name: "everything".to_owned(),
        description: None,
        blocked_input_messaging: "blocked".to_owned(),
        blocked_outputs_messaging: "blocked".to_owned(),
        topics: Some(TopicPolicy {
            topics: vec![
                topic(
                    "legal advice",
                    "Requests for specific legal advice or representation",
                    "Can I sue my employer?",
                ),
                topic(
                    "investments",
                    "Recommendations to buy or sell securities",
                    "Which stock should I buy?",
                ),
            ],
            tier: None,
        }),
        content: Some(ContentPolicy { filters: filters.collect(), tier: None }),
        words: Some(WordPolicy {
            words: vec![word("competitors-product-name"), word("project bluebird")],
            managed: vec![ManagedWords {
                kind: GuardrailManagedWordsType::Profanity,
                sides: Sides::new(GuardrailWordAction::Block, (None, None), (None, None)),
            }],
        }),
        sensitive: Some(SensitivePolicy { entities: entities.collect(), regexes: Vec::new() }),
        grounding: None,
        profile: None,
        kms_key: None,
    }
}

fn sides_of_content() -> Sides<GuardrailContentFilterAction> {
    Sides::new(GuardrailContentFilterAction::Block, (None, None), (None, None))
}
