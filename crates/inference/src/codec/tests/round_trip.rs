//! Written, then read: the same request.

use craton_backend::{ChatRequest, Priority};
use craton_models::{Family, Task};
use proptest::prelude::*;

use super::super::openai_responses::ResponsesCall;
use super::super::{Decoded, anthropic, chat_codec, openai_chat};
use super::{arbitrary, write};
use crate::codec::ChatCodec as _;

fn decoded(family: craton_models::Family, request: &ChatRequest) -> (Decoded, String) {
    let body = write::body(family, request);
    let text = body.to_string();
    let decoded = chat_codec(family).unwrap().decode(text.as_bytes());
    (decoded.unwrap_or_else(|error| panic!("{family:?}: {error}\n{text}")), text)
}

#[test]
fn every_chat_family_has_a_codec() {
    for family in Family::of(Task::Chat) {
        assert!(chat_codec(family).is_some(), "{family:?}");
    }
    assert!(chat_codec(craton_models::Family::TitanEmbedV2).is_none());
}

macro_rules! round_trips {
    ($($name:ident => $family:ident),+ $(,)?) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(128))]
            $(
                #[test]
                fn $name(request in arbitrary::request(craton_models::Family::$family)) {
                    let (decoded, text) = decoded(craton_models::Family::$family, &request);
                    prop_assert_eq!(decoded.request, request, "{}", text);
                    prop_assert_eq!(decoded.answer_id.len(), 22);
                }
            )+
        }
    };
}

round_trips! {
    anthropic_messages => AnthropicMessages,
    anthropic_text => AnthropicText,
    titan_text => TitanText,
    nova => Nova,
    llama => Llama,
    mistral_text => MistralText,
    mistral_chat => MistralChat,
    cohere_command => CohereCommand,
    cohere_command_r => CohereCommandR,
    jamba => Jamba,
    openai => OpenAiChat,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_direct_anthropic_door_reads_the_same_request(
        request in arbitrary::request(craton_models::Family::AnthropicMessages),
        stream in any::<bool>(),
    ) {
        let mut body = write::body(craton_models::Family::AnthropicMessages, &request);
        let fields = body.as_object_mut().unwrap();
        fields.remove("anthropic_version");
        fields.insert("model".to_owned(), "claude-x".into());
        fields.insert("stream".to_owned(), stream.into());
        let decoded = anthropic::DIRECT.decode(body.to_string().as_bytes()).unwrap();
        prop_assert_eq!((&decoded.request, decoded.stream, decoded.model_id.as_str()), (&request, stream, "claude-x"));

        let fields = body.as_object_mut().unwrap();
        fields.remove("max_tokens");
        let counted = anthropic::DIRECT_COUNT.decode(body.to_string().as_bytes()).unwrap();
        prop_assert_eq!(counted.request.messages, request.messages);
        prop_assert_eq!(counted.request.sampling.max_tokens, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// What Command R has room for, less what Responses has no fields for.
    #[test]
    fn the_responses_door_reads_the_same_request(
        request in arbitrary::request(craton_models::Family::CohereCommandR),
    ) {
        let mut request = request;
        let sampling = &mut request.sampling;
        (sampling.top_k, sampling.seed) = (None, None);
        sampling.stop_sequences.clear();
        let body = write::responses(&request);
        let call = ResponsesCall::decode(&serde_json::to_vec(&body).unwrap()).unwrap();
        prop_assert_eq!(call.request, request, "{}", body);
        prop_assert_eq!(call.model_id, "m");
    }
}

#[test]
fn the_openai_door_reads_its_options() {
    let body = br#"{"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true,
        "stream_options": {"include_usage": true}, "max_completion_tokens": 7, "stop": "END", "service_tier": "flex",
        "reasoning_effort": "low", "parallel_tool_calls": false, "response_format": {"type": "json_object"}, "n": 1}"#;
    let decoded = openai_chat::DIRECT.decode(body).unwrap();
    assert!(decoded.stream && decoded.options.include_usage);
    assert_eq!(decoded.request.sampling.max_tokens, Some(7));
    assert_eq!(decoded.request.sampling.stop_sequences, ["END"]);
    assert_eq!(decoded.request.priority, Priority::Flex);
    assert_eq!(decoded.request.effort, Some(craton_backend::Effort::Low));
    assert!(!decoded.request.extra.contains_key("reasoning_effort"));
    assert!(decoded.request.one_tool_call && !decoded.request.extra.contains_key("parallel_tool_calls"));
    assert!(decoded.request.response_schema.is_some());
}

#[test]
fn a_deepseek_prompt_is_read_as_messages() {
    let body =
        "{\"prompt\": \"<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜><think>\\n\", \"max_tokens\": 9}";
    let decoded = openai_chat::BEDROCK.decode(body.as_bytes()).unwrap();
    assert_eq!(decoded.request.messages.len(), 1);
    assert!(decoded.text_completion);
}
