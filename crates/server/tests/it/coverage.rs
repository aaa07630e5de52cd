//! Every modelled operation is served or says that it is not, and the documentation says the same.

use craton_server::coverage;
use craton_testkit::TestServer;
use http::Method;

/// A path that matches the template, with something plausible in each label.
fn example(uri: &str) -> String {
    let mut path = String::new();
    for segment in uri.split_inclusive('/') {
        match segment.find('{') {
            Some(_) if segment.contains("rn}") => {
                path.push_str("arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Athing%2Fabcdefghij")
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

#[tokio::test]
async fn every_operation_is_served_or_says_that_it_is_not() {
    let server = TestServer::start().await;
    let client = server.client();
    let mut seen = 0;
    for (table, operation, served) in coverage::operations() {
        let method = Method::from_bytes(operation.method.as_str().as_bytes()).unwrap();
        let answer = client.open(method, &example(operation.uri), "{}").await.answer().await;
        let name = format!("{} {}", table.name, operation.name);
        seen += 1;
        if served {
            assert_ne!(
                answer.header("x-amzn-errortype"),
                "UnknownOperationException",
                "{name}: {}",
                answer.snapshot()
            );
            assert!(answer.status.as_u16() < 500, "{name}: {}", answer.snapshot());
        } else {
            assert_eq!(answer.error(), (404, "UnknownOperationException"), "{name}: {}", answer.snapshot());
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(message.contains(operation.name) && message.contains("docs/coverage.md"), "{message}");
        }
    }
    assert!(seen >= 240, "{seen}");
}

#[test]
fn the_coverage_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/coverage.md");
    if std::env::var_os("CRATON_BLESS").is_some() {
        std::fs::write(path, coverage::page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == coverage::page(), "docs/coverage.md is out of date; run with CRATON_BLESS=1");
}
