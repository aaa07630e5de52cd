use craton_api_bedrock as api;
use craton_models::ModelsService;

use crate::setup::{context, in_region, service};

type Filter = api::ListFoundationModelsRequest;

async fn list(service: &ModelsService, filter: Filter) -> Vec<api::FoundationModelSummary> {
    service.list_foundation_models(&context(), filter).await.unwrap().model_summaries.unwrap()
}

#[tokio::test]
async fn the_list_has_every_model_in_the_region_asked() {
    let directory = tempfile::tempdir().unwrap();
    let service =
        service(directory.path(), "[[model]]\nid = 'acme.chat'\nlocal = 'smollm2-135m-instruct'").await;
    let answer = service.list_foundation_models(&in_region("us-west-2"), Filter::default()).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    let models = answer["modelSummaries"].as_array().unwrap();
    assert!(models.len() > 100);
    assert!(models.iter().any(|model| model["modelId"] == "acme.chat"));
    let sonnet = models.iter().find(|m| m["modelId"] == "anthropic.claude-3-5-sonnet-20241022-v2:0").unwrap();
    assert_eq!(
        sonnet.to_string(),
        r#"{"modelArn":"arn:aws:bedrock:us-west-2::foundation-model/anthropic.claude-3-5-sonnet-20241022-v2:0","modelId":"anthropic.claude-3-5-sonnet-20241022-v2:0","modelName":"Claude 3.5 Sonnet v2","providerName":"Anthropic","inputModalities":["TEXT","IMAGE"],"outputModalities":["TEXT"],"responseStreamingSupported":true,"customizationsSupported":["DISTILLATION"],"inferenceTypesSupported":["ON_DEMAND","PROVISIONED"],"modelLifecycle":{"status":"ACTIVE"}}"#
    );
}

#[tokio::test]
async fn each_filter_keeps_what_it_names() {
    let directory = tempfile::tempdir().unwrap();
    let service = service(directory.path(), "").await;
    let ids = |models: &[api::FoundationModelSummary]| -> Vec<String> {
        models.iter().map(|model| model.model_id.clone()).collect()
    };
    let all = list(&service, Filter::default()).await.len();
    for provider in ["Anthropic", "anthropic", "Stability AI", "stability", "Mistral AI"] {
        let found = list(&service, Filter { by_provider: Some(provider.into()), ..Filter::default() }).await;
        let prefix = format!("{}.", provider.to_lowercase().split(' ').next().unwrap());
        assert!(!found.is_empty() && found.len() < all, "{provider}");
        assert!(ids(&found).iter().all(|id| id.starts_with(&prefix)), "{provider}");
    }
    let modality = Filter { by_output_modality: Some(api::ModelModality::Embedding), ..Filter::default() };
    let found = ids(&list(&service, modality).await);
    assert!(
        found.contains(&"amazon.titan-embed-text-v2:0".into()) && found.iter().all(|id| id.contains("embed"))
    );
    let tunable = Filter {
        by_customization_type: Some(api::ModelCustomization::ContinuedPreTraining),
        ..Filter::default()
    };
    let found = ids(&list(&service, tunable).await);
    assert_eq!(found, ["amazon.titan-text-lite-v1", "amazon.titan-text-express-v1"]);
    let provisioned = Filter {
        by_inference_type: Some(api::InferenceType::Provisioned),
        by_provider: Some("cohere".into()),
        by_output_modality: Some(api::ModelModality::Text),
        ..Filter::default()
    };
    let found = ids(&list(&service, provisioned).await);
    assert_eq!(found, ["cohere.command-text-v14", "cohere.command-light-text-v14"]);
    let profiled = Filter {
        by_inference_type: Some(api::InferenceType::InferenceProfile),
        by_provider: Some("deepseek".into()),
        ..Filter::default()
    };
    assert_eq!(ids(&list(&service, profiled).await), ["deepseek.r1-v1:0"]);
    let demanded = Filter {
        by_inference_type: Some(api::InferenceType::OnDemand),
        by_provider: Some("deepseek".into()),
        ..Filter::default()
    };
    assert_eq!(ids(&list(&service, demanded).await), ["deepseek.v3-v1:0", "deepseek.v3.2"]);
    let videos = Filter { by_output_modality: Some(api::ModelModality::Video), ..Filter::default() };
    assert_eq!(ids(&list(&service, videos).await), ["amazon.nova-reel-v1:0", "amazon.nova-reel-v1:1"]);
    let nobody = Filter { by_provider: Some("nobody".into()), ..Filter::default() };
    assert!(list(&service, nobody).await.is_empty());
}

#[tokio::test]
async fn one_model_by_id_or_arn() {
    let directory = tempfile::tempdir().unwrap();
    let service = service(directory.path(), "").await;
    let get = async |identifier: &str| {
        let input = api::GetFoundationModelRequest { model_identifier: identifier.into() };
        service.get_foundation_model(&context(), input).await
    };
    for identifier in [
        "amazon.titan-text-express-v1",
        "arn:aws:bedrock:eu-west-1::foundation-model/amazon.titan-text-express-v1",
    ] {
        let details = get(identifier).await.unwrap().model_details.unwrap();
        assert_eq!(details.model_id, "amazon.titan-text-express-v1");
        assert_eq!(
            details.model_arn,
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-text-express-v1"
        );
    }
    for (identifier, code) in [
        ("amazon.unknown", "ValidationException"),
        ("us.amazon.nova-lite-v1:0", "ValidationException"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.unknown", "ResourceNotFoundException"),
    ] {
        assert_eq!(get(identifier).await.unwrap_err().code, code, "{identifier}");
    }
}

#[tokio::test]
async fn availability_tells_what_a_call_would_meet() {
    let directory = tempfile::tempdir().unwrap();
    let with = service(directory.path(), "").await;
    let without = service(directory.path(), "stand_ins = false").await;
    let get = async |service: &ModelsService, id: &str| {
        let input = api::GetFoundationModelAvailabilityRequest { model_id: id.into() };
        let answer = service.get_foundation_model_availability(&context(), input).await.unwrap();
        serde_json::to_value(answer).unwrap()
    };
    let served = get(&with, "amazon.nova-lite-v1:0").await;
    assert_eq!(
        served.to_string(),
        r#"{"modelId":"amazon.nova-lite-v1:0","agreementAvailability":{"status":"AVAILABLE"},"authorizationStatus":"AUTHORIZED","entitlementAvailability":"AVAILABLE","regionAvailability":"AVAILABLE"}"#
    );
    let denied = get(&without, "amazon.nova-lite-v1:0").await;
    assert_eq!(denied["authorizationStatus"], "NOT_AUTHORIZED");
    assert_eq!(denied["regionAvailability"], "AVAILABLE");
    let image = get(&with, "amazon.nova-canvas-v1:0").await;
    assert_eq!(image["regionAvailability"], "NOT_AVAILABLE");
}
