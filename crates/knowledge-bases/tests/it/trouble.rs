//! What goes wrong: with one document, or with everything.

use std::time::Duration;

use craton_api_bedrock_agent::IngestionJobStatus::{Complete, Failed, InProgress, Stopped};
use craton_backend::BackendError;
use craton_knowledge_bases::KnowledgeBasesConfig;
use craton_objects::ObjectStore as _;
use craton_store::{Store, testing};
use serde_json::json;

use crate::support::{World, context, counters, input};

#[tokio::test]
async fn a_broken_document_fails_alone_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    world.put("good.txt", "Good.").await;
    world.put("binary.txt", (0..=255).cycle().take(2000).collect::<Vec<u8>>()).await;
    world.put("broken.pdf", "%PDF-1.7\nnothing of use").await;
    world.put("large.txt", vec![b'a'; (50 << 20) + 1]).await;
    world.put("empty.txt", "").await;
    world.put("odd.txt", "Fine.").await;
    world.put("odd.txt.metadata.json", "{").await;
    let job = world.sync(&ids).await;
    assert_eq!(job.status, Complete);
    assert_eq!(counters(&job), [6, 1, 1, 0, 0, 0, 4, 1]);
    let reasons = job.failure_reasons.unwrap().join("\n");
    for part in [
        "s3://docs/binary.txt: it is binary",
        "broken.pdf: it is not well-formed",
        "more than the 52428800",
        "metadata file",
    ] {
        assert!(reasons.contains(part), "{part} in {reasons}");
    }
    let mut request = ids.json();
    let identifier =
        |key: &str| json!({ "dataSourceType": "S3", "s3": { "uri": format!("s3://docs/{key}") } });
    let keys = ["good.txt", "broken.pdf", "empty.txt", "none.txt"];
    request["documentIdentifiers"] = keys.iter().map(|key| identifier(key)).collect();
    let details = world.service.get_knowledge_base_documents(&context(), input(request)).await.unwrap();
    let statuses: Vec<_> =
        details.document_details.unwrap().into_iter().map(|detail| detail.status.as_str()).collect();
    assert_eq!(statuses, ["INDEXED", "FAILED", "IGNORED", "NOT_FOUND"]);

    // What was indexed before stays when the new version is broken, and a repaired document is taken in.
    world.put("good.txt", vec![0, 1, 2, 3, 0, 0, 7]).await;
    world.put("odd.txt.metadata.json", r#"{"metadataAttributes": {"a": 1}}"#).await;
    let job = world.sync(&ids).await;
    assert_eq!(counters(&job)[2..7], [1, 0, 1, 0, 4], "{job:?}");
    assert_eq!(world.texts().await["good.txt"], ["Good."]);
    world.put("good.txt", "Better.").await;
    let job = world.sync(&ids).await;
    assert_eq!(counters(&job)[2..7], [0, 1, 0, 0, 3], "{job:?}");
}

#[tokio::test]
async fn a_failing_embedder_fails_the_job_and_leaves_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    world.put("a.txt", "Apples.").await;
    world.sync(&ids).await;
    world.put("a.txt", "Pears.").await;
    *world.model.failing.lock() =
        Some(BackendError::Upstream { status: 403, message: "the model is broken".into() });
    let job = world.sync(&ids).await;
    assert_eq!(job.status, Failed);
    // What an upstream says is for the log.
    assert!(job.failure_reasons.unwrap()[0].contains("The model failed with status 403"));
    assert_eq!(world.texts().await["a.txt"], ["Apples."]);
    *world.model.failing.lock() = None;
    assert_eq!(world.counters(&ids).await[3], 1);
    assert_eq!(world.texts().await["a.txt"], ["Pears."]);
}

#[tokio::test]
async fn a_bucket_that_is_gone_fails_the_job_and_leaves_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    world.put("a.txt", "Apples.").await;
    world.sync(&ids).await;
    world.delete("a.txt").await;
    world.objects.delete_bucket("docs").await.unwrap();
    let job = world.sync(&ids).await;
    assert_eq!(job.status, Failed);
    assert!(job.failure_reasons.unwrap()[0].contains("does not exist"));
    assert_eq!(world.texts().await.len(), 1);
}

