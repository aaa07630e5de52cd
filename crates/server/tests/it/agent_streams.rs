//! Answers that are streamed: the same as those that are not, in what the user has, what the session keeps, what the
//! guardrail finds and what traces say.

use craton_backend::ChatRequest;
use craton_testkit::{Answer, Scripted, TestServer, calls, text};
use serde_json::{Value, json};

use crate::agent_frames::guardrail;
use crate::agent_runs::{
    FUNCTION, ask, asked, function, group, inline, kind, last, replied, result_text, results, said, tool,
    traces,
};

/// What is to be the same.
#[derive(Debug, PartialEq)]
struct Seen {
    said: String,
    /// What the trace says that the answer was.
    finished: Value,
    rationales: Vec<Value>,
    guarded: Vec<Value>,
    /// What the next turn's model reads of this one.
    history: String,
}

fn finished(answer: &Answer) -> Value {
    let steps = traces(answer, "orchestrationTrace");
    let end = steps.iter().rev().find(|step| step["observation"]["finalResponse"].is_object());
    end.map(|step| step["observation"]["finalResponse"]["text"].clone()).unwrap_or_default()
}

/// The same turn without and with streaming, each in a session of its own, and a second one after it.
async fn both_ways(server: &TestServer, body: &Value) -> [(Seen, Answer); 2] {
    let client = server.client();
    let mut seen = Vec::new();
    for stream in [false, true] {
        let session = format!("both-{stream}");
        let mut body = body.clone();
        body["streamingConfigurations"] = json!({ "streamFinalResponse": stream });
        let answer = ask(&client, &session, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.snapshot());
        let orchestration = traces(&answer, "orchestrationTrace");
        let guards = traces(&answer, "guardrailTrace");
        body["inputText"] = "and then?".into();
        ask(&client, &session, &body).await;
        let requests = server.model.requests();
        let next = requests.iter().rfind(|it| it.messages.len() > 1 && asked_now(it) == "and then?");
        seen.push((
            Seen {
                said: said(&answer),
                finished: finished(&answer),
                rationales: orchestration
                    .iter()
                    .filter_map(|it| it.get("rationale"))
                    .map(|it| it["text"].clone())
                    .collect(),
                guarded: guards.iter().map(|it| it["action"].clone()).collect(),
                history: next
                    .map(|it| format!("{:?}", it.messages))
                    .unwrap_or_default()
                    .replace(&session, "S"),
            },
            answer,
        ));
    }
    seen.try_into().unwrap_or_else(|_| panic!("two"))
}

fn asked_now(request: &ChatRequest) -> &str {
    if results(request).is_empty() { asked(request) } else { "" }
}

/// Says something before it calls a function, and what the function gave after it.
fn talkative(before: &'static str, answer: &'static str) -> Scripted {
    Scripted::deciding(move |request| match (results(request).first(), asked_now(request)) {
        (None, "and then?") => text("Nothing."),
        (None, _) => calls(before, &[(&tool(request, "get_order"), json!({ "order_id": "7" }))]),
        (Some(result), _) => text(&answer.replace('$', result_text(result))),
    })
}

async fn server(model: Scripted) -> TestServer {
    let (mapped, _) = function(|event| replied(event, &json!("shipped"))).await;
    TestServer::with(model, |config| config.functions.push(mapped)).await
}

#[tokio::test]
async fn what_is_said_before_a_call_is_no_part_of_the_answer() {
    let server = server(talkative("Looking at it for you.", "It is $. Bye.")).await;
    let body = inline("Where is it?", json!([group(json!({ "lambda": FUNCTION }))]));
    let [(plain, _), (streamed, answer)] = both_ways(&server, &body).await;
    assert_eq!(plain, streamed);
    assert_eq!(streamed.said, "It is \"shipped\". Bye.");
    assert_eq!(streamed.finished, streamed.said.as_str());
    assert_eq!(streamed.rationales, ["Looking at it for you."], "{}", answer.snapshot());
    assert_eq!(streamed.history.matches("Looking at it").count(), 1, "{}", streamed.history);
}

