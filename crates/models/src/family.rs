use serde::Deserialize;

use crate::catalogue::Catalogue;

macro_rules! families {
    ($($task:ident { $($family:ident),+ $(,)? })+) => {
        /// The InvokeModel body format of a model.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
        pub enum Family {
            $($($family,)+)+
        }

        impl Family {
            pub const ALL: &[Self] = &[$($(Self::$family,)+)+];

            pub fn task(self) -> Task {
                match self {
                    $($(Self::$family)|+ => Task::$task,)+
                }
            }
        }
    };
}

families! {
    Chat {
        AnthropicMessages,
        AnthropicText,
        TitanText,
        Nova,
        Llama,
        MistralText,
        MistralChat,
        CohereCommand,
        CohereCommandR,
        Jamba,
        OpenAiChat,
    }
    Embedding { TitanEmbedV1, TitanEmbedV2, TitanEmbedImage, NovaEmbed, CohereEmbed }
    Rerank { CohereRerank, AmazonRerank }
    Image { TitanImage, NovaCanvas, StabilityText, StabilityImage }
}

/// What a model does, and so which backend trait can serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    Chat,
    Embedding,
    Rerank,
    Image,
    /// Finds names and places; guardrails use it, nobody invokes it.
    Names,
}

impl Family {
    /// The families of a task.
    pub fn of(task: Task) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |family| family.task() == task)
    }

    /// The body format of an id that is in no catalogue, judged by its provider prefix; for anything else, the plainest
    /// format of its task.
    pub fn guess(model_id: &str, task: Task) -> Self {
        let geographies = Catalogue::shipped().geographies.keys();
        let id = geographies
            .filter_map(|prefix| model_id.strip_prefix(prefix.as_str())?.strip_prefix('.'))
            .next()
            .unwrap_or(model_id);
        let (provider, name) = id.split_once('.').unwrap_or(("", id));
        match (task, provider) {
            (Task::Chat, "anthropic") => Self::AnthropicMessages,
            (Task::Chat, "amazon") if name.starts_with("titan") => Self::TitanText,
            (Task::Chat, "amazon") => Self::Nova,
            (Task::Chat, "meta") => Self::Llama,
            (Task::Chat, "mistral") => Self::MistralChat,
            (Task::Chat, "cohere") => Self::CohereCommandR,
            (Task::Chat, "ai21") => Self::Jamba,
            (Task::Chat, _) => Self::OpenAiChat,
            (Task::Embedding, "cohere") => Self::CohereEmbed,
            (Task::Embedding, _) => Self::TitanEmbedV2,
            (Task::Rerank, "amazon") => Self::AmazonRerank,
            (Task::Rerank, _) => Self::CohereRerank,
            (Task::Image, _) => Self::StabilityImage,
            (Task::Names, _) => Self::OpenAiChat,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_id_gets_its_providers_format() {
        assert_eq!(Family::guess("us.anthropic.claude-next", Task::Chat), Family::AnthropicMessages);
        assert_eq!(Family::guess("amazon.titan-text-next", Task::Chat), Family::TitanText);
        assert_eq!(Family::guess("my-own-model", Task::Chat), Family::OpenAiChat);
        assert_eq!(Family::guess("my-own-model", Task::Embedding), Family::TitanEmbedV2);
    }
}
