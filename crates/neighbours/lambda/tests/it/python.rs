//! Python functions: events, output, reuse, environments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use craton_api_lambda as api;
use craton_backend::function::{FunctionCall, FunctionInvoker};
use craton_core::SystemClock;
use craton_lambda::EVENT_JOB;
use craton_store::jobs::Runner;
use craton_wire::types::Blob;
use serde_json::json;

use super::{world, zip_file};

#[tokio::test]
async fn a_function_gets_its_event_and_its_context() {
    let world = world(Vec::new()).await;
    let source = "
import boto3
def handler(event, context):
    print('looking at', event['order'])
    return {'order': event['order'] * 2, 'name': context.function_name, 'arn': context.invoked_function_arn,
            'memory': context.memory_limit_in_mb, 'left': context.get_remaining_time_in_millis() > 5000}
";
    world.create("orders", source).await;
    let called = world.call("orders", json!({"order": 21})).await;
    assert_eq!(called.error, None, "{}", called.payload);
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:orders";
    assert_eq!(
        called.payload,
        json!({"order": 42, "name": "orders", "arn": arn, "memory": "128", "left": true})
    );
    assert_eq!(called.version, "$LATEST");
    assert!(called.log.contains("START RequestId: "), "{}", called.log);
    assert!(called.log.contains("looking at 21") && called.log.contains("Init Duration"), "{}", called.log);
}

#[tokio::test]
async fn environments_are_used_again_until_the_function_changes() {
    let world = world(Vec::new()).await;
    world.create("pids", "import os\ndef handler(e, c): return os.getpid()").await;
    let first = world.call("pids", json!({})).await.payload;
    assert_eq!(world.call("pids", json!({})).await.payload, first);
    let update = api::UpdateFunctionCodeRequest {
        function_name: "pids".into(),
        zip_file: zip_file("import os\ndef handler(e, c): return [os.getpid()]"),
        ..Default::default()
    };
    world.lambda.update_function_code(&world.context, update).await.unwrap();
    let second = world.call("pids", json!({})).await.payload;
    assert!(second.is_array() && second[0] != first, "{second}");
}

#[tokio::test]
async fn an_environment_knows_its_own_variables_and_nothing_of_the_server() {
    let world = world(Vec::new()).await;
    let source = "import os\ndef handler(e, c): return dict(os.environ)";
    world
        .create_with("env", source, |request| {
            let variables = [("COLOUR", "blue"), ("TZ", "Europe/Berlin"), ("PYTHONPATH", "/opt/own")];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            request.environment = Some(api::Environment { variables: Some(variables.into_iter().collect()) });
        })
        .await;
    let seen: BTreeMap<String, String> =
        serde_json::from_value(world.call("env", json!({})).await.payload).unwrap();
    assert_eq!((seen["COLOUR"].as_str(), seen["TZ"].as_str()), ("blue", "Europe/Berlin"));
    assert!(seen["PYTHONPATH"].ends_with(":/opt/own"), "{}", seen["PYTHONPATH"]);
    assert_eq!(seen["AWS_ACCESS_KEY_ID"], "key-of-L");
    assert_eq!(seen["AWS_REGION"], "us-east-1");
    assert_eq!(seen["AWS_ENDPOINT_URL"], "http://server");
    assert!(seen["HOME"].starts_with("/tmp") && seen["HOME"] == seen["TMPDIR"]);
    let allowed = [
        "COLOUR",
        "HOME",
        "LANG",
        "LC_CTYPE",
        "PATH",
        "PWD",
        "TMPDIR",
        "TZ",
        "_HANDLER",
        "LAMBDA_TASK_ROOT",
        "_X_AMZN_TRACE_ID",
    ];
    let strange: Vec<&String> = seen
        .keys()
        .filter(|name| {
            !allowed.contains(&name.as_str()) && !name.starts_with("AWS_") && !name.starts_with("PYTHON")
        })
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
    // An endpoint of its own stands.
    let variables = BTreeMap::from([("AWS_ENDPOINT_URL".to_owned(), "http://own".to_owned())]);
    let update = api::UpdateFunctionConfigurationRequest {
        function_name: "env".into(),
        environment: Some(api::Environment { variables: Some(variables.into_iter().collect()) }),
        ..Default::default()
    };
    world.lambda.update_function_configuration(&world.context, update).await.unwrap();
    assert_eq!(world.call("env", json!({})).await.payload["AWS_ENDPOINT_URL"], "http://own");
}

