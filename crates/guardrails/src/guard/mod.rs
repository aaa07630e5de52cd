//! A guardrail made ready to judge text.

mod assess;
mod compile;
mod report;

use std::sync::Arc;

use craton_api_bedrock_runtime as api;

use crate::definition::Definition;
use crate::metrics::GuardrailMetrics;
use crate::policies::content::ContentModel;
use crate::policies::topics::TopicMatcher;
use crate::policies::words::WordMatcher;
use crate::service::Vectors;

pub(crate) use compile::MOST_HELD;
pub use report::Scope;
pub use report::narrow;

/// Which side of the model a text is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    Input,
    Output,
}

impl Source {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Input => "INPUT",
            Self::Output => "OUTPUT",
        }
    }
}

/// What a piece of text is to the guardrail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qualifier {
    /// What answers are to be grounded in: not judged itself.
    GroundingSource,
    /// The question that an answer is to be relevant to.
    Query,
    /// Text to judge.
    GuardContent,
}

/// A text and what it is. Without qualifiers it is text to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub qualifiers: Vec<Qualifier>,
}

impl Piece {
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), qualifiers: Vec::new() }
    }

    pub fn is(&self, qualifier: Qualifier) -> bool {
        self.qualifiers.contains(&qualifier)
    }

    /// Whether the policies other than grounding look at it.
    pub fn is_judged(&self) -> bool {
        self.qualifiers.is_empty() || self.is(Qualifier::GuardContent)
    }
}

/// Ranges of a text, in order and apart, and what stands in place of each.
pub type Masks = Vec<(std::ops::Range<usize>, String)>;

/// What came of an assessment.
#[derive(Debug, Clone)]
pub struct Assessed {
    /// Something was found that must not pass.
    pub blocked: bool,
    /// Something was found that was replaced by a placeholder.
    pub masked: bool,
    /// Each piece as it may pass, in the order they were given.
    pub texts: Vec<String>,
    /// Where placeholders stand: for each piece the ranges of the original that were replaced, and by what.
    pub masks: Vec<Masks>,
    pub assessment: api::GuardrailAssessment,
    pub usage: api::GuardrailUsage,
    pub coverage: api::GuardrailCoverage,
}

impl Assessed {
    pub fn intervened(&self) -> bool {
        self.blocked || self.masked
    }

    /// What the API says happened, in a few words.
    pub fn reason(&self) -> &'static str {
        match (self.blocked, self.masked) {
            (true, _) => "Guardrail blocked.",
            (false, true) => "Guardrail masked.",
            (false, false) => "No action.",
        }
    }
}

/// What every guard uses.
#[derive(Clone)]
pub(crate) struct Tools {
    pub vectors: Vectors,
    pub metrics: Option<GuardrailMetrics>,
}

/// One version of a guardrail, compiled.
pub struct Guard {
    id: String,
    arn: String,
    version: String,
    definition: Definition,
    words: Option<WordMatcher>,
    regexes: Vec<regex::Regex>,
    /// The most characters of an answer that one custom regex can hide; none where there is no such number.
    longest_hidden: Option<usize>,
    /// Letters and digits that streams hold back.
    held: usize,
    content: Option<Arc<ContentModel>>,
    topics: Option<TopicMatcher>,
    tools: Tools,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("id", &self.id).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Guard {
    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// `DRAFT` or a number.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What is said in place of text that must not pass.
    pub fn blocked_message(&self, source: Source) -> &str {
        match source {
            Source::Input => &self.definition.blocked_input_messaging,
            Source::Output => &self.definition.blocked_outputs_messaging,
        }
    }

    /// Whether any policy looks at text on this side.
    pub fn looks_at(&self, source: Source) -> bool {
        let definition = &self.definition;
        let words = definition.words.as_ref().is_some_and(|policy| {
            policy.words.iter().any(|it| it.sides.on(source).is_some())
                || policy.managed.iter().any(|it| it.sides.on(source).is_some())
        });
        let sensitive = definition.sensitive.as_ref().is_some_and(|policy| {
            policy.entities.iter().any(|it| it.sides.on(source).is_some())
                || policy.regexes.iter().any(|it| it.sides.on(source).is_some())
        });
        let grounding = source == Source::Output && self.needs_whole_answers();
        grounding || words || sensitive || self.filters_content(source) || self.denies_topics(source)
    }

    /// Whether a sentence of an answer may mean something else with the next one.
    pub(crate) fn reads_on(&self) -> bool {
        self.filters_content(Source::Output) || self.denies_topics(Source::Output)
    }

    /// Whether a content filter acts on this side.
    fn filters_content(&self, source: Source) -> bool {
        let policy = self.definition.content.iter().flat_map(|policy| &policy.filters);
        policy.into_iter().any(|it| it.strength(source).is_some())
    }

    fn denies_topics(&self, source: Source) -> bool {
        let policy = self.definition.topics.iter().flat_map(|policy| &policy.topics);
        policy.into_iter().any(|it| it.sides.on(source).is_some())
    }

    /// Whether a custom regex may hide more of an answer at once than so many characters.
    pub(crate) fn may_hide_more_than(&self, characters: usize) -> bool {
        self.longest_hidden.is_none_or(|longest| longest > characters)
    }

    /// Whether answers are compared with sources and a query, which takes the whole answer.
    pub fn needs_whole_answers(&self) -> bool {
        self.definition
            .grounding
            .as_ref()
            .is_some_and(|policy| policy.filters.iter().any(|filter| filter.enabled))
    }
}
