//! Knowledge bases and data sources themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use craton_core::RequestContext;
use craton_knowledge_bases::{CollectionIndex, KnownCollections};
use craton_store::Store;
use craton_vectors::IndexSpec;
use craton_wire::ApiError;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::support::{World, base_request, bucket_configuration, chunking, context, input};

fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>, code: &str, part: &str) {
    let error = result.unwrap_err();
    assert!(error.code == code && error.message.contains(part), "{error}");
}

#[tokio::test]
async fn names_are_unique_tokens_repeat_and_ids_are_like_aws() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let mut request = base_request("one");
    request["clientToken"] = json!("0123456789012345678901234567890123");
    request["tags"] = json!({ "team": "a" });
    let create = |request: Value| {
        let service = world.service.clone();
        async move { service.create_knowledge_base(&context(), input(request)).await }
    };
    let first = create(request.clone()).await.unwrap().knowledge_base;
    let again = create(request.clone()).await.unwrap().knowledge_base;
    assert_eq!(first.knowledge_base_id, again.knowledge_base_id);
    assert!(first.knowledge_base_id.len() == 10);
    assert!(first.knowledge_base_id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
    request["description"] = json!("other");
    refused(create(request).await, "ConflictException", "client token");
    refused(create(base_request("one")).await, "ConflictException", "already exists");

    let arn = &first.knowledge_base_arn;
    assert_eq!(world.store.tags(arn).await.unwrap()["team"], "a");
    assert!(world.service.has_knowledge_base(&context(), arn).await.unwrap());
    let elsewhere = "arn:aws:bedrock:us-east-1:123456789012:knowledge-base/NONE";
    assert!(!world.service.has_knowledge_base(&context(), elsewhere).await.unwrap());
}

#[tokio::test]
async fn what_can_not_be_served_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let elsewhere = |arn: &str| {
        let mut storage = base_request("x")["storageConfiguration"].clone();
        storage["opensearchServerlessConfiguration"]["collectionArn"] = json!(arn);
        storage
    };
    let other_account = elsewhere("arn:aws:aoss:us-east-1:999999999999:collection/abc");
    let none = elsewhere("arn:aws:aoss:us-east-1:123456789012:collection/none");
    let rds = json!({ "type": "RDS", "rdsConfiguration": {
        "resourceArn": "arn:aws:rds:us-east-1:123456789012:cluster:none", "databaseName": "d", "tableName": "t",
        "credentialsSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:s",
        "fieldMapping": { "primaryKeyField": "id", "vectorField": "v", "textField": "t", "metadataField": "m" } } });
    let mut misnamed = base_request("x")["storageConfiguration"].clone();
    misnamed["opensearchServerlessConfiguration"]["vectorIndexName"] = json!("Upper/x");
    let named = |vector: &str, text: &str| {
        let mut storage = base_request("x")["storageConfiguration"].clone();
        let fields = json!({ "vectorField": vector, "textField": text, "metadataField": "m" });
        storage["opensearchServerlessConfiguration"]["fieldMapping"] = fields;
        storage
    };
    let cases: [(&str, Value, &str); 12] = [
        (
            "storageConfiguration",
            named("unmapped", "t"),
            "The knowledge base storage configuration provided is invalid... Field 'unmapped' is not knn_vector type.",
        ),
        ("storageConfiguration", named("v", "m"), "must have different names"),
        ("storageConfiguration", misnamed, "Invalid index name [Upper/x]"),
        ("storageConfiguration", other_account, "there is no collection"),
        ("storageConfiguration", none, "there is no collection"),
        ("storageConfiguration", rds, "No database is configured"),
        ("storageConfiguration", json!({ "type": "PINECONE" }), "PINECONE is not served"),
        ("storageConfiguration", json!({ "type": "S3_VECTORS" }), "S3_VECTORS is not served"),
        (
            "storageConfiguration",
            json!({ "type": "OPENSEARCH_SERVERLESS" }),
            "opensearchServerlessConfiguration is required",
        ),
        ("knowledgeBaseConfiguration", json!({ "type": "KENDRA" }), "KENDRA are not served"),
        (
            "knowledgeBaseConfiguration",
            json!({ "type": "VECTOR", "vectorKnowledgeBaseConfiguration": {
                "embeddingModelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0",
                "supplementalDataStorageConfiguration": { "storageLocations": [
                    { "type": "S3", "s3Location": { "uri": "s3://pictures" } }] } } }),
            "supplementalDataStorageConfiguration",
        ),
        (
            "knowledgeBaseConfiguration",
            json!({ "type": "VECTOR", "vectorKnowledgeBaseConfiguration": { "embeddingModelArn":
                "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-5-sonnet-20241022-v2:0" } }),
            "not an embedding model",
        ),
    ];
    for (key, value, part) in cases {
        let mut request = base_request("x");
        request[key] = value;
        let answer = world.service.create_knowledge_base(&context(), input(request)).await;
        refused(answer, "ValidationException", part);
    }
}

