//! Requests waiting for a place, and the doorbell of the scheduler.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use craton_backend::{BackendError, Priority};
use parking_lot::{Condvar, Mutex};

use super::sequence::Sequence;

/// Counters and gauges of one model, for metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelStats {
    pub model: String,
    pub ready: bool,
    pub queued: usize,
    pub active: usize,
    pub kv_used_tokens: usize,
    pub kv_capacity_tokens: usize,
    pub cached_sequences: usize,
    /// Since the model was loaded.
    pub steps_total: u64,
    pub prompt_tokens_total: u64,
    /// Prompt tokens that prefix reuse saved from being computed.
    pub reused_tokens_total: u64,
    pub generated_tokens_total: u64,
    pub preempted_total: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) active: AtomicUsize,
    pub(crate) kv_used: AtomicUsize,
    pub(crate) kv_capacity: AtomicUsize,
    pub(crate) cached: AtomicUsize,
    pub(crate) steps: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) reused_tokens: AtomicU64,
    pub(crate) generated_tokens: AtomicU64,
    pub(crate) preempted: AtomicU64,
}

/// Waiting requests: priorities in order, first come first served within one.
#[derive(Debug, Default)]
pub(crate) struct WaitingList {
    lines: [VecDeque<Sequence>; 3],
}

fn line_of(priority: Priority) -> usize {
    match priority {
        Priority::Priority => 0,
        Priority::Default => 1,
        Priority::Flex => 2,
    }
}

impl WaitingList {
    pub(crate) fn push_back(&mut self, sequence: Sequence) {
        self.lines[line_of(sequence.priority)].push_back(sequence);
    }

    /// Puts back what had been admitted already, before those who have not.
    pub(crate) fn push_front(&mut self, sequence: Sequence) {
        self.lines[line_of(sequence.priority)].push_front(sequence);
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets requests that nobody waits for any more.
    pub(crate) fn drop_abandoned(&mut self) {
        for line in &mut self.lines {
            line.retain(|sequence| !sequence.is_abandoned());
        }
    }

    /// Takes the first that `choose` says `Take` to; `Stop` ends the search, `Skip` goes on to the next.
    pub(crate) fn take_first(&mut self, mut choose: impl FnMut(&Sequence) -> Choice) -> Option<Sequence> {
        for line in &mut self.lines {
            for at in 0..line.len() {
                match line.get(at).map(&mut choose) {
                    Some(Choice::Take) => return line.remove(at),
                    Some(Choice::Skip) => {}
                    Some(Choice::Stop) | None => return None,
                }
            }
        }
        None
    }

    pub(crate) fn drain(&mut self) -> Vec<Sequence> {
        self.lines.iter_mut().flat_map(|line| line.drain(..)).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Take,
    Skip,
    Stop,
}

/// What request tasks and the scheduler thread share.
#[derive(Debug)]
pub(crate) struct Shared {
    waiting: Mutex<WaitingList>,
    bell: Condvar,
    closed: AtomicBool,
    /// Counts what the scheduler may sleep for: requests, and guides that got on.
    news: AtomicU64,
    max_queued: usize,
    pub(crate) gauges: Gauges,
}

impl Shared {
    pub(crate) fn new(max_queued: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            bell: Condvar::new(),
            closed: AtomicBool::new(false),
            news: AtomicU64::new(0),
            max_queued,
            gauges: Gauges::default(),
        }
    }

    /// Queues a request, or refuses it when the line is full.
    pub(crate) fn submit(&self, sequence: Sequence) -> Result<(), BackendError> {
        let mut waiting = self.waiting.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(BackendError::NotReady("the model has been unloaded".to_owned()));
        }
        if waiting.len() >= self.max_queued {
            waiting.drop_abandoned();
        }
        if waiting.len() >= self.max_queued {
            return Err(BackendError::Overloaded {
                message: format!("{} requests are waiting for this model already", waiting.len()),
                retry_after: Some(Duration::from_secs(1)),
            });
        }
        waiting.push_back(sequence);
        self.news.fetch_add(1, Ordering::Release);
        self.bell.notify_one();
        Ok(())
    }

    /// A guide got on.
    pub(crate) fn ring(&self) {
        let _waiting = self.waiting.lock();
        self.news.fetch_add(1, Ordering::Release);
        self.bell.notify_one();
    }

    /// What [`Self::wait_for_news`] compares with.
    pub(crate) fn news(&self) -> u64 {
        self.news.load(Ordering::Acquire)
    }

    /// Sleeps until there is something that was not there at `seen`, at most for `limit`.
    pub(crate) fn wait_for_news(&self, seen: u64, limit: Duration) {
        let mut waiting = self.waiting.lock();
        if self.news() == seen && !self.is_closed() {
            self.bell.wait_for(&mut waiting, limit);
        }
    }

    pub(crate) fn waiting(&self) -> parking_lot::MutexGuard<'_, WaitingList> {
        self.waiting.lock()
    }

    /// Sleeps until there is a request. False when the model is closed.
    pub(crate) fn wait_for_work(&self) -> bool {
        let mut waiting = self.waiting.lock();
        while waiting.is_empty() && !self.is_closed() {
            self.bell.wait(&mut waiting);
        }
        !self.is_closed()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends the scheduler after its current step; the waiting are dropped.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        self.closed.store(true, Ordering::Release);
        waiting.drain();
        self.bell.notify_all();
    }

    pub(crate) fn stats(&self, model: &str) -> ModelStats {
        let count = |gauge: &AtomicUsize| gauge.load(Ordering::Relaxed);
        let total = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let gauges = &self.gauges;
        ModelStats {
            model: model.to_owned(),
            ready: true,
            queued: self.waiting.lock().len(),
            active: count(&gauges.active),
            kv_used_tokens: count(&gauges.kv_used),
            kv_capacity_tokens: count(&gauges.kv_capacity),
            cached_sequences: count(&gauges.cached),
            steps_total: total(&gauges.steps),
            prompt_tokens_total: total(&gauges.prompt_tokens),
            reused_tokens_total: total(&gauges.reused_tokens),
            generated_tokens_total: total(&gauges.generated_tokens),
            preempted_total: total(&gauges.preempted),
        }
    }
}