#[tokio::test]
async fn a_full_disk_fails_the_job_and_corrupts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    for n in 0..50 {
        world.put(&format!("{n:02}.txt"), format!("Document {n}. {}", "words and words ".repeat(4000))).await;
    }
    // SQLite itself answers that the disk is full once the file may not grow.
    let pages = world.store.fetch_all("PRAGMA page_count", &[]).await.unwrap();
    let pages: i64 = pages[0].get("page_count").unwrap();
    let limit = craton_store::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 40));
    world.store.execute(limit, &[]).await.unwrap();
    let job = world.sync(&ids).await;
    assert_eq!(job.status, Failed, "{job:?}");
    assert!(job.failure_reasons.unwrap()[0].contains("no space left"));
    world.store.execute("PRAGMA max_page_count = 1000000", &[]).await.unwrap();
    let job = world.sync(&ids).await;
    assert_eq!((job.status, world.texts().await.len()), (Complete, 50), "{job:?}");
}

/// While something can still be written, so that the reason can be.
#[tokio::test]
async fn a_disk_that_is_all_but_full_fails_the_job() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let config = KnowledgeBasesConfig { min_free_bytes: u64::MAX, ..Default::default() };
    let mut world = World::configured(store, directory.path(), config);
    world.work().await;
    let ids = world.library().await;
    world.put("a.txt", "Apples.").await;
    let job = world.sync(&ids).await;
    assert_eq!(job.status, Failed);
    assert!(job.failure_reasons.unwrap()[0].contains("no space left"));
    world.close().await;
    let world = World::open(directory.path()).await;
    assert_eq!((world.sync(&ids).await.status, world.texts().await.len()), (Complete, 1));
}

/// The disk fills up while a job waits for its model. What becomes of it can be written for all that.
#[tokio::test]
async fn without_a_byte_left_a_job_fails_with_its_reason() {
    let test = "trouble::without_a_byte_left_a_job_fails_with_its_reason";
    let Some(disk) = testing::on_small_disk(test, 80) else { return };
    for least in [0, 8 << 20] {
        let directory = disk.join(least.to_string());
        let store = Store::open(&directory).await.unwrap();
        let config = KnowledgeBasesConfig { min_free_bytes: least, ..Default::default() };
        let mut world = World::configured(store, &directory, config);
        world.work().await;
        let ids = world.library().await;
        world.put("old.txt", "Apples.").await;
        assert_eq!(world.sync(&ids).await.status, Complete);
        for n in 0..60 {
            let text = format!("Document {n}. {}", "words and words ".repeat(2000));
            world.put(&format!("{n:02}.txt"), text).await;
        }
        *world.model.failing.lock() = Some(BackendError::NotReady("loading".into()));
        let job = world.start(&ids).await.unwrap();
        // What is written before the model is asked is written.
        while counters(&world.job(&ids, &job).await)[0] < 61 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let ballast = testing::fill_disk(&disk);
        if least == 0 {
            // Longer than the lease, which is renewed meanwhile.
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(world.job(&ids, &job).await.status, InProgress);
            *world.model.failing.lock() = None;
        }
        // Where room is asked for, its end shows while the model is still away.
        let job = world.ended(&ids, &job).await;
        *world.model.failing.lock() = None;
        assert_eq!(job.status, Failed, "{job:?}");
        assert!(job.failure_reasons.unwrap()[0].contains("no space left"));
        match world.start(&ids).await {
            Err(error) => assert_eq!(error.code, "ServiceUnavailableException", "{error}"),
            // Something can be written still in what the failed job gave back.
            Ok(again) => assert_eq!(world.ended(&ids, &again).await.status, Failed),
        }
        assert_eq!(world.texts().await.into_keys().collect::<Vec<_>>(), ["old.txt"]);
        std::fs::remove_file(ballast).unwrap();
        let job = world.sync(&ids).await;
        assert_eq!((job.status, world.texts().await.len()), (Complete, 61), "{job:?}");
        world.close().await;
        std::fs::remove_dir_all(directory).unwrap();
    }
}

#[tokio::test]
async fn one_job_runs_and_it_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    for n in 0..5 {
        world.put(&format!("{n}.txt"), "text").await;
    }
    *world.model.failing.lock() = Some(BackendError::NotReady("loading".into()));
    let job = world.start(&ids).await.unwrap();
    let second = world.start(&ids).await.unwrap_err();
    assert_eq!(second.code, "ConflictException");
    let mut request = ids.json();
    request["ingestionJobId"] = json!(job);
    let stopping = world.service.stop_ingestion_job(&context(), input(request.clone())).await.unwrap();
    assert_eq!(stopping.ingestion_job.status.as_str(), "STOPPING");
    *world.model.failing.lock() = None;
    assert_eq!(world.ended(&ids, &job).await.status, Stopped);
    let again = world.service.stop_ingestion_job(&context(), input(request)).await.unwrap_err();
    assert_eq!(again.code, "ConflictException");
    assert_eq!(world.sync(&ids).await.status, Complete);
    assert_eq!(world.texts().await.len(), 5);
}
