//! A guardrail as it is stored: its policies with every default filled in.
//!
//! The wire has one type to create a policy and another to show it; this is neither, so that records stay readable when
//! the service model moves on.

use craton_api_bedrock as api;
use serde::{Deserialize, Serialize};

/// Everything that a version of a guardrail is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Definition {
    pub name: String,
    pub description: Option<String>,
    pub blocked_input_messaging: String,
    pub blocked_outputs_messaging: String,
    pub topics: Option<TopicPolicy>,
    pub content: Option<ContentPolicy>,
    pub words: Option<WordPolicy>,
    pub sensitive: Option<SensitivePolicy>,
    pub grounding: Option<GroundingPolicy>,
    pub profile: Option<String>,
    pub kms_key: Option<String>,
}

/// What happens on one side of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides<A> {
    pub input: A,
    pub output: A,
    pub input_enabled: bool,
    pub output_enabled: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TopicPolicy {
    pub topics: Vec<Topic>,
    pub tier: Option<api::GuardrailTopicsTierName>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Topic {
    pub name: String,
    pub definition: String,
    pub examples: Vec<String>,
    pub sides: Sides<api::GuardrailTopicAction>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContentPolicy {
    pub filters: Vec<ContentFilter>,
    pub tier: Option<api::GuardrailContentFiltersTierName>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContentFilter {
    pub kind: api::GuardrailContentFilterType,
    pub input_strength: api::GuardrailFilterStrength,
    pub output_strength: api::GuardrailFilterStrength,
    pub sides: Sides<api::GuardrailContentFilterAction>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WordPolicy {
    pub words: Vec<Word>,
    pub managed: Vec<ManagedWords>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Word {
    pub text: String,
    pub sides: Sides<api::GuardrailWordAction>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManagedWords {
    pub kind: api::GuardrailManagedWordsType,
    pub sides: Sides<api::GuardrailWordAction>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SensitivePolicy {
    pub entities: Vec<PiiEntity>,
    pub regexes: Vec<CustomRegex>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PiiEntity {
    pub kind: api::GuardrailPiiEntityType,
    pub action: api::GuardrailSensitiveInformationAction,
    pub sides: Sides<api::GuardrailSensitiveInformationAction>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CustomRegex {
    pub name: String,
    pub description: Option<String>,
    pub pattern: String,
    pub action: api::GuardrailSensitiveInformationAction,
    pub sides: Sides<api::GuardrailSensitiveInformationAction>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroundingPolicy {
    pub filters: Vec<GroundingFilter>,
    pub tier: Option<api::GuardrailContextualGroundingTierName>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroundingFilter {
    pub kind: api::GuardrailContextualGroundingFilterType,
    pub threshold: f64,
    pub action: api::GuardrailContextualGroundingAction,
    pub enabled: bool,
}

impl Definition {
    /// A guardrail of that name without a policy.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: None,
            blocked_input_messaging: String::new(),
            blocked_outputs_messaging: String::new(),
            topics: None,
            content: None,
            words: None,
            sensitive: None,
            grounding: None,
            profile: None,
            kms_key: None,
        }
    }
}

impl ContentFilter {
    /// How strong it is on a side; none where it does not look.
    pub fn strength(&self, source: crate::Source) -> Option<api::GuardrailFilterStrength> {
        let strength = match source {
            crate::Source::Input => self.input_strength,
            crate::Source::Output => self.output_strength,
        };
        self.sides.on(source).and(Some(strength)).filter(|it| *it != api::GuardrailFilterStrength::None)
    }

    /// Whether text on a side that it surely finds does not pass.
    pub fn blocks(&self, source: crate::Source) -> bool {
        self.strength(source).is_some()
            && self.sides.on(source) == Some(api::GuardrailContentFilterAction::Block)
    }
}

impl ContentPolicy {
    /// Every filter, at one strength on both sides.
    pub fn every(strength: api::GuardrailFilterStrength) -> Self {
        let filter = |kind: &api::GuardrailContentFilterType| ContentFilter {
            kind: *kind,
            input_strength: strength,
            output_strength: strength,
            sides: Sides::both(api::GuardrailContentFilterAction::Block),
        };
        Self { filters: crate::policies::content::CATEGORIES.iter().map(filter).collect(), tier: None }
    }
}

impl<A: Copy> Sides<A> {
    /// The same on both sides.
    pub fn both(action: A) -> Self {
        Self::new(action, (None, None), (None, None))
    }

    /// The sides of a policy's part, from the fields that a client may leave out.
    pub fn new(both: A, actions: (Option<A>, Option<A>), enabled: (Option<bool>, Option<bool>)) -> Self {
        Self {
            input: actions.0.unwrap_or(both),
            output: actions.1.unwrap_or(both),
            input_enabled: enabled.0.unwrap_or(true),
            output_enabled: enabled.1.unwrap_or(true),
        }
    }

    /// What to do with text on a side; none when the part does not look at it.
    pub fn on(&self, source: crate::Source) -> Option<A> {
        match source {
            crate::Source::Input => self.input_enabled.then_some(self.input),
            crate::Source::Output => self.output_enabled.then_some(self.output),
        }
    }
}
