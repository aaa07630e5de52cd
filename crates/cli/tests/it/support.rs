use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A home of its own for each test: data directory, model store, a free port.
pub(crate) struct Home {
    folder: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Home {
    pub(crate) fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder: tempfile::tempdir().unwrap(), port }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The binary in this home. Stand-ins are off, so that nothing is fetched.
    pub(crate) fn craton(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_craton"));
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("CRATON_") || name.starts_with("AWS_"))
        {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("HOME", self.path())
            .env("CRATON_MODELS_DIR", self.path().join("models"))
            .env("CRATON_DATA_DIR", self.data())
            .env("CRATON_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("CRATON_STAND_INS", "false")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.craton(arguments).output().unwrap()
    }

    /// A server that is killed when the test ends.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Serving {
        let mut all = vec!["serve"];
        all.extend(arguments);
        let child = self.craton(&all).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut serving = Serving { child };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = serving.child.try_wait().unwrap() {
                panic!("serve ended with {status}: {}", serving.errors());
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "the server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        serving
    }
}

pub(crate) struct Serving {
    pub(crate) child: Child,
}

impl Serving {
    pub(crate) fn errors(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut text).unwrap();
        }
        text
    }

    /// Reads what the server tells until a line has `text` in it.
    pub(crate) fn await_line(&mut self, text: &str) {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while stderr.read(&mut byte).unwrap() > 0 {
            if byte == *b"\n" {
                line.clear();
            }
            line.push(byte[0]);
            if String::from_utf8_lossy(&line).contains(text) {
                return;
            }
        }
        panic!("the server ended without telling {text:?}");
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// An OpenAI-compatible server that streams the number of messages it was sent, in words of an answer.
pub(crate) fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap()));
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let messages = request["messages"].as_array().map_or(0, Vec::len);
    let mut events = String::new();
    for word in ["You ", "said ", &format!("{messages} things.")] {
        let chunk = serde_json::json!({"id": "c", "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": null}]});
        events.push_str(&format!("data: {chunk}\n\n"));
    }
    let last = serde_json::json!({"id": "c", "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}});
    events.push_str(&format!("data: {last}\n\ndata: [DONE]\n\n"));
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        events.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(events.as_bytes());
}
