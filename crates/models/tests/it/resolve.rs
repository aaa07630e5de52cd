use craton_models::files::{Import, ModelFiles, Quiet};
use craton_models::{Family, Models, Resolved, Target, Task};
use craton_store::Store;
use craton_wire::error::ApiError;

use crate::setup::{context, in_region, models, write_gguf};

const CHAT: &str = "smollm2-135m-instruct";
const EMBEDDING: &str = "all-minilm-l6-v2";
const HAIKU: &str = "anthropic.claude-3-haiku-20240307-v1:0";

async fn plain() -> (tempfile::TempDir, Models) {
    let directory = tempfile::tempdir().unwrap();
    let models = models(directory.path(), "").await;
    (directory, models)
}

async fn resolve(models: &Models, id: &str) -> Result<Resolved, ApiError> {
    models.resolve(&context(), id).await
}

fn local(name: &str) -> Target {
    Target::Local { model: name.into() }
}

#[tokio::test]
async fn every_spelling_of_an_id_finds_its_model() {
    let (_directory, models) = plain().await;
    for (spelling, id, profile) in [
        (HAIKU, HAIKU, None),
        ("anthropic.claude-3-haiku-20240307-v1:0:200k", HAIKU, None),
        (
            "arn:aws:bedrock:ap-southeast-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
            HAIKU,
            None,
        ),
        (
            "us.anthropic.claude-3-haiku-20240307-v1:0",
            HAIKU,
            Some(
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0",
            ),
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0",
            HAIKU,
            Some(
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0",
            ),
        ),
        ("amazon.titan-text-express-v1:0:8k", "amazon.titan-text-express-v1", None),
        ("amazon.nova-premier-v1:0:mm", "amazon.nova-premier-v1:0", None),
        ("cohere.embed-english-v3:0:512", "cohere.embed-english-v3", None),
        ("amazon.rerank-v1", "amazon.rerank-v1:0", None),
        ("anthropic.claude-v2:0:18k", "anthropic.claude-v2", None),
        ("anthropic.claude-v2:1:200k", "anthropic.claude-v2:1", None),
        ("anthropic.claude-instant-v1:2:100k", "anthropic.claude-instant-v1", None),
        (
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            Some(
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            ),
        ),
    ] {
        let resolved = resolve(&models, spelling).await.unwrap();
        assert_eq!(resolved.model.id, id, "{spelling}");
        assert_eq!(resolved.profile_arn.as_deref(), profile, "{spelling}");
        assert_eq!(resolved.invoked_id, spelling);
    }
    let elsewhere = models.resolve(&in_region("eu-west-1"), "eu.amazon.nova-lite-v1:0").await.unwrap();
    assert_eq!(
        elsewhere.profile_arn.unwrap(),
        "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-lite-v1:0"
    );
}

#[tokio::test]
async fn what_is_no_model_gets_awss_errors() {
    let (_directory, models) = plain().await;
    for (id, code) in [
        ("anthropic.claude-unknown", "ValidationException"),
        ("", "ValidationException"),
        ("arn:aws:s3:::bucket/key", "ValidationException"),
        ("anthropic.claude-v2:9", "ValidationException"),
        ("us.anthropic.claude-v2", "ValidationException"),
        ("aaaaaaaaaaaa", "ValidationException"),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.unknown", "ResourceNotFoundException"),
        ("arn:aws:bedrock:us-east-1::foundation-model/us.amazon.nova-lite-v1:0", "ResourceNotFoundException"),
        (
            "arn:aws:bedrock:us-east-1:999999999999:inference-profile/us.amazon.nova-lite-v1:0",
            "ResourceNotFoundException",
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/aaaaaaaaaaaa",
            "ResourceNotFoundException",
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/aaaaaaaaaaaa",
            "ResourceNotFoundException",
        ),
    ] {
        let error = resolve(&models, id).await.unwrap_err();
        assert_eq!(error.code, code, "{id}: {error}");
    }
    let error = resolve(&models, "anthropic.claude-unknown").await.unwrap_err();
    assert_eq!(error.message, "The provided model identifier is invalid.");
}

