//! The service over an embedded index: policies, collections, and what opensearch-py sends.

mod named;

use std::sync::Arc;

use craton_api_opensearchserverless as api;
use craton_core::{Account, Principal, RandomIds, RequestContext, SystemClock};
use craton_identity::PolicySource;
use craton_identity::directory::Directory;
use craton_store::Store;
use craton_vectors::Drivers;
use serde_json::{Value, json};

use crate::rest::{RestReply, RestRequest};
use crate::{Collections, Parts};

struct World {
    service: Collections,
    context: RequestContext,
    _folder: tempfile::TempDir,
}

async fn world() -> World {
    world_with(Arc::new(craton_identity::NoPolicies)).await
}

async fn world_with(principals: Arc<dyn PolicySource>) -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::in_memory().await.unwrap();
    let drivers = Drivers::new(store.clone(), folder.path());
    let parts = Parts {
        store,
        drivers,
        principals,
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        url: "http://127.0.0.1:8473".into(),
    };
    let context = RequestContext {
        request_id: "1".into(),
        account: Arc::new(Account::default()),
        region: "us-east-1".into(),
        principal: Arc::new(Principal::new("arn:aws:iam::123456789012:root", "AK")),
        source_ip: None,
        received_ms: 1_000,
    };
    World { service: Collections::new(parts), context, _folder: folder }
}

fn read<T: serde::de::DeserializeOwned>(fields: Value) -> T {
    serde_json::from_value(fields).unwrap()
}

impl World {
    async fn collection(&self) -> String {
        let policy =
            r#"{"Rules":[{"Resource":["collection/vec*"],"ResourceType":"collection"}],"AWSOwnedKey":true}"#;
        let policy = json!({"name": "enc", "type": "encryption", "policy": policy});
        self.service.create_security_policy(&self.context, read(policy)).await.unwrap();
        let created = self
            .service
            .create_collection(&self.context, read(json!({"name": "vectors", "type": "VECTORSEARCH"})))
            .await
            .unwrap();
        created.create_collection_detail.unwrap().id.unwrap()
    }

    async fn call(&self, collection: &str, call: &str, body: Value) -> RestReply {
        let (method, path) = call.split_once(' ').unwrap();
        let (path, query) =
            path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query.to_owned())));
        let body = match body {
            Value::Null => Vec::new(),
            Value::String(lines) => lines.into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let request =
            RestRequest { method: method.to_owned(), path: path.to_owned(), query, body: body.into() };
        self.service.rest(&self.context, collection, request).await
    }
}

/// A network policy that opens collections to everybody.
fn network(collections: &str) -> String {
    let rules = json!([{"ResourceType": "collection", "Resource": [format!("collection/{collections}")]}]);
    json!([{"Rules": rules, "AllowFromPublic": true}]).to_string()
}

fn mapping() -> Value {
    json!({
        "settings": {"index.knn": true},
        "mappings": {"properties": {
            "v": {"type": "knn_vector", "dimension": 3, "method": {"name": "hnsw", "engine": "faiss"}},
            "text": {"type": "text"}, "year": {"type": "integer"}}},
    })
}

