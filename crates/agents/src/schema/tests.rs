use proptest::prelude::*;
use serde_json::{Value, json};

use super::read_openapi;
use crate::definition::ApiAction;

/// One operation at `GET /a`, changed by `change`.
fn document(change: impl FnOnce(&mut Value)) -> Value {
    let mut document = json!({
        "openapi": "3.0.0", "info": {"title": "t", "version": "1"},
        "paths": {"/a": {"get": {
            "operationId": "readA", "description": "Reads A",
            "parameters": [{"name": "id", "in": "query", "description": "Its id", "required": true,
                            "schema": {"type": "string"}}],
            "responses": {"200": {"description": "A"}}
        }}},
        "components": {"schemas": {"Id": {"type": "string"}}}
    });
    change(&mut document);
    document
}

fn read(document: &Value) -> Vec<ApiAction> {
    read_openapi(&document.to_string()).unwrap()
}

fn fault(change: impl FnOnce(&mut Value)) -> String {
    read_openapi(&document(change).to_string()).unwrap_err().to_string()
}

#[test]
fn an_operation_has_what_an_agent_needs() {
    let actions = read(&document(|it| {
        it["paths"]["/a"]["post"] = json!({
            "summary": "Writes A",
            "x-requireConfirmation": "ENABLED",
            "requestBody": {"required": true, "content": {"application/json": {"schema": {
                "properties": {"id": {"$ref": "#/components/schemas/Id"}}, "required": ["id"]
            }}}},
            "responses": {}
        });
    }));
    let [get, post] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!((get.operation_id.as_str(), get.method.as_str(), get.path.as_str()), ("readA", "GET", "/a"));
    assert_eq!(get.description, "Reads A");
    assert_eq!(get.parameters[0].name, "id");
    assert_eq!(get.parameters[0].description, "Its id");
    assert!(get.parameters[0].required && get.body.is_empty() && !get.require_confirmation);
    assert_eq!((post.operation_id.as_str(), post.description.as_str()), ("post_a", "Writes A"));
    assert!(post.require_confirmation && post.body_required);
    let body = json!({"properties": {"id": {"type": "string"}}, "required": ["id"], "type": "object"});
    assert_eq!(post.body["application/json"], body);
}

#[test]
fn references_are_followed_and_words_of_openapi_translated() {
    let actions = read(&document(|it| {
        it["paths"]["/a"]["parameters"] = json!([
            {"$ref": "#/components/parameters/Page"},
            {"name": "id", "in": "query", "description": "shared", "schema": {"type": "integer"}}
        ]);
        it["components"]["parameters"] = json!({"Page": {"name": "page", "in": "query", "description": "Which page",
            "schema": {"$ref": "#/components/schemas/Page~1Number"}}});
        it["components"]["schemas"]["Page/Number"] = json!({"type": "integer", "nullable": true, "minimum": 0,
            "exclusiveMinimum": true, "example": 3, "x-note": "n", "xml": {}});
    }));
    let [id, page] =
        ["id", "page"].map(|name| actions[0].parameters.iter().find(|it| it.name == name).unwrap());
    assert_eq!(page.schema, json!({"type": ["integer", "null"], "exclusiveMinimum": 0}));
    assert_eq!(id.schema, json!({"type": "string"}), "the operation's own goes before its path's");
    assert_eq!(actions[0].parameters.len(), 2);
}

#[test]
fn types_by_other_names_are_understood() {
    let actions = read(&document(|it| {
        it["paths"]["/a"]["get"]["parameters"][0]["schema"] = json!({"type": "int", "nullable": true});
    }));
    assert_eq!(actions[0].parameters[0].schema, json!({"type": ["integer", "null"]}));
}

#[test]
fn a_property_may_be_called_like_a_word_of_openapi() {
    let actions = read(&document(|it| {
        it["paths"]["/a"]["get"]["requestBody"] = json!({"content": {"application/json": {"schema": {
            "type": "object", "properties": {"example": {"type": "string"}, "x-id": {"type": "string"}}
        }}}});
    }));
    let properties = actions[0].body["application/json"]["properties"].as_object().unwrap();
    assert_eq!(properties.keys().collect::<Vec<_>>(), ["example", "x-id"]);
}

