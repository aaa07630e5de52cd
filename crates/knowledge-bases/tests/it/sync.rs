//! Syncs of a bucket.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use craton_store::{Store, testing};
use craton_vectors::MetadataValue;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{Ids, World, chunking, counters};

#[tokio::test]
async fn a_sync_reads_what_is_new_and_only_that() {
    let directory = tempfile::tempdir().unwrap();
    let stores = [
        Store::open(directory.path()).await.unwrap(),
        Store::in_memory().await.unwrap(),
        testing::postgres().await,
    ];
    for (n, store) in stores.into_iter().enumerate() {
        let world = World::on(store, &directory.path().join(n.to_string())).await;
        let ids = world.library().await;
        world.put("a.txt", "Apples are red.").await;
        world.put("folder/", "").await;
        world.put("b.html", "<html><body><h1>Pears</h1><p>They are green.</p></body></html>").await;
        world.put("c.csv", "name,price\nplum,3\n").await;
        assert_eq!(world.counters(&ids).await, [3, 0, 3, 0, 0, 0, 0, 0]);
        let texts = world.texts().await;
        assert_eq!(texts["a.txt"], ["Apples are red."]);
        assert!(texts["b.html"][0].contains("They are green.") && !texts["b.html"][0].contains('<'));
        assert_eq!(texts.len(), 3);

        let embedded = world.model.texts.load(Ordering::SeqCst);
        assert_eq!(world.counters(&ids).await, [3, 0, 0, 0, 0, 0, 0, 0]);
        world.put("a.txt", "Apples are red.").await;
        assert_eq!(world.counters(&ids).await, [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(world.model.texts.load(Ordering::SeqCst), embedded, "nothing is embedded again");

        world.put("a.txt", "Apples are yellow.").await;
        world.put("d.md", "# Figs").await;
        world.delete("c.csv").await;
        assert_eq!(world.counters(&ids).await, [3, 0, 1, 1, 0, 1, 0, 0]);
        let texts = world.texts().await;
        assert_eq!(texts.keys().collect::<Vec<_>>(), ["a.txt", "b.html", "d.md"]);
        assert_eq!(texts["a.txt"], ["Apples are yellow."]);
        assert_eq!(world.model.texts.load(Ordering::SeqCst), embedded + 2);
        world.close().await;
    }
}

#[tokio::test]
async fn metadata_files_are_attributes_of_their_documents() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    let metadata =
        |year: i32| json!({ "metadataAttributes": { "year": year, "tags": ["x", "y"] } }).to_string();
    world.put("a.txt", "Apples.").await;
    world.put("a.txt.metadata.json", metadata(2024)).await;
    world.put("b.txt", "Pears.").await;
    assert_eq!(world.counters(&ids).await, [2, 1, 2, 0, 0, 0, 0, 0]);
    let chunk = world.find("apples").await.unwrap();
    assert_eq!(chunk.metadata["year"], MetadataValue::Number(2024.0));
    assert_eq!(chunk.metadata["tags"], MetadataValue::List(vec!["x".into(), "y".into()]));

    world.put("a.txt.metadata.json", metadata(2025)).await;
    world.put("b.txt.metadata.json", metadata(1999)).await;
    assert_eq!(world.counters(&ids).await, [2, 2, 0, 0, 2, 0, 0, 0]);
    assert_eq!(world.find("apples").await.unwrap().metadata["year"], MetadataValue::Number(2025.0));
    world.delete("b.txt.metadata.json").await;
    assert_eq!(world.counters(&ids).await, [2, 1, 0, 0, 1, 0, 0, 0]);
    assert!(world.find("pears").await.unwrap().metadata.is_empty());
    world.delete("a.txt").await;
    world.delete("a.txt.metadata.json").await;
    assert_eq!(world.counters(&ids).await, [1, 0, 0, 0, 1, 1, 0, 0]);
}

/// What lies beside a metadata file is not the document's own.
#[tokio::test]
async fn metadata_of_metadata_is_nobodys() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    for key in ["a.txt", "b.txt"] {
        world.put(key, "Apples.").await;
        world.put(&format!("{key}.metadata.json.metadata.json"), "{").await;
    }
    world.put("b.txt.metadata.json", r#"{"metadataAttributes": {"n": 1}}"#).await;
    assert_eq!(world.counters(&ids).await, [2, 3, 2, 0, 0, 0, 0, 0]);
    assert_eq!(world.counters(&ids).await, [2, 3, 0, 0, 0, 0, 0, 0]);
    world.put("b.txt.metadata.json", r#"{"metadataAttributes": {"n": 2}}"#).await;
    assert_eq!(world.counters(&ids).await, [2, 3, 0, 0, 1, 0, 0, 0]);
}

/// Whoever may write to a collection may delete its index. The next sync puts all of it there again.
#[tokio::test]
async fn an_index_that_was_deleted_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    for n in 0..3 {
        world.put(&format!("{n}.txt"), format!("Apples {n}.")).await;
    }
    world.put("empty.txt", "").await;
    assert_eq!(world.counters(&ids).await, [4, 0, 3, 0, 0, 0, 0, 1]);
    world.drivers.remove(&craton_vectors::IndexSpec::of_collection("abc", "i", 1024)).await.unwrap();
    assert!(world.texts().await.is_empty());
    assert_eq!(world.counters(&ids).await, [4, 0, 3, 0, 0, 0, 0, 0]);
    assert_eq!(world.texts().await.len(), 3);
    assert_eq!(world.counters(&ids).await, [4, 0, 0, 0, 0, 0, 0, 0]);
    // What left the source since is not counted: it was gone with the index.
    world.drivers.remove(&craton_vectors::IndexSpec::of_collection("abc", "i", 1024)).await.unwrap();
    world.delete("0.txt").await;
    assert_eq!(world.counters(&ids).await, [3, 0, 2, 0, 0, 0, 0, 0]);
}

/// A small document that a data source's settings would make more of than there is room for.
#[tokio::test]
async fn chunks_that_come_to_too_much_fail_their_document_alone() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.bucket().await;
    let base = world.create_base("library").await.unwrap();
    let levels =
        json!({ "levelConfigurations": [{ "maxTokens": 8192 }, { "maxTokens": 1 }], "overlapTokens": 0 });
    let request = chunking("HIERARCHICAL", "hierarchicalChunkingConfiguration", levels);
    let ids = Ids { source: world.create_source(&base, request).await.unwrap(), base };
    world.put("large.txt", "word. ".repeat(20_000)).await;
    world.put("small.txt", "Apples.").await;
    let job = world.sync(&ids).await;
    assert_eq!(crate::support::counters(&job), [2, 0, 1, 0, 0, 0, 1, 0], "{job:?}");
    let reasons = job.failure_reasons.unwrap().join("\n");
    assert!(reasons.contains("large.txt: its chunks") && reasons.contains("more than 256 MiB"), "{reasons}");
    assert_eq!(world.texts().await["small.txt"], ["Apples."]);
}