#[tokio::test]
async fn without_configuration_the_embedded_models_stand_in_and_say_so() {
    let (_directory, models) = plain().await;
    for (id, name) in [
        (HAIKU, CHAT),
        ("mistral.mistral-7b-instruct-v0:2", CHAT),
        ("amazon.titan-embed-text-v2:0", EMBEDDING),
        ("us.cohere.embed-v4:0", EMBEDDING),
        ("cohere.rerank-v3-5:0", EMBEDDING),
    ] {
        let resolved = resolve(&models, id).await.unwrap();
        assert_eq!(resolved.target, local(name), "{id}");
        assert_eq!(resolved.served_by, format!("local/{name}"), "{id}");
        assert!(resolved.stand_in, "{id}");
    }
    let image = resolve(&models, "stability.sd3-large-v1:0").await.unwrap_err();
    assert_eq!(image.code, "ValidationException");
    assert!(image.message.contains("stability.sd3-large-v1:0 has IMAGE output"), "{image}");
    assert_eq!(models.needed_local_models(), [EMBEDDING, CHAT]);
}

#[tokio::test]
async fn stand_ins_can_be_switched_off() {
    let directory = tempfile::tempdir().unwrap();
    let models = models(
        directory.path(),
        "stand_ins = false\n[[model]]\nid = 'amazon.nova-lite-v1:0'\nlocal = 'smollm2-135m-instruct'",
    )
    .await;
    let error = resolve(&models, HAIKU).await.unwrap_err();
    assert_eq!(error.code, "AccessDeniedException");
    assert_eq!(error.message, "You don't have access to the model with the specified model ID.");
    let served = resolve(&models, "amazon.nova-lite-v1:0").await.unwrap();
    assert!(!served.stand_in);
    let unknown = resolve(&models, "anthropic.claude-unknown").await.unwrap_err();
    assert_eq!(unknown.code, "ValidationException");
    assert_eq!(models.needed_local_models(), [CHAT]);
}

#[tokio::test]
async fn configuration_decides_who_serves() {
    let directory = tempfile::tempdir().unwrap();
    let models = models(
        directory.path(),
        r#"
        [[upstream]]
        name = "vllm"
        kind = "openai"
        base_url = "http://gpu:8000/v1"
        [[model]]
        id = "anthropic.claude-3-haiku-20240307-v1:0"
        upstream = "vllm"
        upstream_model = "qwen"
        price = [1.0, 2.0]
        [[model]]
        id = "eu.anthropic.claude-3-haiku-20240307-v1:0"
        local = "smollm2-135m-instruct"
        [[model]]
        id = "meta.*"
        upstream = "vllm"
        [[model]]
        id = "acme.chat-1"
        upstream = "vllm"
        images = true
        context_tokens = 4096
        [[model]]
        id = "acme.embed"
        local = "all-minilm-l6-v2"
        task = "embedding"
        [[model]]
        id = "gpt-*"
        upstream = "vllm"
        "#,
    )
    .await;
    let upstream = |model: &str| Target::Upstream { upstream: "vllm".into(), model: model.into() };
    let target = async |id: &str| resolve(&models, id).await.unwrap();

    let haiku = target(HAIKU).await;
    assert_eq!((haiku.target, haiku.served_by.as_str()), (upstream("qwen"), "vllm/qwen"));
    assert!(!haiku.stand_in);
    assert_eq!(target("us.anthropic.claude-3-haiku-20240307-v1:0").await.target, upstream("qwen"));
    assert_eq!(target("eu.anthropic.claude-3-haiku-20240307-v1:0").await.target, local(CHAT));
    let llama = "meta.llama3-8b-instruct-v1:0";
    assert_eq!(target(llama).await.target, upstream(llama));
    assert_eq!(
        target("us.meta.llama3-1-8b-instruct-v1:0").await.target,
        upstream("meta.llama3-1-8b-instruct-v1:0")
    );
    let own = target("acme.chat-1").await;
    assert_eq!((own.target, own.model.family), (upstream("acme.chat-1"), Family::OpenAiChat));
    assert_eq!(own.model.context_tokens, Some(4096));
    assert_eq!(target("acme.embed").await.model.task(), Task::Embedding);
    assert_eq!(target("gpt-next").await.target, upstream("gpt-next"));
    assert!(target("amazon.nova-lite-v1:0").await.stand_in);

    assert_eq!(models.price(HAIKU).unwrap().output_per_1k_usd, 2.0);
    let table = models.serving_table();
    let line = |id: &str| table.iter().find(|row| row.id == id);
    assert_eq!(line(HAIKU).unwrap().served_by.as_deref(), Some("vllm/qwen"));
    assert!(line("us.anthropic.claude-3-haiku-20240307-v1:0").is_none(), "as its model");
    assert_eq!(
        line("eu.anthropic.claude-3-haiku-20240307-v1:0").unwrap().served_by.as_deref(),
        Some("local/smollm2-135m-instruct")
    );
    assert_eq!(line("amazon.nova-canvas-v1:0").unwrap().served_by, None);
    assert!(line("amazon.nova-lite-v1:0").unwrap().stand_in);
}

