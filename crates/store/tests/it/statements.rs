//! A capability's own statements.

use std::sync::Arc;
use std::time::Instant;

use craton_store::jobs::NewJob;
use craton_store::testing::{postgres, stores};
use craton_store::{NewRecord, Scope, Store, StoreError, Value, values};
use serde_json::json;

const TABLE: &str =
    "CREATE TABLE own (id TEXT NOT NULL PRIMARY KEY, n BIGINT, x DOUBLE PRECISION, b {BYTES})";

async fn with_table(store: &Store) {
    let bytes = if store.is_shared() { "BYTEA" } else { "BLOB" };
    let sql = craton_store::AssertSqlSafe(TABLE.replace("{BYTES}", bytes));
    store.execute(sql, &[]).await.unwrap();
}

const INSERT: &str = "INSERT INTO own (id, n, x, b) VALUES ($1, $2, $3, $4)";

#[tokio::test]
async fn every_type_of_value_is_read_as_written() {
    let (_directory, stores) = stores().await;
    for store in stores {
        with_table(&store).await;
        // Nulls first: what a statement learns of its parameters must not depend on the first values.
        let nothing = values!["null", None::<i64>, None::<f64>, None::<Vec<u8>>];
        assert_eq!(store.execute(INSERT, &nothing).await.unwrap(), 1);
        let all = values!["é\u{0301}", i64::MIN, -0.1, vec![0_u8, 255]];
        store.execute(INSERT, &all).await.unwrap();
        store.execute(INSERT, &values!["whole", 1_i64, 2.0, Vec::new()]).await.unwrap();
        let rows = store.fetch_all("SELECT id, n, x, b FROM own ORDER BY id", &[]).await.unwrap();
        assert_eq!(
            rows[1].clone().into_values(),
            [Value::from("whole"), 1_i64.into(), 2.0.into(), Vec::new().into()]
        );
        assert_eq!(rows[0].clone().into_values(), nothing);
        assert_eq!(rows[2].clone().into_values(), all);
        assert_eq!(rows[0].get::<Option<i64>>("n").unwrap(), None);
        assert_eq!(rows[2].get::<&[u8]>("b").unwrap(), [0, 255]);
        assert!(matches!(rows[0].get::<i64>("n"), Err(StoreError::Column { .. })));
        assert!(matches!(rows[0].get::<i64>("none"), Err(StoreError::Column { .. })));
        let again = store.execute(INSERT, &all).await.unwrap_err();
        assert!(again.is_unique_violation(), "{again}");
        let none = store.fetch_optional("SELECT n FROM own WHERE id = $1", &values!["?"]).await.unwrap();
        assert_eq!(none, None);
    }
}

#[tokio::test]
async fn text_sorts_by_bytes() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let scope = Scope::new("thing", "1", "r");
        for id in ["b", "B", "a", "_", "A", "é", "-"] {
            let new = NewRecord {
                id: id.into(),
                name: None,
                body: json!(1),
                now_ms: 0,
                idempotency: None,
                tags: None,
            };
            store.create(&scope, new).await.unwrap();
        }
        let ids: Vec<String> = store
            .list(&scope, &Default::default())
            .await
            .unwrap()
            .into_iter()
            .map(|record| record.id)
            .collect();
        assert_eq!(ids, ["-", "A", "B", "_", "a", "b", "é"]);
    }
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    let (_directory, stores) = stores().await;
    for store in stores {
        with_table(&store).await;
        let scope = Scope::new("thing", "1", "r");
        let new = NewRecord {
            id: "a".into(),
            name: None,
            body: json!(1),
            now_ms: 0,
            idempotency: None,
            tags: None,
        };
        for commit in [false, true] {
            let mut transaction = store.begin().await.unwrap();
            transaction.create(&scope, new.clone()).await.unwrap();
            transaction.execute(INSERT, &values!["a", 1_i64, 1.5, vec![1_u8]]).await.unwrap();
            transaction.enqueue(NewJob::new("job", "kind", json!({}), 0)).await.unwrap();
            if commit {
                transaction.commit().await.unwrap();
            } else {
                transaction.rollback().await.unwrap();
            }
            assert_eq!(store.get(&scope, "a").await.unwrap().is_some(), commit);
            assert_eq!(store.job("job").await.unwrap().is_some(), commit);
            let own = store.fetch_all("SELECT id FROM own", &[]).await.unwrap();
            assert_eq!(own.len(), usize::from(commit));
        }
        drop(store.begin().await.unwrap());
        store.execute(INSERT, &values!["after a dropped transaction", 1_i64, 1.5, vec![1_u8]]).await.unwrap();
    }
}

#[tokio::test]
async fn many_writers_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for store in [Store::open(directory.path()).await.unwrap(), postgres().await] {
        with_table(&store).await;
        let store = Arc::new(store);
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..16_i64 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for n in 0..25_i64 {
                    store
                        .execute(INSERT, &values![format!("{task}-{n}"), n, 0.5, None::<Vec<u8>>])
                        .await
                        .unwrap();
                }
            });
        }
        tasks.join_all().await;
        let rows = store
            .fetch_all("SELECT CAST(SUM(n) AS BIGINT) AS total, COUNT(*) AS n FROM own", &[])
            .await
            .unwrap();
        assert_eq!((rows[0].get::<i64>("total").unwrap(), rows[0].get::<i64>("n").unwrap()), (16 * 300, 400));
        println!("400 writes by 16 writers: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_wrong_url_is_refused() {
    for url in ["", "mysql://localhost/x", "postgres.example.com"] {
        assert!(matches!(Store::connect(url).await, Err(StoreError::Url)), "{url}");
    }
}
