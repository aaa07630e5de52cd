use tokio_util::sync::CancellationToken;

/// The two steps of stopping: first nothing new is accepted and open requests finish; after the grace period whatever
/// still runs is ended, answers in the making with an error and streams with an error event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shutdown {
    stopping: CancellationToken,
    ending: CancellationToken,
}

impl Shutdown {
    /// A handle for one connection. Its own node in the tree keeps connections from contending on one lock.
    pub(crate) fn for_connection(&self) -> Self {
        Self { stopping: self.stopping.child_token(), ending: self.ending.child_token() }
    }

    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    pub(crate) fn end(&self) {
        self.stopping.cancel();
        self.ending.cancel();
    }

    /// Resolves when no new work may begin.
    pub(crate) async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Resolves when running streams must end; owned, for a body to poll.
    pub(crate) fn into_ending(self) -> impl Future<Output = ()> + Send + 'static {
        self.ending.cancelled_owned()
    }

    /// Resolves when answers in the making must end.
    pub(crate) async fn ending(&self) {
        self.ending.cancelled().await;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }
}
