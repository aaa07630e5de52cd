use std::sync::Arc;

use craton_store::Store;
use craton_vectors::contract::{self, DIMENSIONS, chunk, key};
use craton_vectors::{
    Chunk, DocumentChunks, Drivers, Filter, IndexSpec, MetadataValue, PostgresTable, Query, Storage, Want,
};

use crate::embedded::Opened;

fn spec(url: &str, table: &str) -> IndexSpec {
    let name = url.split('?').next().unwrap().rsplit('/').next().unwrap();
    let storage = Storage::Postgres(Box::new(PostgresTable {
        url: url.to_owned(),
        password: None,
        database: name.to_owned(),
        table: table.to_owned(),
        primary_key_field: "id".into(),
        vector_field: "embedding".into(),
        text_field: "chunks".into(),
        metadata_field: "metadata".into(),
        custom_metadata_field: Some("custom".into()),
    }));
    IndexSpec { id: table.to_owned(), dimensions: DIMENSIONS, storage }
}

async fn drivers() -> (Drivers, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Drivers::new(Store::in_memory().await.unwrap(), directory.path()), directory)
}

#[tokio::test]
async fn pgvector_passes() {
    let url = craton_store::testing::postgres_url();
    let (drivers, _directory) = drivers().await;
    let mut opened = 0;
    contract::all(|| {
        opened += 1;
        let (drivers, spec) = (drivers.clone(), spec(&url, &format!("kb_{opened}")));
        async move { Opened(drivers.open(&spec).await.unwrap()) }
    })
    .await;
}

/// Few of many rows pass: a walk of the graph that stops early would lose them.
#[tokio::test]
async fn narrow_filters_lose_nothing() {
    let url = craton_store::testing::postgres_url();
    let (drivers, _directory) = drivers().await;
    let index = drivers.open(&spec(&url, "narrow")).await.unwrap();
    let chunks = (0..4_000_u16).map(|n| {
        let angle = f32::from(n) / 3_000.0;
        let chunk = chunk(&key("a"), &format!("c{n}"), "words", [angle.cos(), angle.sin(), 0.0, 0.1]);
        let rare = MetadataValue::Boolean(n % 200 == 0);
        Chunk { metadata: [("rare".to_owned(), rare)].into(), ..chunk }
    });
    index.put(vec![DocumentChunks { key: key("a"), chunks: chunks.collect() }]).await.unwrap();
    let filter = Filter::Equals("rare".into(), MetadataValue::Boolean(true));
    let query = Query::new(Want::Semantic { vector: vec![1.0, 0.0, 0.0, 0.1] }, 20).with_filter(filter);
    assert_eq!(index.search(&query).await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_wrong_table_says_so() {
    let url = craton_store::testing::postgres_url();
    let (drivers, _directory) = drivers().await;
    drop(drivers.open(&spec(&url, "right")).await.unwrap());
    let wider = IndexSpec { dimensions: DIMENSIONS + 1, ..spec(&url, "right") };
    assert!(matches!(drivers.open(&wider).await.err(), Some(craton_vectors::VectorError::Dimensions { .. })));
    let hostile = drivers.open(&spec(&url, "x\"; DROP TABLE y; --")).await.err();
    assert!(matches!(hostile, Some(craton_vectors::VectorError::Invalid(_))));
    let nowhere = drivers.open(&spec("postgres://nobody@localhost:1/none", "t")).await.err();
    assert!(matches!(nowhere, Some(craton_vectors::VectorError::Unavailable(_))));
    let again: Arc<_> = drivers.open(&spec(&url, "right")).await.unwrap();
    assert_eq!(again.dimensions(), DIMENSIONS);
}
