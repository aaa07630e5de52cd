//! What agents keep to: nothing of upstreams' words to whoever talks to them, nothing named that is not there, traces
//! that fit, and trees of agents within one turn's bounds.

use craton_backend::BackendError;
use craton_testkit::{Client, Scripted, Step, TestServer, calls, text};
use http::Method;
use serde_json::{Value, json};

use crate::agent_frames::system;
use crate::agent_requests::{body, stored, turn};
use crate::agent_runs::{
    FUNCTION, MODEL, ask, function, group, inline, kind, last, payload, replied, result_text, results, said,
    tool, traces,
};
use crate::flows;

const SECRET: &str = "secret of http://10.0.0.1";

fn failures() -> Vec<BackendError> {
    let message = || SECRET.to_owned();
    let mut all: Vec<BackendError> =
        [400, 404, 429, 500, 503].map(|status| BackendError::Upstream { status, message: message() }).into();
    all.push(BackendError::Overloaded { message: message(), retry_after: None });
    all.extend([BackendError::Refused(message()), BackendError::NotReady(message())]);
    all.extend([BackendError::BrokenStream(message()), BackendError::UpstreamDenied(message())]);
    all.push(BackendError::UpstreamUnauthenticated(message()));
    all
}

/// The kind of an answer's end, and that nothing of the upstream is in it.
fn ended(answer: &craton_testkit::Answer, what: &dyn std::fmt::Debug) -> String {
    assert_eq!(answer.status, 200, "{what:?}: {}", answer.snapshot());
    let all = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!all.contains("10.0.0.1"), "{what:?}: {all}");
    last(answer).0
}

#[tokio::test]
async fn nobody_who_talks_to_an_agent_or_a_flow_reads_what_its_upstream_says() {
    for (at, failure) in failures().into_iter().enumerate() {
        let (step, clerk) = (Step::Fail(failure.clone()), Step::Fail(failure.clone()));
        let model = Scripted::deciding(move |request| {
            let leads = request.tools.iter().any(|tool| tool.name.contains("sendMessage"));
            match (leads, results(request).first()) {
                (true, None) => calls(
                    "",
                    &[("AgentCommunication__sendMessage", json!({ "recipient": "ada", "content": "1" }))],
                ),
                (true, Some(result)) => text(result_text(result)),
                (false, _) if system(request).contains("clerk") => vec![clerk.clone()],
                (false, _) => vec![step.clone()],
            }
        });
        let server = TestServer::with(model, |_| {}).await;
        let client = server.client();
        for stream in [false, true] {
            let mut body = inline("Hello", json!([]));
            body["streamingConfigurations"] = json!({ "streamFinalResponse": stream });
            let answer = ask(&client, &format!("plain-{at}-{stream}"), &body).await;
            assert!(ended(&answer, &failure).ends_with("Exception"), "{failure:?}");
        }
        let mut body = inline("Hello", json!([]));
        body["agentCollaboration"] = "SUPERVISOR".into();
        body["collaborators"] = json!([{ "agentName": "ada", "foundationModel": MODEL,
            "instruction": "You are the clerk who looks orders up in the books of the shop." }]);
        body["collaboratorConfigurations"] =
            json!([{ "collaboratorName": "ada", "collaboratorInstruction": "for orders" }]);
        ended(&ask(&client, &format!("team-{at}"), &body).await, &failure);
        let flow = flows::prepared(&client, "flow", flows::chained()).await;
        let answer = flows::invoke(&client, &flow, json!("hello")).await;
        assert!(ended(&answer, &failure).ends_with("Exception"), "{failure:?}");
    }
}

