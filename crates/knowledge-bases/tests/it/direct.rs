//! Documents put in and deleted one by one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use craton_backend::BackendError;
use craton_core::Principal;
use craton_identity::policy::{Policy, PolicyKind};
use craton_identity::{Attached, PolicySource, RolePolicies, ServiceRoles};
use craton_objects::{ObjectStore as _, Put, types};
use craton_store::{Store, testing};
use craton_vectors::{MetadataValue, SourceLocation};
use serde_json::{Value, json};

use crate::support::{ByRole, Ids, World, base_request, context, input};

async fn custom(world: &World) -> Ids {
    let base = world.create_base("b").await.unwrap();
    let configuration = json!({ "dataSourceConfiguration": { "type": "CUSTOM" } });
    Ids { source: world.create_source(&base, configuration).await.unwrap(), base }
}

pub(crate) fn text(id: &str, text: &str) -> Value {
    json!({ "content": { "dataSourceType": "CUSTOM", "custom": {
        "customDocumentIdentifier": { "id": id }, "sourceType": "IN_LINE",
        "inlineContent": { "type": "TEXT", "textContent": { "data": text } } } } })
}

pub(crate) async fn put(world: &World, ids: &Ids, documents: Vec<Value>) {
    let mut request = ids.json();
    request["documents"] = documents.into();
    let answer = world.service.ingest_knowledge_base_documents(&context(), input(request)).await.unwrap();
    assert!(answer.document_details.unwrap().iter().all(|detail| detail.status.as_str() == "STARTING"));
}

/// Statuses and reasons of custom documents, once none waits.
pub(crate) async fn statuses(world: &World, ids: &Ids, names: &[&str]) -> Vec<String> {
    for _ in 0..500 {
        let mut request = ids.json();
        let identifier = |id: &&str| json!({ "dataSourceType": "CUSTOM", "custom": { "id": id } });
        request["documentIdentifiers"] = names.iter().map(identifier).collect();
        let answer = world.service.get_knowledge_base_documents(&context(), input(request)).await.unwrap();
        let found: Vec<String> = answer
            .document_details
            .unwrap()
            .into_iter()
            .map(|detail| format!("{} {}", detail.status.as_str(), detail.status_reason.unwrap_or_default()))
            .collect();
        if !found.iter().any(|status| status.starts_with("STARTING") || status.starts_with("DELETING")) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("they wait for ever");
}

#[tokio::test]
async fn documents_come_replace_each_other_and_go() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    world.bucket().await;
    let ids = custom(&world).await;
    world.put("elsewhere.md", "# Figs\n\nThey are sweet.").await;
    let mut tagged = text("one", "Apples are red.");
    tagged["metadata"] = json!({ "type": "IN_LINE_ATTRIBUTE", "inlineAttributes": [
        { "key": "year", "value": { "type": "NUMBER", "numberValue": 2025.0 } },
        { "key": "tags", "value": { "type": "STRING_LIST", "stringListValue": ["x"] } }] });
    let bytes = json!({ "content": { "dataSourceType": "CUSTOM", "custom": {
        "customDocumentIdentifier": { "id": "two" }, "sourceType": "IN_LINE",
        "inlineContent": { "type": "BYTE", "byteContent": { "mimeType": "text/html",
            "data": "PGgxPlBlYXJzPC9oMT4=" } } } } });
    let object = json!({ "content": { "dataSourceType": "CUSTOM", "custom": {
        "customDocumentIdentifier": { "id": "three" }, "sourceType": "S3_LOCATION",
        "s3Location": { "uri": "s3://docs/elsewhere.md" } } } });
    let missing = json!({ "content": { "dataSourceType": "CUSTOM", "custom": {
        "customDocumentIdentifier": { "id": "four" }, "sourceType": "S3_LOCATION",
        "s3Location": { "uri": "s3://docs/none.md" } } } });
    put(&world, &ids, vec![tagged, bytes, object, missing, text("five", " ")]).await;
    let found = statuses(&world, &ids, &["one", "two", "three", "four", "five", "six"]).await;
    assert_eq!(found[..3], ["INDEXED ", "INDEXED ", "INDEXED "]);
    assert!(found[3].starts_with("FAILED ") && found[3].contains("none.md"), "{found:?}");
    assert_eq!(found[4..], ["IGNORED it has no text", "NOT_FOUND "]);
    let apples = world.find("apples").await.unwrap();
    assert_eq!(apples.location, SourceLocation::Custom("one".into()));
    assert_eq!(apples.metadata["year"], MetadataValue::Number(2025.0));
    assert_eq!(world.texts().await["two"], ["# Pears"]);

    put(&world, &ids, vec![text("one", "Cherries.")]).await;
    assert_eq!(statuses(&world, &ids, &["one"]).await, ["INDEXED "]);
    assert_eq!(world.texts().await["one"], ["Cherries."]);

    let mut request = ids.json();
    request["documentIdentifiers"] = json!([
        { "dataSourceType": "CUSTOM", "custom": { "id": "one" } },
        { "dataSourceType": "CUSTOM", "custom": { "id": "none" } }]);
    let answer = world.service.delete_knowledge_base_documents(&context(), input(request)).await.unwrap();
    let deleting: Vec<_> =
        answer.document_details.unwrap().into_iter().map(|detail| detail.status.as_str()).collect();
    assert_eq!(deleting, ["DELETING", "NOT_FOUND"]);
    assert_eq!(statuses(&world, &ids, &["one"]).await, ["NOT_FOUND "]);
    assert!(!world.texts().await.contains_key("one"));

    let mut request = ids.json();
    request["maxResults"] = json!(3);
    let page = world.service.list_knowledge_base_documents(&context(), input(request.clone())).await.unwrap();
    request["nextToken"] = json!(page.next_token.unwrap());
    let rest = world.service.list_knowledge_base_documents(&context(), input(request)).await.unwrap();
    assert_eq!((page.document_details.len(), rest.document_details.len(), rest.next_token), (3, 1, None));
}

