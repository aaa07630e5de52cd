use std::sync::Arc;
use std::time::Instant;

use crate::metrics::Metering;

/// Measures one HTTP request from the first byte read to the last byte written.
pub struct RequestTimer {
    metering: Arc<Metering>,
    operation: &'static str,
    started: Instant,
    finished: bool,
}

impl RequestTimer {
    /// The status that stands for a client that went away before the end.
    pub const CLIENT_CLOSED: u16 = 499;

    pub(crate) fn begin(metering: Arc<Metering>, operation: &'static str) -> Self {
        metering.requests_in_flight.inc();
        Self { metering, operation, started: Instant::now(), finished: false }
    }

    /// Names the operation once it is known. Only names from the service tables belong here.
    pub fn set_operation(&mut self, operation: &'static str) {
        self.operation = operation;
    }

    pub fn finish(mut self, status: u16) {
        self.observe(status);
    }

    fn observe(&mut self, status: u16) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.metering.requests_in_flight.dec();
        self.metering.observe_request(self.operation, status, self.started.elapsed());
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        self.observe(Self::CLIENT_CLOSED);
    }
}