#[tokio::test]
async fn data_sources_that_can_not_be_served_are_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let base = world.create_base("x").await.unwrap();
    let unserved = json!({ "dataSourceConfiguration": { "type": "SALESFORCE" } });
    refused(world.create_source(&base, unserved).await, "ValidationException", "SALESFORCE");
    let bucket = json!({ "bucketArn": "arn:aws:s3:::docs" });
    let web = json!({ "sourceConfiguration": { "urlConfiguration": { "seedUrls": [{ "url": "http://a.test/" }] } } });
    for (kind, members, part) in [
        ("CUSTOM", json!({ "s3Configuration": bucket }), "s3Configuration can't be given"),
        (
            "S3",
            json!({ "s3Configuration": bucket, "webConfiguration": web }),
            "webConfiguration can't be given",
        ),
        ("WEB", json!({ "s3Configuration": bucket }), "s3Configuration can't be given"),
        ("S3", json!({}), "s3Configuration is required"),
    ] {
        let mut configuration = members;
        configuration["type"] = json!(kind);
        let source = json!({ "dataSourceConfiguration": configuration });
        refused(world.create_source(&base, source).await, "ValidationException", part);
    }
    let foreign = json!({ "dataSourceConfiguration": { "type": "S3", "s3Configuration": {
        "bucketArn": "arn:aws:s3:::docs", "bucketOwnerAccountId": "999999999999" } } });
    refused(world.create_source(&base, foreign).await, "ValidationException", "bucketOwnerAccountId");
    let levels =
        json!({ "levelConfigurations": [{ "maxTokens": 10 }, { "maxTokens": 20 }], "overlapTokens": 1 });
    let upside_down = chunking("HIERARCHICAL", "hierarchicalChunkingConfiguration", levels);
    refused(world.create_source(&base, upside_down).await, "ValidationException", "first level");
    let incomplete = chunking("SEMANTIC", "", Value::Null);
    refused(
        world.create_source(&base, incomplete).await,
        "ValidationException",
        "semanticChunkingConfiguration",
    );
    let fixed = json!({ "maxTokens": 10, "overlapPercentage": 10 });
    let both = chunking("NONE", "fixedSizeChunkingConfiguration", fixed);
    refused(world.create_source(&base, both).await, "ValidationException", "can't be given");
    refused(world.create_source("NOSUCHBASE", json!({})).await, "ResourceNotFoundException", "NOSUCHBASE");
}

#[tokio::test]
async fn an_update_that_says_nothing_of_chunks_keeps_them() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let base = world.create_base("b").await.unwrap();
    let whole = chunking("NONE", "", Value::Null);
    let usual = |overlap: i32| {
        let fixed = json!({ "maxTokens": 300, "overlapPercentage": overlap });
        chunking("FIXED_SIZE", "fixedSizeChunkingConfiguration", fixed)
    };
    let mut number = 0;
    let mut updated = async |made: &Value, said: &Value| {
        number += 1;
        let mut made = made.clone();
        made["name"] = json!(format!("source-{number}"));
        let source = world.create_source(&base, made).await?;
        let mut request = json!({ "knowledgeBaseId": base, "dataSourceId": source, "name": format!("new-{number}"),
            "dataSourceConfiguration": bucket_configuration() });
        if let Some(ingestion) = said.get("vectorIngestionConfiguration") {
            request["vectorIngestionConfiguration"] = ingestion.clone();
        }
        let updated = world.service.update_data_source(&context(), input(request)).await?;
        world
            .service
            .delete_data_source(&context(), input(json!({ "knowledgeBaseId": base, "dataSourceId": source })))
            .await?;
        Ok::<_, ApiError>(json!(updated.data_source.vector_ingestion_configuration))
    };
    let nothing = json!({});
    let kept = &whole["vectorIngestionConfiguration"];
    assert_eq!(updated(&whole, &nothing).await.unwrap(), *kept);
    assert_eq!(updated(&whole, &whole).await.unwrap(), *kept);
    assert_eq!(updated(&whole, &json!({ "vectorIngestionConfiguration": {} })).await.unwrap(), *kept);
    assert_eq!(updated(&nothing, &usual(20)).await.unwrap(), Value::Null, "what is usual, spelled out");
    for (made, said) in [(&whole, &usual(20)), (&nothing, &usual(10)), (&nothing, &whole)] {
        refused(updated(made, said).await, "ValidationException", "can't be changed");
    }
}