#[tokio::test]
async fn an_import_is_found_at_once_and_gone_when_removed() {
    let (directory, models) = plain().await;
    let outside = tempfile::tempdir().unwrap();
    let path = write_gguf(outside.path(), "m.gguf", "1");
    // Another process imports: this one is told nothing.
    let files = ModelFiles::at(directory.path());
    for round in 0..20 {
        let id = format!("my.model-{round}");
        assert!(resolve(&models, &id).await.is_err());
        let import = Import { source: path.display().to_string(), id: id.clone(), task: None, file: None };
        files.import(&import, &Quiet).unwrap();
        let resolved = resolve(&models, &id).await.unwrap();
        assert_eq!(resolved.target, local(&id));
        assert!(!resolved.stand_in);
        files.remove(&id).unwrap();
        models.refresh();
        assert!(resolve(&models, &id).await.is_err(), "{id}");
    }
}

#[tokio::test]
async fn an_import_under_a_known_id_takes_over_from_the_stand_in() {
    let (directory, models) = plain().await;
    assert!(resolve(&models, HAIKU).await.unwrap().stand_in);
    let outside = tempfile::tempdir().unwrap();
    let path = write_gguf(outside.path(), "m.gguf", "1");
    let import = Import { source: path.display().to_string(), id: HAIKU.into(), task: None, file: None };
    ModelFiles::at(directory.path()).import(&import, &Quiet).unwrap();
    let mut later = context();
    later.received_ms += 2_000;
    let resolved = models.resolve(&later, HAIKU).await.unwrap();
    assert_eq!(resolved.target, local("anthropic.claude-3-haiku-20240307-v1-0"));
    assert!(!resolved.stand_in);
    assert_eq!(resolved.model.name, "Claude 3 Haiku");
}

#[tokio::test]
async fn a_local_model_that_the_store_lacks_is_refused_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let config = toml::from_str("[[model]]\nid = 'acme.chat'\nlocal = 'unknown'").unwrap();
    let store = Store::in_memory().await.unwrap();
    let Err(error) = Models::open(config, ModelFiles::at(directory.path()), store) else {
        panic!("it opened")
    };
    assert_eq!(
        error.to_string(),
        format!(
            r#"[[model]] "acme.chat": the model store has no "unknown"; it has: {EMBEDDING}, en-core-web-sm, {CHAT}"#
        )
    );
}

#[tokio::test]
async fn a_profile_goes_on_to_bedrock_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let config = r#"
        [[upstream]]
        name = "aws"
        kind = "bedrock"
        base_url = "https://bedrock-runtime.us-east-1.amazonaws.com"
        [[upstream]]
        name = "vllm"
        kind = "openai"
        base_url = "http://gpu:8000/v1"
        [[model]]
        id = "anthropic.*"
        upstream = "aws"
        [[model]]
        id = "meta.*"
        upstream = "vllm"
        [[model]]
        id = "us.meta.llama4*"
        upstream = "aws"
    "#;
    let models = models(directory.path(), config).await;
    for (id, served_by) in [
        (HAIKU, "aws/anthropic.claude-3-haiku-20240307-v1:0"),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", "aws/us.anthropic.claude-3-haiku-20240307-v1:0"),
        ("us.meta.llama3-1-8b-instruct-v1:0", "vllm/meta.llama3-1-8b-instruct-v1:0"),
        ("us.meta.llama4-scout-17b-instruct-v1:0", "aws/us.meta.llama4-scout-17b-instruct-v1:0"),
    ] {
        assert_eq!(resolve(&models, id).await.unwrap().served_by, served_by);
    }
}
