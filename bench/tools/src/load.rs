//! Closed-loop load over raw HTTP/1.1 connections: one prepared request, written as it is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    address: SocketAddr,
    /// File holding the whole request: head and body. With several, each connection sends one of them.
    #[arg(long, required = true, num_args = 1..)]
    request: Vec<PathBuf>,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1.0)]
    warm_up_seconds: f64,
    /// Milliseconds to pause after each answer (a client that thinks).
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
    /// Bytes that mark the first token of a streamed answer.
    #[arg(long)]
    first_token_mark: Option<String>,
}

/// Latencies in microseconds.
#[derive(Serialize)]
struct Report {
    requests: usize,
    requests_per_s: f64,
    p50_us: u64,
    p99_us: u64,
    first_byte_p50_us: u64,
    first_byte_p99_us: u64,
    first_token_p50_us: u64,
    first_token_p99_us: u64,
}

#[derive(Clone, Copy)]
struct Sample {
    whole_us: u64,
    first_byte_us: u64,
    first_token_us: u64,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let read = |path: &PathBuf| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let requests: Vec<Vec<u8>> = options.request.iter().map(read).collect::<anyhow::Result<_>>()?;
    let start = Instant::now();
    let warm_until = start + Duration::from_secs_f64(options.warm_up_seconds);
    let until = warm_until + Duration::from_secs_f64(options.seconds);
    let mark = options.first_token_mark.as_deref().unwrap_or("").as_bytes();
    let pause = Duration::from_millis(options.pause_ms);
    let clients = (0..options.connections).map(|number| {
        let request = &requests[number % requests.len()];
        client(options.address, request, mark, pause, warm_until..until)
    });
    let samples: Vec<Sample> = futures::future::try_join_all(clients).await?.into_iter().flatten().collect();
    if samples.is_empty() {
        bail!("no request was answered in {} s", options.seconds);
    }
    let percentile = |part: f64, of: fn(&Sample) -> u64| {
        let mut values: Vec<u64> = samples.iter().map(of).collect();
        values.sort_unstable();
        values[((values.len() - 1) as f64 * part).round() as usize]
    };
    let report = Report {
        requests: samples.len(),
        requests_per_s: samples.len() as f64 / options.seconds,
        p50_us: percentile(0.5, |sample| sample.whole_us),
        p99_us: percentile(0.99, |sample| sample.whole_us),
        first_byte_p50_us: percentile(0.5, |sample| sample.first_byte_us),
        first_byte_p99_us: percentile(0.99, |sample| sample.first_byte_us),
        first_token_p50_us: percentile(0.5, |sample| sample.first_token_us),
        first_token_p99_us: percentile(0.99, |sample| sample.first_token_us),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn client(
    address: SocketAddr,
    request: &[u8],
    mark: &[u8],
    pause: Duration,
    measured: std::ops::Range<Instant>,
) -> anyhow::Result<Vec<Sample>> {
    let mut socket = connect(address).await?;
    let mut samples = Vec::new();
    let mut buffer = Vec::with_capacity(64 * 1024);
    while Instant::now() < measured.end {
        let sent = Instant::now();
        socket.write_all(request).await?;
        let (sample, keep_alive) = read_answer(&mut socket, &mut buffer, mark, sent).await?;
        if sent >= measured.start {
            samples.push(sample);
        }
        if !keep_alive {
            socket = connect(address).await?;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(samples)
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Reads one answer to its end. A status other than 200 is an error that shows the answer.
async fn read_answer(
    socket: &mut TcpStream,
    buffer: &mut Vec<u8>,
    mark: &[u8],
    sent: Instant,
) -> anyhow::Result<(Sample, bool)> {
    buffer.clear();
    let elapsed_us = || u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (mut first_byte_us, mut first_token_us) = (0, 0);
    let mut head: Option<Head> = None;
    loop {
        let closed = socket.read_buf(buffer).await? == 0;
        if first_byte_us == 0 {
            first_byte_us = elapsed_us();
        }
        if head.is_none() {
            head = Head::parse(buffer)?;
        }
        if let Some(head) = &head {
            let body = &buffer[head.length..];
            if first_token_us == 0 && (mark.is_empty() || memchr::memmem::find(body, mark).is_some()) {
                first_token_us = elapsed_us();
            }
            let done = match head.body {
                Length::Known(length) => body.len() >= length,
                Length::Chunked => body.ends_with(b"0\r\n\r\n"),
                Length::UntilClose => closed,
            };
            if done {
                let sample = Sample { whole_us: elapsed_us(), first_byte_us, first_token_us };
                return Ok((sample, !closed && head.keep_alive));
            }
        }
        if closed {
            bail!("the server closed the connection inside an answer: {}", String::from_utf8_lossy(buffer));
        }
    }
}

enum Length {
    Known(usize),
    Chunked,
    UntilClose,
}

struct Head {
    length: usize,
    body: Length,
    keep_alive: bool,
}

impl Head {
    fn parse(buffer: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            bail!("unexpected answer: {}", String::from_utf8_lossy(buffer));
        }
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':').map(str::trim))
        };
        let body = match field("content-length") {
            Some(length) => Length::Known(length.parse()?),
            None if field("transfer-encoding").is_some_and(|value| value.contains("chunked")) => {
                Length::Chunked
            }
            None => Length::UntilClose,
        };
        let keep_alive = field("connection") != Some("close");
        Ok(Some(Self { length: end + 4, body, keep_alive }))
    }
}
