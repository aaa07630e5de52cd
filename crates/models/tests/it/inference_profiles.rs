use craton_api_bedrock as api;
use craton_models::ModelsService;
use craton_wire::error::ApiError;

use crate::setup::{context, in_region, service};

const HAIKU_ARN: &str = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0";
const US_HAIKU: &str = "us.anthropic.claude-3-haiku-20240307-v1:0";

fn request(name: &str, source: &str) -> api::CreateInferenceProfileRequest {
    api::CreateInferenceProfileRequest {
        inference_profile_name: name.into(),
        description: Some("for the tests".into()),
        client_request_token: None,
        model_source: api::InferenceProfileModelSource::CopyFrom(source.into()),
        tags: Some(vec![api::Tag { key: "team".into(), value: "a".into() }]),
    }
}

async fn create(
    service: &ModelsService,
    request: api::CreateInferenceProfileRequest,
) -> Result<String, ApiError> {
    Ok(service.create_inference_profile(&context(), request).await?.inference_profile_arn)
}

async fn get(
    service: &ModelsService,
    identifier: &str,
) -> Result<api::GetInferenceProfileResponse, ApiError> {
    let input = api::GetInferenceProfileRequest { inference_profile_identifier: identifier.into() };
    service.get_inference_profile(&context(), input).await
}

async fn delete(service: &ModelsService, identifier: &str) -> Result<(), ApiError> {
    let input = api::DeleteInferenceProfileRequest { inference_profile_identifier: identifier.into() };
    service.delete_inference_profile(&context(), input).await.map(|_| ())
}

