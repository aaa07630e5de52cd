//! Programs that run once.

use craton_sandbox::{Exit, File, Limits, Program, Sandbox, SandboxConfig, SandboxError};
use serde_json::json;

use super::{limits, program, run, sandbox};

#[tokio::test]
async fn the_last_line_is_the_result() {
    let outcome =
        run("import math\nprint('working')\nx = math.sqrt(16)\n{'root': x, 'list': [1, None]}").await;
    assert_eq!(outcome.exit, Exit::Finished, "{outcome:?}");
    assert_eq!(outcome.result, Some(json!({"root": 4.0, "list": [1, null]})));
    assert_eq!(outcome.shown.as_deref(), Some("{'list': [1, None], 'root': 4.0}"));
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("working\n", ""));
    let outcome = run("x = 1").await;
    assert_eq!((outcome.result, outcome.shown), (None, None));
    let outcome = run("object").await;
    assert_eq!((outcome.result, outcome.shown.as_deref()), (None, Some("<class 'object'>")));
    assert_eq!(run("float('nan')").await.result, None);
}

#[tokio::test]
async fn variables_and_files_go_in_and_files_come_out() {
    let program = Program {
        code: "
import csv, json, shutil, tempfile
from helper import double
rows = list(csv.DictReader(open('data/in.csv')))
with open('out.json', 'w') as file:
    json.dump({'total': double(sum(int(row['n']) for row in rows)) + extra['add']}, file)
shutil.copy2('out.json', 'copy.json')
tempfile.NamedTemporaryFile(delete=False).write(b'scratch')
text + 'ß'
"
        .into(),
        variables: json!({"extra": {"add": 1}, "text": "naïve "}).as_object().unwrap().clone(),
        files: vec![
            File { name: "data/in.csv".into(), bytes: b"n\n1\n2\n".to_vec() },
            File { name: "helper.py".into(), bytes: b"def double(n): return n * 2\n".to_vec() },
        ],
    };
    let outcome = sandbox().run(program, limits()).await.unwrap();
    assert_eq!(outcome.exit, Exit::Finished, "{}", outcome.stderr);
    assert_eq!(outcome.result, Some(json!("naïve ß")));
    let files: Vec<_> =
        outcome.files.iter().map(|file| (file.name.as_str(), file.bytes.as_slice())).collect();
    assert_eq!(files, [("copy.json", b"{\"total\": 7}".as_slice()), ("out.json", b"{\"total\": 7}")]);
}

#[tokio::test]
async fn errors_come_with_their_traceback() {
    let outcome = run("def f(n):\n    return 1 / n\n\nprint('before')\nf(0)").await;
    let Exit::Raised { kind, message, traceback } = &outcome.exit else { panic!("{outcome:?}") };
    assert_eq!((kind.as_str(), message.as_str()), ("ZeroDivisionError", "division by zero"));
    assert!(traceback.contains("line 2, in f") && traceback.contains("return 1 / n"), "{traceback}");
    assert!(!traceback.contains("bootstrap") && !traceback.contains("<string>"), "{traceback}");
    assert_eq!((outcome.stdout.as_str(), &outcome.stderr), ("before\n", traceback));
    let outcome = run("x = (1,\n").await;
    assert!(matches!(&outcome.exit, Exit::Raised { kind, .. } if kind == "SyntaxError"), "{outcome:?}");
    assert_eq!(run("import sys\nsys.exit(3)").await.exit, Exit::Exited(3));
    assert_eq!(run("import os\nos._exit(4)").await.exit, Exit::Exited(4));
    assert!(matches!(run("import os\nos.abort()").await.exit, Exit::Killed(6)));
}

#[tokio::test]
async fn its_environment_is_its_own() {
    let outcome =
        run("import os\n[sorted(os.environ), os.listdir('.'), os.getcwd() != '/', open(0).read()]").await;
    let result = outcome.result.expect("a result");
    let names: Vec<&str> = result[0].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "HOME",
            "LANG",
            "MALLOC_ARENA_MAX",
            "MPLBACKEND",
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
            "PATH",
            "TMPDIR",
            "TZ"
        ]
    );
    assert_eq!((&result[1], &result[2], &result[3]), (&json!([]), &json!(true), &json!("")));
    let open = run(
        "import os\ndef is_open(n):\n    try:\n        os.fstat(n)\n        return True\n    except OSError:\n        \
         return False\n[n for n in range(256) if is_open(n)]",
    )
    .await;
    // Its three streams and two ends of the channel.
    assert!(open.result.unwrap().as_array().unwrap().len() <= 5);
}

#[tokio::test]
async fn names_that_can_not_be_are_refused() {
    let sandbox = sandbox();
    for name in ["", "1a", "a-b", "__builtins__", "a b"] {
        let variables = [(name.to_owned(), json!(1))].into_iter().collect();
        let refused = sandbox.run(Program { variables, ..program("1") }, limits()).await;
        assert!(matches!(refused, Err(SandboxError::Invalid(_))), "{name}");
    }
    let files = vec![File { name: "../x".into(), bytes: Vec::new() }];
    let refused = sandbox.run(Program { files, ..program("1") }, limits()).await;
    assert!(matches!(refused, Err(SandboxError::Invalid(_))));
}

#[tokio::test]
async fn a_run_that_is_given_up_is_ended() {
    let sandbox = Sandbox::new(SandboxConfig { max_interpreters: 1, ..SandboxConfig::default() }, &[]);
    let endless = sandbox.run(program("while True: pass"), limits());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), endless).await.is_err());
    // Its place is free.
    assert_eq!(sandbox.run(program("1"), limits()).await.unwrap().result, Some(json!(1)));
}

#[tokio::test]
async fn nothing_is_run_that_could_read_secrets() {
    // Some folder that the interpreter reads.
    let home = run("import os\nos.path.dirname(os.__file__)").await.result.unwrap();
    let secret = std::path::Path::new(home.as_str().unwrap()).join("json");
    let sandbox = Sandbox::new(SandboxConfig::default(), &[secret.as_path()]);
    let refused = sandbox.run(program("1"), limits()).await;
    assert!(matches!(&refused, Err(SandboxError::Exposed { .. })), "{refused:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(SandboxConfig::default(), &[elsewhere.path()]);
    assert_eq!(sandbox.run(program("1"), limits()).await.unwrap().result, Some(json!(1)));
}

#[tokio::test]
async fn a_missing_interpreter_is_said() {
    let config = SandboxConfig { python: Some("/no/such/python".into()), ..SandboxConfig::default() };
    let refused = Sandbox::new(config, &[]).run(program("1"), Limits::default()).await;
    assert!(matches!(refused, Err(SandboxError::Unavailable(text)) if text.contains("/no/such/python")));
}
