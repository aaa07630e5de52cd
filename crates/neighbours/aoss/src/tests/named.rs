//! Indexes that knowledge bases fill.

use craton_vectors::{Chunk, DocumentChunks, DocumentKey, MetadataValue, SourceLocation};
use serde_json::{Value, json};

use super::{mapping, world};
use crate::rest::{FieldNames, NamedIndex};

/// What a knowledge base ingests is read by the names that it was told.
#[tokio::test]
async fn chunks_have_the_fields_that_their_knowledge_base_names() {
    let world = world().await;
    let id = world.collection().await;
    let names = |vector: &str, text: &str| FieldNames {
        vector: vector.into(),
        text: text.into(),
        metadata: "m".into(),
    };
    let (mine, other) = (names("v", "t"), names("v", "u"));
    let index = |fields| NamedIndex { collection_id: &id, name: "i", fields, dimensions: 3 };
    // It makes the index where there is none.
    world.service.check_index(&world.context, index(&mine)).await.unwrap();
    world.service.name_fields(&world.context, index(&mine), "KB1").await.unwrap();
    world.service.name_fields(&world.context, index(&other), "KB2").await.unwrap();
    let spec = craton_vectors::IndexSpec::of_collection(&id, "i", 3);
    let vectors = world.service.parts.drivers.open(&spec).await.unwrap();
    for (owner, chunk) in [("KB1", "a"), ("KB2", "b"), ("KB3", "c")] {
        let key = DocumentKey::new(owner, "DS", "s3://b/k");
        let chunk = Chunk {
            id: chunk.into(),
            document: key.clone(),
            text: "apples".into(),
            parent: None,
            metadata: [("year".to_owned(), MetadataValue::Number(2025.0))].into(),
            vector: vec![1.0, 0.0, 0.0],
            location: SourceLocation::S3("s3://b/k".into()),
            payload: None,
        };
        vectors.put(vec![DocumentChunks { key, chunks: vec![chunk] }]).await.unwrap();
    }
    for (chunk, text, metadata) in
        [("a", "t", "m"), ("b", "u", "m"), ("c", "AMAZON_BEDROCK_TEXT_CHUNK", "AMAZON_BEDROCK_METADATA")]
    {
        let source =
            world.call(&id, &format!("GET i/_doc/{chunk}"), Value::Null).await.body["_source"].take();
        assert_eq!(source[text], "apples", "{source}");
        assert_eq!(source[metadata], r#"{"source":"s3://b/k"}"#);
        assert_eq!(source["year"], 2025);
    }
    let mapped = world.call(&id, "GET i/_mapping", Value::Null).await.body;
    assert_eq!(mapped["i"]["mappings"]["properties"]["v"]["dimension"], 3);
    let found =
        world.call(&id, "POST i/_search", json!({"query": {"match": {"t": "apples"}}, "_source": ["t"]}));
    assert_eq!(found.await.body["hits"]["hits"][0]["_source"], json!({"t": "apples"}));
    // Nobody changes them but by the data source.
    let bulk = "{\"index\":{\"_id\":\"a\"}}\n{\"t\":\"x\"}\n{\"delete\":{\"_id\":\"a\"}}\n";
    let items = world.call(&id, "POST i/_bulk", json!(bulk)).await.body["items"].take();
    let reasons =
        [&items[0]["index"]["error"], &items[1]["delete"]["error"]].map(|error| error["reason"].to_string());
    let put = world.call(&id, "PUT i/_doc/a", json!({"t": "x"})).await;
    let deleted = world.call(&id, "DELETE i/_doc/a", Value::Null).await;
    for reason in
        reasons.into_iter().chain([put, deleted].map(|reply| reply.body["error"]["reason"].to_string()))
    {
        assert!(reason.contains("[a] is a chunk of a knowledge base"), "{reason}");
    }
    assert_eq!(world.call(&id, "GET i/_count", Value::Null).await.body["count"], 3);
    // Whoever makes the index a second time is told.
    assert_eq!(world.call(&id, "PUT i", mapping()).await.status, 400);
}

#[tokio::test]
async fn a_field_mapping_has_to_fit_its_index() {
    let world = world().await;
    let id = world.collection().await;
    world.call(&id, "PUT i", mapping()).await;
    let check = async |vector: &str, text: &str, dimensions: usize| {
        let fields = FieldNames { vector: vector.into(), text: text.into(), metadata: "m".into() };
        let index = NamedIndex { collection_id: &id, name: "i", fields: &fields, dimensions };
        world.service.check_index(&world.context, index).await.map_err(|error| error.message)
    };
    assert_eq!(check("v", "text", 3).await, Ok(()));
    assert_eq!(check("v", "new", 3).await, Ok(()));
    for (vector, text, dimensions, reason) in [
        ("w", "text", 3, "failed to create query: Field 'w' is not knn_vector type."),
        ("text", "t", 3, "failed to create query: Field 'text' is not knn_vector type."),
        (
            "v",
            "text",
            4,
            "failed to create query: Query vector has invalid dimension: 4. Dimension should be: 3",
        ),
        ("v", "year", 3, "failed to parse field [year] of type [integer]"),
    ] {
        assert_eq!(check(vector, text, dimensions).await, Err(reason.to_owned()));
    }
}
