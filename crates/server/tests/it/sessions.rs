//! Sessions of applications: what LangGraph's checkpoints stand on.

use craton_testkit::{Answer, Client, TestServer};
use http::Method;
use serde_json::{Value, json};

const INVOCATION: &str = "11111111-1111-4111-8111-111111111111";
const STEP: &str = "22222222-2222-4222-8222-222222222222";

async fn create(client: &Client, body: &Value) -> Value {
    let answer = client.json(Method::PUT, "/sessions/", body).await;
    assert_eq!(answer.status, 201, "{}", answer.snapshot());
    answer.json()
}

async fn session(client: &Client) -> String {
    create(client, &json!({})).await["sessionId"].as_str().unwrap().to_owned()
}

async fn invocation(client: &Client, session: &str, id: &str) -> Answer {
    client.json(Method::PUT, &format!("/sessions/{session}/invocations/"), &json!({"invocationId": id})).await
}

async fn put(client: &Client, session: &str, step: Option<&str>, time: &str, blocks: Value) -> Answer {
    let mut body = json!({
        "invocationIdentifier": INVOCATION, "invocationStepTime": time, "payload": {"contentBlocks": blocks}
    });
    if let Some(step) = step {
        body["invocationStepId"] = json!(step);
    }
    client.json(Method::PUT, &format!("/sessions/{session}/invocationSteps/"), &body).await
}

async fn status(client: &Client, session: &str) -> String {
    let answer = client.get(&format!("/sessions/{session}/")).await.json();
    answer["sessionStatus"].as_str().unwrap().to_owned()
}

fn text(text: &str) -> Value {
    json!([{ "text": text }])
}

