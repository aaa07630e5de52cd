//! Functions that are really another server's: what is sent there, signed, and what comes back.

use craton_backend::function::{FunctionCall, FunctionError, FunctionInvoker};
use craton_lambda::MappedFunction;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::world;

const ARN: &str = "arn:aws:lambda:eu-west-1:111122223333:function:real-orders";

/// A far end that answers each of these in turn, and the requests that it was sent.
async fn far_end(answers: Vec<&'static str>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut seen = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut chunk = [0; 4096];
                let count = stream.read(&mut chunk).await.unwrap();
                request.extend(&chunk[..count]);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            seen.push(String::from_utf8(request).unwrap());
        }
        seen
    });
    (url, serving)
}

#[tokio::test]
async fn a_far_lambda_is_called_signed_and_its_answer_is_ours() {
    let (url, serving) = far_end(vec![
        "HTTP/1.1 200 OK\r\nconnection: close\r\nx-amz-log-result: aGVsbG8=\r\ncontent-length: 13\r\n\r\n{\"total\": 42}",
        "HTTP/1.1 200 OK\r\nconnection: close\r\nx-amz-function-error: Unhandled\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 429 No\r\nconnection: close\r\ncontent-length: 19\r\n\r\n{\"Message\": \"slow\"}",
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let credentials = folder.path().join("credentials");
    std::fs::write(
        &credentials,
        "[far]\naws_access_key_id = AKIDFAR\naws_secret_access_key = secret\naws_session_token = tok\n",
    )
    .unwrap();
    let world = world(vec![MappedFunction {
        name: "orders".into(),
        arn: Some(ARN.into()),
        endpoint: Some(url),
        aws_profile: Some("far".into()),
        aws_credentials_file: Some(credentials),
        ..Default::default()
    }])
    .await;
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:orders:live";
    let call = || {
        let call = FunctionCall { arn: arn.to_owned(), payload: json!({"order": 21}).to_string().into() };
        FunctionInvoker::invoke(&world.lambda, call)
    };
    let answer = call().await.unwrap();
    assert_eq!(
        (&answer.payload[..], answer.failed, answer.log_tail.as_str()),
        (&b"{\"total\": 42}"[..], false, "hello")
    );
    assert!(call().await.unwrap().failed);
    assert!(matches!(call().await, Err(FunctionError::NotFound(name)) if name == ARN));
    assert!(matches!(call().await, Err(FunctionError::Throttled(text)) if text == "slow"));
    let request = &serving.await.unwrap()[0];
    let path = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A111122223333%3Afunction%3Areal-orders/invocations";
    assert!(request.starts_with(&format!("POST {path}?Qualifier=live HTTP/1.1")), "{request}");
    for part in [
        "Credential=AKIDFAR/",
        "/eu-west-1/lambda/aws4_request",
        "x-amz-security-token: tok",
        "x-amz-log-type: Tail",
    ] {
        assert!(request.contains(part), "{part} is not in {request}");
    }
    assert!(request.ends_with("{\"order\":21}"), "{request}");
}

#[tokio::test]
async fn a_far_lambda_that_is_not_there_is_said() {
    let far = MappedFunction {
        name: "orders".into(),
        arn: Some("arn:aws:lambda:eu-west-1:111122223333:function:real-orders".into()),
        endpoint: Some("http://127.0.0.1:9".into()),
        access_key_id_env: Some("CRATON_TEST_NO_SUCH_VARIABLE".into()),
        ..Default::default()
    };
    assert_eq!(far.check(), Ok(()));
    let world = world(vec![far]).await;
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:orders".to_owned();
    let error =
        FunctionInvoker::invoke(&world.lambda, FunctionCall { arn, payload: "{}".into() }).await.unwrap_err();
    let FunctionError::Unavailable(text) = error else { panic!("{error:?}") };
    assert_eq!(
        text, "The function can't be called at the moment.",
        "where it is and with which key is no caller's"
    );
}

#[tokio::test]
async fn an_endpoint_that_was_called_and_does_not_answer_has_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = tokio::spawn(async move {
        // The first is left waiting, the second is hung up on.
        let (waiting, _) = listener.accept().await.unwrap();
        let (mut broken, _) = listener.accept().await.unwrap();
        let _ = broken.read(&mut [0; 4096]).await;
        drop(broken);
        drop(listener);
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        drop(waiting);
    });
    let mapped = MappedFunction {
        name: "slow".into(),
        url: Some(format!("http://{address}/")),
        timeout_s: Some(1),
        ..Default::default()
    };
    let world = world(vec![mapped]).await;
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:slow";
    let call =
        || FunctionInvoker::invoke(&world.lambda, FunctionCall { arn: arn.to_owned(), payload: "{}".into() });
    for kind in ["Sandbox.Timedout", "Runtime.ExitError"] {
        let answer = call().await.unwrap();
        let said: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer.failed && said["errorType"] == kind, "{said}");
        assert!(!said.to_string().contains(&address.port().to_string()), "{said}");
    }
    // Nobody is there any more: it was not called.
    assert!(matches!(call().await, Err(FunctionError::Unavailable(_))));
    endpoint.abort();
}

#[test]
fn a_mapping_says_what_is_wrong_with_it() {
    let arn = || Some("arn:aws:lambda:eu-west-1:111122223333:function:x".to_owned());
    let named = || MappedFunction { name: "f".into(), ..Default::default() };
    let url = || Some("http://x".to_owned());
    let both_keys = || MappedFunction {
        arn: arn(),
        aws_profile: Some("work".into()),
        access_key_id_env: Some("ID".into()),
        ..named()
    };
    for (mapping, complaint) in [
        (MappedFunction::default(), "needs a name"),
        (named(), "set one of"),
        (MappedFunction { arn: arn(), url: Some("http://x".into()), ..named() }, "set one of"),
        (MappedFunction { arn: Some("arn:aws:s3:::bucket".into()), ..named() }, "not a function's ARN"),
        (MappedFunction { arn: arn(), endpoint: Some("far".into()), ..named() }, "endpoint must begin"),
        (MappedFunction { url: Some("ftp://x".into()), ..named() }, "url must begin"),
        (MappedFunction { folder: Some("/x".into()), ..named() }, "needs runtime and handler"),
        (MappedFunction { arn: arn(), handler: Some("a.b".into()), ..named() }, "are for a folder"),
        (MappedFunction { url: url(), endpoint: Some("http://x".into()), ..named() }, "are for an arn"),
        (MappedFunction { url: url(), session_token_env: Some("T".into()), ..named() }, "are for an arn"),
        (
            MappedFunction { arn: arn(), aws_credentials_file: Some("/x".into()), ..named() },
            "needs `aws_profile`",
        ),
        (both_keys(), "not both"),
    ] {
        let error = mapping.check().unwrap_err();
        assert!(error.contains(complaint), "{error}");
    }
}
