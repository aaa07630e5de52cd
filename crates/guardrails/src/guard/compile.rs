use craton_api_bedrock::GuardrailSensitiveInformationAction as Action;

use super::{Guard, Source, Tools};
use crate::control::Stored;
use crate::definition::{CustomRegex, Definition};
use crate::policies::content::ContentModel;
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
        let content = definition.content.as_ref().map(|_| ContentModel::shipped());
        let topics = definition.topics.as_ref().map(|policy| TopicMatcher::new(&policy.topics));
        Ok(Self {
            id: stored.id,
            arn: stored.arn,
            version: stored.version,
            words,
            regexes: regexes?,
            longest_hidden,
            content,
            topics,
            definition: stored.definition,
            tools,
        })
    }

    /// A guard of a definition that is kept nowhere: for judging without a guardrail, and for measuring.
    pub fn of(definition: Definition, vectors: Vectors) -> Result<Self, String> {
        let id = definition.name.clone();
        let arn = format!("arn:aws:bedrock:us-east-1:000000000000:guardrail/{id}");
        let stored = Stored { id, arn, version: "DRAFT".to_owned(), definition };
        Self::compile(stored, Tools { vectors, metrics: None })
    }
}