#[tokio::test]
async fn system_profiles_say_where_they_route() {
    let directory = tempfile::tempdir().unwrap();
    let service = service(directory.path(), "").await;
    let arn = format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{US_HAIKU}");
    for identifier in [US_HAIKU, arn.as_str()] {
        let profile = get(&service, identifier).await.unwrap();
        assert_eq!(profile.inference_profile_arn, arn);
        assert_eq!(profile.inference_profile_name, "US Anthropic Claude 3 Haiku");
        assert_eq!(profile.r#type, api::InferenceProfileType::SystemDefined);
        assert_eq!(profile.models[0].model_arn.as_deref(), Some(HAIKU_ARN));
        assert_eq!(profile.models.len(), 3);
    }
    assert_eq!(get(&service, "us.unknown").await.unwrap_err().code, "ResourceNotFoundException");
    assert_eq!(delete(&service, US_HAIKU).await.unwrap_err().code, "ValidationException");
}

#[tokio::test]
async fn an_application_profile_lives_from_creation_to_deletion() {
    let directory = tempfile::tempdir().unwrap();
    let service = service(directory.path(), "").await;
    let arn = create(&service, request("mine", HAIKU_ARN)).await.unwrap();
    let id =
        arn.strip_prefix("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/").unwrap();
    assert_eq!(id.len(), 12);

    for identifier in [id, arn.as_str()] {
        let profile = get(&service, identifier).await.unwrap();
        assert_eq!(profile.inference_profile_name, "mine");
        assert_eq!(profile.inference_profile_arn, arn);
        assert_eq!(profile.r#type, api::InferenceProfileType::Application);
        assert_eq!(profile.models.len(), 1);
        assert_eq!(profile.models[0].model_arn.as_deref(), Some(HAIKU_ARN));
        assert!(profile.created_at.is_some() && profile.created_at == profile.updated_at);
        let resolved = service.models().resolve(&context(), identifier).await.unwrap();
        assert_eq!(resolved.model.id, "anthropic.claude-3-haiku-20240307-v1:0");
        assert_eq!(resolved.profile_arn.as_deref(), Some(arn.as_str()));
    }
    let elsewhere = service.models().resolve(&in_region("eu-west-1"), &arn).await.unwrap();
    assert_eq!(elsewhere.profile_arn.as_deref(), Some(arn.as_str()), "the ARN names its region");

    delete(&service, &arn).await.unwrap();
    assert_eq!(get(&service, id).await.unwrap_err().code, "ResourceNotFoundException");
    assert_eq!(delete(&service, id).await.unwrap_err().code, "ResourceNotFoundException");
    assert!(service.models().resolve(&context(), &arn).await.is_err());
    assert!(!service.has_inference_profile(&context(), &arn).await.unwrap());
    create(&service, request("mine", HAIKU_ARN)).await.unwrap();
}

#[tokio::test]
async fn a_profile_copied_from_a_profile_routes_as_that_one() {
    let directory = tempfile::tempdir().unwrap();
    let service = service(
        directory.path(),
        "[[model]]\nid = 'us.anthropic.claude-3-haiku-20240307-v1:0'\nlocal = 'smollm2-135m-instruct'",
    )
    .await;
    let source = format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{US_HAIKU}");
    let arn = create(&service, request("copy", &source)).await.unwrap();
    assert_eq!(get(&service, &arn).await.unwrap().models.len(), 3);
    assert_eq!(
        service.models().resolve(&context(), &arn).await.unwrap().served_by,
        "local/smollm2-135m-instruct"
    );
}

#[tokio::test]
async fn creation_refuses_what_it_can_not_keep() {
    let directory = tempfile::tempdir().unwrap();
    let service = service(directory.path(), "").await;
    create(&service, request("mine", HAIKU_ARN)).await.unwrap();
    let code = async |request| create(&service, request).await.unwrap_err().code;
    assert_eq!(code(request("mine", HAIKU_ARN)).await, "ConflictException");
    let unknown = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.unknown";
    assert_eq!(code(request("other", unknown)).await, "ResourceNotFoundException");
    let foreign = format!("arn:aws:bedrock:us-east-1:999999999999:inference-profile/{US_HAIKU}");
    assert_eq!(code(request("other", &foreign)).await, "ResourceNotFoundException");
    let guardrail = "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc";
    assert_eq!(code(request("other", guardrail)).await, "ValidationException");
    let mut twice = request("other", HAIKU_ARN);
    let tag = api::Tag { key: "k".into(), value: "v".into() };
    twice.tags = Some(vec![tag.clone(), tag]);
    assert_eq!(code(twice).await, "ValidationException");
    let mut reserved = request("other", HAIKU_ARN);
    reserved.tags = Some(vec![api::Tag { key: "aws:x".into(), value: "v".into() }]);
    assert_eq!(code(reserved).await, "ValidationException");
}

#[tokio::test]
async fn a_request_token_makes_repetitions_one_request() {
    let directory = tempfile::tempdir().unwrap();
    let service = service(directory.path(), "").await;
    let with = |name: &str| api::CreateInferenceProfileRequest {
        client_request_token: Some("token".into()),
        ..request(name, HAIKU_ARN)
    };
    let first = create(&service, with("mine")).await.unwrap();
    assert_eq!(create(&service, with("mine")).await.unwrap(), first);
    assert_eq!(create(&service, with("other")).await.unwrap_err().code, "ConflictException");
}

#[tokio::test]
async fn pages_go_through_all_profiles_once() {
    let directory = tempfile::tempdir().unwrap();
    let service = service(directory.path(), "").await;
    for n in 0..3 {
        create(&service, request(&format!("p{n}"), HAIKU_ARN)).await.unwrap();
    }
    let list = async |kind, max_results, next_token| {
        let input = api::ListInferenceProfilesRequest { max_results, next_token, type_equals: kind };
        service.list_inference_profiles(&context(), input).await.unwrap()
    };
    let count = async |kind| {
        let mut seen = std::collections::HashSet::new();
        let mut token = None;
        loop {
            let page = list(kind, Some(7), token).await;
            let summaries = page.inference_profile_summaries.unwrap();
            assert!(summaries.len() <= 7);
            for summary in summaries {
                assert!(seen.insert(summary.inference_profile_arn), "seen twice");
            }
            token = page.next_token;
            if token.is_none() {
                return seen.len();
            }
        }
    };
    let system = count(Some(api::InferenceProfileType::SystemDefined)).await;
    assert!(system > 100);
    assert_eq!(count(Some(api::InferenceProfileType::Application)).await, 3);
    assert_eq!(count(None).await, system + 3);
    let input =
        api::ListInferenceProfilesRequest { next_token: Some("nonsense".into()), ..Default::default() };
    let error = service.list_inference_profiles(&context(), input).await.unwrap_err();
    assert_eq!(error.code, "ValidationException");
}
