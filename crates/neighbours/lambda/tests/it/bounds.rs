//! What functions use up, during calls and between them, and calls that must not get lost for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use craton_api_lambda as api;
use craton_core::SystemClock;
use craton_lambda::{EVENT_JOB, LambdaConfig, MappedFunction};
use craton_store::jobs::Runner;
use craton_wire::types::Blob;
use serde_json::json;

use super::{world, world_with};

#[tokio::test]
async fn nothing_runs_between_calls() {
    let world = world(Vec::new()).await;
    let source = "
import threading, time
beats = 0
def beat():
    global beats
    while True:
        beats += 1
        time.sleep(0.005)
threading.Thread(target=beat, daemon=True).start()
def handler(event, context):
    time.sleep(event)
    return beats
";
    world.create("beats", source).await;
    let beats = async |seconds: f64| world.call("beats", json!(seconds)).await.payload.as_i64().unwrap();
    let before = beats(0.0).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    let after = beats(0.0).await;
    let running = beats(0.8).await;
    assert!((after - before) * 3 < running - after, "{before} {after} {running}");
}

#[tokio::test]
async fn what_its_children_share_is_counted_once() {
    let world = world(Vec::new()).await;
    let source = "
import os, time
held = b'x' * (50 << 20)
def handler(event, context):
    for _ in range(4):
        if os.fork() == 0:
            time.sleep(1)
            os._exit(0)
    for _ in range(4):
        os.wait()
    return len(held)
";
    world.create("forks", source).await;
    let called = world.call("forks", json!({})).await;
    assert_eq!(called.payload, json!(50 << 20), "{}", called.payload);
}

#[tokio::test]
async fn what_its_children_leave_behind_is_counted() {
    let world = world(Vec::new()).await;
    let source = "
import os, time
def handler(event, context):
    if os.fork() == 0:
        if os.fork() == 0:
            hog = bytearray(400 << 20)
            time.sleep(20)
        os._exit(0)
    os.wait()
    time.sleep(20)
";
    world.create("orphan", source).await;
    let called = world.call("orphan", json!({})).await;
    assert_eq!(called.payload["errorType"], "Runtime.OutOfMemory", "{}", called.payload);
}

#[tokio::test]
async fn its_disk_is_bounded() {
    let world = world(Vec::new()).await;
    let source = "
import os, time
def handler(event, context):
    for n in range(event['files']):
        with open(f\"{os.environ['TMPDIR']}/{n}\", 'wb') as file:
            os.posix_fallocate(file.fileno(), 0, 200 << 20)
        if event['removed']:
            kept.append(os.open(file.name, os.O_RDONLY))
            os.remove(file.name)
    time.sleep(event['s'])
    return 'written'
kept = []
";
    world.create("disk", source).await;
    for removed in [false, true] {
        let few = world.call("disk", json!({"files": 2, "removed": removed, "s": 0})).await;
        assert_eq!(few.payload, json!("written"), "{}", few.log);
        let many = world.call("disk", json!({"files": 4, "removed": removed, "s": 20})).await;
        assert_eq!(many.payload["errorType"], "Runtime.ExitError", "{}", many.payload);
        assert!(many.log.contains("Ephemeral storage: 512 MB"), "{}", many.log);
    }
}

/// Whoever reaches an environment's Runtime API can take its events.
#[tokio::test]
async fn runtime_apis_are_not_to_be_found() {
    let world = world(Vec::new()).await;
    let mut hosts = Vec::new();
    for name in ["one", "two"] {
        world.create(name, "import os\ndef handler(e, c): return os.environ['AWS_LAMBDA_RUNTIME_API']").await;
        let address = world.call(name, json!({})).await.payload;
        let (host, _) = address.as_str().unwrap().split_once(':').unwrap();
        assert!(host.starts_with("127.") && host != "127.0.0.1", "{host}");
        hosts.push(host.to_owned());
    }
    assert_ne!(hosts[0], hosts[1]);
}

/// What a function posts lies in the server's memory, which is not the function's.
#[tokio::test]
async fn half_sent_answers_are_not_kept() {
    let world = world(Vec::new()).await;
    let source = "
import os, socket
kept = []
def handler(event, context):
    host, port = os.environ['AWS_LAMBDA_RUNTIME_API'].split(':')
    said = []
    for path in ('invocation/nobody/response', 'init/error') * 40:
        it = socket.create_connection((host, int(port)), timeout=1)
        it.sendall(f'POST /2018-06-01/runtime/{path} HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 6000000\\r\\n\\r\\n{{'.encode())
        try:
            said.append(it.recv(100).decode().split(' ')[1])
        except OSError as error:
            said.append(type(error).__name__)
        kept.append(it)
        if len(kept) > 12: kept.pop(0).close()
    return sorted(set(said))
";
    world.create("posts", source).await;
    // Answered before what they post has come.
    let called = world.call("posts", json!({})).await;
    assert_eq!(called.payload, json!(["400", "403"]), "{}", called.log);
}

#[tokio::test]
async fn calls_of_functions_elsewhere_count() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mapped = MappedFunction {
        name: "far".into(),
        url: Some(format!("http://{}", silent.local_addr().unwrap())),
        ..Default::default()
    };
    let config = LambdaConfig { max_concurrency: 1, ..LambdaConfig::default() };
    let world = world_with(vec![mapped], config, tempfile::tempdir().unwrap()).await;
    let request = || api::InvocationRequest { function_name: "far".into(), ..Default::default() };
    let second = async {
        let _connection = silent.accept().await.unwrap();
        world.lambda.invoke(&world.context, request()).await.unwrap_err()
    };
    tokio::select! {
        first = world.lambda.invoke(&world.context, request()) => panic!("nobody answers it: {first:?}"),
        second = second => assert_eq!(second.code, "TooManyRequestsException"),
    }
}

#[tokio::test]
async fn an_accepted_event_waits_for_its_place() {
    let config = LambdaConfig { max_concurrency: 1, ..LambdaConfig::default() };
    let world = world_with(Vec::new(), config, tempfile::tempdir().unwrap()).await;
    world.create("busy", "import time\ndef handler(e, c): time.sleep(6)").await;
    world.create("later", "def handler(e, c): print('it ran')").await;
    let runner = Runner::new(world.store.clone(), Arc::new(SystemClock));
    let running = runner
        .handle(EVENT_JOB, 2, Arc::new(world.lambda.clone()))
        .times(Duration::from_secs(5), Duration::from_millis(50))
        .start()
        .await
        .unwrap();
    let began = Instant::now();
    let event = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let request = api::InvocationRequest {
            function_name: "later".into(),
            invocation_type: Some(api::InvocationType::Event),
            payload: Some(Blob("{}".into())),
            ..Default::default()
        };
        assert_eq!(world.lambda.invoke(&world.context, request).await.unwrap().status_code, Some(202));
    };
    tokio::join!(world.call("busy", json!({})), event);
    assert!(began.elapsed() >= Duration::from_secs(6), "the place was taken");
    world.printed("later", "it ran").await;
    running.stop().await;
}