#[tokio::test]
async fn a_document_of_a_bucket_put_in_directly_is_known_to_the_next_sync() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = world.library().await;
    world.put("a.txt", "Apples.").await;
    world.put("a.txt.metadata.json", r#"{"metadataAttributes": {"a": 1}}"#).await;
    let uri = "s3://docs/a.txt";
    put(
        &world,
        &ids,
        vec![json!({ "content": { "dataSourceType": "S3", "s3": { "s3Location": { "uri": uri } } } })],
    )
    .await;
    for _ in 0..500 {
        if world.texts().await.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.find("apples").await.unwrap().metadata["a"], MetadataValue::Number(1.0));
    assert_eq!(world.counters(&ids).await, [1, 1, 0, 0, 0, 0, 0, 0], "nothing is new");
}

#[tokio::test]
async fn documents_of_another_kind_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = custom(&world).await;
    let mut request = ids.json();
    request["documents"] =
        json!([{ "content": { "dataSourceType": "S3", "s3": { "s3Location": { "uri": "s3://docs/a" } } } }]);
    let error = world.service.ingest_knowledge_base_documents(&context(), input(request)).await.unwrap_err();
    assert!(error.code == "ValidationException" && error.message.contains("CUSTOM"), "{error}");
    let error = world.start(&ids).await.unwrap_err();
    assert!(error.message.contains("IngestKnowledgeBaseDocuments"), "{error}");
}

