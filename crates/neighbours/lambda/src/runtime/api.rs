//! The Runtime API of one environment: what the runtime client in it asks for the next event and posts answers to.
//!
//! A listener of its own on the loopback interface, because a runtime client is told a host and a port and no path. The
//! protocol knows no secret: whoever is answered can take events and answer them, and functions may use the network. So
//! each connection is asked for whose it is: the kernel says which socket is at its other end, and only one that a
//! process of this environment holds is answered. Functions can't hand sockets to each other. The address is a secret
//! besides, one of 2^24 on each port.
//! hyper writes a small answer's head and body in one piece, which spares the client 40 ms of delayed acknowledgements.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use craton_sandbox::Watch;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{Event, MAX_PAYLOAD_BYTES};

/// Connections of an environment at once; a runtime client has one.
const MAX_CONNECTIONS: usize = 16;

/// What a runtime client posted.
#[derive(Debug)]
pub(crate) enum Posted {
    Response(Bytes),
    Error(Bytes),
}

/// An event on its way to the runtime client.
pub(crate) struct Delivery {
    pub event: Event,
    pub timeout: Duration,
    /// Told when the runtime client has the event.
    pub taken: oneshot::Sender<()>,
    pub answer: oneshot::Sender<Posted>,
}

/// An address of a Runtime API, for an environment that is about to start. Who connects waits.
pub(crate) struct Reserved {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// The serving end of one environment's Runtime API. Dropping it ends it.
pub(crate) struct RuntimeApi {
    pub deliveries: mpsc::Sender<Delivery>,
    state: Arc<State>,
    _serving: AbortOnDropHandle<()>,
}

struct State {
    waiting: tokio::sync::Mutex<mpsc::Receiver<Delivery>>,
    /// The call under way: its request id and where its answer goes.
    current: Mutex<Option<(String, oneshot::Sender<Posted>)>>,
    /// The first event has been asked for: starting did not fail.
    started: AtomicBool,
    init_error: Mutex<Option<Bytes>>,
    /// Held while a body is read: one at a time is in this server's memory, whatever a function posts.
    reading: tokio::sync::Mutex<()>,
}

impl Reserved {
    pub(crate) async fn new() -> io::Result<Self> {
        let listener = bind().await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Answers the environment whose processes these are, and nobody else.
    pub(crate) fn serve(self, environment: Watch) -> RuntimeApi {
        let (deliveries, waiting) = mpsc::channel(1);
        let state = Arc::new(State {
            waiting: tokio::sync::Mutex::new(waiting),
            current: Mutex::new(None),
            started: AtomicBool::new(false),
            init_error: Mutex::new(None),
            reading: tokio::sync::Mutex::new(()),
        });
        let serving = tokio::spawn(serve(self, environment, Arc::clone(&state)));
        RuntimeApi { deliveries, state, _serving: AbortOnDropHandle::new(serving) }
    }
}

impl RuntimeApi {
    /// What the runtime client said of a start that failed.
    pub(crate) fn init_error(&self) -> Option<Bytes> {
        self.state.init_error.lock().clone()
    }
}

/// Listens on any of the loopback interface's addresses. Systems other than Linux have one of them.
async fn bind() -> io::Result<TcpListener> {
    let mut parts = [0; 3];
    SystemRandom::new().fill(&mut parts).map_err(|_| io::Error::other("no random numbers"))?;
    let [second, third, fourth] = parts;
    // Neither the network's own address nor the one that all of it hears.
    let fourth = fourth.clamp(1, 254);
    match TcpListener::bind((Ipv4Addr::new(127, second, third, fourth), 0)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
        }
        bound => bound,
    }
}

async fn serve(reserved: Reserved, environment: Watch, state: Arc<State>) {
    let Reserved { listener, address } = reserved;
    // Connections end with the task that serves them all.
    let mut connections = tokio::task::JoinSet::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut warned = false;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // One after the other: strangers that knock cost no more than one thread, and no more than one line of the log.
        if !is_of(environment.clone(), peer, address).await {
            if !std::mem::replace(&mut warned, true) {
                tracing::warn!(%peer, "a process that is none of a function's own asked for its events and is not answered");
            }
            continue;
        }
        drop(stream.set_nodelay(true));
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let _place = place;
            let answer = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(state.answer(request).await) }
            });
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = serving.await {
                tracing::debug!(%error, "a runtime client hung up");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Whether a connection comes from an environment. Systems other than Linux don't say, nor do they have walls.
async fn is_of(environment: Watch, peer: SocketAddr, address: SocketAddr) -> bool {
    let look = move || cfg!(not(target_os = "linux")) || environment.is_connected(peer, address);
    tokio::task::spawn_blocking(look).await.unwrap_or(false)
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let Some(path) = path.strip_prefix("/2018-06-01/runtime/") else {
            return refuse(StatusCode::NOT_FOUND);
        };
        match (request.method(), path.split('/').collect::<Vec<_>>().as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, kind @ ("response" | "error")]) => {
                let _reading = self.reading.lock().await;
                if !self.is_current(id) {
                    return refuse(StatusCode::BAD_REQUEST);
                }
                let posted = match read(request).await {
                    Ok(body) if *kind == "response" => Posted::Response(body),
                    Ok(body) => Posted::Error(body),
                    Err(problem) => {
                        self.finish(id, Posted::Error(problem));
                        return refuse(StatusCode::PAYLOAD_TOO_LARGE);
                    }
                };
                if self.finish(id, posted) { accepted() } else { refuse(StatusCode::BAD_REQUEST) }
            }
            (&Method::POST, ["init", "error"]) => {
                let _reading = self.reading.lock().await;
                if self.started.load(Ordering::Relaxed) {
                    return refuse(StatusCode::FORBIDDEN);
                }
                let body = read(request).await.unwrap_or_else(|problem| problem);
                *self.init_error.lock() = Some(body);
                accepted()
            }
            _ => refuse(StatusCode::NOT_FOUND),
        }
    }

    /// The next event, when there is one.
    async fn next(&self) -> Response<Full<Bytes>> {
        self.started.store(true, Ordering::Relaxed);
        let Some(Delivery { event, timeout, taken, answer }) = self.waiting.lock().await.recv().await else {
            return refuse(StatusCode::GONE);
        };
        let deadline = SystemTime::now() + timeout;
        let deadline_ms = deadline.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", &event.request_id)
            .header("lambda-runtime-deadline-ms", deadline_ms.to_string())
            .header("lambda-runtime-invoked-function-arn", &event.invoked_arn)
            .header(
                "lambda-runtime-trace-id",
                format!("Root=1-{:08x}-{};Sampled=0", deadline_ms / 1000, trace(&event)),
            );
        let response = match &event.client_context {
            Some(client) => response.header("lambda-runtime-client-context", client.as_bytes()),
            None => response,
        };
        *self.current.lock() = Some((event.request_id, answer));
        let _ = taken.send(());
        response.body(Full::new(event.payload)).unwrap_or_else(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR))
    }

    /// Whether this is the call under way.
    fn is_current(&self, id: &str) -> bool {
        self.current.lock().as_ref().is_some_and(|(waiting, _)| waiting == id)
    }

    /// Hands an answer to the call that waits for it. False when none does.
    fn finish(&self, id: &str, posted: Posted) -> bool {
        let mut current = self.current.lock();
        match current.take() {
            Some((waiting, answer)) if waiting == id => answer.send(posted).is_ok(),
            other => {
                *current = other;
                false
            }
        }
    }
}

/// 24 hexadecimal digits from the request id, as a trace id has.
fn trace(event: &Event) -> String {
    event.request_id.chars().filter(char::is_ascii_hexdigit).chain(std::iter::repeat('0')).take(24).collect()
}

/// What was posted, or what the caller is told when it did not come whole.
async fn read(request: Request<Incoming>) -> Result<Bytes, Bytes> {
    let body = Limited::new(request.into_body(), MAX_PAYLOAD_BYTES);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(error_payload("Runtime.ExitError", "The answer broke off.")),
    }
}

fn too_large() -> Bytes {
    let message =
        format!("Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD_BYTES} bytes).");
    error_payload("Function.ResponseSizeTooLarge", &message)
}

/// The JSON that a failed call answers with.
pub(crate) fn error_payload(kind: &str, message: &str) -> Bytes {
    let payload: Value = json!({"errorType": kind, "errorMessage": message});
    payload.to_string().into()
}

fn accepted() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"status\":\"OK\"}")));
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

fn refuse(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}
