//! Signed requests in the wrong hands: sent again, changed, late, early, for another region or service, or with a key's
//! parts mixed up. Each gets AWS's error, and no model is asked.

use bytes::Bytes;
use craton_testkit::{Client, TestServer};
use http::request::Parts;
use http::{HeaderValue, Method};
use serde_json::json;

const CONVERSE: &str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse";

fn hello() -> Bytes {
    json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}).to_string().into()
}

async fn send(client: &Client, parts: &Parts, body: &Bytes) -> (u16, String) {
    let mut again =
        http::Request::builder().method(parts.method.clone()).uri(parts.uri.clone()).body(()).unwrap();
    again.headers_mut().clone_from(&parts.headers);
    let answer = client.send(again.into_parts().0, body.clone()).await.answer().await;
    (answer.status.as_u16(), answer.header("x-amzn-errortype").to_owned())
}

const REFUSED: (u16, &str) = (403, "InvalidSignatureException");

#[tokio::test]
async fn a_request_sent_again_is_good_for_five_minutes_as_at_aws() {
    let server = TestServer::start().await;
    let client = server.client();
    let (parts, body) = client.signed(Method::POST, CONVERSE, hello());
    assert_eq!(send(&client, &parts, &body).await.0, 200);
    // AWS keeps no list of signatures: within the skew a recorded request is answered again. TLS is what prevents it.
    assert_eq!(send(&client, &parts, &body).await.0, 200);
    server.clock.advance_ms(5 * 60 * 1000 + 1000);
    let (status, code) = send(&client, &parts, &body).await;
    assert_eq!((status, code.as_str()), REFUSED);
    assert_eq!(server.model.requests().len(), 2);
}

#[tokio::test]
async fn a_request_from_the_future_is_refused() {
    let server = TestServer::start().await;
    let client = server.client();
    server.clock.advance_ms(3_600_000);
    let (parts, body) = client.signed(Method::POST, CONVERSE, hello());
    server.clock.advance_ms(-3_600_000);
    let (status, code) = send(&client, &parts, &body).await;
    assert_eq!((status, code.as_str()), REFUSED);
}

type Change = fn(&mut Parts, &mut Bytes);

#[tokio::test]
async fn every_change_breaks_the_signature() {
    let server = TestServer::start().await;
    let client = server.client();
    let authorization = |parts: &mut Parts, from: &str, to: &str| {
        let text = parts.headers["authorization"].to_str().unwrap().replacen(from, to, 1);
        assert_ne!(text, parts.headers["authorization"].to_str().unwrap());
        parts.headers.insert("authorization", HeaderValue::from_str(&text).unwrap());
    };
    let changes: [(&str, Change); 6] = [
        ("body", |_, body| *body = json!({"messages": []}).to_string().into()),
        ("path", |parts, _| {
            parts.uri = parts.uri.to_string().replace("haiku", "opus").parse().unwrap();
        }),
        ("query", |parts, _| parts.uri = format!("{}?x=1", parts.uri).parse().unwrap()),
        ("method", |parts, _| parts.method = Method::PUT),
        ("date", |parts, _| {
            let date = parts.headers["x-amz-date"].to_str().unwrap().to_owned();
            let next = if date.ends_with("0Z") {
                date.replace("0Z", "1Z")
            } else {
                format!("{}0Z", &date[..date.len() - 2])
            };
            parts.headers.insert("x-amz-date", HeaderValue::from_str(&next).unwrap());
        }),
        ("a signed header", |parts, _| {
            parts.headers.insert("content-type", HeaderValue::from_static("text/plain"));
        }),
    ];
    for (name, change) in changes {
        let (mut parts, mut body) = client.signed(Method::POST, CONVERSE, hello());
        change(&mut parts, &mut body);
        let (status, code) = send(&client, &parts, &body).await;
        let known = code == "InvalidSignatureException" || (name == "method" && status == 403);
        assert!(status == 403 && known, "{name}: {status} {code}");
    }
    // The scope is signed too: neither region nor day can be put in another's place.
    for (from, to) in [("us-east-1", "eu-west-1"), ("/bedrock/", "/s3/"), ("/bedrock/", "/sts/")] {
        let (mut parts, body) = client.signed(Method::POST, CONVERSE, hello());
        authorization(&mut parts, from, to);
        let (status, code) = send(&client, &parts, &body).await;
        // S3 says in XML why not.
        let said = to == "/s3/" || !code.is_empty();
        assert!((400..=404).contains(&status) && said, "{from} {to}: {status} {code}");
    }
    assert_eq!(server.model.requests().len(), 0);
}

#[tokio::test]
async fn keys_in_parts_and_tokens_made_up_open_nothing() {
    let server = TestServer::start().await;
    let root = server.client();
    let mut unknown = root.clone();
    unknown.access_key_id = "AKIANOBODYKNOWS00001".into();
    let mut wrong = root.clone();
    wrong.secret = format!("{}x", root.secret);
    let mut token = root.clone();
    token.session_token = Some("IQoJb3JpZ2luX2VjEAAaCXVzLWVhc3QtMSJGMEQ".into());
    let mut temporary = token.clone();
    temporary.access_key_id = "ASIAMADEUP0000000001".into();
    for (name, client, expected) in [
        ("an unknown key", unknown, "UnrecognizedClientException"),
        ("a wrong secret", wrong, "InvalidSignatureException"),
        ("a token beside a long-term key", token, "UnrecognizedClientException"),
        ("a token made up", temporary, "UnrecognizedClientException"),
    ] {
        let (parts, body) = client.signed(Method::POST, CONVERSE, hello());
        let (status, code) = send(&client, &parts, &body).await;
        assert_eq!((status, code.as_str()), (403, expected), "{name}");
    }
    let key = server.api_key(600);
    for forged in [key[..key.len() - 4].to_owned(), key.replacen("bedrock-api-key-", "bedrock-api-key-A", 1)]
    {
        let (mut parts, body) = root.unsigned(Method::POST, CONVERSE, hello());
        parts.headers.insert("authorization", format!("Bearer {forged}").parse().unwrap());
        let (status, code) = send(&root, &parts, &body).await;
        assert_eq!((status, code.as_str()), (403, "AccessDeniedException"));
    }
    assert_eq!(server.model.requests().len(), 0);
}
