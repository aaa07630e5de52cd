//! Sessions: state from one execution to the next.

use std::time::{Duration, Instant};

use craton_sandbox::{Exit, Limits, SandboxError};
use serde_json::json;

use super::{limits, program, sandbox};

#[tokio::test]
async fn state_and_files_are_kept() {
    let mut session = sandbox().session(limits()).await.unwrap();
    let outcome = session.execute(program("import json\nx = 20\nopen('a', 'w').write('1')")).await.unwrap();
    assert_eq!((outcome.files.len(), outcome.result), (1, Some(json!(1))));
    let failed = session.execute(program("x += 1\n1 / 0")).await.unwrap();
    assert!(matches!(failed.exit, Exit::Raised { .. }) && session.is_open());
    let left = session.execute(program("import sys\nsys.exit('enough')")).await.unwrap();
    assert_eq!((left.exit, left.stderr.as_str()), (Exit::Exited(1), "enough\n"));
    let outcome = session.execute(program("print(x)\njson.loads(open('a').read()) + x")).await.unwrap();
    assert_eq!((outcome.stdout.as_str(), outcome.result), ("21\n", Some(json!(22))));
    assert!(outcome.files.is_empty(), "an unchanged file came back");
}

#[tokio::test]
async fn a_session_ends_with_its_time() {
    let limits = Limits { time: Duration::from_secs(1), ..limits() };
    let mut session = sandbox().session(limits).await.unwrap();
    let began = Instant::now();
    let outcome = session.execute(program("print('so far')\nwhile True: pass")).await.unwrap();
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (Exit::TimedOut, "so far\n"));
    assert!(began.elapsed() < Duration::from_secs(5) && !session.is_open());
    assert!(matches!(session.execute(program("1")).await, Err(SandboxError::Ended)));
}

#[tokio::test]
async fn an_execution_that_is_given_up_ends_its_session() {
    let mut session = sandbox().session(limits()).await.unwrap();
    let code = program("import time\ntime.sleep(10)");
    assert!(tokio::time::timeout(Duration::from_millis(300), session.execute(code)).await.is_err());
    assert!(matches!(session.execute(program("1")).await, Err(SandboxError::Ended)));
}

#[tokio::test]
async fn nothing_runs_between_executions() {
    let mut session = sandbox().session(limits()).await.unwrap();
    let code = "
import threading
beats = 0
def beat():
    global beats
    while True: beats += 1
threading.Thread(target=beat, daemon=True).start()
";
    session.execute(program(code)).await.unwrap();
    let beats = |outcome: craton_sandbox::Outcome| outcome.result.and_then(|beats| beats.as_i64()).unwrap();
    let quick = beats(session.execute(program("beats")).await.unwrap());
    tokio::time::sleep(Duration::from_millis(700)).await;
    let later = beats(session.execute(program("beats")).await.unwrap());
    session.execute(program("import time\ntime.sleep(0.7)")).await.unwrap();
    let running = beats(session.execute(program("beats")).await.unwrap());
    assert!((later - quick) * 2 < running - later, "{quick} {later} {running}");
}