/// What a request says twice, or in a part of another type, is not passed over.
#[tokio::test]
async fn documents_that_say_two_things_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = custom(&world).await;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut document = text("a", "Apples.");
        change(&mut document);
        vec![document]
    };
    let tagged = |metadata: Value| changed(&|document| document["metadata"] = metadata.clone());
    let inline =
        |attributes: Value| tagged(json!({ "type": "IN_LINE_ATTRIBUTE", "inlineAttributes": attributes }));
    let year = |n: f64| json!({ "key": "year", "value": { "type": "NUMBER", "numberValue": n } });
    let uri = json!({ "uri": "s3://docs/a" });
    let cases = [
        (vec![text("a", "Apples."), text("b", "Pears."), text("a", "Plums.")], "the document a twice"),
        (changed(&|it| it["content"]["s3"] = json!({ "s3Location": uri })), "s3 can't be given"),
        (changed(&|it| it["content"]["custom"]["s3Location"] = uri.clone()), "s3Location can't be given"),
        (
            changed(&|it| {
                it["content"]["custom"]["inlineContent"]["byteContent"] =
                    json!({ "mimeType": "text/plain", "data": "aGk=" });
            }),
            "byteContent can't be given",
        ),
        (inline(json!([year(1.0), year(2.0)])), "year is given twice"),
        (
            inline(json!([{ "key": "x-amz-bedrock-kb-source-uri",
                "value": { "type": "STRING", "stringValue": "s3://b/other" } }])),
            "the system's own",
        ),
        (
            inline(
                json!([{ "key": "k", "value": { "type": "STRING", "stringValue": "a", "numberValue": 1.0 } }]),
            ),
            "numberValue can't be given",
        ),
        (inline(json!([{ "key": "k", "value": { "type": "STRING" } }])), "stringValue is required"),
        (
            tagged(
                json!({ "type": "IN_LINE_ATTRIBUTE", "inlineAttributes": [year(1.0)], "s3Location": uri }),
            ),
            "s3Location can't be given",
        ),
        (tagged(json!({ "type": "S3_LOCATION" })), "s3Location is required"),
    ];
    for (documents, part) in cases {
        let mut request = ids.json();
        request["documents"] = documents.into();
        let answer = world.service.ingest_knowledge_base_documents(&context(), input(request)).await;
        let error = answer.unwrap_err();
        assert!(error.code == "ValidationException" && error.message.contains(part), "{part}: {error}");
    }
    let identifier = json!({ "dataSourceType": "CUSTOM", "custom": { "id": "a" } });
    let mut other = identifier.clone();
    other["s3"] = uri.clone();
    let of_s3 = json!({ "dataSourceType": "S3", "custom": { "id": "a" } });
    for (identifiers, part) in [
        (json!([identifier, identifier]), "the document a twice"),
        (json!([other]), "s3 can't be given"),
        (json!([of_s3]), "CUSTOM"),
    ] {
        let mut request = ids.json();
        request["documentIdentifiers"] = identifiers;
        let answer = world.service.delete_knowledge_base_documents(&context(), input(request)).await;
        let error = answer.unwrap_err();
        assert!(error.code == "ValidationException" && error.message.contains(part), "{part}: {error}");
    }
    assert_eq!(statuses(&world, &ids, &["a", "b"]).await, ["NOT_FOUND ", "NOT_FOUND "]);
}

/// PostgreSQL's text holds every character but one.
#[tokio::test]
async fn the_character_zero_is_refused_where_it_can_not_be_kept() {
    let directory = tempfile::tempdir().unwrap();
    let stores = [Store::open(directory.path()).await.unwrap(), testing::postgres().await];
    for (n, store) in stores.into_iter().enumerate() {
        let world = World::on(store, &directory.path().join(n.to_string())).await;
        let ids = custom(&world).await;
        let mut request = ids.json();
        request["documents"] = json!([text("a\0b", "Apples.")]);
        let put = world.service.ingest_knowledge_base_documents(&context(), input(request)).await.map(drop);
        let mut request = ids.json();
        request["documentIdentifiers"] = json!([{ "dataSourceType": "CUSTOM", "custom": { "id": "a\0b" } }]);
        let get =
            world.service.get_knowledge_base_documents(&context(), input(request.clone())).await.map(drop);
        let delete =
            world.service.delete_knowledge_base_documents(&context(), input(request)).await.map(drop);
        let mut request = ids.json();
        request["nextToken"] = json!("610062");
        let list = world.service.list_knowledge_base_documents(&context(), input(request)).await.map(drop);
        for answer in [put, get, delete, list] {
            assert_eq!(answer.unwrap_err().code, "ValidationException");
        }
        // Elsewhere it costs the document alone, or nothing.
        let mut tagged = text("c", "Cherries.");
        tagged["metadata"] = json!({ "type": "IN_LINE_ATTRIBUTE", "inlineAttributes": [
            { "key": "k\0", "value": { "type": "STRING", "stringValue": "v\0" } }] });
        self::put(&world, &ids, vec![text("b", "Ban\0anas."), tagged]).await;
        let found = statuses(&world, &ids, &["b", "c"]).await;
        assert!(found[0].starts_with("FAILED it is binary") && found[1] == "INDEXED ", "{found:?}");
        world.close().await;
    }
}

