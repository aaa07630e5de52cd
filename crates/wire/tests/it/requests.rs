//! One request of every operation as botocore serializes it (fixtures/requests) must be bound to the input it was
//! made from, and that must become the generated type.

use bytes::Bytes;
use craton_wire::ApiError;
use craton_wire::bind::{Bound, bind};
use craton_wire::dispatch::{Dispatcher, Found};
use craton_wire::query;
use craton_wire::route::Match;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::tables::all_tables;

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

fn header_map(row: &Row) -> HeaderMap {
    let pair = |(name, value): (&String, &Value)| {
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_str(value.as_str().unwrap()).unwrap())
    };
    row.headers.iter().map(pair).collect()
}

fn body_bytes(row: &Row) -> Vec<u8> {
    row.body.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

/// What the generated type says of a bound request.
fn read_input(bound: Bound) -> Option<Result<(), ApiError>> {
    let operation = bound.operation.name;
    match bound.table.name {
        "bedrock" => craton_api_bedrock::ops::read_input(operation, bound),
        "bedrock-runtime" => craton_api_bedrock_runtime::ops::read_input(operation, bound),
        "bedrock-agent" => craton_api_bedrock_agent::ops::read_input(operation, bound),
        "sts" => craton_api_sts::ops::read_input(operation, bound),
        "iam" => craton_api_iam::ops::read_input(operation, bound),
        "lambda" => craton_api_lambda::ops::read_input(operation, bound),
        "opensearchserverless" => craton_api_opensearchserverless::ops::read_input(operation, bound),
        _ => craton_api_bedrock_agent_runtime::ops::read_input(operation, bound),
    }
}

/// What the request is for, as the server finds it.
fn find(dispatcher: &Dispatcher, row: &Row, (path, body): (&str, &Bytes)) -> Result<Match, ApiError> {
    let service = match row.service.as_str() {
        "opensearchserverless" => "aoss",
        service if service.starts_with("bedrock") => "bedrock",
        service => service,
    };
    let front = dispatcher.front(service).unwrap();
    match front.find(&row.method, path, &header_map(row))? {
        Found::Operation(found) => Ok(found),
        Found::InBody(table) => query::find(table, None, body),
    }
}

#[test]
fn every_operation_as_botocore_sends_it_is_bound_to_its_input() {
    let dispatcher = Dispatcher::new(&all_tables());
    let rows = rows();
    for row in &rows {
        let at = format!("{}.{}", row.service, row.operation);
        let body = body_bytes(row);
        let sent = Bytes::from(body.clone());
        let found =
            find(&dispatcher, row, (&row.path, &sent)).unwrap_or_else(|error| panic!("{at}: {error}"));
        assert_eq!((found.table.name, found.operation.name), (row.service.as_str(), row.operation.as_str()));
        let query = Some(row.query.as_str()).filter(|query| !query.is_empty());
        let bound = bind(&found, query, &header_map(row), sent)
            .unwrap_or_else(|error| panic!("{at}: {error} {}", Value::Object(row.input.clone())));
        assert_eq!(sorted(bound.document()), sorted(&row.input), "{at}");
        if let Some(payload) = bound.payload() {
            assert_eq!(payload, &body, "{at}");
        }
        assert_eq!(read_input(bound), Some(Ok(())), "{at}");
    }
    // InvokeModelWithBidirectionalStream is the one that boto3 has no serializer for.
    assert_eq!(rows.len(), 239 + 5 + 82 + 24 + 18);
}

/// Puts another byte, or a piece that means something, at `place` (a share of the length).
fn damage(text: &mut Vec<u8>, place: f64, piece: &[u8]) {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = (place * text.len() as f64) as usize;
    let end = (at + piece.len()).min(text.len());
    text.splice(at..end, piece.iter().copied());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Every recorded request, damaged: refused or bound, never a panic, and what is bound still has its type.
    #[test]
    fn damaged_requests_are_refused_or_typed(
        place in 0.0..1.0_f64,
        piece in prop_oneof![
            Just(b"null".to_vec()), Just(b"{}".to_vec()), Just(b"[]".to_vec()), Just(b"1e9".to_vec()),
            Just(b".member.1.".to_vec()), Just(b".entry.2.key=".to_vec()), Just(b"\"\"".to_vec()), Just(b"%2F".to_vec()), Just(b"/".to_vec()), Just(b"&a=%ff".to_vec()),
            proptest::collection::vec(any::<u8>(), 1..4),
        ],
        part in 0..3_usize,
    ) {
        let dispatcher = Dispatcher::new(&all_tables());
        for row in rows() {
            let (mut path, mut query, mut body) = (row.path.clone().into_bytes(), row.query.clone().into_bytes(), body_bytes(&row));
            damage([&mut path, &mut query, &mut body][part], place, &piece);
            let (path, query) = (String::from_utf8_lossy(&path), String::from_utf8_lossy(&query));
            let body = Bytes::from(body);
            let Ok(found) = find(&dispatcher, &row, (&path, &body)) else { continue };
            prop_assert!(found.labels.iter().all(|(_, value)| !value.is_empty()));
            if let Ok(bound) = bind(&found, Some(&query), &header_map(&row), body) {
                prop_assert_eq!(read_input(bound), Some(Ok(())), "{}", row.operation);
            }
        }
    }
}

/// Order does not matter here.
fn sorted(document: &Map<String, Value>) -> Map<String, Value> {
    let mut document = document.clone();
    document.sort_keys();
    document
}
