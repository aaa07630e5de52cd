//! Every modelled operation is served or says that it is not, and the documentation says the same.

use craton_server::coverage;
use craton_store::testing::repository;
use craton_testkit::{Answer, Client, TestServer};
use craton_wire::table::{Operation, Protocol, ServiceTable};
use http::Method;

/// A path that matches the template, with something plausible in each label. ARNs name `resource`.
fn example(uri: &str, resource: &str) -> String {
    let mut path = String::new();
    for segment in uri.split_inclusive('/') {
        match segment.find('{') {
            Some(_) if segment.contains("rn}") => {
                path.push_str("arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A");
                path.push_str(resource);
            }
            Some(_) => path.push_str("ABCDEFGHIJ"),
            None => path.push_str(segment),
        }
        if segment.contains('{') && segment.ends_with('/') {
            path.push('/');
        }
    }
    path
}

/// The operation with next to nothing in its request.
pub(crate) async fn call(client: &Client, table: &ServiceTable, operation: &Operation) -> Answer {
    let client = client.for_service(table.signing_name);
    match table.protocol {
        Protocol::RestJson => {
            let method = Method::from_bytes(operation.method.as_str().as_bytes()).unwrap();
            // The services share the paths of tags: the resource tells them apart.
            let resource = match table.name {
                "bedrock-agent-runtime" => "session%2F01234567-89ab-cdef-0123-456789abcdef",
                _ => "thing%2Fabcdefghij",
            };
            client.open(method, &example(operation.uri, resource), "{}").await.answer().await
        }
        Protocol::Json { target_prefix, .. } => {
            let target = format!("{target_prefix}.{}", operation.name);
            client.target(&target, &serde_json::json!({})).await
        }
        Protocol::Query { api_version, .. } => {
            client.query(&[("Action", operation.name), ("Version", api_version)]).await
        }
    }
}

fn unknown(table: &ServiceTable) -> &'static str {
    match table.protocol {
        Protocol::Query { .. } => "InvalidAction",
        _ => "UnknownOperationException",
    }
}

#[tokio::test]
async fn every_operation_is_served_or_says_that_it_is_not() {
    let server = TestServer::start().await;
    let client = server.client();
    let mut seen = 0;
    for (table, operation, served) in coverage::operations() {
        let answer = call(&client, table, operation).await;
        let name = format!("{} {}", table.name, operation.name);
        seen += 1;
        if served {
            assert!(!answer.snapshot().contains(unknown(table)), "{name}: {}", answer.snapshot());
            assert!(answer.status.as_u16() < 500, "{name}: {}", answer.snapshot());
        } else {
            let status = if matches!(table.protocol, Protocol::Query { .. }) { 400 } else { 404 };
            assert_eq!(answer.status, status, "{name}: {}", answer.snapshot());
            let text = answer.snapshot();
            assert!(text.contains(unknown(table)), "{name}: {text}");
            assert!(text.contains(operation.name) && text.contains("docs/coverage.md"), "{name}: {text}");
        }
    }
    assert!(seen >= 570, "{seen}");
}

#[test]
fn the_coverage_page_is_up_to_date() {
    let path = repository("docs/coverage.md");
    if std::env::var_os("CRATON_BLESS").is_some() {
        std::fs::write(&path, coverage::page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == coverage::page(), "docs/coverage.md is out of date; run with CRATON_BLESS=1");
}