/// Metadata is no part of what is embedded, unless it says so; of a changed text only what changed is.
#[tokio::test]
async fn a_text_that_is_indexed_is_not_embedded_again() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.bucket().await;
    let base = world.create_base("library").await.unwrap();
    let fixed = json!({ "maxTokens": 20, "overlapPercentage": 1 });
    let request = chunking("FIXED_SIZE", "fixedSizeChunkingConfiguration", fixed);
    let ids = Ids { source: world.create_source(&base, request).await.unwrap(), base };
    let embedded = || world.model.texts.load(Ordering::SeqCst);
    let metadata = |year: i32, shown: bool| {
        let value = json!({ "type": "NUMBER", "numberValue": year });
        let year = json!({ "value": value, "includeForEmbedding": shown });
        json!({ "metadataAttributes": { "year": year } }).to_string()
    };
    world.put("a.txt", numbered(20)).await;
    world.put("a.txt.metadata.json", metadata(2024, false)).await;
    world.counters(&ids).await;
    let (first, before) = (embedded(), world.chunks().await);
    assert!(first > 5 && first == before.len(), "{first}");

    world.put("a.txt.metadata.json", metadata(2025, false)).await;
    assert_eq!(world.counters(&ids).await, [1, 1, 0, 0, 1, 0, 0, 0]);
    assert_eq!(embedded(), first, "only its metadata changed");
    let after = world.chunks().await;
    assert!(after.iter().all(|chunk| chunk.metadata["year"] == MetadataValue::Number(2025.0)));
    let vectors = |chunks: &[craton_vectors::Chunk]| {
        chunks.iter().map(|chunk| chunk.vector.clone()).collect::<Vec<_>>()
    };
    assert_eq!(vectors(&after), vectors(&before));

    world.put("a.txt", format!("{}The end.", numbered(20))).await;
    assert_eq!(world.counters(&ids).await, [1, 1, 0, 1, 0, 0, 0, 0]);
    assert!((1..=2).contains(&(embedded() - first)), "the last chunk alone: {}", embedded() - first);

    let so_far = embedded();
    world.put("a.txt.metadata.json", metadata(2025, true)).await;
    assert_eq!(world.counters(&ids).await, [1, 1, 0, 0, 1, 0, 0, 0]);
    assert_eq!(embedded() - so_far, world.chunks().await.len(), "the year is embedded with every chunk");
}

