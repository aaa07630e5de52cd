//! One request of every operation as botocore serializes it (fixtures/requests) must be bound to the input it was
//! made from, and that must become the generated type.

use bytes::Bytes;
use craton_wire::bind::bind;
use craton_wire::route::Router;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::tables::TABLES;

#[derive(Deserialize)]
struct Row {
    service: String,
    operation: String,
    method: String,
    path: String,
    query: String,
    headers: Map<String, Value>,
    /// A character a byte.
    body: String,
    input: Map<String, Value>,
}

/// `CRATON_REQUESTS` names another file made by the script, for more seeds than the checked-in one.
fn rows() -> Vec<Row> {
    let text = match std::env::var("CRATON_REQUESTS") {
        Ok(path) => std::fs::read_to_string(path).unwrap(),
        Err(_) => include_str!("../fixtures/requests/requests.jsonl").to_owned(),
    };
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_operation_as_botocore_sends_it_is_bound_to_its_input() {
    let router = Router::new(&TABLES);
    let rows = rows();
    for row in &rows {
        let at = format!("{}.{}", row.service, row.operation);
        let found = router.route(&row.method, &row.path).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!((found.table.name, found.operation.name), (row.service.as_str(), row.operation.as_str()));
        let headers: HeaderMap = row
            .headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value.as_str().unwrap()).unwrap())
            })
            .collect();
        let body: Vec<u8> =
            row.body.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
        let query = Some(row.query.as_str()).filter(|query| !query.is_empty());
        let bound = bind(&found, query, &headers, Bytes::from(body.clone()))
            .unwrap_or_else(|error| panic!("{at}: {error} {}", Value::Object(row.input.clone())));
        assert_eq!(sorted(bound.document()), sorted(&row.input), "{at}");
        if let Some(payload) = bound.payload() {
            assert_eq!(payload, &body, "{at}");
        }
        let typed = match row.service.as_str() {
            "bedrock" => craton_api_bedrock::ops::read_input(&row.operation, bound),
            "bedrock-runtime" => craton_api_bedrock_runtime::ops::read_input(&row.operation, bound),
            "bedrock-agent" => craton_api_bedrock_agent::ops::read_input(&row.operation, bound),
            _ => craton_api_bedrock_agent_runtime::ops::read_input(&row.operation, bound),
        };
        assert_eq!(typed, Some(Ok(())), "{at}");
    }
    // InvokeModelWithBidirectionalStream is the one that boto3 has no serializer for.
    assert_eq!(rows.len(), 239);
}

/// Order does not matter here.
fn sorted(document: &Map<String, Value>) -> Map<String, Value> {
    let mut document = document.clone();
    document.sort_keys();
    document
}
