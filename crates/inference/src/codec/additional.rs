//! What of a family's own body Converse's `additionalModelRequestFields` may say: its sampling, and what Converse has no
//! place for. The conversation and its tools are Converse's own.

use craton_models::Family;
use craton_wire::ApiError;
use serde_json::Value;

use super::reader::{Dialect, Node};
use super::{anthropic, anthropic_text, cohere, jamba, llama, mistral, nova, openai_chat};

/// Holds the fields to those that the family's body has, and each to the range that it has there.
///
/// # Errors
/// `ValidationException` in the family's wording.
pub(crate) fn check(family: Family, fields: &Value) -> Result<(), ApiError> {
    let schema = |names: &[&[&str]]| Node::root(fields, Dialect::JsonSchema).object(&[], &names.concat());
    match family {
        Family::AnthropicMessages => anthropic::check_additional(fields),
        Family::AnthropicText => {
            let fields = schema(&[
                anthropic_text::SAMPLING,
                &["anthropic_beta", "anthropic_version", "max_tokens_to_sample"],
            ])?;
            anthropic_text::sampling(&fields).map(drop)
        }
        Family::Nova => {
            let fields = schema(&[&["inferenceConfig", "reasoningConfig", "schemaVersion"]])?;
            fields.get("inferenceConfig").map(|config| nova::sampling(&config)).transpose().map(drop)
        }
        // What Titan's body has besides the prompt is in an object that Converse's inferenceConfig stands for.
        Family::TitanText => schema(&[]).map(drop),
        Family::Llama => llama::sampling(&schema(&[llama::SAMPLING])?).map(drop),
        Family::MistralText => mistral::text_sampling(&schema(&[mistral::TEXT_SAMPLING])?).map(drop),
        Family::MistralChat => {
            let fields = schema(&[mistral::CHAT_SAMPLING, &["response_format", "safe_prompt"]])?;
            mistral::chat_sampling(&fields).map(drop)
        }
        Family::CohereCommand => {
            let fields = schema(&[cohere::COMMAND_SAMPLING, &["logit_bias", "truncate"]])?;
            cohere::command_sampling(&fields).map(drop)
        }
        Family::CohereCommandR => {
            let other = ["citation_quality", "force_single_step", "prompt_truncation"];
            cohere::chat_sampling(&schema(&[cohere::CHAT_SAMPLING, &other])?).map(drop)
        }
        Family::Jamba => jamba::sampling(&schema(&[jamba::SAMPLING, &["response_format"]])?).map(drop),
        // These bodies take any field.
        Family::OpenAiChat => openai_chat::check_additional(fields),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use craton_models::Task;
    use serde_json::json;

    use super::*;

    fn said(family: Family, fields: Value) -> Result<(), String> {
        check(family, &fields).map_err(|error| error.message)
    }

    fn extraneous(name: &str) -> String {
        format!(
            "Malformed input request: #: extraneous key [{name}] is not permitted, please reformat your input and try \
             again."
        )
    }

    /// Families whose bodies are held to a JSON schema.
    fn in_schemas() -> impl Iterator<Item = Family> {
        Family::of(Task::Chat)
            .filter(|family| !matches!(family, Family::AnthropicMessages | Family::OpenAiChat))
    }

    #[test]
    fn unknown_fields_are_refused_as_the_family_does() {
        for family in in_schemas() {
            assert_eq!(said(family, json!({"banana": 1})).unwrap_err(), extraneous("banana"), "{family:?}");
            assert_eq!(said(family, json!({})), Ok(()));
        }
        let claude = said(Family::AnthropicMessages, json!({"banana": 1})).unwrap_err();
        assert_eq!(claude, "banana: Extra inputs are not permitted");
        let nested = said(Family::Nova, json!({"inferenceConfig": {"banana": 1}})).unwrap_err();
        assert!(nested.contains("#/inferenceConfig: extraneous key [banana]"), "{nested}");
        assert_eq!(said(Family::OpenAiChat, json!({"banana": 1})), Ok(()));
    }

    /// Names by which some family samples, and the families that have them.
    #[test]
    fn sampling_of_another_family_is_refused() {
        use Family::{
            AnthropicMessages, AnthropicText, CohereCommand, CohereCommandR, Jamba, Llama, MistralChat,
            MistralText,
        };
        let claude = [AnthropicMessages, AnthropicText];
        for (field, of) in [
            (json!({"top_k": 4}), [&claude[..], &[MistralText]].concat()),
            (json!({"k": 4}), vec![CohereCommand, CohereCommandR]),
            (json!({"topK": 4}), vec![]),
            (json!({"inferenceConfig": {"topK": 4}}), vec![Family::Nova]),
            (json!({"seed": 4}), vec![CohereCommandR]),
            (json!({"random_seed": 4}), vec![MistralChat]),
            (json!({"presence_penalty": 0.5}), vec![CohereCommandR, Jamba]),
            (json!({"min_p": 0.5}), vec![]),
            (json!({"max_gen_len": 5}), vec![Llama]),
            (json!({"stop": ["x"]}), vec![MistralText, MistralChat, Jamba]),
            (json!({"stop_sequences": ["x"]}), [&claude[..], &[CohereCommand, CohereCommandR]].concat()),
            (json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}), vec![AnthropicMessages]),
        ] {
            for family in in_schemas().chain([AnthropicMessages]) {
                let taken = said(family, field.clone());
                assert_eq!(taken.is_ok(), of.contains(&family), "{family:?} {field}: {taken:?}");
            }
        }
    }

    #[test]
    fn values_keep_the_ranges_that_they_have_in_the_body() {
        for (family, fields, part) in [
            (
                Family::AnthropicMessages,
                json!({"top_k": -1}),
                "top_k: Input should be greater than or equal to 0",
            ),
            (
                Family::Nova,
                json!({"inferenceConfig": {"topK": 400}}),
                "#/inferenceConfig/topK: 400 is not less or equal to 128",
            ),
            (Family::CohereCommandR, json!({"k": 501}), "#/k: 501 is not less or equal to 500"),
            (Family::MistralText, json!({"top_k": 201}), "#/top_k: 201 is not less or equal to 200"),
            (
                Family::Jamba,
                json!({"presence_penalty": 3}),
                "#/presence_penalty: 3 is not less or equal to 2",
            ),
            (Family::OpenAiChat, json!({"presence_penalty": 3}), "Invalid 'presence_penalty'"),
            (
                Family::OpenAiChat,
                json!({"reasoning_effort": "odd"}),
                "Invalid 'reasoning_effort': 'odd'. Supported values are:",
            ),
        ] {
            let refused = said(family, fields).unwrap_err();
            assert!(refused.contains(part), "{family:?}: {refused}");
        }
    }

    #[test]
    fn fields_that_families_have_are_taken() {
        for (family, fields) in [
            (
                Family::AnthropicMessages,
                json!({"anthropic_beta": ["x"], "metadata": {"user_id": "u"}, "top_k": 4}),
            ),
            (Family::AnthropicMessages, json!({"thinking": {"type": "adaptive"}})),
            (
                Family::AnthropicMessages,
                json!({"reasoning_config": {"type": "enabled", "budget_tokens": 2000}}),
            ),
            (Family::Nova, json!({"reasoningConfig": {"type": "disabled"}})),
            (Family::MistralChat, json!({"safe_prompt": true})),
            (Family::CohereCommandR, json!({"prompt_truncation": "AUTO"})),
            (
                Family::OpenAiChat,
                json!({"reasoning_effort": "minimal", "top_k": 4, "chat_template_kwargs": {}}),
            ),
        ] {
            assert_eq!(said(family, fields.clone()), Ok(()), "{family:?}: {fields}");
        }
    }
}
