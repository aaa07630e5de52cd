//! Knowledge bases whose index is a table of a PostgreSQL with pgvector.

use craton_api_bedrock_agent::IngestionJobStatus::Complete;
use craton_knowledge_bases::PostgresDatabase;
use craton_store::{Store, testing};
use craton_vectors::{IndexSpec, PostgresTable, Query, Storage, Want};
use serde_json::{Value, json};

use crate::support::{Ids, World, base_request, context, input};

const ARN: &str = "arn:aws:rds:us-east-1:123456789012:cluster:vectors";

fn storage(database: &str) -> Value {
    json!({ "type": "RDS", "rdsConfiguration": {
        "resourceArn": ARN, "databaseName": database, "tableName": "bedrock_integration",
        "credentialsSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:s",
        "fieldMapping": { "primaryKeyField": "id", "vectorField": "embedding", "textField": "chunks",
                          "metadataField": "metadata", "customMetadataField": "custom" } } })
}

async fn create(world: &World, name: &str, storage: Value) -> (String, String, Option<Vec<String>>) {
    let mut request = base_request(name);
    request["storageConfiguration"] = storage;
    let created = world.service.create_knowledge_base(&context(), input(request)).await.unwrap();
    let id = created.knowledge_base.knowledge_base_id;
    for _ in 0..1000 {
        let request = input(json!({ "knowledgeBaseId": id }));
        let found = world.service.get_knowledge_base(&context(), request).await.unwrap().knowledge_base;
        if found.status.as_str() != "CREATING" {
            return (id, found.status.as_str().to_owned(), found.failure_reasons);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{name} is never made");
}

#[tokio::test]
async fn documents_are_rows_of_the_table() {
    let directory = tempfile::tempdir().unwrap();
    let url = testing::postgres_url();
    let name = url.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    let database = PostgresDatabase {
        resource_arn: ARN.into(),
        url: url.replace(&format!("/{name}"), "/postgres"),
        password_env: None,
    };
    let store = Store::open(directory.path()).await.unwrap();
    let mut world = World::tuned(store, directory.path(), |parts| parts.databases = vec![database]);
    world.work().await;
    world.bucket().await;
    let (base, status, _) = create(&world, "rows", storage(&name)).await;
    assert_eq!(status, "ACTIVE");
    let ids = Ids { source: world.create_source(&base, json!({})).await.unwrap(), base };
    for (key, text) in [("a.txt", "Apples are red."), ("b.txt", "Pears are green.")] {
        world.put(key, text).await;
    }
    world.put("a.txt.metadata.json", r#"{"metadataAttributes": {"year": 2024}}"#).await;
    let job = world.sync(&ids).await;
    assert_eq!(job.status, Complete, "{job:?}");
    let table = PostgresTable {
        url: url.clone(),
        password: None,
        database: name.clone(),
        table: "bedrock_integration".into(),
        primary_key_field: "id".into(),
        vector_field: "embedding".into(),
        text_field: "chunks".into(),
        metadata_field: "metadata".into(),
        custom_metadata_field: Some("custom".into()),
    };
    let spec = IndexSpec { id: "seen".into(), dimensions: 1024, storage: Storage::Postgres(Box::new(table)) };
    let index = world.drivers.open(&spec).await.unwrap();
    let query = Query::new(Want::Keywords { text: "apples".into() }, 5).of_owner(&ids.base);
    let hits = index.search(&query).await.unwrap();
    assert_eq!((hits.len(), hits[0].chunk.text.as_str()), (1, "Apples are red."));

    // What is unchanged is not embedded again, and what is gone leaves the table.
    let embedded = world.model.texts.load(std::sync::atomic::Ordering::SeqCst);
    world.put("a.txt.metadata.json", r#"{"metadataAttributes": {"year": 2025}}"#).await;
    world.delete("b.txt").await;
    assert_eq!(world.counters(&ids).await, [1, 1, 0, 0, 1, 1, 0, 0]);
    assert_eq!(world.model.texts.load(std::sync::atomic::Ordering::SeqCst), embedded);
    let left = index.export().await.unwrap();
    assert_eq!((left.len(), left[0].text.as_str()), (1, "Apples are red."));

    let (_, status, reasons) = create(&world, "lost", storage("no_such_database")).await;
    assert_eq!(status, "FAILED");
    let reasons = reasons.unwrap().join(" ");
    assert!(reasons.contains("no_such_database"), "{reasons}");
}
