use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;

use nix::sys::signal::Signal;

use crate::support::{Home, stderr, stdout};

#[test]
fn the_version_is_told() {
    assert_eq!(stdout(&Home::new().run(&["--version"])), concat!("craton ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn env_makes_credentials_once_and_prints_them() {
    let home = Home::new();
    let printed = home.run(&["env", "--shell", "sh"]);
    assert!(printed.status.success(), "{}", stderr(&printed));
    let lines = stdout(&printed);
    for name in
        ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"]
    {
        assert!(lines.contains(&format!("export {name}='")), "{lines}");
    }
    assert!(lines.contains(&format!("http://127.0.0.1:{}", home.port)), "{lines}");
    let mode = home.data().join("credentials").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(stdout(&home.run(&["env", "--shell", "sh"])), lines);
}

#[test]
fn exec_starts_a_server_sets_variables_and_passes_the_code_on() {
    let home = Home::new();
    let ran = home.run(&["exec", "--", "sh", "-c", "echo $AWS_ENDPOINT_URL $AWS_REGION; exit 7"]);
    assert_eq!(ran.status.code(), Some(7), "{}", stderr(&ran));
    assert_eq!(stdout(&ran), format!("http://127.0.0.1:{} us-east-1\n", home.port));
    let ran = home.run(&["exec", "--", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(ran.status.code(), Some(137));
    let ran = home.run(&["exec", "--", "no-such-program-anywhere"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(stderr(&ran).contains("no-such-program-anywhere"), "{}", stderr(&ran));
}

#[test]
fn exec_forwards_signals() {
    let home = Home::new();
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = home
        .craton(&["exec", "--", "sh", "-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0_u8; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn exec_uses_a_server_that_runs_and_leaves_it_running() {
    let home = Home::new();
    let mut serving = home.serve(&[]);
    let ran = home.run(&["exec", "--", "true"]);
    assert!(ran.status.success(), "{}", stderr(&ran));
    assert!(serving.child.try_wait().unwrap().is_none());
    serving.signal(Signal::SIGTERM);
    let status = serving.child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None), "{}", serving.errors());
    let told = serving.errors();
    assert!(told.contains(&format!("http://127.0.0.1:{}", home.port)) && told.contains("stopping"), "{told}");
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    let home = Home::new();
    let file = home.path().join("craton.toml");
    std::fs::write(&file, "region = \"eu-west-1\"\nlisten_on = 1\n").unwrap();
    let ran = home.run(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(ran.status.code(), Some(1));
    let told = stderr(&ran);
    assert!(told.contains("craton.toml") && told.contains("line 2") && told.contains("listen_on"), "{told}");
    std::fs::write(&file, "[[model]]\nid = \"m\"\nupstream = \"nobody\"\n").unwrap();
    let told = stderr(&home.run(&["serve", "--config", file.to_str().unwrap()]));
    assert!(told.contains("no [[upstream]] is named \"nobody\""), "{told}");
}

#[test]
fn a_taken_port_is_told() {
    let home = Home::new();
    let _holder = std::net::TcpListener::bind(("127.0.0.1", home.port)).unwrap();
    let ran = home.run(&["serve"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(stderr(&ran).contains(&format!("can't listen on 127.0.0.1:{}", home.port)), "{}", stderr(&ran));
}

#[test]
fn an_empty_model_store_says_what_to_do() {
    let home = Home::new();
    let listed = home.run(&["models", "list"]);
    assert!(listed.status.success() && stderr(&listed).contains("craton models pull default"));
    assert_eq!(stdout(&home.run(&["models", "list", "--json"])), "[]\n");
    let removed = home.run(&["models", "remove", "nothing"]);
    assert_eq!(removed.status.code(), Some(1));
    assert!(stderr(&removed).contains("craton models list"), "{}", stderr(&removed));
}

#[test]
fn what_is_no_model_is_not_imported() {
    let home = Home::new();
    let file = home.path().join("page.gguf");
    std::fs::write(&file, "<html>not a model</html>").unwrap();
    let imported = home.run(&["models", "import", file.to_str().unwrap(), "--id", "my.model"]);
    assert_eq!(imported.status.code(), Some(1));
    assert!(stderr(&imported).contains("not a GGUF file"), "{}", stderr(&imported));
    // A header that promises more than the file holds.
    let mut cut = b"GGUF\x03\0\0\0".to_vec();
    cut.extend(1_u64.to_le_bytes());
    cut.extend(9_u64.to_le_bytes());
    std::fs::write(&file, cut).unwrap();
    let imported = home.run(&["models", "import", file.to_str().unwrap(), "--id", "my.model"]);
    assert_eq!(imported.status.code(), Some(1));
    assert!(stderr(&imported).contains("ends early"), "{}", stderr(&imported));
    assert_eq!(stdout(&home.run(&["models", "list", "--json"])), "[]\n");
}
