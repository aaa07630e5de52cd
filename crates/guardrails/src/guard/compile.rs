use super::{Guard, Tools};
use crate::control::Stored;
use crate::policies::content::ContentModel;
use crate::policies::pii::custom;
use crate::policies::topics::TopicMatcher;
use crate::policies::words::WordMatcher;

impl Guard {
    /// Makes a stored version ready; the error says in words what of it can't be used.
    pub(crate) fn compile(stored: Stored, tools: Tools) -> Result<Self, String> {
        let definition = &stored.definition;
        let words = definition.words.as_ref().filter(|policy| !policy.words.is_empty());
        let words =
            words.map(|policy| WordMatcher::new(policy.words.iter().map(|word| word.text.as_str()))).transpose()?;
        let regexes = definition.sensitive.iter().flat_map(|policy| &policy.regexes);
        let regexes: Result<Vec<_>, String> = regexes.map(|regex| custom::compile(&regex.pattern)).collect();
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
}