#[tokio::test]
async fn what_an_inline_agent_names_is_there() {
    let (mapped, _) = function(|event| replied(event, &json!("ok"))).await;
    let server = TestServer::with(Scripted::saying("Hello."), |config| config.functions.push(mapped)).await;
    let client = server.client();
    let gone = FUNCTION.replace("orders", "gone");
    let alias = "arn:aws:bedrock:us-east-1:123456789012:agent-alias/ABCDEFGHIJ/TSTALIASID";
    let parser = json!({ "overrideLambda": gone, "promptConfigurations": [
        { "promptType": "ORCHESTRATION", "promptState": "ENABLED", "parserMode": "OVERRIDDEN" }] });
    let base = json!([{ "knowledgeBaseId": "ABCDEFGHIJ", "description": "Whatever there is to know" }]);
    let clerk = json!({ "agentName": "ada", "foundationModel": MODEL, "knowledgeBases": base,
        "instruction": "You are the clerk who looks orders up in the books of the shop." });
    let configured = |more: Value| {
        let mut one = json!({ "collaboratorName": "ada", "collaboratorInstruction": "for orders" });
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([one])
    };
    let cases = [
        (json!({ "actionGroups": [group(json!({ "lambda": gone }))] }), gone.as_str()),
        (json!({ "knowledgeBases": base }), "ABCDEFGHIJ"),
        (json!({ "promptOverrideConfiguration": parser }), gone.as_str()),
        (
            json!({ "agentCollaboration": "SUPERVISOR", "collaborators": [clerk],
                    "collaboratorConfigurations": configured(json!({})) }),
            "ABCDEFGHIJ",
        ),
        (
            json!({ "agentCollaboration": "SUPERVISOR",
                    "collaboratorConfigurations": configured(json!({ "agentAliasArn": alias })) }),
            "ada",
        ),
    ];
    for (more, named) in cases {
        let mut body = inline("Hello", json!([]));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = ask(&client, "names", &body).await;
        assert_eq!(answer.error(), (404, "ResourceNotFoundException"), "{}", answer.snapshot());
        assert!(answer.snapshot().contains(named), "{}", answer.snapshot());
    }
    let guard = json!({ "guardrailIdentifier": "nothere12345", "guardrailVersion": "1" });
    let step = json!({ "promptConfigurations": [
        { "promptType": "ORCHESTRATION", "promptState": "ENABLED", "foundationModel": "no.such-model" }] });
    for more in [
        json!({ "foundationModel": "no.such-model" }),
        json!({ "foundationModel": "amazon.titan-embed-text-v2:0" }),
        json!({ "promptOverrideConfiguration": step }),
        json!({ "guardrailConfiguration": guard }),
    ] {
        let mut body = inline("Hello", json!([]));
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = ask(&client, "names", &body).await;
        let (status, _) = answer.error();
        assert!([400, 404].contains(&status), "{more}: {}", answer.snapshot());
    }
    let orders = || group(json!({ "lambda": FUNCTION }));
    let twice = ask(&client, "names", &inline("Hello", json!([orders(), orders()]))).await;
    assert_eq!(twice.error(), (400, "ValidationException"), "{}", twice.snapshot());
    assert!(twice.snapshot().contains("orders"), "{}", twice.snapshot());
    assert!(server.model.requests().is_empty());
    assert_eq!(said(&ask(&client, "names", &inline("Hello", json!([orders()]))).await), "Hello.");
}

/// The model reads once what is wrong with an answer, and the turn ends at the second one.
#[tokio::test]
async fn an_answer_that_says_nothing_is_no_success() {
    for (response, named) in [
        (json!({}), "responseBody"),
        (json!({ "functionResponse": {} }), "responseBody"),
        (
            json!({ "functionResponse": { "responseState": "WEIRD", "responseBody": { "TEXT": { "body": "ok" } } } }),
            "WEIRD",
        ),
    ] {
        let answers = json!({ "messageVersion": "1.0", "response": response });
        let (mapped, events) = function(move |_| answers.clone()).await;
        let model = Scripted::deciding(|request| {
            calls("", &[(&tool(request, "get_order"), json!({ "order_id": "7" }))])
        });
        let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
        let body = inline("Where is it?", json!([group(json!({ "lambda": FUNCTION }))]));
        let answer = ask(&server.client(), "odd", &body).await;
        assert_eq!(last(&answer).0, "dependencyFailedException", "{}", answer.snapshot());
        assert_eq!(events.lock().len(), 2);
        let told = server.model.requests();
        let told = results(&told[1])[0];
        assert!(told.is_error && result_text(told).contains(named), "{told:?}");
    }
}

/// As JSON in JSON it has more bytes than a message may: 4 for each of the model's.
#[tokio::test]
async fn a_trace_that_does_not_fit_is_cut_and_the_run_goes_on() {
    let long = "\"".repeat(7_000_000);
    let model = Scripted::saying(&long);
    let server = TestServer::with(model, |_| {}).await;
    let answer = ask(&server.client(), "large", &inline("Say much", json!([]))).await;
    let failed = answer.frames().iter().any(|frame| frame.header(":exception-type").is_some());
    assert!(!failed && last(&answer).0 == "chunk", "{}", last(&answer).0);
    assert!(said(&answer) == long, "the answer is whole");
    let steps = traces(&answer, "orchestrationTrace");
    let raw = steps.iter().find_map(|step| step["modelInvocationOutput"]["rawResponse"]["content"].as_str());
    let raw = raw.expect("a raw response");
    assert!(raw.len() < 2_000_000 && raw.contains("[cut: "), "{}", raw.len());
}