#[tokio::test]
async fn a_marked_answer_streams_token_by_token_where_there_are_tools() {
    let server = server(talkative(
        "One moment.",
        "<thinking>Good.</thinking>So: <answer>It is $ and on its way to you.</answer>",
    ))
    .await;
    let body = inline("Where is it?", json!([group(json!({ "lambda": FUNCTION }))]));
    let [(plain, _), (streamed, answer)] = both_ways(&server, &body).await;
    assert_eq!(plain, streamed);
    assert_eq!(streamed.said, "It is \"shipped\" and on its way to you.");
    assert_eq!(streamed.rationales.len(), 2);
    let chunks = answer.frames().iter().filter(|frame| kind(frame) == "chunk").count();
    assert!(chunks >= 5, "{chunks}: {}", answer.snapshot());
    assert!(server.model.requests()[0].system.iter().any(|it| format!("{it:?}").contains("<answer>")));
}

#[tokio::test]
async fn nothing_is_streamed_before_control_is_returned() {
    let server = server(talkative("One moment.", "$")).await;
    let mut body = inline("Where is it?", json!([group(json!({ "customControl": "RETURN_CONTROL" }))]));
    body["streamingConfigurations"] = json!({ "streamFinalResponse": true });
    let answer = ask(&server.client(), "returned", &body).await;
    assert_eq!(last(&answer).0, "returnControl");
    assert!(answer.frames().iter().all(|frame| kind(frame) != "chunk"), "{}", answer.snapshot());
}

#[tokio::test]
async fn the_guardrail_judges_the_answer_and_not_what_led_to_it() {
    for (before, answer, expected) in [
        ("A xylophone, let me see.", "It is $.", "It is \"shipped\"."),
        ("Let me see.", "It is a xylophone.", "I won't say."),
        ("Let me see.", "<answer>It is a xylophone.</answer>", "I won't say."),
    ] {
        let server = server(talkative(before, answer)).await;
        let mut body = inline("Where is it?", json!([group(json!({ "lambda": FUNCTION }))]));
        body["guardrailConfiguration"] = guardrail(&server).await;
        let [(plain, _), (streamed, _)] = both_ways(&server, &body).await;
        assert_eq!(plain, streamed);
        assert_eq!(streamed.said, expected);
    }
}

#[tokio::test]
async fn a_thought_without_an_end_is_no_answer() {
    let server = server(Scripted::deciding(|request| {
        let again = asked(request).contains("only thought");
        text(if again { "<thinking>Yes.</thinking>Now." } else { "<thinking>never closed" })
    }))
    .await;
    for groups in [json!([]), json!([group(json!({ "lambda": FUNCTION }))])] {
        let [(plain, _), (streamed, _)] = both_ways(&server, &inline("Well?", groups)).await;
        assert_eq!(plain, streamed);
        assert_eq!(streamed.said, "Now.");
    }
    // Who does nothing but think has nothing better to say.
    let server = TestServer::with(Scripted::saying("<thinking>never closed"), |_| {}).await;
    let [(plain, _), (streamed, _)] = both_ways(&server, &inline("Well?", json!([]))).await;
    assert_eq!(plain, streamed);
    assert_eq!(streamed.said, "never closed");
}

#[tokio::test]
async fn what_a_parser_makes_of_the_answer_is_what_the_user_has() {
    let (mapped, _) = function(|event| {
        let details =
            json!({ "invocationType": "FINISH", "agentFinalResponse": { "responseText": "Parsed." } });
        json!({ "messageVersion": "1.0", "promptType": event["promptType"],
                "orchestrationParsedResponse": { "responseDetails": details } })
    })
    .await;
    let server =
        TestServer::with(Scripted::saying("As the model has it."), |config| config.functions.push(mapped))
            .await;
    let mut body = inline("Well?", json!([]));
    body["promptOverrideConfiguration"] = json!({ "overrideLambda": FUNCTION, "promptConfigurations": [
        { "promptType": "ORCHESTRATION", "promptState": "ENABLED", "parserMode": "OVERRIDDEN" }] });
    let [(plain, _), (streamed, _)] = both_ways(&server, &body).await;
    assert_eq!(plain, streamed);
    assert_eq!(streamed.said, "Parsed.");
}
