use std::collections::BTreeMap;

use craton_core::PageRequest;
use craton_store::testing::{postgres, stores};
use craton_store::{Created, Idempotency, MAX_TAGS, NewRecord, Range, Scope, Store, StoreError};
use serde_json::json;

fn scope() -> Scope {
    Scope::new("thing", "123456789012", "us-east-1")
}

fn new(id: &str, name: Option<&str>) -> NewRecord {
    NewRecord {
        id: id.into(),
        name: name.map(Into::into),
        body: json!({ "z": 1, "a": id }),
        now_ms: 1_000,
        idempotency: None,
        tags: None,
    }
}

fn token(token: &str, hash: &str, answer: &str) -> Option<Idempotency> {
    Some(Idempotency { token: token.into(), request_hash: hash.into(), answer: json!(answer) })
}

#[tokio::test]
async fn a_record_is_read_as_written_and_keeps_key_order() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let Created::New(written) = store.create(&scope(), new("a", Some("first"))).await.unwrap() else {
            panic!("nothing to repeat");
        };
        let read = store.get(&scope(), "a").await.unwrap().unwrap();
        assert_eq!(read, written);
        assert_eq!(read.body.to_string(), r#"{"z":1,"a":"a"}"#);
        assert_eq!((read.version, read.created_ms, read.updated_ms), (1, 1_000, 1_000));
        assert_eq!(store.find_by_name(&scope(), "first").await.unwrap().unwrap(), written);
        let elsewhere = Scope::new("thing", "123456789012", "eu-west-1");
        assert_eq!(store.get(&elsewhere, "a").await.unwrap(), None);
    }
}

#[tokio::test]
async fn names_are_unique_in_a_scope_and_absent_names_are_not_names() {
    let (_directory, stores) = stores().await;
    for store in stores {
        store.create(&scope(), new("a", Some("same"))).await.unwrap();
        let error = store.create(&scope(), new("b", Some("same"))).await.unwrap_err();
        assert!(matches!(&error, StoreError::NameTaken { name, .. } if name == "same"), "{error}");
        assert_eq!(store.get(&scope(), "b").await.unwrap(), None);
        let elsewhere = Scope::new("thing", "123456789012", "eu-west-1");
        store.create(&elsewhere, new("b", Some("same"))).await.unwrap();
        store.create(&scope(), new("c", None)).await.unwrap();
        store.create(&scope(), new("d", None)).await.unwrap();
    }
}

#[tokio::test]
async fn pages_and_prefixes_visit_each_record_once() {
    let (_directory, stores) = stores().await;
    for store in stores {
        for n in 0..7 {
            store.create(&scope(), new(&format!("a{n}"), None)).await.unwrap();
        }
        store.create(&scope(), new("b0", None)).await.unwrap();
        store.create(&scope(), new("a%_", None)).await.unwrap();
        let mut seen = Vec::new();
        let mut range = Range { prefix: "a".into(), after: None, limit: 3 };
        loop {
            let page = store.list(&scope(), &range).await.unwrap();
            assert!(page.len() <= 3);
            let Some(last) = page.last() else { break };
            range.after = Some(last.id.clone());
            seen.extend(page.into_iter().map(|record| record.id));
        }
        assert_eq!(seen, ["a%_", "a0", "a1", "a2", "a3", "a4", "a5", "a6"]);
        let literal = Range { prefix: "a%".into(), ..Range::default() };
        assert_eq!(store.list(&scope(), &literal).await.unwrap().len(), 1);
        assert_eq!(store.list(&scope(), &Range::default()).await.unwrap().len(), 9);
    }
}

