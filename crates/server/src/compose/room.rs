use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::sync::Notify;

/// How many local models may be loaded at once, and in how much memory. A model that does not fit waits until an idle
/// one has been let go: the least recently used first, never one that is answering.
pub(super) struct Room {
    most_models: usize,
    most_bytes: u64,
    guests: Mutex<Guests>,
    /// Something became idle or went away.
    changed: Notify,
    metrics: Metrics,
}

#[derive(Default)]
struct Guests {
    by_name: HashMap<String, Guest>,
    clock: u64,
}

struct Guest {
    /// Answers under way.
    uses: Arc<AtomicUsize>,
    used_at: u64,
    /// Bytes, once it is being loaded.
    loaded: Option<u64>,
    /// It is open, so that it may be let go.
    open: bool,
    let_go: Arc<dyn Fn() + Send + Sync>,
}

struct Metrics {
    bytes: IntGaugeVec,
    loaded: IntGauge,
    unloads: IntCounter,
}

impl Metrics {
    fn new() -> Result<Self, prometheus::Error> {
        let bytes =
            Opts::new("craton_local_model_bytes", "Memory of a loaded local model: weights and KV cache");
        Ok(Self {
            bytes: IntGaugeVec::new(bytes, &["model"])?,
            loaded: IntGauge::new(
                "craton_local_models_loaded",
                "Local models that are loaded or being loaded",
            )?,
            unloads: IntCounter::new(
                "craton_local_model_unloads_total",
                "Idle local models let go to make room for others",
            )?,
        })
    }
}

/// A model in use; while it lives the model stays loaded.
pub(super) struct Lease {
    room: Arc<Room>,
    uses: Arc<AtomicUsize>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Under the lock, so that nobody counts uses meanwhile.
        let _guests = self.room.guests.lock();
        self.uses.fetch_sub(1, Ordering::Relaxed);
        self.room.changed.notify_waiters();
    }
}

