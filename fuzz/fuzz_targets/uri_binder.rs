//! Any request line, query, header and body are routed, bound and validated, or refused.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use craton_wire::bind::bind;
use craton_wire::route::Router;
use craton_wire::table::ServiceTable;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

static TABLES: [&ServiceTable; 4] = [
    &craton_api_bedrock::SERVICE,
    &craton_api_bedrock_runtime::SERVICE,
    &craton_api_bedrock_agent::SERVICE,
    &craton_api_bedrock_agent_runtime::SERVICE,
];

static ROUTER: LazyLock<Router> = LazyLock::new(|| Router::new(&TABLES));

// First line: method and target; second line: a header; the rest: the body.
fuzz_target!(|data: &[u8]| {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let Ok(line) = std::str::from_utf8(lines.next().unwrap_or_default()) else { return };
    let (method, target) = line.split_once(' ').unwrap_or(("POST", line));
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let Ok(found) = ROUTER.route(method, path) else { return };
    assert!(found.labels.iter().all(|(_, value)| !value.is_empty()));
    let mut headers = HeaderMap::new();
    let header = lines.next().unwrap_or_default();
    if let Some(colon) = header.iter().position(|byte| *byte == b':')
        && let Ok(name) = HeaderName::from_bytes(&header[..colon])
        && let Ok(value) = HeaderValue::from_bytes(&header[colon + 1..])
    {
        headers.insert(name, value);
    }
    let body = Bytes::copy_from_slice(lines.next().unwrap_or_default());
    let Ok(bound) = bind(&found, query, &headers, body) else { return };
    // What passes validation is what the generated type can be made of.
    let read_input = match bound.table.name {
        "bedrock" => craton_api_bedrock::ops::read_input,
        "bedrock-runtime" => craton_api_bedrock_runtime::ops::read_input,
        "bedrock-agent" => craton_api_bedrock_agent::ops::read_input,
        _ => craton_api_bedrock_agent_runtime::ops::read_input,
    };
    assert_eq!(read_input(found.operation.name, bound), Some(Ok(())));
});