fn object(id: &str, uri: &str) -> Value {
    json!({ "content": { "dataSourceType": "CUSTOM", "custom": { "customDocumentIdentifier": { "id": id },
        "sourceType": "S3_LOCATION", "s3Location": { "uri": uri } } } })
}

#[tokio::test]
async fn a_document_in_a_bucket_that_is_not_there_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = custom(&world).await;
    let mut tagged = text("c", "Cherries.");
    tagged["metadata"] = json!({ "type": "S3_LOCATION", "s3Location": { "uri": "s3://no-such/c.json" } });
    let documents =
        vec![text("a", "Apples."), object("b", "s3://no-such/b.txt"), tagged, text("d", "Dates.")];
    put(&world, &ids, documents).await;
    let found = statuses(&world, &ids, &["a", "b", "c", "d"]).await;
    assert_eq!((found[0].as_str(), found[3].as_str()), ("INDEXED ", "INDEXED "), "{found:?}");
    for failed in &found[1..3] {
        assert!(failed.starts_with("FAILED ") && failed.contains("no-such"), "{found:?}");
    }
}

#[tokio::test]
async fn what_waits_for_a_job_that_fails_says_so_and_may_be_deleted_later() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::open(directory.path()).await;
    let ids = custom(&world).await;
    put(&world, &ids, vec![text("old", "Apples.")]).await;
    assert_eq!(statuses(&world, &ids, &["old"]).await, ["INDEXED "]);
    world.running.take().unwrap().stop().await;
    *world.model.failing.lock() =
        Some(BackendError::Upstream { status: 403, message: "the model is broken".into() });
    let delete = || {
        let mut request = ids.json();
        request["documentIdentifiers"] = json!([{ "dataSourceType": "CUSTOM", "custom": { "id": "old" } }]);
        request
    };
    world.service.delete_knowledge_base_documents(&context(), input(delete())).await.unwrap();
    put(&world, &ids, vec![text("new", "Pears.")]).await;
    world.work().await;
    let found = statuses(&world, &ids, &["new", "old"]).await;
    let failed = |status: &String| {
        status.starts_with("FAILED ") && status.contains("The model failed with status 403")
    };
    assert!(found.iter().all(failed), "{found:?}");
    *world.model.failing.lock() = None;
    world.service.delete_knowledge_base_documents(&context(), input(delete())).await.unwrap();
    assert_eq!(statuses(&world, &ids, &["old"]).await, ["NOT_FOUND "]);
}

/// A role that may use the model, the collection and one bucket.
struct Librarian;

impl PolicySource for Librarian {
    fn attached(&self, _: &Principal) -> Option<Arc<Attached>> {
        None
    }

    fn role(&self, arn: &str) -> Option<RolePolicies> {
        let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":
            "bedrock.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;
        let mut allowed = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":
            ["bedrock:InvokeModel","s3:GetObject"COLLECTIONS],"Resource":["arn:aws:s3:::docs/*",
            "arn:aws:bedrock:*::foundation-model/*","arn:aws:aoss:*:*:collection/*"]}}"#
            .to_owned();
        let collections = if arn.ends_with("/R") { r#","aoss:APIAccessAll""# } else { "" };
        allowed = allowed.replace("COLLECTIONS", collections);
        let policy = |text: &str, kind| Arc::new(Policy::parse(text, kind).unwrap());
        let identity = vec![policy(&allowed, PolicyKind::Inline)];
        Some(RolePolicies {
            arn: arn.to_owned(),
            id: "AROAEXAMPLE".into(),
            trust: policy(trust, PolicyKind::Trust),
            attached: Arc::new(Attached { identity, ..Attached::default() }),
        })
    }
}

