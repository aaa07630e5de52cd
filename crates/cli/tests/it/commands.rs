use std::io::Write as _;
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
    // A session's own credentials don't get in the way, whenever the lines are read.
    assert!(lines.contains("unset AWS_SESSION_TOKEN\nunset AWS_PROFILE\n"), "{lines}");
    let mut command = home.craton(&["env", "--shell", "fish"]);
    let output = command.env("AWS_BEARER_TOKEN_BEDROCK", "x").output().unwrap();
    assert!(stdout(&output).contains("set -e AWS_BEARER_TOKEN_BEDROCK\n"), "{}", stdout(&output));
}

#[test]
fn env_names_the_certificate_from_the_root() {
    let home = Home::new();
    let mut command = home.craton(&["env", "--tls", "--shell", "dotenv", "--data-dir", "here"]);
    let printed = stdout(&command.current_dir(home.path()).output().unwrap());
    let bundle = printed.lines().find_map(|line| line.strip_prefix("AWS_CA_BUNDLE=")).unwrap();
    let expected = home.path().canonicalize().unwrap().join("here/tls/certificate.pem");
    assert_eq!(std::path::Path::new(bundle), expected);
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
    assert_eq!(ran.status.code(), Some(127));
    assert!(stderr(&ran).contains("no-such-program-anywhere"), "{}", stderr(&ran));
    assert_eq!(home.run(&["exec", "--", "/etc/passwd"]).status.code(), Some(126));
}

/// The engine's own setting is in the server's environment, and not in that of what it runs.
#[test]
fn waiting_threads_sleep_soon() {
    let home = Home::new();
    let ran = home.run(&["exec", "--", "sh", "-c", "echo ${GOMP_SPINCOUNT-none}"]);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "none\n");
    let serving = home.serve(&[]);
    let environment = std::fs::read(format!("/proc/{}/environ", serving.child.id())).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("GOMP_SPINCOUNT="));
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

/// As the tools of AWS do: the endpoint with its keys.
#[test]
fn a_sync_goes_where_the_environment_says() {
    let (home, elsewhere) = (Home::new(), Home::new());
    let _serving = elsewhere.serve(&[]);
    let printed = stdout(&elsewhere.run(&["env", "--shell", "dotenv"]));
    let variables = printed.lines().filter_map(|line| line.split_once('='));
    let mut command = home.craton(&["kb", "sync", "KB00000001", "DS00000001"]);
    let ran = command.envs(variables).output().unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(stderr(&ran).contains("ResourceNotFoundException"), "{}", stderr(&ran));
    // Nobody is there, and nothing is started in its place.
    let mut command = home.craton(&["kb", "sync", "KB00000001", "DS00000001"]);
    let ran = command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").output().unwrap();
    assert!(stderr(&ran).contains("no answer from the server at http://127.0.0.1:1"), "{}", stderr(&ran));
    // Where `env` said that this machine's own is to be, it is started.
    let own = format!("http://127.0.0.1:{}", home.port);
    let mut command = home.craton(&["kb", "sync", "KB00000001", "DS00000001"]);
    let ran = command.env("AWS_ENDPOINT_URL", own).output().unwrap();
    assert!(stderr(&ran).contains("ResourceNotFoundException"), "{}", stderr(&ran));
}

/// A server that ends in between, and another that goes on.
#[test]
fn a_sync_is_followed_over_a_restart() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let job = |status: &str| {
        format!(r#"{{"ingestionJob": {{"ingestionJobId": "JOB0000001", "status": "{status}"}}}}"#)
    };
    let answers = [Some(job("STARTING")), Some(job("IN_PROGRESS")), None, Some(job("COMPLETE"))];
    let serving = std::thread::spawn(move || {
        for answer in answers {
            let (mut client, _) = server.accept().unwrap();
            let mut request = std::io::BufReader::new(client.try_clone().unwrap());
            let mut length = 0;
            let mut line = String::new();
            while std::io::BufRead::read_line(&mut request, &mut line).unwrap() > 2 {
                let header = line.to_ascii_lowercase();
                length = header.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap());
                line.clear();
            }
            std::io::Read::read_exact(&mut request, &mut vec![0; length]).unwrap();
            let Some(body) = answer else { continue };
            let length = body.len();
            write!(client, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
                .unwrap();
        }
    });
    let ran = Home::new().run(&["kb", "sync", "KB00000001", "DS00000001", "--endpoint", &url]);
    serving.join().unwrap();
    assert!(ran.status.success(), "{}", stderr(&ran));
    assert!(stderr(&ran).contains("COMPLETE: 0 scanned"), "{}", stderr(&ran));
}

#[test]
fn a_second_signal_ends_a_server_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let home = Home::new();
        // A model that never answers keeps a request open, and so the server from stopping.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = home.path().join("craton.toml");
        let upstream = format!(
            "[[upstream]]\nname = \"u\"\nkind = \"openai\"\nbase_url = \"http://{}\"\n",
            silent.local_addr().unwrap()
        );
        std::fs::write(&config, upstream + "[[model]]\nid = \"m\"\nupstream = \"u\"\n").unwrap();
        let mut serving = home.serve(&["--config", config.to_str().unwrap()]);
        let mut chat = home.craton(&["chat", "m"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        chat.stdin.take().unwrap().write_all(b"hi\n").unwrap();
        let _asked = silent.accept().unwrap();
        serving.signal(signal);
        serving.await_line("stopping; open requests finish first");
        serving.signal(signal);
        let status = serving.child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (None, Some(signal as i32)), "{}", serving.errors());
        assert!(!chat.wait().unwrap().success());
    }
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
    let told = stderr(&ran);
    assert!(told.contains(&format!("can't listen on 127.0.0.1:{}", home.port)), "{told}");
    assert!(told.contains("--listen"), "{told}");
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

#[test]
fn records_are_their_owners_alone() {
    let home = Home::new();
    std::fs::create_dir(home.data()).unwrap();
    std::fs::set_permissions(home.data(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(home.data().join("records.sqlite"), "").unwrap();
    let _serving = home.serve(&[]);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.data()), 0o700);
    // The port is bound before the records are open.
    let wal = home.data().join("records.sqlite-wal");
    let began = std::time::Instant::now();
    while !wal.exists() && began.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let files: Vec<_> = std::fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let records = files.iter().filter(|path| path.to_string_lossy().contains("records.sqlite"));
    assert!(records.clone().count() > 1, "{files:?}");
    for path in records {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
}

#[test]
fn of_several_files_one_has_to_be_named() {
    let home = Home::new();
    let folder = home.path().join("both");
    std::fs::create_dir(&folder).unwrap();
    for name in ["m.Q4_K_M.gguf", "m.Q8_0.gguf"] {
        std::fs::write(folder.join(name), "GGUF").unwrap();
    }
    let folder = folder.to_str().unwrap();
    let imported = home.run(&["models", "import", folder, "--id", "my.model"]);
    assert_eq!(imported.status.code(), Some(1));
    let told = stderr(&imported);
    assert!(told.contains("--file") && told.contains("m.Q4_K_M.gguf, m.Q8_0.gguf"), "{told}");
    let imported = home.run(&["models", "import", folder, "--file", "m.Q8_0.gguf", "--id", "my.model"]);
    assert!(stderr(&imported).contains("m.Q8_0.gguf"), "{}", stderr(&imported));
    assert!(!stderr(&imported).contains("--file"), "{}", stderr(&imported));
}
