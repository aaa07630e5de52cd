//! An OpenAI-compatible upstream whose answers are prepared before the first request arrives.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(long, default_value = "127.0.0.1:9900")]
    listen: SocketAddr,
    /// Tokens of a streamed answer.
    #[arg(long, default_value_t = 16)]
    tokens: u32,
    /// Pause before each streamed token.
    #[arg(long, default_value_t = 0)]
    token_delay_ms: u64,
}

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"standin","choices":[{"index":0,"message":{"role":"assistant","content":"A lighthouse warns ships of dangerous coasts and helps them find their way at night."},"finish_reason":"stop"}],"usage":{"prompt_tokens":21,"completion_tokens":16,"total_tokens":37}}"#;

/// What a model that has the tool `bench__lookup` answers before it has seen the tool's result.
const CALL: &str = r#"{"id":"chatcmpl-2","object":"chat.completion","created":1700000000,"model":"standin","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"bench__lookup","arguments":"{\"key\":\"a\"}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":21,"completion_tokens":16,"total_tokens":37}}"#;

/// What the function behind that tool answers, at `/function`.
const REPLY: &str = r#"{"messageVersion":"1.0","response":{"actionGroup":"bench","function":"lookup","functionResponse":{"responseBody":{"TEXT":{"body":"It was found in the second drawer."}}}}}"#;

pub(crate) async fn serve(options: Options) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen).await?;
    let delay = Duration::from_millis(options.token_delay_ms);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let tokens = options.tokens;
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, tokens, delay));
            // A client that goes away is not this server's concern.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    tokens: u32,
    delay: Duration,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let is_function = request.uri().path() == "/function";
    let body = request.into_body().collect().await?.to_bytes();
    if is_function || calls_tool(&body) {
        let text = if is_function { REPLY } else { CALL };
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())).boxed());
        let kind = hyper::header::HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", kind);
        return Ok(response);
    }
    let streamed = memchr::memmem::find(&body, b"\"stream\":true").is_some()
        || memchr::memmem::find(&body, b"\"stream\": true").is_some();
    let mut response = if streamed {
        Response::new(BodyExt::boxed(StreamBody::new(events(tokens, delay))))
    } else {
        Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())).boxed())
    };
    let kind = if streamed { "text/event-stream" } else { "application/json" };
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    Ok(response)
}

/// Whether the request offers the tool and does not end in its result.
fn calls_tool(body: &[u8]) -> bool {
    let role = |from: usize| memchr::memmem::find(&body[from..], b"\"tool\"").is_some_and(|at| at < 12);
    memchr::memmem::find(body, b"\"bench__lookup\",\"").is_some()
        && memchr::memmem::rfind(body, b"\"role\":").is_some_and(|at| !role(at + 7))
}

fn events(tokens: u32, delay: Duration) -> impl futures::Stream<Item = Result<Frame<Bytes>, Infallible>> {
    let chunk = |choices: &str, usage: &str| {
        Bytes::from(format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"standin\",\"choices\":[{choices}]{usage}}}\n\n"
        ))
    };
    let mut chunks =
        vec![chunk(r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}"#, "")];
    chunks.extend((0..tokens).map(|n| {
        chunk(&format!(r#"{{"index":0,"delta":{{"content":"word{n} "}},"finish_reason":null}}"#), "")
    }));
    chunks.push(chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#, ""));
    chunks.push(chunk(
        "",
        &format!(
            r#","usage":{{"prompt_tokens":21,"completion_tokens":{tokens},"total_tokens":{}}}"#,
            tokens + 21
        ),
    ));
    chunks.push(Bytes::from_static(b"data: [DONE]\n\n"));
    stream::unfold(chunks.into_iter(), move |mut rest| async move {
        let next = rest.next()?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        Some((Ok(Frame::data(next)), rest))
    })
}