fn ids(reply: &RestReply) -> Vec<&str> {
    reply.body["hits"]["hits"].as_array().unwrap().iter().map(|hit| hit["_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_collection_wants_an_encryption_policy_and_is_active() {
    let world = world().await;
    let asked: api::CreateCollectionRequest = read(json!({"name": "other"}));
    let error = world.service.create_collection(&world.context, asked).await.unwrap_err();
    assert!(error.message.contains("No matching security policy of encryption type"), "{error}");
    let id = world.collection().await;
    let got = world
        .service
        .batch_get_collection(&world.context, read(json!({"names": ["vectors", "none"]})))
        .await
        .unwrap();
    let detail = &got.collection_details.unwrap()[0];
    assert_eq!(detail.status, Some(api::CollectionStatus::Active));
    assert_eq!(
        detail.collection_endpoint.as_deref(),
        Some(format!("http://127.0.0.1:8473/aoss/{id}").as_str())
    );
    assert_eq!(got.collection_error_details.unwrap()[0].name.as_deref(), Some("none"));
    let again: api::CreateCollectionRequest = read(json!({"name": "vectors"}));
    assert_eq!(
        world.service.create_collection(&world.context, again).await.unwrap_err().code,
        "ConflictException"
    );
}

#[tokio::test]
async fn a_policy_that_an_earlier_build_changed_is_read() {
    let world = world().await;
    let body = json!({"policy": [{"AllowFromPublic": true}], "policy_version": "v1", "changed_by": "token"});
    let record = craton_store::NewRecord {
        id: "network/old".into(),
        name: None,
        body,
        now_ms: 1_000,
        idempotency: None,
        tags: None,
    };
    let scope = crate::scope(&world.context, "aoss-security-policy");
    world.service.parts.store.create(&scope, record).await.unwrap();
    let listed = world.service.list_security_policies(&world.context, read(json!({"type": "network"})));
    assert_eq!(listed.await.unwrap().security_policy_summaries.unwrap().len(), 1);
    let change = json!({"name": "old", "type": "network", "policyVersion": "v1", "description": "d"});
    world.service.update_security_policy(&world.context, read(change)).await.unwrap();
}

#[tokio::test]
async fn policies_change_only_from_their_version() {
    let world = world().await;
    let asked = json!({"name": "net", "type": "network", "policy": network("*")});
    let made = world.service.create_security_policy(&world.context, read(asked.clone())).await.unwrap();
    let version = made.security_policy_detail.unwrap().policy_version.unwrap();
    let error = world.service.create_security_policy(&world.context, read(asked)).await.unwrap_err();
    assert_eq!(error.code, "ConflictException");
    let change = |version: &str| {
        read(json!({"name": "net", "type": "network", "policyVersion": version, "description": "d"}))
    };
    let changed = world.service.update_security_policy(&world.context, change(&version)).await.unwrap();
    assert_eq!(changed.security_policy_detail.unwrap().description.as_deref(), Some("d"));
    let error = world.service.update_security_policy(&world.context, change(&version)).await.unwrap_err();
    assert_eq!(error.code, "ConflictException");
    let got =
        world.service.get_security_policy(&world.context, read(json!({"name": "net", "type": "network"})));
    let version = got.await.unwrap().security_policy_detail.unwrap().policy_version.unwrap();
    let told = |description: &str| {
        read(json!({"name": "net", "type": "network", "policyVersion": version, "description": description,
            "clientToken": "once"}))
    };
    let first = world.service.update_security_policy(&world.context, told("e")).await.unwrap();
    let again = world.service.update_security_policy(&world.context, told("e")).await.unwrap();
    let version_of = |made: &api::UpdateSecurityPolicyResponse| {
        made.security_policy_detail.as_ref().unwrap().policy_version.clone()
    };
    assert_eq!(version_of(&first), version_of(&again), "told again");
    let error = world.service.update_security_policy(&world.context, told("f")).await.unwrap_err();
    assert_eq!(error.code, "ConflictException", "another change under the same token is not passed over");
    let listed =
        world.service.list_security_policies(&world.context, read(json!({"type": "network"}))).await.unwrap();
    assert_eq!(listed.security_policy_summaries.unwrap().len(), 1);
    let which = || read(json!({"name": "net", "type": "network"}));
    world.service.delete_security_policy(&world.context, which()).await.unwrap();
    let error =
        world.service.get_security_policy(&world.context, read(json!({"name": "net", "type": "network"})));
    assert_eq!(error.await.unwrap_err().code, "ResourceNotFoundException");
    let broken = json!({"name": "bad", "type": "data", "policy": "{"});
    let error = world.service.create_access_policy(&world.context, read(broken)).await.unwrap_err();
    assert_eq!(error.code, "ValidationException");
}

#[tokio::test]
async fn an_index_is_made_filled_searched_and_deleted() {
    let world = world().await;
    let c = world.collection().await;
    assert_eq!(world.call(&c, "HEAD books", Value::Null).await.status, 404);
    assert_eq!(world.call(&c, "PUT books", mapping()).await.body["acknowledged"], true);
    let again = world.call(&c, "PUT books", mapping()).await;
    assert_eq!(
        (again.status, &again.body["error"]["type"]),
        (400, &json!("resource_already_exists_exception"))
    );
    let one = json!({"v": [1, 0, 0], "text": "a red fox", "year": 2020, "tags": ["x", "y"]});
    assert_eq!(world.call(&c, "POST books/_doc", one).await.status, 201);
    let bulk = concat!(
        "{\"index\":{\"_id\":\"b\"}}\n{\"v\":[0,1,0],\"text\":\"a blue whale\",\"year\":2021}\n",
        "{\"index\":{\"_id\":\"c\"}}\n{\"v\":[0,0,1],\"text\":\"a red apple\",\"year\":2022,\"deep\":{\"er\":1}}\n",
        "{\"index\":{\"_id\":\"d\"}}\n{\"v\":[0,0],\"text\":\"short\"}\n"
    );
    let reply = world.call(&c, "POST books/_bulk", json!(bulk)).await;
    assert_eq!(reply.body["errors"], true);
    assert_eq!(reply.body["items"][2]["index"]["status"], 400);
    assert_eq!(world.call(&c, "GET books/_count", Value::Null).await.body["count"], 3);
    let knn = json!({"size": 2, "query": {"knn": {"v": {"vector": [0, 1, 0.1], "k": 2}}}});
    let found = world.call(&c, "POST books/_search", knn).await;
    assert_eq!(ids(&found), ["b", "c"]);
    assert_eq!(found.body["hits"]["hits"][0]["_source"]["text"], "a blue whale");
    let words = json!({"query": {"bool": {"must": {"match": {"text": "red"}},
                       "filter": [{"range": {"year": {"gte": 2021}}}]}}, "_source": ["year"]});
    let found = world.call(&c, "POST books/_search", words).await;
    assert_eq!(ids(&found), ["c"]);
    assert_eq!(found.body["hits"]["hits"][0]["_source"], json!({"year": 2022}));
    let tagged = json!({"query": {"terms": {"tags.keyword": ["y"]}}});
    assert_eq!(world.call(&c, "POST books/_search", tagged).await.body["hits"]["total"]["value"], 1);
    let hybrid = json!({"query": {"hybrid": {"queries": [
        {"match": {"text": {"query": "apple"}}}, {"knn": {"v": {"vector": [0, 0, 1], "k": 5}}}]}}});
    assert_eq!(ids(&world.call(&c, "POST books/_search", hybrid).await)[0], "c");
    assert_eq!(world.call(&c, "GET books/_doc/b", Value::Null).await.body["_source"]["year"], 2021);
    assert_eq!(world.call(&c, "DELETE books/_doc/b", Value::Null).await.body["result"], "deleted");
    assert_eq!(world.call(&c, "GET books/_doc/b", Value::Null).await.status, 404);
    let cat = world.call(&c, "GET _cat/indices", Value::Null).await;
    assert_eq!((&cat.body[0]["index"], &cat.body[0]["docs.count"]), (&json!("books"), &json!("2")));
    assert_eq!(world.call(&c, "DELETE books", Value::Null).await.body["acknowledged"], true);
    let gone = world.call(&c, "POST books/_search", json!({})).await;
    assert_eq!((gone.status, &gone.body["error"]["type"]), (404, &json!("index_not_found_exception")));
}

#[tokio::test]
async fn a_repeated_change_of_a_policy_is_one_change() {
    let world = world().await;
    let asked = json!({"name": "net", "type": "network", "policy": network("*"), "clientToken": "once"});
    let create = || world.service.create_security_policy(&world.context, read(asked.clone()));
    let first = create().await.unwrap().security_policy_detail.unwrap().policy_version.unwrap();
    let again = create().await.unwrap().security_policy_detail.unwrap().policy_version.unwrap();
    assert_eq!(first, again);
    let mut other = asked.clone();
    other["policy"] = json!(network("other"));
    let error = world.service.create_security_policy(&world.context, read(other)).await.unwrap_err();
    assert!(error.message.contains("client token"), "{error}");
    let change = json!({"name": "net", "type": "network", "policyVersion": first, "description": "d",
                        "clientToken": "change"});
    let update = || world.service.update_security_policy(&world.context, read(change.clone()));
    let changed = update().await.unwrap().security_policy_detail.unwrap().policy_version.unwrap();
    assert_ne!(changed, first);
    assert_eq!(update().await.unwrap().security_policy_detail.unwrap().policy_version.unwrap(), changed);
}

#[tokio::test]
async fn what_a_collection_can_not_be_is_refused() {
    let world = world().await;
    world.collection().await;
    for (field, value, part) in [
        ("encryptionConfig", json!({"kmsKeyArn": "arn:aws:kms:us-east-1:1:key/k"}), "KMS"),
        ("vectorOptions", json!({"ServerlessVectorAcceleration": "ENABLED"}), "vectorOptions"),
        ("collectionGroupName", json!("group"), "groups"),
    ] {
        let mut asked = json!({"name": "vectors2"});
        asked[field] = value;
        let error = world.service.create_collection(&world.context, read(asked)).await.unwrap_err();
        assert!(error.code == "ValidationException" && error.message.contains(part), "{error}");
    }
}

/// What a bulk request's items came to, as `verb status`.
fn outcomes(reply: &RestReply) -> Vec<String> {
    let outcome = |item: &Value| {
        let (verb, item) = item.as_object().unwrap().iter().next().unwrap();
        format!("{verb} {}", item["status"])
    };
    reply.body["items"].as_array().unwrap().iter().map(outcome).collect()
}

#[tokio::test]
async fn a_bulk_request_is_run_in_its_order() {
    let world = world().await;
    let c = world.collection().await;
    world.call(&c, "PUT books", mapping()).await;
    let put = |verb: &str, id: &str, text: &str| {
        format!("{}\n{}\n", json!({verb: {"_id": id}}), json!({"v": [1, 0, 0], "text": text}))
    };
    let delete = |id: &str| format!("{}\n", json!({"delete": {"_id": id}}));
    let lines = [put("index", "a", "one"), delete("a"), put("index", "b", "two"), put("index", "b", "three")];
    let reply = world.call(&c, "POST books/_bulk", json!(lines.concat())).await;
    assert_eq!(outcomes(&reply), ["index 201", "delete 200", "index 201", "index 200"]);
    assert_eq!(world.call(&c, "GET books/_doc/a", Value::Null).await.status, 404);
    let b = world.call(&c, "GET books/_doc/b", Value::Null).await;
    assert_eq!(b.body["_source"]["text"], "three");

    let lines =
        [put("create", "b", "four"), put("create", "c", "five"), put("create", "c", "six"), delete("d")];
    let reply = world.call(&c, "POST books/_bulk", json!(lines.concat())).await;
    assert_eq!(outcomes(&reply), ["create 409", "create 201", "create 409", "delete 404"]);
    assert_eq!(reply.body["errors"], true);
    let b = world.call(&c, "GET books/_doc/b", Value::Null).await;
    assert_eq!(b.body["_source"]["text"], "three");

    let broken = [delete("b"), put("index", "e", "seven"), "{\n".to_owned()];
    let reply = world.call(&c, "POST books/_bulk", json!(broken.concat())).await;
    assert_eq!(reply.status, 400);
    assert_eq!(world.call(&c, "GET books/_doc/b", Value::Null).await.status, 200, "nothing was done");
}

#[tokio::test]
async fn of_several_that_create_a_document_one_does() {
    let world = world().await;
    let c = world.collection().await;
    world.call(&c, "PUT books", mapping()).await;
    let create = |n: usize| world.call(&c, "PUT books/_create/x", json!({"v": [1, 0, 0], "n": n}));
    let replies = futures::future::join_all((0..8).map(create)).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    assert_eq!(replies.iter().filter(|reply| reply.status == 409).count(), 7);
}

#[tokio::test]
async fn one_of_should_is_enough() {
    let world = world().await;
    let c = world.collection().await;
    world.call(&c, "PUT books", mapping()).await;
    for (id, year) in [("a", 2020), ("b", 2021), ("c", 2022)] {
        let document = json!({"v": [1, 0, 0], "text": "a fox", "year": year});
        world.call(&c, &format!("PUT books/_doc/{id}"), document).await;
    }
    let either = json!([{"term": {"year": 2020}}, {"range": {"year": {"gte": 2022}}}]);
    for query in [
        json!({"bool": {"should": either}}),
        json!({"bool": {"should": either, "minimum_should_match": 1}}),
        json!({"bool": {"must": {"match": {"text": "fox"}}, "should": either, "minimum_should_match": "1"}}),
        json!({"bool": {"must": {"match": {"text": "fox"}}, "filter": {"bool": {"should": either}}}}),
    ] {
        let reply = world.call(&c, "POST books/_search", json!({"query": query})).await;
        let mut found = ids(&reply);
        found.sort_unstable();
        assert_eq!(found, ["a", "c"], "{query}");
    }
    let optional =
        json!({"bool": {"filter": {"bool": {"must": {"term": {"year": 2021}}, "should": either}}}});
    assert_eq!(ids(&world.call(&c, "POST books/_search", json!({"query": optional})).await), ["b"]);
    for query in [
        json!({"bool": {"should": either, "minimum_should_match": 2}}),
        json!({"bool": {"must": {"match": {"text": "fox"}}, "should": either}}),
        json!({"bool": {"should": [{"match": {"text": "fox"}}, {"term": {"year": 2020}}]}}),
    ] {
        let reply = world.call(&c, "POST books/_search", json!({"query": query})).await;
        assert_eq!(reply.status, 400, "{query}");
    }
}

#[tokio::test]
async fn ids_may_have_slashes() {
    let world = world().await;
    let c = world.collection().await;
    world.call(&c, "PUT books", mapping()).await;
    assert_eq!(world.call(&c, "PUT books/_doc/a%2Fb%20c", json!({"text": "x"})).await.status, 201);
    let found = world.call(&c, "GET books/_doc/a%2Fb%20c", Value::Null).await;
    assert_eq!((found.status, &found.body["_id"]), (200, &json!("a/b c")));
    assert_eq!(world.call(&c, "GET books/_doc/%ff", Value::Null).await.status, 400);
}

#[tokio::test]
async fn what_is_not_understood_is_refused_by_name() {
    let world = world().await;
    let c = world.collection().await;
    world.call(&c, "PUT books", mapping()).await;
    for (body, word) in [
        (json!({"query": {"fuzzy": {"text": "x"}}}), "fuzzy"),
        (json!({"query": {"bool": {"must_not": [{"term": {"a": 1}}]}}}), "must_not"),
        (json!({"aggs": {}}), "aggs"),
        (json!({"query": {"knn": {"text": {"vector": [1], "k": 1}}}}), "text"),
        (json!({"query": {"knn": {"v": {"vector": [1], "k": 1}}}}), "dimension"),
        (json!({"query": {"match": {"text": {"query": "a b", "operator": "and"}}}}), "operator"),
        (json!({"query": {"match": {"text": {"query": "a", "fuzziness": "AUTO"}}}}), "fuzziness"),
        (json!({"query": {"match_phrase": {"text": "a b"}}}), "match_phrase"),
        (json!({"query": {"term": {"year": {"value": 1, "boost": 9}}}}), "boost"),
        (json!({"query": {"bool": {"filter": {"match": {"text": "a"}}}}}), "text field"),
        (json!({"highlight": {}}), "highlight"),
        (json!({"from": -1}), "from"),
        (json!({"from": 9_999, "size": 2}), "too large"),
        (json!([]), "object"),
    ] {
        let reply = world.call(&c, "POST books/_search", body.clone()).await;
        assert_eq!(reply.status, 400, "{body}");
        let reason = reply.body["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(word), "{reason}");
    }
    world.call(&c, "PUT books/_doc/a", json!({"text": "kept", "year": 1})).await;
    for (call, body, word) in [
        ("GET books/_search?q=zebra", Value::Null, "[q]"),
        ("GET books/_count?q=zebra", Value::Null, "[q]"),
        ("PUT books/_doc/a?if_seq_no=99&if_primary_term=1", json!({"text": "lost"}), "[if_seq_no]"),
        ("PUT books/_doc/a?version=3&version_type=external", json!({"text": "lost"}), "[version]"),
        ("PUT books/_doc/a", json!({"year": "notnumber"}), "type [integer]"),
        ("POST books/_bulk", "{\"delete\":{\"_id\":\"a\",\"if_seq_no\":1}}\n".into(), "if_seq_no"),
        ("PUT other", json!({"mappings": {"dynamic": false}}), "dynamic"),
        ("PUT other", json!({"aliases": {"x": {}}}), "aliases"),
    ] {
        let reply = world.call(&c, call, body).await;
        assert_eq!(reply.status, 400, "{call}");
        let reason = reply.body["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(word), "{reason}");
    }
    assert_eq!(world.call(&c, "GET books/_doc/a?pretty", Value::Null).await.body["_source"]["text"], "kept");
    let mut inner = mapping();
    inner["mappings"]["properties"]["v"]["method"]["space_type"] = "innerproduct".into();
    assert_eq!(world.call(&c, "PUT other", inner).await.status, 400);
    let mut strict = mapping();
    strict["mappings"]["dynamic"] = "strict".into();
    assert_eq!(world.call(&c, "PUT strict", strict).await.status, 200);
    let refused = world.call(&c, "PUT strict/_doc/1", json!({"other": 1})).await;
    assert_eq!(refused.body["error"]["type"], "strict_dynamic_mapping_exception");
    let long = format!("PUT {}", "i".repeat(256));
    assert_eq!(world.call(&c, &long, mapping()).await.status, 400);
    let long = format!("PUT books/_doc/{}", "i".repeat(513));
    assert_eq!(world.call(&c, &long, json!({})).await.status, 400);
    let least = json!({"query": {"match": {"text": "kept"}}, "min_score": 50});
    assert!(ids(&world.call(&c, "POST books/_search", least).await).is_empty());
    assert_eq!(world.call("nowhere", "GET books", Value::Null).await.status, 404);
    assert_eq!(world.call(&c, "POST _reindex", Value::Null).await.status, 404);
}

#[tokio::test]
async fn others_than_the_root_need_a_data_access_policy() {
    let mut world = world().await;
    let id = world.collection().await;
    for name in ["notes", "secrets"] {
        assert_eq!(world.call(&id, &format!("PUT {name}"), mapping()).await.status, 200);
        let document = json!({"v": [1, 0, 0], "text": "a heron"});
        assert_eq!(world.call(&id, &format!("PUT {name}/_doc/1"), document).await.status, 201);
    }
    let ann = "arn:aws:iam::123456789012:user/ann";
    world.context.principal = Arc::new(Principal::new(ann, "AK"));
    let bulk =
        |index: &str| Value::String(format!("{{\"delete\":{{\"_index\":\"{index}\",\"_id\":\"1\"}}}}\n"));
    let calls = |index: &str| {
        let of = |call: &str| call.replace("INDEX", index);
        [
            (of("GET INDEX"), Value::Null),
            (of("GET INDEX/_doc/1"), Value::Null),
            (of("POST INDEX/_search"), json!({"query": {"match_all": {}}})),
            (of("POST INDEX/_count"), Value::Null),
            (of("PUT INDEX/_doc/2"), json!({"text": "x"})),
            (of("POST _bulk"), bulk(index)),
            (of("PUT INDEX/_mapping"), json!({"properties": {"year": {"type": "integer"}}})),
            (of("DELETE INDEX"), Value::Null),
        ]
    };
    for (call, body) in calls("notes").into_iter().chain([("PUT other".to_owned(), mapping())]) {
        let refused = world.call(&id, &call, body).await;
        assert_eq!(refused.status, 403, "{call}: {refused:?}");
        assert!(refused.body["error"]["reason"].as_str().unwrap().contains("data access policy"), "{call}");
    }
    assert_eq!(world.call(&id, "GET _cat/indices", Value::Null).await.body, json!([]));

    let policy = json!([{"Principal": [ann], "Rules": [{"ResourceType": "index", "Resource": ["index/vectors/notes"],
        "Permission": ["aoss:DescribeIndex", "aoss:ReadDocument"]}]}]);
    let asked = json!({"name": "ann", "type": "data", "policy": policy.to_string()});
    world.service.create_access_policy(&world.context, read(asked)).await.unwrap();
    let statuses = |index: &'static str| {
        let (world, id) = (&world, &id);
        async move {
            let mut found = Vec::new();
            for (call, body) in calls(index) {
                found.push(world.call(id, &call, body).await.status);
            }
            found
        }
    };
    assert_eq!(statuses("notes").await, [200, 200, 200, 200, 403, 403, 403, 403]);
    assert_eq!(statuses("secrets").await, [403; 8]);
    assert_eq!(world.call(&id, "GET _cat/indices", Value::Null).await.body.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_user_who_is_made_again_has_none_of_the_rights_of_the_first() {
    let directory = Directory::in_memory("123456789012").await.unwrap();
    let mut world = world_with(Arc::new(directory.clone())).await;
    let id = world.collection().await;
    assert_eq!(world.call(&id, "PUT notes", mapping()).await.status, 200);
    let root = Arc::clone(&world.context.principal);
    let make = async || {
        let made = directory.change(0, |draft| draft.create_user("ann", "/", None, Default::default()));
        let user = made.await.unwrap();
        Principal { user_id: user.id.clone(), ..Principal::new(user.arn("123456789012"), "AK") }
    };
    let first = make().await;
    let policy = json!([{"Principal": [first.arn], "Rules": [{"ResourceType": "index",
        "Resource": ["index/vectors/*"], "Permission": ["aoss:*"]}]}]);
    let asked = |policy: &Value| read(json!({"name": "ann", "type": "data", "policy": policy.to_string()}));
    world.service.create_access_policy(&world.context, asked(&policy)).await.unwrap();
    world.context.principal = Arc::new(first);
    assert_eq!(world.call(&id, "GET notes", Value::Null).await.status, 200);
    directory.change(0, |draft| draft.delete_user("ann")).await.unwrap();
    world.context.principal = Arc::new(make().await);
    assert_eq!(world.call(&id, "GET notes", Value::Null).await.status, 403);
    // Put again, it means who has the name now.
    world.context.principal = root;
    let which = || read(json!({"name": "ann", "type": "data"}));
    world.service.delete_access_policy(&world.context, which()).await.unwrap();
    world.service.create_access_policy(&world.context, asked(&policy)).await.unwrap();
    let view = directory.view();
    let user = view.user("ann").unwrap();
    let second = Principal { user_id: user.id.clone(), ..Principal::new(user.arn("123456789012"), "AK") };
    world.context.principal = Arc::new(second);
    assert_eq!(world.call(&id, "GET notes", Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_data_access_policy_that_means_nobody_is_refused() {
    let world = world().await;
    let policy = json!([{"Principal": ["*"], "Rules": [{"ResourceType": "index", "Resource": ["index/v/*"],
        "Permission": ["aoss:Nope"]}]}]);
    let asked = json!({"name": "all", "type": "data", "policy": policy.to_string()});
    let error = world.service.create_access_policy(&world.context, read(asked)).await.unwrap_err();
    assert_eq!(error.code, "ValidationException");
    assert!(
        error.message.contains("Policy json is invalid") && error.message.contains("Principal"),
        "{error}"
    );
}

/// A document that is made only where there is none is not written over one that came meanwhile, whatever made that.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_at_once_one_creates() {
    let world = Arc::new(world().await);
    let id = world.collection().await;
    assert_eq!(world.call(&id, "PUT notes", mapping()).await.status, 200);
    for round in 0..20 {
        let calls = [
            (format!("PUT notes/_create/{round}"), json!({"text": "created"})),
            (format!("PUT notes/_doc/{round}"), json!({"text": "put"})),
        ];
        let asked = calls.map(|(call, body)| {
            let (world, id) = (Arc::clone(&world), id.clone());
            tokio::spawn(async move { world.call(&id, &call, body).await })
        });
        let [created, put] = asked;
        let (created, put) = (created.await.unwrap(), put.await.unwrap());
        let kept = world.call(&id, &format!("GET notes/_doc/{round}"), Value::Null).await;
        // Whichever came first, the put's text is the last: a creation is refused after it and written over before it.
        assert_eq!(kept.body["_source"]["text"], "put", "{created:?} {put:?}");
        let expected = if created.status == 409 { "created" } else { "updated" };
        assert_eq!(put.body["result"], expected, "{created:?} {put:?}");
    }
}

#[tokio::test]
async fn deletions_and_puts_of_one_request_keep_their_order() {
    let world = world().await;
    let id = world.collection().await;
    assert_eq!(world.call(&id, "PUT notes", mapping()).await.status, 200);
    let index =
        |id: &str, text: &str| format!("{{\"index\":{{\"_id\":\"{id}\"}}}}\n{{\"text\":\"{text}\"}}\n");
    let delete = |id: &str| format!("{{\"delete\":{{\"_id\":\"{id}\"}}}}\n");
    let lines = [
        index("a", "one"),
        index("b", "one"),
        delete("a"),
        delete("none"),
        delete("b"),
        index("b", "two"),
        delete("a"),
    ];
    let reply = world.call(&id, "POST notes/_bulk", Value::String(lines.concat())).await;
    let results: Vec<&str> = reply.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_object().unwrap().values().next().unwrap()["result"].as_str().unwrap())
        .collect();
    let expected = ["created", "created", "deleted", "not_found", "deleted", "created", "not_found"];
    assert_eq!(results, expected);
    assert_eq!(world.call(&id, "GET notes/_doc/a", Value::Null).await.status, 404);
    let b = world.call(&id, "GET notes/_doc/b", Value::Null).await;
    assert_eq!(b.body["_source"]["text"], "two");
}
