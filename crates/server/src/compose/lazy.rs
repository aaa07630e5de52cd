use std::sync::Arc;
use std::time::{Duration, Instant};

use craton_backend::BackendError;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::health::Readiness;

/// What failed to open is tried again for a request that comes this much later.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Opens a model; the error is for people.
pub(super) type Open<M> = Box<dyn Fn() -> BoxFuture<'static, Result<Arc<M>, String>> + Send + Sync>;

/// A model that is opened in the background when it is first needed, and again after it was closed; whoever asks
/// meanwhile waits.
pub(super) struct Lazy<M: ?Sized> {
    name: String,
    open: Open<M>,
    /// Told whether the model is open, once everybody else can see it.
    settled: Box<dyn Fn(bool) + Send + Sync>,
    state: watch::Sender<State<M>>,
    /// Longest wait of one request.
    patience: Duration,
    failed_at: Mutex<Option<Instant>>,
}

enum State<M: ?Sized> {
    Idle,
    Opening,
    Ready(Arc<M>),
    Failed(String),
}

impl<M: ?Sized + Send + Sync + 'static> Lazy<M> {
    pub(super) fn new(
        name: &str,
        patience: Duration,
        open: Open<M>,
        settled: impl Fn(bool) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let state = watch::Sender::new(State::Idle);
        let (name, settled, failed_at) = (name.to_owned(), Box::new(settled), Mutex::new(None));
        Arc::new(Self { name, open, settled, state, patience, failed_at })
    }

    /// Lets go of the model if it is open.
    pub(super) fn close(&self) {
        self.state.send_if_modified(|state| {
            let open = matches!(state, State::Ready(_));
            if open {
                *state = State::Idle;
            }
            open
        });
    }

    /// The model if it is open.
    pub(super) fn ready(&self) -> Option<Arc<M>> {
        match &*self.state.borrow() {
            State::Ready(model) => Some(Arc::clone(model)),
            _ => None,
        }
    }

    pub(super) fn readiness(&self) -> Readiness {
        match &*self.state.borrow() {
            State::Failed(reason) => Readiness::Failed(reason.clone()),
            _ => Readiness::Serving,
        }
    }

    /// Begins to open the model unless that has happened.
    pub(super) fn start(self: &Arc<Self>) {
        let started = self.state.send_if_modified(|state| {
            let start = match state {
                State::Idle => true,
                State::Failed(_) => self.failed_at.lock().is_none_or(|at| at.elapsed() >= RETRY_AFTER),
                State::Opening | State::Ready(_) => false,
            };
            if start {
                *state = State::Opening;
            }
            start
        });
        if !started {
            return;
        }
        let lazy = Arc::clone(self);
        let opening = (self.open)();
        tokio::spawn(async move {
            // A panic while opening must not leave everybody waiting.
            let opened = tokio::spawn(opening).await.unwrap_or_else(|error| Err(error.to_string()));
            let open = opened.is_ok();
            lazy.state.send_replace(match opened {
                Ok(model) => State::Ready(model),
                Err(reason) => {
                    tracing::error!(model = lazy.name, reason, "a model can't be opened");
                    *lazy.failed_at.lock() = Some(Instant::now());
                    State::Failed(reason)
                }
            });
            (lazy.settled)(open);
        });
    }

    /// What a client is told: waiting does not help, and where the files are is the operator's to know.
    fn failure(&self) -> BackendError {
        let message = format!("the model {} can't be loaded; the server's log says why", self.name);
        BackendError::Upstream { status: 500, message }
    }

    /// The open model, waiting for it if need be.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Arc<M>, BackendError> {
        if let Some(model) = self.ready() {
            return Ok(model);
        }
        self.start();
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| matches!(state, State::Ready(_) | State::Failed(_)));
        match tokio::time::timeout(self.patience, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Ready(model) => Ok(Arc::clone(model)),
                State::Failed(_) => Err(self.failure()),
                State::Idle | State::Opening => Err(BackendError::Internal("a model in no state".into())),
            },
            Ok(Err(_)) => Err(BackendError::Internal(format!("{} has gone away", self.name))),
            Err(_) => Err(BackendError::NotReady(format!("{} is still being loaded", self.name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counting(result: Result<u32, &'static str>) -> (Arc<Lazy<u32>>, Arc<AtomicUsize>) {
        let opened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        let open: Open<u32> = Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                tokio::task::yield_now().await;
                result.map(Arc::new).map_err(str::to_owned)
            })
        });
        (Lazy::new("m", Duration::from_secs(5), open, |_| {}), opened)
    }

    #[tokio::test]
    async fn many_requests_open_once() {
        let (lazy, opened) = counting(Ok(7));
        let all = futures::future::join_all((0..10).map(|_| lazy.get())).await;
        assert!(all.into_iter().all(|model| *model.unwrap() == 7));
        assert_eq!(opened.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_failure_is_told_and_not_tried_again_at_once() {
        let (lazy, opened) = counting(Err("no such file"));
        assert_eq!(lazy.readiness(), Readiness::Serving);
        for _ in 0..3 {
            let error = lazy.get().await.unwrap_err();
            assert_eq!(error.to_string(), "the model m can't be loaded; the server's log says why");
        }
        assert_eq!(opened.load(Ordering::Relaxed), 1);
        assert_eq!(lazy.readiness(), Readiness::Failed("no such file".into()));
    }

    #[tokio::test]
    async fn a_panic_while_opening_is_a_failure() {
        let open: Open<u32> = Box::new(|| Box::pin(async { panic!("boom") }));
        let lazy = Lazy::new("m", Duration::from_secs(5), open, |_| {});
        assert_eq!(lazy.get().await, Err(lazy.failure()));
    }

    #[tokio::test]
    async fn a_closed_model_is_opened_again() {
        let (lazy, opened) = counting(Ok(7));
        for times in 1..3 {
            assert_eq!(*lazy.get().await.unwrap(), 7);
            assert_eq!(opened.load(Ordering::Relaxed), times);
            lazy.close();
            assert!(lazy.ready().is_none());
        }
    }
}
