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
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let source = format!(
        "
import subprocess, time
def handler(event, context):
    if event.get('fast'):
        return 'ok'
    child = subprocess.Popen(['sleep', '60'])
    open({pid_file:?}, 'w').write(str(child.pid))
    time.sleep(60)
"
    );
    world.create_with("slow", &source, |request| request.timeout = Some(1)).await;
    assert_eq!(world.call("slow", json!({"fast": true})).await.payload, json!("ok"));
    let began = Instant::now();
    let called = world.call("slow", json!({})).await;
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(called.error.as_deref(), Some("Unhandled"));
    assert_eq!(called.payload["errorType"], "Sandbox.Timedout");
    assert!(called.payload["errorMessage"].as_str().unwrap().ends_with("Task timed out after 1.00 seconds"));
    let pid = std::fs::read_to_string(&pid_file).unwrap();
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
async fn memory_is_bounded() {
    let world = world(Vec::new()).await;
    let source = "import time\ndef handler(e, c):\n    hog = bytearray(400 << 20)\n    time.sleep(20)\n    return len(hog)";
    world.create("hog", source).await;
    let called = world.call("hog", json!({})).await;
    assert_eq!(called.payload["errorType"], "Runtime.OutOfMemory", "{}", called.payload);
    assert!(called.log.contains("Memory Size: 128 MB exceeded"), "{}", called.log);
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
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("late");
    let source = format!(
        "import time\ndef handler(e, c):\n    time.sleep(2)\n    open({mark:?}, 'w').write('ran on')"
    );
    world.create("gone", &source).await;
    let request = api::InvocationRequest { function_name: "gone".into(), ..Default::default() };
    let given_up =
        tokio::time::timeout(Duration::from_millis(800), world.lambda.invoke(&world.context, request));
    assert!(given_up.await.is_err());
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!mark.exists(), "the function went on after its caller had gone");
}