#[derive(Default)]
struct Bills(parking_lot::Mutex<Vec<craton_metering::UsageRecord>>);

impl craton_metering::UsageSink for Bills {
    fn record(&self, record: &craton_metering::UsageRecord) {
        self.0.lock().push(record.clone());
    }
}

#[tokio::test]
async fn what_a_sync_embeds_is_metered() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let bills = std::sync::Arc::new(Bills::default());
    let metering = craton_metering::Metering::new().unwrap();
    metering.add_sink(bills.clone());
    let mut world = World::tuned(store, directory.path(), |parts| parts.metering = metering);
    world.work().await;
    let ids = world.library().await;
    world.put("a.txt", "Apples.").await;
    world.put("b.txt", "Pears.").await;
    world.counters(&ids).await;
    let bills = bills.0.lock();
    assert_eq!(bills.len(), 1, "{bills:?}");
    assert_eq!((bills[0].operation, bills[0].tokens.input), ("StartIngestionJob", 2));
    assert_eq!((bills[0].account_id.as_str(), bills[0].region.as_str()), ("123456789012", "us-east-1"));
    assert_eq!(bills[0].model_id, "amazon.titan-embed-text-v2:0");
}

#[tokio::test]
async fn chunks_of_a_pdf_know_their_page() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    world.put("a.pdf", include_bytes!("../../../documents/tests/fixtures/letter.pdf").as_slice()).await;
    world.put("b.txt", "Apples.").await;
    world.counters(&ids).await;
    for chunk in world.chunks().await {
        let page = chunk.metadata.get(craton_vectors::PAGE_NUMBER);
        let expected = chunk.location.uri().ends_with(".pdf").then_some(&MetadataValue::Number(1.0));
        assert_eq!(page, expected, "{chunk:?}");
    }
}

#[tokio::test]
async fn rows_of_a_csv_file_are_texts_with_attributes() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    let metadata = json!({ "metadataAttributes": { "kind": "fruit" }, "documentStructureConfiguration": {
        "type": "RECORD_BASED_STRUCTURE_METADATA", "recordBasedStructureMetadata": {
            "contentFields": [{ "fieldName": "text" }],
            "metadataFieldsSpecification": { "fieldsToInclude": [{ "fieldName": "price" }] } } } });
    world.put("a.csv", "id,text,price\n1,Apples are red,3\n2,Pears are green,4\n").await;
    world.put("a.csv.metadata.json", metadata.to_string()).await;
    assert_eq!(world.counters(&ids).await, [1, 1, 1, 0, 0, 0, 0, 0]);
    assert_eq!(world.texts().await["a.csv"], ["Apples are red", "Pears are green"]);
    let pears = world.find("pears").await.unwrap();
    assert_eq!(pears.metadata["price"], MetadataValue::Number(4.0));
    assert_eq!(pears.metadata["kind"], "fruit".into());
    assert!(!pears.metadata.contains_key("id"));
}

fn numbered(sentences: usize) -> String {
    (0..sentences).map(|n| format!("This is sentence number {n} of the book. ")).collect()
}