/// A prepared supervisor of these agents.
async fn supervisor(client: &Client, name: &str, below: &[String]) -> String {
    let more = json!({ "agentName": name, "agentCollaboration": "SUPERVISOR",
        "instruction": format!("You lead {} others, and ask every one of them.", below.len()) });
    let made = client.json(Method::PUT, "/agents/", &body(more)).await;
    let id = made.json()["agent"]["agentId"].as_str().unwrap().to_owned();
    for (at, other) in below.iter().enumerate() {
        let arn = format!("arn:aws:bedrock:us-east-1:123456789012:agent-alias/{other}/TSTALIASID");
        let one = json!({ "collaboratorName": format!("n{at}"), "collaborationInstruction": "for all",
            "agentDescriptor": { "aliasArn": arn } });
        let path = format!("/agents/{id}/agentversions/DRAFT/agentcollaborators/");
        assert_eq!(client.json(Method::PUT, &path, &one).await.status, 200);
    }
    client.post(&format!("/agents/{id}/"), &json!({})).await;
    let agent = client.get(&format!("/agents/{id}/")).await.json()["agent"].clone();
    assert_eq!(agent["agentStatus"], "PREPARED", "{agent}");
    id
}

/// Every supervisor asks all that work for it, and says how many answered; the others answer.
fn everybody() -> Scripted {
    Scripted::deciding(|request| {
        let lead = system(request);
        let Some((_, rest)) = lead.split_once("You lead ") else { return text("Here.") };
        let count: usize = rest.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
        let given = results(request);
        if given.is_empty() {
            let to = |at: usize| json!({ "recipient": format!("n{at}"), "content": "Are you there?" });
            let all: Vec<_> = (0..count).map(|at| ("AgentCommunication__sendMessage", to(at))).collect();
            return calls("", &all);
        }
        let answered = given.iter().filter(|it| !it.is_error && result_text(it).contains("Here")).count();
        text(&format!("Here with {answered}."))
    })
}

/// Steps, time and levels are the turn's, however many agents share in it.
#[tokio::test]
async fn a_tree_of_agents_keeps_within_one_turns_bounds() {
    const STEPS: u32 = 60;
    let server = TestServer::with(everybody(), |config| config.agents.max_steps = STEPS).await;
    let client = server.client();
    let mut leaves = Vec::new();
    for at in 0..10 {
        leaves.push(stored(&client, json!({ "agentName": format!("leaf-{at}") }), &[]).await);
    }
    // 1 + 3 × (1 + 10) agents at work, of which those that lead are asked twice: 38 questions.
    let mut middle = Vec::new();
    for at in 0..3 {
        middle.push(supervisor(&client, &format!("middle-{at}"), &leaves).await);
    }
    let top = supervisor(&client, "top", &middle).await;
    let hello = json!({ "inputText": "Hello", "enableTrace": true });
    let answer = turn(&client, (&top, "tree"), &hello).await;
    assert_eq!(said(&answer), "Here with 3.", "{}", answer.snapshot());
    assert_eq!(server.model.requests().len(), 38);
    let told = answer.frames().into_iter().filter(|frame| kind(frame) == "trace").map(|it| payload(&it));
    let deepest = told.filter_map(|trace| trace["callerChain"].as_array().map(Vec::len)).max();
    assert_eq!(deepest, Some(3), "every leaf's traces name all above it");

    // One level more is asked, and one more than that is not; and the whole tree again is too much for one turn.
    let over = supervisor(&client, "over", std::slice::from_ref(&top)).await;
    let answer = turn(&client, (&over, "tree"), &hello).await;
    assert_eq!(said(&answer), "Here with 1.", "{}", answer.snapshot());
    let far = supervisor(&client, "far", std::slice::from_ref(&over)).await;
    let answer = turn(&client, (&far, "tree"), &hello).await;
    assert!(!said(&answer).is_empty(), "{}", answer.snapshot());
    let before = server.model.requests().len();
    let wide = supervisor(&client, "wide", &[top, middle[0].clone(), middle[1].clone()]).await;
    let answer = turn(&client, (&wide, "tree"), &hello).await;
    assert_eq!(last(&answer).0, "dependencyFailedException", "{}", answer.snapshot());
    let asked = server.model.requests().len() - before;
    assert!(asked <= STEPS as usize, "{asked}");
    // What it used is free: the next turn has all of it again.
    assert!(!said(&turn(&client, (&leaves[0], "tree"), &hello).await).is_empty());
}
