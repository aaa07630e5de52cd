use craton_store::testing::stores;
use craton_store::versions::Alias;
use craton_store::{NewRecord, Scope, StoreError};
use serde_json::json;

fn alias(id: &str, name: &str, number: Option<i64>) -> Alias {
    Alias { id: id.into(), name: name.into(), number, body: json!({ "d": id }), created_ms: 5, updated_ms: 5 }
}

#[tokio::test]
async fn versions_are_numbered_once_and_never_change() {
    let (_directory, stores) = stores().await;
    let scope = Scope::new("thing", "1", "r");
    for store in stores {
        let new = NewRecord {
            id: "a".into(),
            name: None,
            body: json!(1),
            now_ms: 0,
            idempotency: None,
            tags: None,
        };
        store.create(&scope, new.clone()).await.unwrap();
        assert_eq!(store.publish_draft(&scope, "a", 10).await.unwrap().number, 1);
        let mut draft = store.get(&scope, "a").await.unwrap().unwrap();
        draft.body = json!(2);
        store.update(&scope, &draft, None, 20).await.unwrap();
        let second = store.publish_draft(&scope, "a", 30).await.unwrap();
        assert_eq!((second.number, &second.body, second.created_ms), (2, &json!(2), 30));
        let first = store.version(&scope, "a", 1).await.unwrap().unwrap();
        assert_eq!((first.body, first.created_ms), (json!(1), 10));

        let mut transaction = store.begin().await.unwrap();
        assert!(transaction.delete_version(&scope, "a", 2).await.unwrap());
        assert!(!transaction.delete_version(&scope, "a", 2).await.unwrap());
        transaction.commit().await.unwrap();
        assert_eq!(store.publish_draft(&scope, "a", 40).await.unwrap().number, 3, "2 is not given again");
        let numbers: Vec<i64> =
            store.list_versions(&scope, "a").await.unwrap().iter().map(|version| version.number).collect();
        assert_eq!(numbers, [1, 3]);

        let gone = store.publish_draft(&scope, "b", 1).await.unwrap_err();
        assert!(matches!(gone, StoreError::NotFound { .. }), "{gone}");
        store.delete(&scope, "a", None).await.unwrap();
        assert!(store.list_versions(&scope, "a").await.unwrap().is_empty());
        store.create(&scope, new).await.unwrap();
        assert_eq!(store.publish_draft(&scope, "a", 1).await.unwrap().number, 1, "another resource");
    }
}

#[tokio::test]
async fn aliases_point_at_versions_that_are_there() {
    let (_directory, stores) = stores().await;
    let scope = Scope::new("thing", "1", "r");
    for store in stores {
        let new = NewRecord {
            id: "a".into(),
            name: None,
            body: json!(1),
            now_ms: 0,
            idempotency: None,
            tags: None,
        };
        store.create(&scope, new).await.unwrap();
        store.publish_draft(&scope, "a", 1).await.unwrap();
        store.create_alias(&scope, "a", &alias("x", "live", Some(1))).await.unwrap();
        store.create_alias(&scope, "a", &alias("y", "draft", None)).await.unwrap();
        let taken = store.create_alias(&scope, "a", &alias("z", "live", None)).await.unwrap_err();
        assert!(matches!(&taken, StoreError::NameTaken { name, .. } if name == "live"), "{taken}");
        let nowhere = store.create_alias(&scope, "a", &alias("z", "other", Some(9))).await.unwrap_err();
        assert!(matches!(nowhere, StoreError::NotFound { .. }), "{nowhere}");

        let mut transaction = store.begin().await.unwrap();
        assert_eq!(transaction.aliases_of(&scope, "a", 1).await.unwrap(), ["x"]);
        drop(transaction);
        let moved = Alias { number: None, name: "old".into(), updated_ms: 9, ..alias("x", "", None) };
        store.update_alias(&scope, "a", &moved).await.unwrap();
        assert_eq!(store.alias(&scope, "a", "x").await.unwrap().unwrap(), moved);
        let missing = store.update_alias(&scope, "a", &alias("z", "z", None)).await.unwrap_err();
        assert!(matches!(missing, StoreError::NotFound { .. }), "{missing}");
        let ids: Vec<String> =
            store.list_aliases(&scope, "a").await.unwrap().into_iter().map(|alias| alias.id).collect();
        assert_eq!(ids, ["x", "y"]);
        assert!(store.delete_alias(&scope, "a", "x").await.unwrap());
        assert!(!store.delete_alias(&scope, "a", "x").await.unwrap());
    }
}