#[tokio::test]
async fn an_update_needs_the_version_it_read() {
    let (_directory, stores) = stores().await;
    for store in stores {
        store.create(&scope(), new("a", Some("first"))).await.unwrap();
        let mut record = store.get(&scope(), "a").await.unwrap().unwrap();
        record.body = json!({ "n": 2 });
        let updated = store.update(&scope(), &record, Some(1), 2_000).await.unwrap();
        assert_eq!((updated.version, updated.created_ms, updated.updated_ms), (2, 1_000, 2_000));
        let stale = store.update(&scope(), &record, Some(1), 3_000).await.unwrap_err();
        assert!(matches!(stale, StoreError::VersionMismatch { .. }), "{stale}");
        let forced = store.update(&scope(), &record, None, 3_000).await.unwrap();
        assert_eq!(forced.version, 3);
        record.id = "gone".into();
        let gone = store.update(&scope(), &record, None, 3_000).await.unwrap_err();
        assert!(matches!(gone, StoreError::NotFound { .. }), "{gone}");
    }
}

#[tokio::test]
async fn a_token_repeats_its_first_answer_until_the_resource_is_deleted() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let with =
            |id: &str, idempotency| NewRecord { idempotency, ..new(id, Some(format!("name-{id}").as_str())) };
        let first = store.create(&scope(), with("a", token("t", "h1", "first"))).await.unwrap();
        assert!(matches!(first, Created::New(_)));
        let again = store.create(&scope(), with("b", token("t", "h1", "second"))).await.unwrap();
        assert_eq!(again, Created::Repeated(json!("first")));
        assert_eq!(store.get(&scope(), "b").await.unwrap(), None);
        let other = store.create(&scope(), with("c", token("t", "h2", "third"))).await.unwrap_err();
        assert!(matches!(other, StoreError::TokenReused), "{other}");
        assert!(store.delete(&scope(), "a", None).await.unwrap());
        assert!(!store.delete(&scope(), "a", None).await.unwrap());
        let anew = store.create(&scope(), with("d", token("t", "h2", "fourth"))).await.unwrap();
        assert!(matches!(anew, Created::New(_)));
    }
}

#[tokio::test]
async fn two_requests_with_one_token_at_once_make_one_record() {
    let directory = tempfile::tempdir().unwrap();
    for store in [Store::open(directory.path()).await.unwrap(), postgres().await] {
        one_record_of_sixteen_requests(store).await;
    }
}

