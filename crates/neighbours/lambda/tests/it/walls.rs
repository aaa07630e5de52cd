//! What functions can't do, and the little they can.

use craton_lambda::LambdaConfig;
use craton_sandbox::{Sandbox, SandboxConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{world, world_with};

#[tokio::test]
async fn a_function_reads_its_code_and_writes_its_own_folder() {
    assert_eq!(Sandbox::new(SandboxConfig::default(), &[]).standing().missing(), None);
    let world = world(Vec::new()).await;
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "the key").unwrap();
    let source = "
import os, subprocess
def attempt(what):
    try:
        what()
        return 'done'
    except OSError as error:
        return type(error).__name__
def handler(event, context):
    path, home = event['path'], os.environ['HOME']
    return [
        attempt(lambda: open(path).read()),
        attempt(lambda: open(path, 'w')),
        attempt(lambda: os.chmod(path, 0o777)),
        attempt(lambda: open('/etc/passwd').read()),
        attempt(lambda: open('/proc/1/environ').read()),
        attempt(lambda: os.kill(os.getppid(), 0)),
        attempt(lambda: open(os.environ['LAMBDA_TASK_ROOT'] + '/new', 'w')),
        attempt(lambda: open(home + '/scratch', 'w').write('x')),
        attempt(lambda: open(os.environ['LAMBDA_TASK_ROOT'] + '/main.py').read()),
        subprocess.run(['cat', path], capture_output=True).returncode,
        subprocess.run(['echo', 'hello'], capture_output=True, text=True).stdout,
    ]
";
    world.create("walls", source).await;
    let called = world.call("walls", json!({"path": secret})).await;
    let no = "PermissionError";
    assert_eq!(
        called.payload,
        json!([no, no, no, no, no, no, no, "done", "done", 1, "hello\n"]),
        "{}",
        called.log
    );
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "the key");
}

#[tokio::test]
async fn events_are_for_their_function_alone() {
    let world = world(Vec::new()).await;
    let ask = "
import http.client
def ask(address, method, path):
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request(method, '/2018-06-01/runtime/' + path, '{}')
        return connection.getresponse().status
    except OSError as error:
        return type(error).__name__
";
    let victim = "
import os, subprocess, sys
def handler(e, c):
    address = os.environ['AWS_LAMBDA_RUNTIME_API']
    source = open(__file__).read().split('import os')[0] + f'print(ask({address!r}, \"GET\", \"nothing\"))'
    child = subprocess.run([sys.executable, '-c', source], capture_output=True, text=True)
    return [address, c.aws_request_id, os.getpid(), child.stdout]
";
    let neighbour = "
def handler(e, c):
    paths = [('GET', 'invocation/next'), ('POST', 'init/error'), ('POST', f\"invocation/{e['id']}/response\")]
    return [ask(e['address'], method, path) for method, path in paths]
";
    world.create("victim", &format!("{ask}{victim}")).await;
    world.create("neighbour", &format!("{ask}{neighbour}")).await;
    let first = world.call("victim", json!({})).await.payload;
    // A process that it started may ask for it.
    assert_eq!(first[3], "404\n");
    let attack = json!({"address": first[0], "id": first[1]});
    for _ in 0..2 {
        let answers = world.call("neighbour", attack.clone()).await.payload;
        let answers: Vec<&str> = answers.as_array().unwrap().iter().filter_map(|it| it.as_str()).collect();
        // Hung up on, however far the question got.
        let refused = ["RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"];
        assert_eq!(answers.len(), 3);
        assert!(answers.iter().all(|answer| refused.contains(answer)), "{answers:?}");
    }
    // Nor is anybody else on this machine answered.
    let mut here = tokio::net::TcpStream::connect(first[0].as_str().unwrap()).await.unwrap();
    let _ = here.write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut said = Vec::new();
    let read = here.read_to_end(&mut said);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), read).await.expect("hung up");
    assert!(said.is_empty());
    let second = world.call("victim", json!({})).await.payload;
    assert_eq!((&second[0], &second[2]), (&first[0], &first[2]));
}

#[tokio::test]
async fn tmp_is_its_own() {
    // Not below /tmp, which would be hidden from the function.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let world = world_with(Vec::new(), LambdaConfig::default(), folder).await;
    if !Sandbox::new(SandboxConfig::default(), &[]).standing().own_tmp {
        // Then there is none, and code that insists on it is told so.
        world.create("tmp", "def handler(e, c): open('/tmp/craton-mark', 'w')").await;
        assert_eq!(world.call("tmp", json!({})).await.payload["errorType"], "PermissionError");
        return;
    }
    let source = "
import os
def handler(e, c):
    before = os.listdir('/tmp')
    open('/tmp/craton-mark', 'w').write('x')
    return [before, os.listdir('/tmp'), os.environ['TMPDIR']]
";
    world.create("tmp", source).await;
    let called = world.call("tmp", json!({})).await;
    assert_eq!(called.payload, json!([[], ["craton-mark"], "/tmp"]), "{}", called.log);
    assert!(!std::path::Path::new("/tmp/craton-mark").exists());
    // It is kept while the environment is.
    assert_eq!(world.call("tmp", json!({})).await.payload[0], json!(["craton-mark"]));
}

#[tokio::test]
async fn environments_are_bounded_and_the_oldest_goes() {
    let config = LambdaConfig { max_concurrency: 2, ..LambdaConfig::default() };
    let world = world_with(Vec::new(), config, tempfile::tempdir().unwrap()).await;
    let source = "import os\ndef handler(e, c): return os.getpid()";
    let mut pids = Vec::new();
    for name in ["a", "b", "c"] {
        world.create(name, source).await;
        pids.push(world.call(name, json!({})).await.payload);
    }
    for (name, kept) in [("c", true), ("b", true), ("a", false)] {
        let pid = world.call(name, json!({})).await.payload;
        assert_eq!(pids.contains(&pid), kept, "{name}");
    }
}
