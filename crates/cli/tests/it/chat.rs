use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::support::{Home, stderr, stdout, upstream};

fn chat(home: &Home, arguments: &[&str], input: &str) -> Output {
    let mut all = vec!["chat"];
    all.extend(arguments);
    let mut child = home
        .craton(&all)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn with_upstream() -> Home {
    let home = Home::new();
    std::fs::create_dir_all(home.data()).unwrap();
    let config = format!(
        "[[upstream]]\nname = \"u\"\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:{}/v1\"\n\n\
         [[model]]\nid = \"my.model\"\nupstream = \"u\"\n",
        upstream()
    );
    std::fs::write(home.data().join("craton.toml"), config).unwrap();
    home
}

#[test]
fn each_line_is_a_prompt_of_one_conversation() {
    let home = with_upstream();
    let said = chat(&home, &["my.model"], "hello\n\nand again\n/reset\nfrom the start\n/exit\nnever\n");
    assert!(said.status.success(), "{}", stderr(&said));
    assert_eq!(stdout(&said), "You said 1 things.\nYou said 3 things.\nYou said 1 things.\n");
}

#[test]
fn a_running_server_is_called_over_tls_too() {
    let home = with_upstream();
    let _serving = home.serve(&["--tls"]);
    let said = chat(&home, &["my.model", "--tls", "--system", "Be brief."], "hello\n");
    assert!(said.status.success(), "{}", stderr(&said));
    assert_eq!(stdout(&said), "You said 2 things.\n");
}

#[test]
fn errors_are_sentences() {
    let home = with_upstream();
    let said = chat(&home, &["anthropic.claude-3-haiku-20240307-v1:0"], "hello\n");
    assert_eq!(said.status.code(), Some(1));
    assert!(stderr(&said).contains("AccessDeniedException"), "{}", stderr(&said));
    let said = chat(&home, &["--endpoint", &format!("http://127.0.0.1:{}", home.port)], "hello\n");
    assert_eq!(said.status.code(), Some(1));
    assert!(stderr(&said).contains("craton serve"), "{}", stderr(&said));
}