async fn one_record_of_sixteen_requests(store: Store) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            let id = format!("id-{n}");
            let record = NewRecord { idempotency: token("t", "h", &id), ..new(&id, None) };
            match store.create(&scope(), record).await.unwrap() {
                Created::New(record) => json!(record.id),
                Created::Repeated(answer) => answer,
            }
        });
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(store.list(&scope(), &Range::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_claimed_for_something_else_repeats_its_first_answer() {
    let (_directory, stores) = stores().await;
    for store in stores {
        store.create(&scope(), new("a", None)).await.unwrap();
        let claim = async |hash: &str, answer: &str| {
            let idempotency = token("t", hash, answer).unwrap();
            let mut transaction = store.begin().await.unwrap();
            let first = transaction.claim(&scope(), "a", &idempotency, 1_000).await;
            if matches!(first, Ok(None)) {
                transaction.commit().await.unwrap();
            }
            first
        };
        assert_eq!(claim("h", "one").await.unwrap(), None);
        assert_eq!(claim("h", "two").await.unwrap(), Some(json!("one")));
        assert!(matches!(claim("other", "three").await, Err(StoreError::TokenReused)));
        store.delete(&scope(), "a", None).await.unwrap();
        assert_eq!(claim("other", "three").await.unwrap(), None, "the token went with the resource");
    }
}

#[tokio::test]
async fn the_newest_come_first_and_pages_of_them_visit_each_once() {
    let (_directory, stores) = stores().await;
    for store in stores {
        for (id, now_ms) in [("x/a", 5), ("x/b", 9), ("x/c", 9), ("x/d", 7), ("y/e", 8)] {
            store.create(&scope(), NewRecord { now_ms, ..new(id, None) }).await.unwrap();
        }
        let mut seen = Vec::new();
        let mut next_token = None;
        loop {
            let request = PageRequest::of(next_token, Some(2));
            let page = store.newest(&scope(), "x/", &request).await.unwrap().expect("a page");
            seen.extend(page.items.into_iter().map(|record| record.id));
            next_token = page.next_token;
            if next_token.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["x/b", "x/c", "x/d", "x/a"]);
        let wrong = PageRequest::of(Some("6e6f6e65".to_owned()), None);
        assert_eq!(store.newest(&scope(), "x/", &wrong).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_revision_changes_with_each_write() {
    let (_directory, stores) = stores().await;
    for store in stores {
        assert_eq!(store.revision(&scope(), "a").await.unwrap(), None);
        store.create(&scope(), new("a", None)).await.unwrap();
        let record = store.get(&scope(), "a").await.unwrap().unwrap();
        assert_eq!(store.revision(&scope(), "a").await.unwrap(), Some(record.version));
        store.update(&scope(), &record, None, 2_000).await.unwrap();
        assert_ne!(store.revision(&scope(), "a").await.unwrap(), Some(record.version));
    }
}

#[tokio::test]
async fn bodies_are_those_of_every_region_and_version() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let elsewhere = Scope::new("thing", "123456789012", "eu-west-1");
        store.create(&scope(), new("a", None)).await.unwrap();
        store.create(&elsewhere, new("b", None)).await.unwrap();
        store.create(&Scope::new("other", "123456789012", "us-east-1"), new("c", None)).await.unwrap();
        store.publish_draft(&scope(), "a", 2_000).await.unwrap();
        let mut found: Vec<String> =
            store.bodies("thing").await.unwrap().iter().map(|body| body["a"].to_string()).collect();
        found.sort();
        assert_eq!(found, ["\"a\"", "\"a\"", "\"b\""]);
    }
}

#[tokio::test]
async fn tags_come_and_go_with_their_resource() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let tags = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let record =
            NewRecord { tags: Some(("arn:a".into(), tags(&[("k", "1"), ("l", "2")]))), ..new("a", None) };
        store.create(&scope(), record).await.unwrap();
        store.tag("arn:a", &tags(&[("k", "3"), ("m", "")])).await.unwrap();
        store.untag("arn:a", &["l".into(), "unknown".into()]).await.unwrap();
        assert_eq!(store.tags("arn:a").await.unwrap(), tags(&[("k", "3"), ("m", "")]));
        let many: BTreeMap<String, String> =
            (0..MAX_TAGS).map(|n| (format!("n{n}"), String::new())).collect();
        let error = store.tag("arn:a", &many).await.unwrap_err();
        assert!(matches!(error, StoreError::TooManyTags { .. }), "{error}");
        assert_eq!(store.tags("arn:a").await.unwrap().len(), 2, "a refused call changes nothing");
        store.delete(&scope(), "a", Some("arn:a")).await.unwrap();
        assert!(store.tags("arn:a").await.unwrap().is_empty());
    }
}

/// A full disk, a read or write error and the like have SQLite undo the whole transaction by itself.
#[tokio::test]
async fn a_transaction_that_the_database_undid_spoils_none_after_it() {
    // Memory has no end of its disk, and would be lost with its connection.
    let (_directory, [file, _, shared]) = stores().await;
    for store in [&file, &shared] {
        let mut transaction = store.begin().await.unwrap();
        transaction.create(&scope(), new("a", None)).await.unwrap();
        transaction.execute("ROLLBACK", &[]).await.unwrap();
        drop(transaction);
        store.create(&scope(), new("b", None)).await.unwrap();
    }
    // No more pages than there are: what a full disk looks like to SQLite.
    file.execute("PRAGMA max_page_count = 1", &[]).await.unwrap();
    let mut transaction = file.begin().await.unwrap();
    let mut full = None;
    for n in 0..10_000 {
        let id = format!("more-{n:05}");
        if let Err(error) = transaction.create(&scope(), new(&id, None)).await {
            full = Some(error);
            break;
        }
    }
    assert!(full.is_some_and(|error| error.is_full()));
    drop(transaction);
    // Another connection, without the limit.
    file.create(&scope(), new("c", None)).await.unwrap();
    let found = file.list(&scope(), &Range::default()).await.unwrap();
    assert_eq!(found.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
}