#[tokio::test]
async fn every_strategy_keeps_all_of_a_text() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    world.put("book.txt", numbered(100)).await;
    let levels =
        json!({ "levelConfigurations": [{ "maxTokens": 80 }, { "maxTokens": 20 }], "overlapTokens": 9 });
    let semantic = json!({ "maxTokens": 40, "bufferSize": 1, "breakpointPercentileThreshold": 90 });
    let fixed = json!({ "maxTokens": 40, "overlapPercentage": 25 });
    for (request, longest) in [
        (json!({}), 300),
        (chunking("NONE", "", json!(null)), 800),
        (chunking("FIXED_SIZE", "fixedSizeChunkingConfiguration", fixed), 40),
        (chunking("HIERARCHICAL", "hierarchicalChunkingConfiguration", levels), 20),
        (chunking("SEMANTIC", "semanticChunkingConfiguration", semantic), 40),
    ] {
        let mut request = request;
        request["name"] = json!(format!("source-{longest}"));
        let source = world.create_source(&ids.base, request.clone());
        let ids = Ids { source: source.await.unwrap(), ..ids.clone() };
        assert_eq!(world.counters(&ids).await[2], 1);
        let chunks: Vec<_> = world.chunks().await;
        let chunks: Vec<_> = chunks.iter().filter(|chunk| chunk.document.data_source == ids.source).collect();
        for chunk in &chunks {
            assert!(chunk.text.split_whitespace().count() <= longest, "{request}: {}", chunk.text);
            if let Some(parent) = &chunk.parent {
                assert!(parent.text.contains(&chunk.text) && parent.text.split_whitespace().count() <= 80);
            }
        }
        assert_eq!(chunks[0].parent.is_some(), longest == 20);
        for n in 0..100 {
            let sentence = format!("This is sentence number {n} of the book.");
            assert!(chunks.iter().any(|chunk| chunk.text.contains(&sentence)), "{request}: {n}");
        }
        // The same name again would be refused: there are five data sources at most.
        let request = craton_api_bedrock_agent::DeleteDataSourceRequest {
            knowledge_base_id: ids.base.clone(),
            data_source_id: ids.source.clone(),
        };
        world.service.delete_data_source(&crate::support::context(), request).await.unwrap();
    }
}

#[tokio::test]
async fn meaning_cuts_texts_that_would_fit_one_chunk() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.bucket().await;
    let base = world.create_base("b").await.unwrap();
    let semantic = json!({ "maxTokens": 500, "bufferSize": 0, "breakpointPercentileThreshold": 80 });
    let request = chunking("SEMANTIC", "semanticChunkingConfiguration", semantic);
    let ids = Ids { source: world.create_source(&base, request).await.unwrap(), base };
    let ships = "Ships sail the wide sea. Big ships sail the sea. Old ships sail the wide sea. ";
    let bread = "Bakers bake warm bread daily. Good bakers bake bread daily. Bakers bake rye bread daily.";
    world.put("two.txt", format!("{ships}{bread}")).await;
    world.sync(&ids).await;
    assert_eq!(world.texts().await["two.txt"], [ships.trim(), bread]);
}

#[tokio::test]
async fn overlap_repeats_the_end_of_the_chunk_before() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.bucket().await;
    let base = world.create_base("b").await.unwrap();
    let fixed = json!({ "maxTokens": 40, "overlapPercentage": 25 });
    let request = chunking("FIXED_SIZE", "fixedSizeChunkingConfiguration", fixed);
    let ids = Ids { source: world.create_source(&base, request).await.unwrap(), base };
    world.put("book.txt", numbered(12)).await;
    world.sync(&ids).await;
    let texts = world.texts().await.remove("book.txt").unwrap();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].ends_with("number 4 of the book."));
    assert!(texts[1].starts_with("This is sentence number 4 of the book. This is sentence number 5"));
}

#[tokio::test]
async fn only_what_is_under_the_prefixes_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.bucket().await;
    let base = world.create_base("b").await.unwrap();
    let configuration = json!({ "type": "S3", "s3Configuration": {
        "bucketArn": "arn:aws:s3:::docs", "inclusionPrefixes": ["b/", "a/", "a/deep/"] } });
    let source =
        world.create_source(&base, json!({ "dataSourceConfiguration": configuration })).await.unwrap();
    let ids = Ids { base, source };
    for key in ["a/1.txt", "a/deep/2.txt", "b/3.txt", "c/4.txt", "5.txt"] {
        world.put(key, format!("Text of {key}")).await;
    }
    assert_eq!(world.counters(&ids).await, [3, 0, 3, 0, 0, 0, 0, 0]);
    assert_eq!(world.texts().await.into_keys().collect::<Vec<_>>(), ["a/1.txt", "a/deep/2.txt", "b/3.txt"]);
}

/// However long a batch takes, what is done of it is shown.
#[tokio::test]
async fn progress_does_not_wait_for_the_batch() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    for n in 0..8 {
        world.put(&format!("{n}.txt"), format!("{n} apples. ").repeat(2_000)).await;
    }
    let gate = Arc::new(Semaphore::new(1));
    *world.model.gate.lock() = Some(Arc::clone(&gate));
    let job = world.start(&ids).await.unwrap();
    let shown = loop {
        let shown = counters(&world.job(&ids, &job).await)[2];
        if shown > 0 {
            break shown;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(shown < 8, "{shown}");
    gate.add_permits(1_000);
    assert_eq!(counters(&world.ended(&ids, &job).await), [8, 0, 8, 0, 0, 0, 0, 0]);
}
