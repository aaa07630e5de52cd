//! A disk without a byte left.

use std::sync::Arc;

use bytes::Bytes;
use craton_core::SystemClock;
use craton_objects::{FileObjects, ObjectRef, ObjectStore as _, Put, types};
use craton_store::{Store, testing};

/// Objects can be deleted, which is how there comes to be room, and nothing that was put is lost.
#[tokio::test]
async fn room_is_made_on_a_full_disk() {
    let Some(disk) = testing::on_small_disk("full::room_is_made_on_a_full_disk", 48) else { return };
    let store = Store::open(&disk).await.unwrap();
    let objects = FileObjects::open(store, &disk.join("objects"), Arc::new(SystemClock)).unwrap();
    objects.create_bucket("docs", "us-east-1").await.unwrap();
    let put = async |key: String, bytes: usize| {
        objects.put(Put::new("docs", key), types::bytes(Bytes::from(vec![7; bytes]))).await.map(drop)
    };
    let until_full = async |bytes: usize| {
        for n in 0.. {
            if let Err(error) = put(format!("{bytes}/{n:06}"), bytes).await {
                assert!(error.is_full(), "{error}");
                return n;
            }
        }
        unreachable!("the disk is small")
    };
    let large = until_full(1 << 20).await;
    let small = until_full(100).await;
    testing::fill_disk(&disk);
    assert!(put("more".into(), 4 << 20).await.unwrap_err().is_full());
    let at = |bytes: usize, n: usize| ObjectRef::new("docs", format!("{bytes}/{n:06}"));
    for n in 0..small.min(50) {
        objects.delete(&at(100, n), Default::default()).await.unwrap();
    }
    let rest = (0..large / 2).map(|n| (format!("{}/{n:06}", 1 << 20), None)).collect();
    let deleted = objects.delete_many("docs", rest).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    put("more".into(), 4 << 20).await.unwrap();
    for n in large / 2..large {
        let object = objects.get(&at(1 << 20, n), Default::default()).await.unwrap();
        assert_eq!(object.bytes(2 << 20).await.unwrap().len(), 1 << 20);
    }
}
