//! The foundation models Craton answers for, read once from `catalogue.toml`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use craton_core::partition;
use serde::Deserialize;

use crate::family::{Family, Task};

/// A model as clients know it, whoever serves it here.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundationModel {
    /// `anthropic.claude-3-haiku-20240307-v1:0`.
    pub id: String,
    /// `Claude 3 Haiku`.
    pub name: String,
    /// As AWS spells it: `Mistral AI`.
    pub provider: String,
    pub family: Family,
    pub input_modalities: Vec<Modality>,
    pub output_modalities: Vec<Modality>,
    /// Prompt and answer together, as the provider publishes it. What serves the model may read less.
    pub context_tokens: Option<u32>,
    pub max_output_tokens: Option<u32>,
    pub streaming: bool,
    pub customizations: Vec<Customization>,
    pub inference_types: Vec<InferenceType>,
    pub lifecycle: Lifecycle,
    /// Vector lengths an embedding model offers, the default first; empty for others.
    pub embedding_dimensions: Vec<u32>,
    /// How it can be asked to think, where that is known: models outside the catalogue may think or not.
    pub thinking: Option<Vec<Thinking>>,
    pub price: Option<Price>,
    /// Prefixes of its system-defined inference profiles: `us`, `eu`, …
    pub profiles: Vec<String>,
}

impl FoundationModel {
    pub fn task(&self) -> Task {
        self.family.task()
    }

    pub fn takes(&self, modality: Modality) -> bool {
        self.input_modalities.contains(&modality)
    }

    /// `arn:aws:bedrock:REGION::foundation-model/ID`.
    pub fn arn(&self, region: &str) -> String {
        format!("arn:{}:bedrock:{region}::foundation-model/{}", partition(region), self.id)
    }
}

/// A `type` of a Messages body's `thinking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Thinking {
    /// Within a budget of tokens.
    Enabled,
    /// As much as the model sees fit.
    Adaptive,
}

