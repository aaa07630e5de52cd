use craton_api_bedrock::{GuardrailPiiEntityType as Kind, GuardrailSensitiveInformationAction as Action};

use super::{Guard, Source, Tools};
use crate::control::Stored;
use crate::definition::{CustomRegex, Definition};
use crate::policies::content::ContentModel;
use crate::policies::pii::custom;
use crate::policies::statics::Statics;
use crate::policies::topics::TopicMatcher;
use crate::policies::words::WordMatcher;
use crate::service::Vectors;
use crate::text::View;

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
        let hides = |regex: &&CustomRegex| {
            matches!(regex.sides.on(Source::Output), Some(Action::Block | Action::Anonymize))
        };
        let mut hiding = definition.sensitive.iter().flat_map(|policy| &policy.regexes).filter(hides);
        let longest_hidden =
            hiding.try_fold(0, |most, regex| Some(custom::longest(&regex.pattern)?.max(most)));
        if definition.content.is_some() && ContentModel::shipped().sparse.is_empty() {
            return Err("This build has no weights for content filters.".to_owned());
        }
        if definition.topics.is_some() && Statics::shipped().dimensions() == 0 {
            return Err("This build has no vectors for denied topics.".to_owned());
        }
        let held = held_back(definition, longest_hidden);
        let content = definition.content.as_ref().map(|_| ContentModel::shipped());
        let topics = definition.topics.as_ref().map(|policy| TopicMatcher::new(&policy.topics));
        Ok(Self {
            id: stored.id,
            arn: stored.arn,
            version: stored.version,
            words,
            regexes: regexes?,
            longest_hidden,
            held,
            content,
            topics,
            definition: stored.definition,
            tools,
        })
    }

    /// Letters and digits behind the end of what is known of an answer that may yet turn out to be part of something.
    pub(crate) fn held_back(&self) -> usize {
        self.held
    }

    /// A guard of a definition that is kept nowhere: for judging without a guardrail, and for measuring.
    pub fn of(definition: Definition, vectors: Vectors) -> Result<Self, String> {
        let id = definition.name.clone();
        let arn = format!("arn:aws:bedrock:us-east-1:000000000000:guardrail/{id}");
        let stored = Stored { id, arn, version: "DRAFT".to_owned(), definition };
        Self::compile(stored, Tools { vectors, metrics: None })
    }
}

/// The most letters and digits that stay back: the longest phrase of a word policy is 100 characters, and patterns of the
/// guardrail's own that hide more hold the whole answer.
pub(crate) const MOST_HELD: usize = 120;
/// The longest streets with their towns, and addresses of mail that are spelled out.
const ADDRESS: usize = 120;
/// The longest numbers and keys, and the words behind them that say what they are.
const NUMBER: usize = 80;
const NAME: usize = 60;
/// Profane words whose letters stand apart.
const PROFANITY: usize = 32;
/// What is said letter by letter, each of which may end a sentence.
const SPELLED: usize = 40;

/// How many letters and digits the detectors of a guardrail may need behind the end of what is known of an answer.
fn held_back(definition: &Definition, longest_hidden: Option<usize>) -> usize {
    let mut held = longest_hidden.unwrap_or(MOST_HELD);
    if let Some(policy) = &definition.words {
        let telling =
            |word: &str| View::folded(word).text().chars().filter(|it| it.is_alphanumeric()).count();
        held = policy.words.iter().map(|word| telling(&word.text)).fold(held, usize::max);
        held = if policy.managed.is_empty() { held } else { held.max(PROFANITY) };
    }
    for entity in definition.sensitive.iter().flat_map(|policy| &policy.entities) {
        held = held.max(match entity.kind {
            Kind::Address | Kind::Email => ADDRESS,
            Kind::Name => NAME,
            _ => NUMBER,
        });
    }
    if definition.content.is_some() || definition.topics.is_some() {
        held = held.max(SPELLED);
    }
    held.min(MOST_HELD)
}