#[tokio::test]
async fn a_session_lives_and_ends() {
    let server = TestServer::start().await;
    let client = server.client();
    let made = create(&client, &json!({"sessionMetadata": {"user": "ada"}, "tags": {"team": "blue"}})).await;
    let (id, arn) = (made["sessionId"].as_str().unwrap(), made["sessionArn"].as_str().unwrap());
    assert_eq!(made["sessionStatus"], "ACTIVE");
    assert_eq!(arn, format!("arn:aws:bedrock:us-east-1:123456789012:session/{id}"));

    let escaped = arn.replace(':', "%3A").replace('/', "%2F");
    let by_arn = client.get(&format!("/sessions/{escaped}/")).await;
    assert_eq!(by_arn.json()["sessionMetadata"], json!({"user": "ada"}), "{}", by_arn.snapshot());
    let updated = client
        .json(Method::PUT, &format!("/sessions/{id}/"), &json!({"sessionMetadata": {"user": "eve", "n": ""}}))
        .await;
    assert_eq!(updated.status, 200, "{}", updated.snapshot());
    let shown = client.get(&format!("/sessions/{id}/")).await.json();
    assert_eq!(shown["sessionMetadata"], json!({"user": "eve", "n": ""}));
    let tags = client.get(&format!("/tags/{escaped}")).await;
    assert_eq!(tags.json(), json!({"tags": {"team": "blue"}}), "{}", tags.snapshot());

    let early = client.json(Method::DELETE, &format!("/sessions/{id}/"), &Value::Null).await;
    assert_eq!(early.error(), (409, "ConflictException"));
    let ended = client.json(Method::PATCH, &format!("/sessions/{id}"), &Value::Null).await;
    assert_eq!(ended.json()["sessionStatus"], "ENDED", "{}", ended.snapshot());
    let again = client.json(Method::PATCH, &format!("/sessions/{id}"), &Value::Null).await;
    assert_eq!(again.error(), (409, "ConflictException"));
    assert_eq!(invocation(&client, id, INVOCATION).await.error(), (409, "ConflictException"));
    let late = client.json(Method::PUT, &format!("/sessions/{id}/"), &json!({})).await;
    assert_eq!(late.error(), (409, "ConflictException"));
    let deleted = client.json(Method::DELETE, &format!("/sessions/{id}/"), &Value::Null).await;
    assert_eq!((deleted.status.as_u16(), deleted.json()), (200, json!({})));
    assert_eq!(client.get(&format!("/sessions/{id}/")).await.error(), (404, "ResourceNotFoundException"));
    assert_eq!(client.get(&format!("/tags/{escaped}")).await.error(), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn steps_come_back_as_they_were() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = session(&client).await;
    let nowhere = put(&client, &id, None, "2026-01-01T00:00:00Z", text("x")).await;
    assert_eq!(nowhere.error(), (404, "ResourceNotFoundException"));
    assert_eq!(invocation(&client, &id, INVOCATION).await.status, 201);
    assert_eq!(invocation(&client, &id, INVOCATION).await.error(), (409, "ConflictException"));

    // One pixel.
    let png =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let blocks = json!([
        {"text": "look at this"},
        {"image": {"format": "png", "source": {"bytes": png}}},
        {"image": {"format": "webp", "source": {"s3Location": {"uri": "s3://photos/a.webp"}}}},
    ]);
    let time = "2026-01-01T00:00:00.250Z";
    let first = put(&client, &id, Some(STEP), time, blocks.clone()).await;
    assert_eq!((first.status.as_u16(), first.json()), (201, json!({"invocationStepId": STEP})));
    let repeated = put(&client, &id, Some(STEP), time, blocks.clone()).await;
    assert_eq!(repeated.status, 201, "{}", repeated.snapshot());
    let other = put(&client, &id, Some(STEP), time, text("other")).await;
    assert_eq!(other.error(), (409, "ConflictException"));
    let step = client
        .post(&format!("/sessions/{id}/invocationSteps/{STEP}"), &json!({"invocationIdentifier": INVOCATION}))
        .await;
    let expected = json!({"invocationStep": {
        "invocationId": INVOCATION, "invocationStepId": STEP, "invocationStepTime": time,
        "payload": {"contentBlocks": blocks}, "sessionId": id,
    }});
    assert_eq!(step.json(), expected, "{}", step.snapshot());
    let lost = client
        .post(
            &format!("/sessions/{id}/invocationSteps/{INVOCATION}"),
            &json!({"invocationIdentifier": INVOCATION}),
        )
        .await;
    assert_eq!(lost.error(), (404, "ResourceNotFoundException"));
    for (format, bytes) in [("png", "aGVsbG8="), ("jpeg", png)] {
        let wrong = json!([{"image": {"format": format, "source": {"bytes": bytes}}}]);
        assert_eq!(put(&client, &id, None, time, wrong).await.error(), (400, "ValidationException"));
    }
    let image = json!({"image": {"format": "png", "source": {"bytes": png}}});
    let many = put(&client, &id, None, time, Value::Array(vec![image; 21])).await;
    assert_eq!(many.error(), (400, "ValidationException"));
}

#[tokio::test]
async fn lists_begin_with_what_is_newest() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = session(&client).await;
    let other = session(&client).await;
    invocation(&client, &id, INVOCATION).await;
    invocation(&client, &id, STEP).await;
    for second in [3, 1, 5, 2, 4] {
        let step = format!("00000000-0000-4000-8000-00000000000{second}");
        let time = format!("2026-01-01T00:00:0{second}Z");
        assert_eq!(put(&client, &id, Some(&step), &time, text("x")).await.status, 201);
    }
    let steps = async |query: &str, body: Value| {
        let answer = client.post(&format!("/sessions/{id}/invocationSteps/{query}"), &body).await;
        assert_eq!(answer.status, 200, "{}", answer.snapshot());
        let answer = answer.json();
        let seconds: String = answer["invocationStepSummaries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["invocationStepId"].as_str().unwrap().chars().last().unwrap())
            .collect();
        (seconds, answer["nextToken"].as_str().map(str::to_owned))
    };
    assert_eq!(steps("", json!({})).await, ("54321".to_owned(), None));
    assert_eq!(steps("", json!({"invocationIdentifier": STEP})).await.0, "");
    let (page, token) = steps("?maxResults=2", json!({"invocationIdentifier": INVOCATION})).await;
    assert_eq!(page, "54");
    let query = format!("?maxResults=2&nextToken={}", token.unwrap());
    assert_eq!(steps(&query, json!({"invocationIdentifier": INVOCATION})).await.0, "32");
    let unknown = client
        .post(&format!("/sessions/{other}/invocationSteps/"), &json!({"invocationIdentifier": INVOCATION}))
        .await;
    assert_eq!(unknown.error(), (404, "ResourceNotFoundException"));
    let wrong = client.post(&format!("/sessions/{id}/invocationSteps/?nextToken=zz"), &json!({})).await;
    assert_eq!(wrong.error(), (400, "ValidationException"));

    let listed = client.post(&format!("/sessions/{id}/invocations/"), &json!({})).await.json();
    assert_eq!(listed["invocationSummaries"].as_array().unwrap().len(), 2);
    let sessions = client.post("/sessions/", &json!({})).await.json();
    assert_eq!(sessions["sessionSummaries"].as_array().unwrap().len(), 2);
    let first = client.post("/sessions/?maxResults=1", &json!({})).await.json();
    let token = first["nextToken"].as_str().unwrap();
    let second = client.post(&format!("/sessions/?maxResults=1&nextToken={token}"), &json!({})).await.json();
    assert_ne!(first["sessionSummaries"][0]["sessionId"], second["sessionSummaries"][0]["sessionId"]);
}

#[tokio::test]
async fn idle_sessions_expire_and_are_swept() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = session(&client).await;
    server.clock.advance_ms(3_599_000);
    assert_eq!(status(&client, &id).await, "ACTIVE");
    assert_eq!(invocation(&client, &id, INVOCATION).await.status, 201);
    server.clock.advance_ms(3_600_000);
    assert_eq!(status(&client, &id).await, "ACTIVE", "it was used an hour ago");
    server.clock.advance_ms(1_000);
    assert_eq!(status(&client, &id).await, "EXPIRED");
    let late = put(&client, &id, None, "2026-01-01T00:00:00Z", text("x")).await;
    assert_eq!(late.error(), (409, "ConflictException"));
    let month_ms = 30 * 86_400_000;
    server.clock.advance_ms(month_ms);
    let next = session(&client).await;
    server.server.forget_old().await;
    assert_eq!(client.get(&format!("/sessions/{id}/")).await.error(), (404, "ResourceNotFoundException"));
    assert_eq!(status(&client, &next).await, "ACTIVE");
}

#[tokio::test]
async fn sessions_of_other_regions_and_accounts_are_not_here() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = session(&client).await;
    for arn in [
        format!("arn:aws:bedrock:eu-west-1:123456789012:session/{id}"),
        format!("arn:aws:bedrock:us-east-1:999999999999:session/{id}"),
    ] {
        let escaped = arn.replace(':', "%3A").replace('/', "%2F");
        let answer = client.get(&format!("/sessions/{escaped}/")).await;
        assert_eq!(answer.error(), (404, "ResourceNotFoundException"), "{arn}");
    }
}