#[test]
fn faults_name_their_place() {
    let get = |it: &mut Value, name: &str, value: Value| it["paths"]["/a"]["get"][name] = value;
    for (said, part) in [
        (fault(|it| it["openapi"] = json!("2.0")), "at openapi: the release 2.0 can't be read"),
        (fault(|it| drop(it.as_object_mut().unwrap().remove("openapi"))), "at openapi: is missing"),
        (fault(|it| it["paths"] = json!({})), "at paths: there is no path"),
        (fault(|it| it["paths"] = json!({"a": {}})), "at paths.a: a path starts with /"),
        (fault(|it| it["paths"] = json!({"/a": {}})), "at paths: no path has an operation"),
        (fault(|it| get(it, "description", Value::Null)), "at paths./a.get.description: is missing"),
        (fault(|it| get(it, "responses", Value::Null)), "at paths./a.get.responses: is missing"),
        (
            fault(|it| get(it, "operationId", json!("read A"))),
            "at paths./a.get.operationId: \"read A\" may have only",
        ),
        (
            fault(|it| it["paths"]["/b"] = it["paths"]["/a"].clone()),
            "at paths./b.get.operationId: readA is given more",
        ),
        (
            fault(|it| get(it, "parameters", json!([{"in": "query"}]))),
            "at paths./a.get.parameters.0.name: is missing",
        ),
        (
            fault(|it| get(it, "parameters", json!([{"name": "a", "in": "body"}]))),
            "at paths./a.get.parameters.0.in",
        ),
        (fault(|it| get(it, "requestBody", json!({}))), "at paths./a.get.requestBody.content: is missing"),
        (fault(|it| get(it, "x-requireConfirmation", json!(true))), "must be ENABLED or DISABLED"),
        (
            fault(|it| get(it, "parameters", json!([{"$ref": "other.yaml#/x"}]))),
            "at paths./a.get.parameters.0.$ref: other.yaml#/x is outside of the document",
        ),
        (
            fault(|it| get(it, "parameters", json!([{"$ref": "#/components/parameters/None"}]))),
            "there is nothing at #/components/parameters/None",
        ),
        (
            fault(|it| it["paths"]["/a"]["get"]["parameters"][0]["schema"] = json!({"type": "strin"})),
            "at paths./a.get.parameters.0.schema: not a JSON schema",
        ),
        (
            fault(|it| {
                get(
                    it,
                    "requestBody",
                    json!({"content": {"application/json": {"schema": {"type": "array"}}}}),
                )
            }),
            "must be of the type object",
        ),
        (read_openapi("{\"openapi\": ").unwrap_err().to_string(), "not JSON: EOF"),
        (read_openapi("- a\n- b\n").unwrap_err().to_string(), "an OpenAPI document is an object"),
    ] {
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
}

#[test]
fn what_never_ends_is_refused() {
    let recursive = fault(|it| {
        it["components"]["schemas"]["Id"] =
            json!({"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Id"}}});
        it["paths"]["/a"]["get"]["parameters"][0]["schema"] = json!({"$ref": "#/components/schemas/Id"});
    });
    assert!(recursive.contains("#/components/schemas/Id contains itself"), "{recursive}");
    let circle = fault(|it| {
        it["paths"]["/a"]["get"]["parameters"][0] = json!({"$ref": "#/components/parameters/P"});
        it["components"]["parameters"] = json!({"P": {"$ref": "#/components/parameters/P"}});
    });
    assert!(circle.contains("never end"), "{circle}");
    let doubled = fault(|it| {
        for level in 0..10 {
            let next = json!({"$ref": format!("#/components/schemas/L{}", level + 1)});
            it["components"]["schemas"][format!("L{level}")] =
                json!({"type": "object", "properties": {"a": next, "b": next, "c": next, "d": next}});
        }
        it["components"]["schemas"]["L10"] = json!({"type": "string"});
        it["paths"]["/a"]["get"]["parameters"][0]["schema"] = json!({"$ref": "#/components/schemas/L0"});
    });
    assert!(doubled.contains("more than"), "{doubled}");
    let large = format!("{{\"openapi\": \"3.0.0\", \"x\": \"{}\"}}", "x".repeat(super::MAX_BYTES));
    assert!(read_openapi(&large).unwrap_err().message.contains("bytes"));
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml = "openapi: 3.0.0\npaths:\n  /a:\n    get:\n      operationId: readA\n      description: Reads A\n      parameters:\n      - {name: id, in: query, description: Its id, required: true, schema: {type: string}}\n      responses:\n        200:\n          description: A\n";
    assert_eq!(read_openapi(yaml).unwrap(), read(&document(|_| {})));
}

/// Values near enough to a document that the reader gets deep into them.
fn any_document() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "get",
        "post",
        "parameters",
        "schema",
        "$ref",
        "type",
        "properties",
        "requestBody",
        "content",
        "responses",
        "description",
        "operationId",
        "name",
        "in",
        "items",
        "nullable",
        "minimum",
        "exclusiveMinimum",
        "/a",
        "application/json",
        "required",
        "enum",
        "allOf",
    ]);
    let text = prop::sample::select(vec![
        "object",
        "string",
        "query",
        "path",
        "#/paths",
        "#/paths/~1a/get",
        "#",
        "x",
        "3.0.0",
        "array",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((word.clone(), inner), 0..6).prop_map(|members| members
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    });
    (value.clone(), value).prop_map(|(item, operation)| {
        let mut item = if item.is_object() { item } else { json!({}) };
        item["get"] = operation;
        json!({"openapi": "3.0.0", "paths": {"/a": item}})
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_document_makes_it_panic_and_what_is_read_has_no_references(document in any_document()) {
        if let Ok(actions) = read_openapi(&document.to_string()) {
            for action in actions {
                for schema in action.parameters.iter().map(|it| &it.schema).chain(action.body.values()) {
                    prop_assert!(jsonschema::validator_for(schema).is_ok());
                }
            }
        }
    }
}
