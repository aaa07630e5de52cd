use serde::Deserialize;

/// The InvokeModel body format of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum Family {
    AnthropicMessages,
    AnthropicText,
    TitanText,
    TitanEmbedV1,
    TitanEmbedV2,
    TitanEmbedImage,
    TitanImage,
    Nova,
    NovaCanvas,
    NovaEmbed,
    Llama,
    MistralText,
    MistralChat,
    CohereCommand,
    CohereCommandR,
    CohereEmbed,
    CohereRerank,
    AmazonRerank,
    Jamba,
    OpenAiChat,
    StabilityText,
    StabilityImage,
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
    pub fn task(self) -> Task {
        match self {
            Self::TitanEmbedV1
            | Self::TitanEmbedV2
            | Self::TitanEmbedImage
            | Self::NovaEmbed
            | Self::CohereEmbed => Task::Embedding,
            Self::CohereRerank | Self::AmazonRerank => Task::Rerank,
            Self::TitanImage | Self::NovaCanvas | Self::StabilityText | Self::StabilityImage => Task::Image,
            Self::AnthropicMessages
            | Self::AnthropicText
            | Self::TitanText
            | Self::Nova
            | Self::Llama
            | Self::MistralText
            | Self::MistralChat
            | Self::CohereCommand
            | Self::CohereCommandR
            | Self::Jamba
            | Self::OpenAiChat => Task::Chat,
        }
    }

    /// The body format of an id that is in no catalogue, judged by its provider prefix; for anything else, the plainest
    /// format of its task.
    pub fn guess(model_id: &str, task: Task) -> Self {
        let id = ["us.", "eu.", "apac.", "global.", "us-gov.", "jp.", "au."]
            .iter()
            .find_map(|prefix| model_id.strip_prefix(prefix))
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