#[tokio::test]
async fn calls_beyond_the_limit_are_throttled() {
    let world = world(Vec::new()).await;
    world.create("slow", "import time\ndef handler(e, c): time.sleep(e['s'])").await;
    let limit = api::PutFunctionConcurrencyRequest {
        function_name: "slow".into(),
        reserved_concurrent_executions: 1,
    };
    world.lambda.put_function_concurrency(&world.context, limit).await.unwrap();
    let request = |seconds: f64| api::InvocationRequest {
        function_name: "slow".into(),
        payload: Some(Blob(json!({ "s": seconds }).to_string().into())),
        ..Default::default()
    };
    let (lambda, context) = (world.lambda.clone(), world.context.clone());
    let first = request(1.0);
    let running = tokio::spawn(async move { lambda.invoke(&context, first).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = world.lambda.invoke(&world.context, request(0.0)).await.unwrap_err();
    assert_eq!(error.code, "TooManyRequestsException");
    assert_eq!(running.await.unwrap().unwrap().function_error, None);
    assert!(world.lambda.invoke(&world.context, request(0.0)).await.is_ok(), "the place was given back");
}

#[tokio::test]
async fn events_run_later_and_are_tried_again() {
    let world = world(Vec::new()).await;
    let source = "
attempts = 0
def handler(event, context):
    global attempts
    attempts += 1
    print('attempt', attempts, 'of', event['id'])
    if attempts < 2:
        raise ValueError('not yet')
";
    world.create("later", source).await;
    let handler = Arc::new(world.lambda.clone());
    let running = Runner::new(world.store.clone(), Arc::new(SystemClock))
        .handle(EVENT_JOB, 2, handler)
        .times(Duration::from_secs(5), Duration::from_millis(50))
        .start()
        .await
        .unwrap();
    let request = api::InvocationRequest {
        function_name: "later".into(),
        invocation_type: Some(api::InvocationType::Event),
        payload: Some(Blob(json!({"id": "e-1"}).to_string().into())),
        ..Default::default()
    };
    assert_eq!(world.lambda.invoke(&world.context, request).await.unwrap().status_code, Some(202));
    world.printed("later", "attempt 2 of e-1").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!world.log("later").contains("attempt 3"), "what succeeded was called again");
    running.stop().await;
}

#[tokio::test]
async fn a_folder_of_sources_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(folder.path().join("main.py"), text).unwrap();
    write("def handler(e, c): return 1");
    let path = folder.path().to_owned();
    let world = world(vec![craton_lambda::MappedFunction {
        name: "dev".into(),
        folder: Some(path),
        runtime: Some("python3.11".into()),
        handler: Some("main.handler".into()),
        ..Default::default()
    }])
    .await;
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:dev".to_owned();
    let code = api::FunctionCode { zip_file: zip_file("def handler(e, c): pass"), ..Default::default() };
    let same = api::CreateFunctionRequest {
        function_name: "dev".into(),
        runtime: Some(api::Runtime::Python311),
        role: "arn:aws:iam::123456789012:role/L".into(),
        handler: Some("main.handler".into()),
        code,
        ..Default::default()
    };
    let refused = world.lambda.create_function(&world.context, same).await.unwrap_err();
    assert_eq!(refused.code, "ResourceConflictException");
    assert!(refused.message.contains("[[function]]"), "{}", refused.message);
    let call = || world.call("dev", json!({}));
    assert_eq!(call().await.payload, json!(1));
    write("def handler(e, c): return 'two'");
    assert_eq!(call().await.payload, json!("two"));
    let answer =
        FunctionInvoker::invoke(&world.lambda, FunctionCall { arn, payload: "{}".into() }).await.unwrap();
    assert_eq!(&answer.payload[..], b"\"two\"");
}

#[tokio::test]
async fn a_call_without_a_payload_is_an_empty_event_however_it_is_made() {
    let world = world(Vec::new()).await;
    let source = "
import json
def handler(event, context):
    print('seen', json.dumps(event))
    return event
";
    world.create_with("f", source, |_| {}).await;
    let call = |kind: Option<api::InvocationType>| api::InvocationRequest {
        function_name: "f".into(),
        invocation_type: kind,
        ..Default::default()
    };
    let answer = world.lambda.invoke(&world.context, call(None)).await.unwrap();
    assert_eq!((answer.function_error, answer.payload.unwrap().0), (None, "{}".into()));
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:f".to_owned();
    let direct = FunctionCall { arn, payload: Default::default() };
    let answer = FunctionInvoker::invoke(&world.lambda, direct).await.unwrap();
    assert!(!answer.failed && answer.payload == "{}", "{:?}", answer.payload);
    world.lambda.invoke(&world.context, call(Some(api::InvocationType::Event))).await.unwrap();
    let runner = Runner::new(world.store.clone(), Arc::new(SystemClock)).handle(
        EVENT_JOB,
        1,
        Arc::new(world.lambda.clone()),
    );
    let _running = runner.start().await.unwrap();
    let seen = || world.log("f").lines().filter(|line| line.ends_with("seen {}")).count();
    for _ in 0..100 {
        if seen() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(seen(), 3, "{}", world.log("f"));
}
