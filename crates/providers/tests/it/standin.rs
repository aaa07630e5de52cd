//! A server that answers each request with a script of bytes, pauses and hang-ups.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Until the client closes the connection.
    AwaitClose,
    Close,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    /// Lower-cased request head.
    pub(crate) head: String,

    /// As it came, with its capitals.
    pub(crate) raw_head: String,
    pub(crate) body: Value,
    pub(crate) raw_body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
}

pub(crate) struct StandIn {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    closed: watch::Receiver<usize>,
}

impl StandIn {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (closing, closed) = watch::channel(0);
        let closing = Arc::new(closing);
        let script = Arc::new(script);
        let log = seen.clone();
        let connections = AtomicUsize::new(0);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                let connection = connections.fetch_add(1, Ordering::Relaxed);
                let (log, closing, script) = (log.clone(), closing.clone(), script.clone());
                tokio::spawn(async move {
                    serve(socket, connection, &log, &*script).await;
                    closing.send_modify(|count| *count += 1);
                });
            }
        });
        Self { url, seen, closed }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Waits until `count` connections have ended.
    pub(crate) async fn until_closed(&self, count: usize) {
        let mut closed = self.closed.clone();
        let ended = closed.wait_for(|ended| *ended >= count);
        tokio::time::timeout(Duration::from_secs(5), ended).await.expect("connections end").unwrap();
    }
}

async fn serve(
    mut socket: TcpStream,
    connection: usize,
    log: &Mutex<Vec<Seen>>,
    script: &(impl Fn(&Seen) -> Vec<Step> + ?Sized),
) {
    let mut buffer = Vec::new();
    while let Some(seen) = request(&mut socket, &mut buffer, connection).await {
        log.lock().push(seen.clone());
        for step in script(&seen) {
            let sent = match step {
                Step::Send(bytes) => socket.write_all(&bytes).await,
                Step::Wait(time) => {
                    tokio::time::sleep(time).await;
                    Ok(())
                }
                Step::AwaitClose => {
                    while socket.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                    return;
                }
                Step::Close => return,
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

async fn request(socket: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Option<Seen> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let raw_head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let head = raw_head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while buffer.len() < end + 4 + length {
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let raw_body = buffer[end + 4..end + 4 + length].to_vec();
    let body = serde_json::from_slice(&raw_body).unwrap_or(Value::Null);
    buffer.drain(..end + 4 + length);
    let path = raw_head.split(' ').nth(1).unwrap().to_owned();
    Some(Seen { path, head, raw_head, body, raw_body, connection })
}

/// A response with a JSON body.
pub(crate) fn json(status: u16, body: &Value) -> Vec<Step> {
    json_with(status, "", body)
}

/// As [`json`], with header lines, each ended by CRLF.
pub(crate) fn json_with(status: u16, headers: &str, body: &Value) -> Vec<Step> {
    let body = body.to_string();
    vec![Step::Send(
        format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )]
}

/// The head of a chunked response of this media type.
pub(crate) fn stream_head(media_type: &str) -> Step {
    Step::Send(
        format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ntransfer-encoding: chunked\r\n\r\n")
            .into_bytes(),
    )
}

/// One chunk of a chunked response.
pub(crate) fn chunk(bytes: &[u8]) -> Step {
    let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
    framed.extend_from_slice(bytes);
    framed.extend_from_slice(b"\r\n");
    Step::Send(framed)
}

/// The end of a chunked response.
pub(crate) fn last_chunk() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

/// A whole stream of server-sent events, one chunk each.
pub(crate) fn sse(events: &[String]) -> Vec<Step> {
    let mut steps = vec![stream_head("text/event-stream")];
    steps.extend(events.iter().map(|event| chunk(event.as_bytes())));
    steps.push(last_chunk());
    steps
}
