//! The thread that computes, and the queue before it.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use craton_backend::BackendError;
use tokio::sync::oneshot;

use super::encoder::Encoder;

/// Tokens of one batch, padding included. Larger ones gain nothing on a CPU and delay whoever comes next.
const BATCH_TOKENS: usize = 2048;
/// Windows of text that may wait: some megabytes of token ids, and tens of seconds of work.
pub(super) const MAX_WAITING: usize = 4096;

type Reply = oneshot::Sender<Result<Vec<Vec<f32>>, BackendError>>;

struct Job {
    windows: Vec<Vec<u32>>,
    reply: Reply,
}

/// The way to the thread. The thread ends when this is dropped.
pub(super) struct Worker {
    jobs: Sender<Job>,
    /// Windows queued or in the batch at hand.
    waiting: Arc<AtomicUsize>,
}

impl Worker {
    pub(super) fn start(encoder: Encoder) -> std::io::Result<Self> {
        let (jobs, received) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let queue =
            Queue { received, waiting: Arc::clone(&waiting), units: VecDeque::new(), open: HashMap::new() };
        std::thread::Builder::new().name("craton-embed".into()).spawn(move || queue.run(&encoder))?;
        Ok(Self { jobs, waiting })
    }

    /// Encodes windows of token ids; the vectors come in the same order. Dropping the future drops the work that has
    /// not begun.
    pub(super) async fn encode(&self, windows: Vec<Vec<u32>>) -> Result<Vec<Vec<f32>>, BackendError> {
        if windows.is_empty() {
            return Ok(Vec::new());
        }
        let count = windows.len();
        let before = self.waiting.fetch_add(count, Ordering::Relaxed);
        if before > 0 && before + count > MAX_WAITING {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            return Err(BackendError::Overloaded {
                message: "too many texts are waiting to be embedded".into(),
                retry_after: Some(Duration::from_secs(1)),
            });
        }
        let (reply, answer) = oneshot::channel();
        let stopped = || BackendError::Internal("the embedding thread has stopped".into());
        self.jobs.send(Job { windows, reply }).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> &AtomicUsize {
        &self.waiting
    }
}

/// One window of a job.
struct Unit {
    job: u64,
    index: usize,
    ids: Vec<u32>,
}

/// A job with windows still to be done.
struct Open {
    vectors: Vec<Vec<f32>>,
    left: usize,
    reply: Reply,
}

struct Queue {
    received: Receiver<Job>,
    waiting: Arc<AtomicUsize>,
    units: VecDeque<Unit>,
    open: HashMap<u64, Open>,
}

impl Queue {
    fn run(mut self, encoder: &Encoder) {
        let mut next_id = 0;
        loop {
            if self.units.is_empty() {
                match self.received.recv() {
                    Ok(job) => self.admit(job, &mut next_id),
                    Err(_) => return,
                }
            }
            while let Ok(job) = self.received.try_recv() {
                self.admit(job, &mut next_id);
            }
            self.forget_abandoned();
            let batch = take_batch(&mut self.units);
            if !batch.is_empty() {
                self.compute(encoder, batch);
            }
        }
    }

    fn admit(&mut self, job: Job, next_id: &mut u64) {
        let id = *next_id;
        *next_id += 1;
        let count = job.windows.len();
        let units = job.windows.into_iter().enumerate().map(|(index, ids)| Unit { job: id, index, ids });
        self.units.extend(units);
        self.open.insert(id, Open { vectors: vec![Vec::new(); count], left: count, reply: job.reply });
    }

    /// Drops the work of callers who went away.
    fn forget_abandoned(&mut self) {
        self.open.retain(|_, open| !open.reply.is_closed());
        let before = self.units.len();
        self.units.retain(|unit| self.open.contains_key(&unit.job));
        self.waiting.fetch_sub(before - self.units.len(), Ordering::Relaxed);
    }

    fn compute(&mut self, encoder: &Encoder, batch: Vec<Unit>) {
        let texts: Vec<&[u32]> = batch.iter().map(|unit| unit.ids.as_slice()).collect();
        let result = catch_unwind(AssertUnwindSafe(|| encoder.encode(&texts)));
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        match result {
            Ok(Ok(vectors)) => {
                batch.iter().zip(vectors).for_each(|(unit, vector)| self.deliver(unit, vector))
            }
            Ok(Err(error)) => self.fail(&batch, &error.to_string()),
            Err(_) => self.fail(&batch, "the encoder panicked"),
        }
    }

    fn deliver(&mut self, unit: &Unit, vector: Vec<f32>) {
        let Some(open) = self.open.get_mut(&unit.job) else { return };
        open.vectors[unit.index] = vector;
        open.left -= 1;
        if open.left == 0
            && let Some(done) = self.open.remove(&unit.job)
        {
            // The caller may have gone; nobody needs it then.
            let _ = done.reply.send(Ok(done.vectors));
        }
    }

    fn fail(&mut self, batch: &[Unit], reason: &str) {
        tracing::error!(reason, "embedding failed");
        for unit in batch {
            if let Some(open) = self.open.remove(&unit.job) {
                let _ = open.reply.send(Err(BackendError::Internal(reason.to_owned())));
            }
        }
    }
}

/// Takes the oldest window and, as far as a batch goes, others of similar length. The oldest is always in, so nobody
/// waits for ever; similar means that at most a third of a batch is padding.
fn take_batch(units: &mut VecDeque<Unit>) -> Vec<Unit> {
    let Some(first) = units.pop_front() else { return Vec::new() };
    let (shortest, longest) = (first.ids.len() * 3 / 4, first.ids.len() * 9 / 8 + 4);
    let room = (BATCH_TOKENS / longest.max(1)).max(1) - 1;
    let fits = |unit: &Unit| (shortest..=longest).contains(&unit.ids.len());
    let chosen: Vec<usize> =
        units.iter().enumerate().filter(|(_, unit)| fits(unit)).map(|(at, _)| at).take(room).collect();
    let mut batch = vec![first];
    // From the back, so that positions before stay right.
    for at in chosen.into_iter().rev() {
        batch.extend(units.remove(at));
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_the_oldest_and_its_like() {
        let lengths = [100, 10, 90, 500, 110, 101, 12];
        let mut units: VecDeque<Unit> =
            lengths.iter().map(|length| Unit { job: 0, index: *length, ids: vec![0; *length] }).collect();
        let mut batches: Vec<Vec<usize>> = Vec::new();
        while !units.is_empty() {
            let mut batch: Vec<usize> = take_batch(&mut units).iter().map(|unit| unit.ids.len()).collect();
            batch.sort_unstable();
            batches.push(batch);
        }
        assert_eq!(batches, [vec![90, 100, 101, 110], vec![10, 12], vec![500]]);
    }

    #[test]
    fn a_batch_has_a_size() {
        let mut units: VecDeque<Unit> =
            (0..100).map(|index| Unit { job: 0, index, ids: vec![0; 256] }).collect();
        let batch = take_batch(&mut units);
        assert!(batch.len() > 1 && batch.len() * 256 <= BATCH_TOKENS);
        assert_eq!(batch.len() + units.len(), 100);
    }
}
