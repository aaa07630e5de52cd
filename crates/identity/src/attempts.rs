//! How often signing in has failed: after too many failures with a key from an address, further tries are refused
//! unlooked at until a minute has passed. Keys nobody has are counted together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use craton_wire::ApiError;
use parking_lot::Mutex;

const WINDOW: Duration = Duration::from_secs(60);
/// Failures with one known key.
const MAX_OF_KEY: u32 = 20;
/// Failures with unknown keys, all together.
const MAX_OF_STRANGERS: u32 = 100;
/// Counters kept at a time.
const MAX_COUNTERS: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Attempts {
    counters: Mutex<HashMap<(IpAddr, String), Counter>>,
    /// As many as there are counters, so that a server nobody attacks takes no lock.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Counter {
    failures: u32,
    since: Instant,
}

/// Who tries: an address, and a key that is known here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) source: IpAddr,
    /// `None` for a key that nobody has.
    pub(crate) key: Option<&'a str>,
}

impl Attempt<'_> {
    fn counter(self) -> (IpAddr, String) {
        (self.source, self.key.unwrap_or_default().to_owned())
    }

    fn limit(self) -> u32 {
        if self.key.is_some() { MAX_OF_KEY } else { MAX_OF_STRANGERS }
    }
}

impl Attempts {
    /// Refuses an attempt after too many failures.
    pub(crate) fn check(&self, attempt: Attempt<'_>) -> Result<(), ApiError> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let counters = self.counters.lock();
        match counters.get(&attempt.counter()) {
            Some(counter) if counter.failures >= attempt.limit() && counter.since.elapsed() < WINDOW => {
                Err(ApiError::throttling("Rate exceeded: too many failed sign-ins. Try again in a minute.")
                    .with_retry_after(Some(WINDOW.as_secs())))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn failed(&self, attempt: Attempt<'_>) {
        let mut counters = self.counters.lock();
        if counters.len() >= MAX_COUNTERS {
            counters.retain(|_, counter| counter.since.elapsed() < WINDOW);
            if counters.len() >= MAX_COUNTERS {
                counters.clear();
            }
        }
        let counter = counters
            .entry(attempt.counter())
            .or_insert_with(|| Counter { failures: 0, since: Instant::now() });
        if counter.since.elapsed() >= WINDOW {
            *counter = Counter { failures: 0, since: Instant::now() };
        }
        counter.failures = counter.failures.saturating_add(1);
        self.count.store(counters.len(), Ordering::Relaxed);
    }

    /// Forgets the failures of a key that signed well.
    pub(crate) fn succeeded(&self, attempt: Attempt<'_>) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut counters = self.counters.lock();
        counters.remove(&attempt.counter());
        self.count.store(counters.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_key_and_address() {
        let attempts = Attempts::default();
        let home = IpAddr::from([127, 0, 0, 1]);
        let attempt = Attempt { source: home, key: Some("AKIA1") };
        for _ in 0..MAX_OF_KEY {
            assert!(attempts.check(attempt).is_ok());
            attempts.failed(attempt);
        }
        assert_eq!(attempts.check(attempt).unwrap_err().code, "ThrottlingException");
        assert!(attempts.check(Attempt { key: Some("AKIA2"), ..attempt }).is_ok());
        assert!(attempts.check(Attempt { source: IpAddr::from([10, 0, 0, 1]), ..attempt }).is_ok());
        attempts.succeeded(attempt);
        assert!(attempts.check(attempt).is_ok());
    }
}
