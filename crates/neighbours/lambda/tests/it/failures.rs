//! Functions that fail, and what their callers are told.

use std::time::{Duration, Instant};

use craton_api_lambda as api;
use craton_wire::types::Blob;
use serde_json::json;

use super::world;

#[tokio::test]
async fn an_exception_comes_with_its_type_and_stack() {
    let world = world(Vec::new()).await;
    world.create("raise", "def handler(e, c):\n    raise KeyError('no such order')").await;
    let called = world.call("raise", json!({})).await;
    assert_eq!(called.error.as_deref(), Some("Unhandled"));
    assert_eq!(called.payload["errorType"], "KeyError");
    assert!(called.payload["errorMessage"].as_str().unwrap().contains("no such order"));
    assert!(called.payload["stackTrace"][0].as_str().unwrap().contains("main.py"), "{}", called.payload);
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_ended_with_all_its_processes() {
    let world = world(Vec::new()).await;
    let source = "
import subprocess, time
def handler(event, context):
    if event.get('fast'):
        return 'ok'
    child = subprocess.Popen(['sleep', '60'])
    print('child', child.pid, 'ends')
    time.sleep(60)
";
    world.create_with("slow", source, |request| request.timeout = Some(1)).await;
    assert_eq!(world.call("slow", json!({"fast": true})).await.payload, json!("ok"));
    let began = Instant::now();
    let called = world.call("slow", json!({})).await;
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(called.error.as_deref(), Some("Unhandled"));
    assert_eq!(called.payload["errorType"], "Sandbox.Timedout");
    assert!(called.payload["errorMessage"].as_str().unwrap().ends_with("Task timed out after 1.00 seconds"));
    let pid = called.log.split("child ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a pid");
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    for _ in 0..100 {
        if state().is_empty() || state().contains(") Z") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(state().is_empty() || state().contains(") Z"), "its child still runs: {}", state());
    assert_eq!(world.call("slow", json!({"fast": true})).await.payload, json!("ok"));
}

#[tokio::test]
async fn a_first_call_has_the_same_time_as_any_other() {
    let world = world(Vec::new()).await;
    let source = "import time\ndef handler(e, c): time.sleep(60)";
    world.create_with("first", source, |request| request.timeout = Some(1)).await;
    let called = world.call("first", json!({})).await;
    assert!(
        called.payload["errorMessage"].as_str().unwrap().contains("after 1.00 seconds"),
        "{}",
        called.payload
    );
    let took =
        called.log.split("\tDuration: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a time");
    let took_ms: f64 = took.parse().unwrap();
    assert!((1_000.0..2_000.0).contains(&took_ms), "{}", called.log);
}

#[tokio::test]
async fn memory_is_bounded() {
    let world = world(Vec::new()).await;
    let source = "import time\ndef handler(e, c):\n    hog = bytearray(400 << 20)\n    time.sleep(20)\n    return len(hog)";
    world.create("hog", source).await;
    let called = world.call("hog", json!({})).await;
    assert_eq!(called.payload["errorType"], "Runtime.OutOfMemory", "{}", called.payload);
    assert!(called.log.contains("Memory Size: 128 MB exceeded"), "{}", called.log);
    // What its children use is its own.
    let source = "
import subprocess, sys
def handler(e, c):
    subprocess.run([sys.executable, '-c', 'import time; x = bytearray(400 << 20); time.sleep(20)'])
";
    world.create("children", source).await;
    let called = world.call("children", json!({})).await;
    assert_eq!(called.payload["errorType"], "Runtime.OutOfMemory", "{}", called.payload);
}

#[tokio::test]
async fn a_function_that_exits_or_can_not_be_imported_says_so() {
    let world = world(Vec::new()).await;
    world.create("exits", "import os\ndef handler(e, c): os._exit(3)").await;
    let called = world.call("exits", json!({})).await;
    assert_eq!(called.payload["errorType"], "Runtime.ExitError");
    assert!(
        called.payload["errorMessage"].as_str().unwrap().contains("exit status: 3"),
        "{}",
        called.payload
    );
    world.create("broken", "import no_such_module").await;
    let called = world.call("broken", json!({})).await;
    assert_eq!(called.payload["errorType"], "Runtime.ImportModuleError", "{}", called.payload);
}

#[tokio::test]
async fn answers_and_events_are_bounded() {
    let world = world(Vec::new()).await;
    world
        .create_with("big", "def handler(e, c): return 'x' * (7 << 20)", |request| {
            request.memory_size = Some(512);
        })
        .await;
    let called = world.call("big", json!({})).await;
    assert_eq!(called.payload["errorType"], "Function.ResponseSizeTooLarge", "{}", called.payload);
    let request = |payload: Vec<u8>| api::InvocationRequest {
        function_name: "big".into(),
        payload: Some(Blob(payload.into())),
        ..Default::default()
    };
    let large = world.lambda.invoke(&world.context, request(vec![b' '; (6 << 20) + 1])).await.unwrap_err();
    assert_eq!(large.code, "RequestTooLargeException");
    let broken = world.lambda.invoke(&world.context, request(b"{".to_vec())).await.unwrap_err();
    assert_eq!(broken.code, "InvalidRequestContentException");
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_the_call() {
    let world = world(Vec::new()).await;
    let source = "
import time
def handler(event, context):
    print('it began')
    time.sleep(event['s'])
    print('it ran on')
";
    world.create("gone", source).await;
    world.call("gone", json!({"s": 0})).await;
    let warm = world.printed("gone", "REPORT").await.len();
    let request = api::InvocationRequest {
        function_name: "gone".into(),
        payload: Some(Blob(json!({"s": 2}).to_string().into())),
        ..Default::default()
    };
    let began = async {
        while !world.log("gone")[warm..].contains("it began") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        answer = world.lambda.invoke(&world.context, request) => panic!("it ended first: {answer:?}"),
        () = began => {}
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!world.log("gone")[warm..].contains("ran on"), "the function went on after its caller had gone");
}