impl Room {
    /// `most_bytes`: `None` allows three quarters of this machine's memory.
    pub(super) fn new(most_models: usize, most_bytes: Option<u64>) -> Result<Arc<Self>, prometheus::Error> {
        Ok(Arc::new(Self {
            most_models: most_models.max(1),
            most_bytes: most_bytes.unwrap_or_else(|| machine_bytes().map_or(u64::MAX, |all| all / 4 * 3)),
            guests: Mutex::default(),
            changed: Notify::new(),
            metrics: Metrics::new()?,
        }))
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.metrics.bytes.clone()))?;
        registry.register(Box::new(self.metrics.loaded.clone()))?;
        registry.register(Box::new(self.metrics.unloads.clone()))
    }

    /// Makes a model known. `let_go` is called with the room locked: it must only drop the model.
    pub(super) fn add(&self, name: &str, let_go: impl Fn() + Send + Sync + 'static) {
        let guest =
            Guest { uses: Arc::default(), used_at: 0, loaded: None, open: false, let_go: Arc::new(let_go) };
        self.guests.lock().by_name.insert(name.to_owned(), guest);
    }

    /// Forgets a model that is being dropped for another reason.
    pub(super) fn remove(&self, name: &str) {
        let mut guests = self.guests.lock();
        guests.by_name.remove(name);
        self.show(&guests);
        self.changed.notify_waiters();
    }

    /// Keeps a model from being let go. Taken before it is looked for.
    pub(super) fn enter(self: &Arc<Self>, name: &str) -> Lease {
        let mut guests = self.guests.lock();
        guests.clock += 1;
        let now = guests.clock;
        let uses = match guests.by_name.get_mut(name) {
            Some(guest) => {
                guest.used_at = now;
                Arc::clone(&guest.uses)
            }
            None => Arc::default(),
        };
        uses.fetch_add(1, Ordering::Relaxed);
        Lease { room: Arc::clone(self), uses }
    }

    /// Waits until a model of this size may be loaded, letting idle ones go. The error is for people.
    pub(super) async fn make(&self, name: &str, bytes: u64) -> Result<(), String> {
        if bytes > self.most_bytes {
            return Err(format!(
                "it needs {} MiB, and all local models together may take {} MiB (engine.loaded_models_mib)",
                bytes >> 20,
                self.most_bytes >> 20
            ));
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before looking, so that what changes after the look is not missed.
            changed.as_mut().enable();
            if self.try_make(name, bytes) {
                return Ok(());
            }
            tracing::debug!(model = name, "waiting for a loaded model to become idle");
            changed.await;
        }
    }

    fn try_make(&self, name: &str, bytes: u64) -> bool {
        let mut guests = self.guests.lock();
        loop {
            let others = || guests.by_name.iter().filter(|(other, _)| *other != name);
            let loaded: Vec<u64> = others().filter_map(|(_, guest)| guest.loaded).collect();
            let fits = loaded.iter().sum::<u64>().saturating_add(bytes) <= self.most_bytes;
            if fits && loaded.len() < self.most_models {
                if let Some(guest) = guests.by_name.get_mut(name) {
                    guest.loaded = Some(bytes);
                    guest.open = false;
                }
                self.show(&guests);
                return true;
            }
            let idle = |guest: &Guest| guest.open && guest.uses.load(Ordering::Relaxed) == 0;
            let oldest = others()
                .filter(|(_, guest)| idle(guest))
                .min_by_key(|(_, guest)| guest.used_at)
                .map(|(name, _)| name.clone());
            let Some(guest) = oldest.as_ref().and_then(|oldest| guests.by_name.get_mut(oldest)) else {
                return false;
            };
            (guest.loaded, guest.open) = (None, false);
            (guest.let_go)();
            self.metrics.unloads.inc();
            tracing::info!(model = oldest, "let go of, to make room for {name}");
        }
    }

    /// Says how the loading that [`Self::make`] allowed went.
    pub(super) fn settle(&self, name: &str, opened: bool) {
        let mut guests = self.guests.lock();
        if let Some(guest) = guests.by_name.get_mut(name) {
            guest.open = opened;
            guest.loaded = guest.loaded.filter(|_| opened);
        }
        self.show(&guests);
        self.changed.notify_waiters();
    }

    fn show(&self, guests: &Guests) {
        self.metrics.bytes.reset();
        let mut count = 0;
        for (name, bytes) in guests.by_name.iter().filter_map(|(name, guest)| Some((name, guest.loaded?))) {
            count += 1;
            self.metrics.bytes.with_label_values(&[name]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        self.metrics.loaded.set(count);
    }
}

/// Memory of this machine, or of the container that this process runs in.
fn machine_bytes() -> Option<u64> {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    });
    [total, number("/sys/fs/cgroup/memory.max")].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A room of two models or 100 bytes, and what it let go of.
    fn room() -> (Arc<Room>, Arc<Mutex<Vec<&'static str>>>) {
        let room = Room::new(2, Some(100)).unwrap();
        let gone: Arc<Mutex<Vec<&'static str>>> = Arc::default();
        for name in ["a", "b", "c", "d"] {
            let gone = Arc::clone(&gone);
            room.add(name, move || gone.lock().push(name));
        }
        (room, gone)
    }

    async fn open(room: &Arc<Room>, name: &str, bytes: u64) -> Lease {
        let lease = room.enter(name);
        room.make(name, bytes).await.unwrap();
        room.settle(name, true);
        lease
    }

    #[tokio::test]
    async fn the_least_recently_used_idle_model_goes_first() {
        let (room, gone) = room();
        drop(open(&room, "a", 10).await);
        drop(open(&room, "b", 10).await);
        drop(room.enter("a"));
        drop(open(&room, "c", 10).await);
        assert_eq!(*gone.lock(), ["b"]);
        // By size: both must go.
        drop(open(&room, "d", 95).await);
        assert_eq!(*gone.lock(), ["b", "a", "c"]);
        assert_eq!((room.metrics.loaded.get(), room.metrics.unloads.get()), (1, 3));
        assert_eq!(room.metrics.bytes.with_label_values(&["d"]).get(), 95);
    }

    #[tokio::test]
    async fn a_busy_model_stays_and_the_next_waits_for_it() {
        let (room, gone) = room();
        let a = open(&room, "a", 60).await;
        let waiting = tokio::spawn({
            let room = Arc::clone(&room);
            async move { drop(open(&room, "b", 60).await) }
        });
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(!waiting.is_finished() && gone.lock().is_empty());
        drop(a);
        waiting.await.unwrap();
        assert_eq!(*gone.lock(), ["a"]);
    }

    #[tokio::test]
    async fn what_can_never_fit_is_refused_and_what_failed_takes_no_room() {
        let (room, gone) = room();
        assert!(room.make("a", 101).await.unwrap_err().contains("engine.loaded_models_mib"));
        room.make("a", 100).await.unwrap();
        room.settle("a", false);
        drop(open(&room, "b", 100).await);
        assert!(gone.lock().is_empty());
        room.remove("b");
        assert_eq!(room.metrics.loaded.get(), 0);
    }
}