/// Kinds of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Modality {
    Text,
    Image,
    Embedding,
    Video,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Customization {
    FineTuning,
    ContinuedPreTraining,
    Distillation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InferenceType {
    OnDemand,
    Provisioned,
    /// Through an inference profile alone: AWS refuses the model's own id, which this server answers all the same.
    InferenceProfile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Lifecycle {
    #[default]
    Active,
    Legacy,
}

macro_rules! wire_names {
    ($($type:ident { $($variant:ident => $name:literal),+ $(,)? })+) => {$(
        impl $type {
            /// The API's word for it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    )+};
}

wire_names! {
    Modality { Text => "TEXT", Image => "IMAGE", Embedding => "EMBEDDING", Video => "VIDEO" }
    Customization {
        FineTuning => "FINE_TUNING",
        ContinuedPreTraining => "CONTINUED_PRE_TRAINING",
        Distillation => "DISTILLATION",
    }
    InferenceType {
        OnDemand => "ON_DEMAND",
        Provisioned => "PROVISIONED",
        InferenceProfile => "INFERENCE_PROFILE",
    }
    Lifecycle { Active => "ACTIVE", Legacy => "LEGACY" }
}

/// US dollars per 1,000 tokens on demand.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Price {
    pub input_per_1k_usd: f64,
    pub output_per_1k_usd: f64,
}

impl Price {
    /// US dollars for one call.
    pub fn cost_usd(&self, input_tokens: u64, output_tokens: u64) -> f64 {
        (input_tokens as f64 * self.input_per_1k_usd + output_tokens as f64 * self.output_per_1k_usd) / 1000.0
    }
}

impl From<[f64; 2]> for Price {
    fn from([input_per_1k_usd, output_per_1k_usd]: [f64; 2]) -> Self {
        Self { input_per_1k_usd, output_per_1k_usd }
    }
}

/// Where the profiles with one prefix route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geography {
    /// `us`, as in `us.anthropic.…`.
    pub prefix: String,
    /// `US`, as in a profile's name.
    pub name: String,
    /// An empty region stands for any.
    pub regions: Vec<String>,
}

/// Every model, with other spellings of its id.
#[derive(Debug)]
pub struct Catalogue {
    pub models: Vec<Arc<FoundationModel>>,
    /// Other ids that mean a model: (alias, index in `models`).
    pub aliases: Vec<(String, usize)>,
    pub geographies: BTreeMap<String, Arc<Geography>>,
}

impl Catalogue {
    /// The catalogue of this release.
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Catalogue> = LazyLock::new(|| {
            match Catalogue::parse(include_str!("../catalogue.toml")) {
                Ok(catalogue) => catalogue,
                // A test parses the same file, so no build with a broken one passes.
                Err(error) => unreachable!("catalogue.toml: {error}"),
            }
        });
        &SHIPPED
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let file: File = toml::from_str(text)?;
        let mut catalogue = Self { models: Vec::new(), aliases: Vec::new(), geographies: BTreeMap::new() };
        for (prefix, GeographyEntry { name, regions }) in file.geographies {
            let geography = Geography { prefix: prefix.clone(), name, regions };
            catalogue.geographies.insert(prefix, Arc::new(geography));
        }
        for group in file.groups {
            for entry in &group.models {
                let index = catalogue.models.len();
                catalogue.aliases.extend(entry.aliases.iter().map(|alias| (alias.clone(), index)));
                catalogue.models.push(Arc::new(entry.in_group(&group)));
            }
        }
        Ok(catalogue)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    geographies: BTreeMap<String, GeographyEntry>,
    #[serde(rename = "group")]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GeographyEntry {
    name: String,
    regions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    provider: String,
    family: Family,
    input_modalities: Vec<Modality>,
    output_modalities: Vec<Modality>,
    streaming: bool,
    models: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: String,
    input_modalities: Option<Vec<Modality>>,
    output_modalities: Option<Vec<Modality>>,
    context_tokens: Option<u32>,
    max_output_tokens: Option<u32>,
    thinking: Option<Vec<Thinking>>,
    #[serde(default)]
    customizations: Vec<Customization>,
    #[serde(default = "Entry::on_demand")]
    inference: Vec<InferenceType>,
    #[serde(default)]
    lifecycle: Lifecycle,
    #[serde(default)]
    dimensions: Vec<u32>,
    price: Option<[f64; 2]>,
    #[serde(default)]
    profiles: Vec<String>,
    #[serde(default)]
    aliases: Vec<String>,
}

impl Entry {
    fn on_demand() -> Vec<InferenceType> {
        vec![InferenceType::OnDemand]
    }

    fn in_group(&self, group: &Group) -> FoundationModel {
        FoundationModel {
            id: self.id.clone(),
            name: self.name.clone(),
            provider: group.provider.clone(),
            family: group.family,
            input_modalities: self.input_modalities.clone().unwrap_or_else(|| group.input_modalities.clone()),
            output_modalities: self
                .output_modalities
                .clone()
                .unwrap_or_else(|| group.output_modalities.clone()),
            context_tokens: self.context_tokens,
            max_output_tokens: self.max_output_tokens,
            thinking: self.thinking.clone(),
            streaming: group.streaming,
            customizations: self.customizations.clone(),
            inference_types: self.inference.clone(),
            lifecycle: self.lifecycle,
            embedding_dimensions: self.dimensions.clone(),
            price: self.price.map(Price::from),
            profiles: self.profiles.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn find(id: &str) -> &'static FoundationModel {
        Catalogue::shipped().models.iter().find(|model| model.id == id).unwrap()
    }

    #[test]
    fn the_shipped_file_parses() {
        Catalogue::parse(include_str!("../catalogue.toml")).unwrap();
    }

    #[test]
    fn how_claude_thinks_is_known() {
        for model in &Catalogue::shipped().models {
            let claude = matches!(model.family, Family::AnthropicMessages | Family::AnthropicText);
            assert_eq!(model.thinking.is_some(), claude, "{}", model.id);
        }
        assert_eq!(find("anthropic.claude-3-5-sonnet-20241022-v2:0").thinking.as_deref(), Some(&[][..]));
        assert_eq!(find("anthropic.claude-opus-5").thinking.as_deref(), Some(&[Thinking::Adaptive][..]));
    }

    #[test]
    fn ids_aliases_and_profiles_are_unique_and_well_formed() {
        let catalogue = Catalogue::shipped();
        let mut seen = HashSet::new();
        for model in &catalogue.models {
            assert!(well_formed(&model.id), "{}", model.id);
            assert!(seen.insert(model.id.clone()), "{} twice", model.id);
            for prefix in &model.profiles {
                assert!(catalogue.geographies.contains_key(prefix), "{}: {prefix}", model.id);
                assert!(seen.insert(format!("{prefix}.{}", model.id)), "{prefix}.{} twice", model.id);
            }
        }
        for (alias, index) in &catalogue.aliases {
            assert!(*index < catalogue.models.len());
            assert!(seen.insert(alias.clone()), "{alias} twice");
        }
    }

    /// The API's pattern for model ids, except that the part after the provider may have a dot.
    fn well_formed(id: &str) -> bool {
        let Some((provider, rest)) = id.split_once('.') else { return false };
        let word = |text: &str| {
            (1..=63).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let mut parts = rest.split(':');
        let name = parts.next().unwrap_or_default();
        let versions: Vec<&str> = parts.collect();
        word(provider)
            && name.split('.').count() <= 2
            && name.split('.').all(word)
            && versions.len() <= 2
            && versions.into_iter().all(word)
    }

    #[test]
    fn every_model_fits_its_family() {
        for model in &Catalogue::shipped().models {
            let outputs: &[Modality] = match model.task() {
                Task::Chat | Task::Rerank => &[Modality::Text],
                Task::Embedding => &[Modality::Embedding],
                Task::Image => &[Modality::Image],
                Task::Names => &[],
            };
            // Reel makes videos through the asynchronous API only.
            if !model.id.starts_with("amazon.nova-reel") {
                assert_eq!(model.output_modalities, outputs, "{}", model.id);
            }
            assert!(model.takes(Modality::Text), "{}", model.id);
            assert!(!model.name.is_empty() && !model.inference_types.is_empty(), "{}", model.id);
            assert_eq!(model.streaming, model.task() == Task::Chat, "{}", model.id);
            assert_eq!(
                model.embedding_dimensions.is_empty(),
                model.task() != Task::Embedding,
                "{}",
                model.id
            );
            if model.task() == Task::Chat {
                let (context, output) = (model.context_tokens.unwrap(), model.max_output_tokens.unwrap());
                assert!(output > 0 && output <= context, "{}", model.id);
            }
        }
    }

    #[test]
    fn providers_are_spelled_as_aws_spells_them() {
        const PROVIDERS: [(&str, &str); 18] = [
            ("anthropic", "Anthropic"),
            ("amazon", "Amazon"),
            ("meta", "Meta"),
            ("mistral", "Mistral AI"),
            ("cohere", "Cohere"),
            ("ai21", "AI21 Labs"),
            ("stability", "Stability AI"),
            ("deepseek", "DeepSeek"),
            ("qwen", "Qwen"),
            ("openai", "OpenAI"),
            ("moonshot", "Moonshot AI"),
            ("moonshotai", "Moonshot AI"),
            ("minimax", "MiniMax"),
            ("google", "Google"),
            ("nvidia", "NVIDIA"),
            ("zai", "Z.AI"),
            ("xai", "xAI"),
            ("writer", "Writer"),
        ];
        for model in &Catalogue::shipped().models {
            let prefix = model.id.split('.').next().unwrap();
            assert!(PROVIDERS.contains(&(prefix, model.provider.as_str())), "{}", model.id);
        }
    }

    #[test]
    fn what_only_a_profile_reaches_has_one() {
        for model in &Catalogue::shipped().models {
            let by_profile = model.inference_types.contains(&InferenceType::InferenceProfile);
            assert!(!by_profile || !model.profiles.is_empty(), "{}", model.id);
            assert!(!by_profile || !model.inference_types.contains(&InferenceType::OnDemand), "{}", model.id);
        }
        for id in ["anthropic.claude-sonnet-4-6", "amazon.nova-2-lite-v1:0", "deepseek.r1-v1:0"] {
            assert_eq!(find(id).inference_types, [InferenceType::InferenceProfile], "{id}");
        }
        let haiku = find("anthropic.claude-3-haiku-20240307-v1:0");
        assert_eq!(haiku.inference_types, [InferenceType::OnDemand, InferenceType::Provisioned]);
    }

    #[test]
    fn the_guides_price_table_is_exact() {
        let table = [
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", 0.003, 0.015),
            ("anthropic.claude-3-haiku-20240307-v1:0", 0.00025, 0.00125),
            ("meta.llama3-1-70b-instruct-v1:0", 0.00265, 0.0035),
            ("meta.llama3-1-8b-instruct-v1:0", 0.00022, 0.00022),
            ("amazon.titan-text-express-v1", 0.0008, 0.0016),
            ("amazon.titan-embed-text-v2:0", 0.00002, 0.0),
        ];
        for (id, input, output) in table {
            assert_eq!(find(id).price, Some(Price::from([input, output])), "{id}");
        }
        let cost = find("anthropic.claude-3-haiku-20240307-v1:0").price.unwrap().cost_usd(2000, 1000);
        assert!((cost - 0.00175).abs() < 1e-12);
    }

    #[test]
    fn models_of_the_guide_and_of_todays_clients_are_there() {
        let catalogue = Catalogue::shipped();
        let ids: HashSet<String> = catalogue
            .models
            .iter()
            .flat_map(|m| {
                std::iter::once(m.id.clone()).chain(m.profiles.iter().map(|p| format!("{p}.{}", m.id)))
            })
            .collect();
        for id in [
            "us.anthropic.claude-sonnet-5",
            "us.anthropic.claude-opus-5",
            "us.anthropic.claude-sonnet-4-6",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "us.amazon.nova-pro-v1:0",
            "us.amazon.nova-2-lite-v1:0",
            "us.meta.llama4-scout-17b-instruct-v1:0",
            "us.cohere.embed-v4:0",
            "us.deepseek.r1-v1:0",
            "anthropic.claude-3-opus-20240229-v1:0",
            "meta.llama3-1-405b-instruct-v1:0",
            "mistral.mixtral-8x7b-instruct-v0:1",
            "amazon.titan-image-generator-v2:0",
            "stability.sd3-large-v1:0",
            "stability.stable-diffusion-xl-v1",
            "ai21.jamba-1-5-mini-v1:0",
            "openai.gpt-oss-120b-1:0",
            "qwen.qwen3-32b-v1:0",
            "deepseek.v3-v1:0",
            "moonshot.kimi-k2-thinking",
            "global.openai.gpt-5.6-terra",
            "google.gemma-3-27b-it",
        ] {
            assert!(ids.contains(id), "{id}");
        }
    }
}