#[tokio::test]
async fn a_deleted_data_source_takes_its_documents_unless_they_are_retained() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let mut ids = world.library().await;
    world.put("a.txt", "apples").await;
    let gone = |ids: &crate::support::Ids| {
        let (service, request) = (world.service.clone(), ids.json());
        async move {
            for _ in 0..500 {
                if service.get_data_source(&context(), input(request.clone())).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("{request} stays");
        }
    };
    for (policy, left) in [("DELETE", 0), ("RETAIN", 1)] {
        ids.source = world
            .create_source(&ids.base, json!({ "name": policy, "dataDeletionPolicy": policy }))
            .await
            .unwrap();
        assert_eq!(world.counters(&ids).await[2], 1);
        world.service.delete_data_source(&context(), input(ids.json())).await.unwrap();
        gone(&ids).await;
        assert_eq!(world.chunks().await.len(), left, "{policy}");
    }
    let base = json!({ "knowledgeBaseId": ids.base });
    world.service.delete_knowledge_base(&context(), input(base.clone())).await.unwrap();
    for _ in 0..500 {
        if world.service.get_knowledge_base(&context(), input(base.clone())).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the knowledge base stays");
}

/// A collection that goes away under its knowledge base.
#[derive(Default)]
struct Until(AtomicBool);

impl KnownCollections for Until {
    fn has_collection<'a>(
        &'a self,
        _: &'a RequestContext,
        _: &'a str,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        std::future::ready(Ok(!self.0.load(Ordering::SeqCst))).boxed()
    }

    fn check_index<'a>(
        &'a self,
        _: &'a RequestContext,
        _: CollectionIndex<'a>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn name_fields<'a>(
        &'a self,
        _: &'a RequestContext,
        _: CollectionIndex<'a>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        std::future::ready(Ok(())).boxed()
    }
}

#[tokio::test]
async fn without_its_collection_a_sync_fails_and_a_data_source_goes() {
    let directory = tempfile::tempdir().unwrap();
    let gone = Arc::new(Until::default());
    let collections = Arc::clone(&gone);
    let store = Store::open(directory.path()).await.unwrap();
    let mut world = World::tuned(store, directory.path(), |parts| parts.collections = collections);
    world.work().await;
    let ids = world.library().await;
    world.put("a.txt", "apples").await;
    assert_eq!(world.counters(&ids).await[2], 1);
    gone.0.store(true, Ordering::SeqCst);
    world.drivers.remove(&IndexSpec::of_collection("abc", "i", 1024)).await.unwrap();
    let job = world.sync(&ids).await;
    assert_eq!(job.status.as_str(), "FAILED");
    assert!(job.failure_reasons.unwrap()[0].contains("there is no collection"));
    world.service.delete_data_source(&context(), input(ids.json())).await.unwrap();
    for _ in 0..500 {
        if world.service.get_data_source(&context(), input(ids.json())).await.is_err() {
            let indexes = world.store.fetch_all("SELECT * FROM vector_indexes", &[]).await.unwrap();
            assert_eq!(indexes.len(), 0, "nothing is made in its place");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the data source stays");
}

/// A collection that is deleted once this many have asked for it.
struct For(AtomicUsize);

impl KnownCollections for For {
    fn has_collection<'a>(
        &'a self,
        _: &'a RequestContext,
        _: &'a str,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        let less = |left: usize| left.checked_sub(1);
        let is_there = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok();
        std::future::ready(Ok(is_there)).boxed()
    }

    fn check_index<'a>(
        &'a self,
        _: &'a RequestContext,
        _: CollectionIndex<'a>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn name_fields<'a>(
        &'a self,
        _: &'a RequestContext,
        _: CollectionIndex<'a>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        std::future::ready(Ok(())).boxed()
    }
}

#[tokio::test]
async fn a_collection_deleted_in_the_instant_of_a_sync_leaves_no_index() {
    let directory = tempfile::tempdir().unwrap();
    let asked = Arc::new(For(AtomicUsize::new(usize::MAX)));
    let collections = Arc::clone(&asked);
    let store = Store::open(directory.path()).await.unwrap();
    let mut world = World::tuned(store, directory.path(), |parts| parts.collections = collections);
    world.work().await;
    let ids = world.library().await;
    world.drivers.remove_collection("abc").await.unwrap();
    // The sync finds it, and then it is gone.
    asked.0.store(1, Ordering::SeqCst);
    let job = world.sync(&ids).await;
    assert_eq!(job.status.as_str(), "FAILED");
    assert!(job.failure_reasons.unwrap()[0].contains("there is no collection"));
    let indexes = world.store.fetch_all("SELECT * FROM vector_indexes", &[]).await.unwrap();
    assert_eq!(indexes.len(), 0);
}

#[tokio::test]
async fn pages_of_bases_and_jobs_visit_each_once() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    for n in 0..4 {
        world.create_base(&format!("base-{n}")).await.unwrap();
        world.sync(&ids).await;
    }
    let (mut seen, mut token) = (Vec::new(), Value::Null);
    loop {
        let request = json!({ "maxResults": 2, "nextToken": token });
        let page = world.service.list_knowledge_bases(&context(), input(request)).await.unwrap();
        seen.extend(page.knowledge_base_summaries.into_iter().map(|summary| summary.name));
        let Some(next) = page.next_token else { break };
        token = json!(next);
    }
    seen.sort();
    assert_eq!(seen, ["base-0", "base-1", "base-2", "base-3", "library"]);
    let (mut started, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut request = ids.json();
        request["maxResults"] = json!(3);
        request["nextToken"] = token;
        let page = world.service.list_ingestion_jobs(&context(), input(request)).await.unwrap();
        started.extend(page.ingestion_job_summaries.iter().map(|summary| summary.started_at.as_ms()));
        let Some(next) = page.next_token else { break };
        token = json!(next);
    }
    assert!(started.len() == 4 && started.is_sorted_by(|a, b| a >= b), "{started:?}");
}
