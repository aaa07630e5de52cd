use std::collections::BTreeMap;

use craton_store::testing::stores;
use craton_store::{Ageing, NewRecord, Range, Scope, Store};
use serde_json::json;

fn scope(kind: &'static str, account: &str) -> Scope {
    Scope::new(kind, account, "us-east-1")
}

async fn keep(store: &Store, scope: &Scope, id: &str, now_ms: i64) {
    let body = json!({ "lives": id.contains("live") });
    let tags = Some((id.to_owned(), BTreeMap::from([("a".to_owned(), "b".to_owned())])));
    let new = NewRecord { id: id.into(), name: None, body, now_ms, idempotency: None, tags };
    store.create(scope, new).await.unwrap();
}

async fn ids(store: &Store, scope: &Scope) -> Vec<String> {
    let records = store.list(scope, &Range::default()).await.unwrap();
    records.into_iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn old_records_go_with_all_that_is_theirs() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let (parent, child) = (scope("parent", "1"), scope("child", "1"));
        for (id, now_ms) in [("old", 10), ("older", 5), ("new", 20)] {
            keep(&store, &parent, id, now_ms).await;
            keep(&store, &child, &format!("{id}/of"), now_ms).await;
        }
        keep(&store, &scope("other", "1"), "old", 5).await;
        let tags_of = |_: &Scope, id: &str| id.to_owned();
        let ageing = Ageing::of("parent", 20).with_children(&["child"]).with_tags(&tags_of);
        store.forget_old(&ageing).await;
        assert_eq!(ids(&store, &parent).await, ["new"]);
        assert_eq!(ids(&store, &child).await, ["new/of"]);
        assert_eq!(ids(&store, &scope("other", "1")).await, ["old"]);
        assert!(store.tags("older").await.unwrap().is_empty());
        assert_eq!(store.tags("new").await.unwrap().len(), 1);
    }
}

/// More than go at a time, written at the same moment, in several accounts, with many among them that live.
#[tokio::test]
async fn those_that_live_keep_no_other_from_going() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let accounts = [scope("thing", "1"), scope("thing", "2")];
        for of in &accounts {
            for number in 0..60 {
                keep(&store, of, &format!("live-{number:02}"), 10).await;
                keep(&store, of, &format!("over-{number:02}"), 10).await;
            }
        }
        let lives = |record: &craton_store::Record| record.body["lives"] == true;
        store.forget_old(&Ageing::of("thing", 11).unless(&lives)).await;
        for of in &accounts {
            let left = ids(&store, of).await;
            assert_eq!(left.len(), 60);
            assert!(left.iter().all(|id| id.starts_with("live-")), "{left:?}");
        }
        store.forget_old(&Ageing::of("thing", 11)).await;
        assert!(ids(&store, &accounts[0]).await.is_empty());
    }
}