/// A world at work that asks what roles may do, and a data source that documents are put into.
async fn strict(directory: &Path) -> (World, Ids) {
    let store = Store::open(directory).await.unwrap();
    let roles = ServiceRoles::new(Arc::new(Librarian), "123456789012", true);
    let mut world = World::tuned(store, directory, |parts| parts.permissions = Arc::new(ByRole(roles)));
    world.work().await;
    let ids = custom(&world).await;
    (world, ids)
}

#[tokio::test]
async fn a_role_must_be_let_read_what_a_document_names() {
    let directory = tempfile::tempdir().unwrap();
    let (world, ids) = strict(directory.path()).await;
    world.bucket().await;
    world.put("a.txt", "Apples.").await;
    world.objects.create_bucket("secret", "us-east-1").await.unwrap();
    world.objects.put(Put::new("secret", "b.txt"), types::bytes("Bombs.")).await.unwrap();
    world.objects.put(Put::new("secret", "m.json"), types::bytes("{}")).await.unwrap();
    let mut tagged = text("c", "Cherries.");
    tagged["metadata"] = json!({ "type": "S3_LOCATION", "s3Location": { "uri": "s3://secret/m.json" } });
    put(&world, &ids, vec![object("a", "s3://docs/a.txt"), object("b", "s3://secret/b.txt"), tagged]).await;
    let found = statuses(&world, &ids, &["a", "b", "c"]).await;
    assert_eq!(found[0], "INDEXED ");
    for refused in &found[1..] {
        assert!(refused.starts_with("FAILED ") && refused.contains("s3:GetObject"), "{found:?}");
    }
    assert_eq!(world.texts().await.len(), 1);
}

#[tokio::test]
async fn a_role_must_be_let_use_the_collection() {
    let directory = tempfile::tempdir().unwrap();
    let (world, ids) = strict(directory.path()).await;
    let mut update = base_request("b");
    update["knowledgeBaseId"] = json!(ids.base);
    update["roleArn"] = json!("arn:aws:iam::123456789012:role/Other");
    world.service.update_knowledge_base(&context(), input(update)).await.unwrap();
    put(&world, &ids, vec![text("a", "Apples.")]).await;
    let found = statuses(&world, &ids, &["a"]).await;
    assert!(found[0].starts_with("FAILED ") && found[0].contains("aoss:APIAccessAll"), "{found:?}");
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_not_done_again() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = custom(&world).await;
    let request = |says: &str, token: &str| {
        let mut request = ids.json();
        request["documents"] = json!([text("price", says)]);
        request["clientToken"] = token.into();
        request
    };
    let (first, second) = ("a".repeat(33), "b".repeat(33));
    let service = &world.service;
    let ingest =
        async |request: Value| service.ingest_knowledge_base_documents(&context(), input(request)).await;
    let answered = ingest(request("The price is 1.", &first)).await.unwrap();
    statuses(&world, &ids, &["price"]).await;
    ingest(request("The price is 2.", &second)).await.unwrap();
    statuses(&world, &ids, &["price"]).await;
    let again = ingest(request("The price is 1.", &first)).await.unwrap();
    assert_eq!(json!(again.document_details), json!(answered.document_details));
    assert_eq!(statuses(&world, &ids, &["price"]).await, ["INDEXED "]);
    assert_eq!(world.texts().await["price"], ["The price is 2."]);
    let other = ingest(request("The price is 3.", &first)).await.unwrap_err();
    assert_eq!(other.code, "ConflictException");

    let mut delete = ids.json();
    delete["documentIdentifiers"] = json!([{ "dataSourceType": "CUSTOM", "custom": { "id": "price" } }]);
    delete["clientToken"] = "c".repeat(33).into();
    let gone = service.delete_knowledge_base_documents(&context(), input(delete.clone())).await.unwrap();
    assert_eq!(statuses(&world, &ids, &["price"]).await, ["NOT_FOUND "]);
    ingest(request("The price is 4.", &"d".repeat(33))).await.unwrap();
    statuses(&world, &ids, &["price"]).await;
    let again = service.delete_knowledge_base_documents(&context(), input(delete)).await.unwrap();
    assert_eq!(json!(again.document_details), json!(gone.document_details));
    assert_eq!(statuses(&world, &ids, &["price"]).await, ["INDEXED "]);
}
