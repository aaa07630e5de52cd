//! The file-system driver: the contract on either way of keeping content, what races and what crashes leave.

use std::sync::Arc;

use bytes::Bytes;
use craton_core::SystemClock;
use craton_objects::types::bytes;
use craton_objects::*;
use craton_store::Store;

use crate::contract::{self, Lacks};

pub(crate) async fn open(directory: &std::path::Path, inline_bytes: usize) -> FileObjects {
    let store = Store::open(directory).await.unwrap();
    FileObjects::open_with(store, &directory.join("objects"), Arc::new(SystemClock), inline_bytes).unwrap()
}

fn files_in(directory: &std::path::Path) -> usize {
    let directories = std::fs::read_dir(directory.join("objects")).unwrap();
    directories.map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    contract::run(Arc::new(open(directory.path(), INLINE_BYTES).await), "inline", Lacks::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_with_all_content_in_files() {
    let directory = tempfile::tempdir().unwrap();
    let objects = open(directory.path(), 0).await;
    contract::run(Arc::new(objects.clone()), "files", Lacks::default()).await;
    for bucket in objects.buckets().await.unwrap() {
        loop {
            let query = ListQuery { limit: 1000, ..ListQuery::default() };
            let page = objects.list(&bucket.name, query).await.unwrap();
            let keys = page.objects.into_iter().map(|object| (object.key, None)).collect();
            objects.delete_many(&bucket.name, keys).await.unwrap();
            if page.next.is_none() {
                break;
            }
        }
        objects.delete_bucket(&bucket.name).await.unwrap();
    }
    assert_eq!(files_in(directory.path()), 0, "nothing stays behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_with_records_on_postgresql() {
    let directory = tempfile::tempdir().unwrap();
    let objects = on_postgres(directory.path()).await;
    contract::run(Arc::new(objects), "postgres", Lacks::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_creators_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    one_wins(open(directory.path(), INLINE_BYTES).await, directory.path()).await;
    let directory = tempfile::tempdir().unwrap();
    one_wins(on_postgres(directory.path()).await, directory.path()).await;
}

async fn on_postgres(directory: &std::path::Path) -> FileObjects {
    let store = craton_store::testing::postgres().await;
    FileObjects::open(store, &directory.join("objects"), Arc::new(SystemClock)).unwrap()
}

async fn one_wins(objects: FileObjects, directory: &std::path::Path) {
    objects.create_bucket("race", "us-east-1").await.unwrap();
    let puts = (0..24).map(|n: usize| {
        let objects = objects.clone();
        tokio::spawn(async move {
            let condition = WriteCondition { if_absent: true, ..WriteCondition::default() };
            let put = Put { condition, ..Put::new("race", "k") };
            objects.put(put, bytes(vec![n as u8; 20_000])).await
        })
    });
    let done = futures::future::join_all(puts).await;
    let won = done.iter().filter(|done| matches!(done, Ok(Ok(_)))).count();
    assert_eq!(won, 1);
    assert_eq!(files_in(directory), 1);
    // Unconditional writers of one key all succeed, and the last one stays.
    let puts = (0..12).map(|n: usize| {
        let objects = objects.clone();
        tokio::spawn(async move { objects.put(Put::new("race", "k"), bytes(vec![n as u8; 20_000])).await })
    });
    for done in futures::future::join_all(puts).await {
        done.unwrap().unwrap();
    }
    assert_eq!(files_in(directory), 1);
}

/// Uploads that are completed at the same time all succeed: those of one key, and those that several complete at once,
/// whose answers are the same.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_completed_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let objects = on_postgres(directory.path()).await;
    objects.create_bucket("race", "us-east-1").await.unwrap();
    let mut completing = Vec::new();
    for n in 0..12_u8 {
        // In a bucket without versions an object that was replaced no longer tells which upload it was.
        let (key, several) = if n % 3 == 0 { (format!("k{n}"), 4) } else { ("k".to_owned(), 1) };
        let new = NewUpload { bucket: "race".into(), key: key.clone(), ..NewUpload::default() };
        let upload_id = objects.create_upload(new).await.unwrap();
        let upload = UploadRef { bucket: "race".into(), key, upload_id };
        let part = objects.put_part(&upload, 1, Expect::default(), bytes(vec![n; 20_000])).await.unwrap();
        let parts = vec![CompletedPart { number: 1, etag: part.etag, checksum: None }];
        let completion = Completion { parts, ..Completion::default() };
        for _ in 0..several {
            let (objects, upload, completion) = (objects.clone(), upload.clone(), completion.clone());
            completing.push(async move {
                let done = objects.complete_upload(&upload, completion).await;
                (upload.upload_id, done)
            });
        }
    }
    let mut made = std::collections::BTreeMap::new();
    for done in futures::future::join_all(completing.into_iter().map(tokio::spawn)).await {
        let (upload, done) = done.unwrap();
        let meta = done.unwrap();
        let first = made.entry(upload).or_insert_with(|| meta.clone());
        assert_eq!((&first.etag, first.modified_ms), (&meta.etag, meta.modified_ms), "one object an upload");
    }
    assert_eq!((made.len(), files_in(directory.path())), (12, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_a_mixture() {
    let directory = tempfile::tempdir().unwrap();
    let objects = open(directory.path(), 1000).await;
    objects.create_bucket("mix", "us-east-1").await.unwrap();
    let content =
        |n: usize| Bytes::from(vec![n as u8; if n.is_multiple_of(2) { 500 } else { 1_200_000 + n }]);
    objects.put(Put::new("mix", "k"), bytes(content(1))).await.unwrap();
    let writers = (0..3).map(|writer| {
        let objects = objects.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                objects.put(Put::new("mix", "k"), bytes(content(writer * 20 + n))).await.unwrap();
            }
        })
    });
    let readers = (0..3).map(|_| {
        let objects = objects.clone();
        tokio::spawn(async move {
            for _ in 0..60 {
                let object = objects.get(&ObjectRef::new("mix", "k"), GetOptions::default()).await.unwrap();
                let size = object.meta.size;
                let read = object.bytes(2 << 20).await.unwrap();
                assert_eq!(read.len() as u64, size);
                assert!(read.iter().all(|byte| *byte == read[0]));
            }
        })
    });
    for done in futures::future::join_all(writers.chain(readers).collect::<Vec<_>>()).await {
        done.unwrap();
    }
    assert!(files_in(directory.path()) <= 1, "replaced files are removed");
}

#[tokio::test]
async fn an_object_is_read_to_its_end_after_it_was_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let objects = open(directory.path(), 10).await;
    objects.create_bucket("late", "us-east-1").await.unwrap();
    objects.put(Put::new("late", "k"), bytes(vec![5; 3 << 20])).await.unwrap();
    let at = ObjectRef::new("late", "k");
    let object = objects.get(&at, GetOptions::default()).await.unwrap();
    objects.delete(&at, WriteCondition::default()).await.unwrap();
    assert_eq!(files_in(directory.path()), 0);
    assert_eq!(object.bytes(4 << 20).await.unwrap().len(), 3 << 20);
}

#[tokio::test]
async fn the_sweep_takes_what_no_row_names_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let objects = open(directory.path(), 10).await;
    objects.create_bucket("sweep", "us-east-1").await.unwrap();
    objects.put(Put::new("sweep", "k"), bytes(vec![1; 100])).await.unwrap();
    let upload = NewUpload { bucket: "sweep".into(), key: "m".into(), ..NewUpload::default() };
    let upload_id = objects.create_upload(upload).await.unwrap();
    let upload = UploadRef { bucket: "sweep".into(), key: "m".into(), upload_id };
    objects.put_part(&upload, 1, Expect::default(), bytes(vec![2; 100])).await.unwrap();
    let orphan = directory.path().join("objects/ab/ab0123456789abcdef0123456789abcd");
    std::fs::write(&orphan, "left behind").unwrap();
    std::fs::write(directory.path().join("objects/tmp/half"), "written").unwrap();
    drop(objects);

    let objects = open(directory.path(), 10).await;
    assert_eq!(objects.sweep().await.unwrap(), 1);
    assert!(!orphan.exists());
    assert_eq!(files_in(directory.path()), 2);
    assert_eq!(objects.expire_uploads(i64::MAX).await.unwrap(), 1);
    assert_eq!(files_in(directory.path()), 1);
    let object = objects.get(&ObjectRef::new("sweep", "k"), GetOptions::default()).await.unwrap();
    assert_eq!(object.bytes(100).await.unwrap().len(), 100);
}

/// A page costs what it shows, wherever it starts and however much is rolled up.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_100_000_keys_are_quick() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let objects =
        FileObjects::open(store.clone(), &directory.path().join("objects"), Arc::new(SystemClock)).unwrap();
    objects.create_bucket("many", "us-east-1").await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    for n in 0..100_000_i64 {
        let key = format!("d{:02}/{:04}", n % 100, n / 100);
        let sql = "INSERT INTO objects (bucket, object_key, seq, version_id, latest, delete_marker, size, etag, \
                   modified_ms, detail) VALUES ('many', $1, 1, 'null', 1, 0, 1, 'e', 1, '{}')";
        transaction.execute(sql, &craton_store::values![key]).await.unwrap();
    }
    transaction.commit().await.unwrap();

    let started = std::time::Instant::now();
    let (mut after, mut seen) = (None, 0);
    loop {
        let query = ListQuery { after, limit: 1000, ..ListQuery::default() };
        let page = objects.list("many", query).await.unwrap();
        seen += page.objects.len();
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    let all_ms = started.elapsed().as_millis();
    assert_eq!(seen, 100_000);

    let started = std::time::Instant::now();
    let query = ListQuery { delimiter: Some("/".into()), limit: 1000, ..ListQuery::default() };
    let folders = objects.list("many", query).await.unwrap();
    let folders_ms = started.elapsed().as_millis();
    assert_eq!((folders.prefixes.len(), folders.objects.len()), (100, 0));
    println!("100 pages of 1,000 keys: {all_ms} ms; 100 folders of 1,000 keys each: {folders_ms} ms");
    // Generous, for a busy machine and a build that is not optimised: reading everything for every page would take
    // a hundred times as long.
    assert!(all_ms < 20_000 && folders_ms < 2_000, "{all_ms} ms, {folders_ms} ms");
}
