//! The threads that compute, and the queue before them.
//!
//! Each thread takes a small batch and computes it alone: nobody waits for the slowest, and a text that comes now is
//! begun as soon as any thread is free. Requests take turns, a text each, so that one with thousands of texts holds up
//! nobody who brings one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use craton_backend::BackendError;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::encoder::{Effort, Encoder};

/// Tokens of one batch. Enough for the weights to be read from memory for many tokens at a time; larger ones leave the
/// caches.
const BATCH_TOKENS: usize = 512;
/// Windows of text that may wait: some megabytes of token ids, and tens of seconds of work.
pub(super) const MAX_WAITING: usize = 4096;
/// Threads of one model, at most.
const MOST_THREADS: usize = 16;

type Reply = oneshot::Sender<Result<Vec<Vec<f32>>, BackendError>>;

/// The way to the threads. They end when this is dropped.
pub(super) struct Worker {
    shared: Arc<Shared>,
    /// Of the encoder.
    pub layers: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    /// There is work, or there will be none any more.
    changed: Condvar,
    /// Windows queued or in batches at hand.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    /// Requests with windows that nobody has begun, whose turn comes first in front.
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Job {
    windows: std::iter::Enumerate<std::vec::IntoIter<Vec<u32>>>,
    effort: Effort,
    open: Arc<Open>,
}

/// A request that is not answered yet.
struct Open {
    answer: Mutex<Answer>,
}

struct Answer {
    vectors: Vec<Vec<f32>>,
    left: usize,
    /// None once it was answered.
    reply: Option<Reply>,
}

/// One window of a request.
struct Unit {
    open: Arc<Open>,
    index: usize,
    ids: Vec<u32>,
}

impl Worker {
    pub(super) fn start(encoder: Encoder) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            waiting: AtomicUsize::new(0),
        });
        let worker = Self { shared, layers: encoder.layers() };
        let encoder = Arc::new(encoder);
        let threads = available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_THREADS);
        for _ in 0..threads {
            let (shared, encoder) = (Arc::clone(&worker.shared), Arc::clone(&encoder));
            std::thread::Builder::new().name("craton-embed".into()).spawn(move || shared.run(&encoder))?;
        }
        Ok(worker)
    }

    /// Encodes windows of token ids; the vectors come in the same order. Dropping the future drops the
    /// work that has not begun.
    pub(super) async fn encode(
        &self,
        windows: Vec<Vec<u32>>,
        effort: Effort,
    ) -> Result<Vec<Vec<f32>>, BackendError> {
        if windows.is_empty() {
            return Ok(Vec::new());
        }
        let count = windows.len();
        let waiting = &self.shared.waiting;
        let before = waiting.fetch_add(count, Ordering::Relaxed);
        if before > 0 && before + count > MAX_WAITING {
            waiting.fetch_sub(count, Ordering::Relaxed);
            return Err(BackendError::Overloaded {
                message: "too many texts are waiting to be embedded".into(),
                retry_after: Some(Duration::from_secs(1)),
            });
        }
        let (reply, answer) = oneshot::channel();
        let vectors = vec![Vec::new(); count];
        let open = Open { answer: Mutex::new(Answer { vectors, left: count, reply: Some(reply) }) };
        let job = Job { windows: windows.into_iter().enumerate(), effort, open: Arc::new(open) };
        self.shared.queue.lock().jobs.push_back(job);
        self.shared.changed.notify_all();
        answer.await.map_err(|_| BackendError::Internal("the embedding threads have stopped".into()))?
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> &AtomicUsize {
        &self.shared.waiting
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        queue.jobs.clear();
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn run(&self, encoder: &Encoder) {
        loop {
            let batch = {
                let mut queue = self.queue.lock();
                while queue.jobs.is_empty() && !queue.closed {
                    self.changed.wait(&mut queue);
                }
                if queue.closed {
                    return;
                }
                let abandoned = queue.forget_abandoned();
                self.waiting.fetch_sub(abandoned, Ordering::Relaxed);
                queue.take_batch()
            };
            if let Some((effort, batch)) = batch {
                self.compute(encoder, batch, effort);
            }
        }
    }

    fn compute(&self, encoder: &Encoder, batch: Vec<Unit>, effort: Effort) {
        let texts: Vec<&[u32]> = batch.iter().map(|unit| unit.ids.as_slice()).collect();
        let result = catch_unwind(AssertUnwindSafe(|| encoder.encode(&texts, effort)));
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        let result = result.unwrap_or_else(|_| Err("the encoder panicked".to_owned()));
        match result {
            Ok(vectors) => {
                batch.iter().zip(vectors).for_each(|(unit, vector)| unit.open.deliver(unit.index, vector));
            }
            Err(reason) => {
                tracing::error!(reason, "embedding failed");
                batch.iter().for_each(|unit| unit.open.fail(&reason));
            }
        }
    }
}

impl Queue {
    /// Drops the work of callers who went away; answers how many windows.
    fn forget_abandoned(&mut self) -> usize {
        let mut forgotten = 0;
        self.jobs.retain(|job| {
            let wanted = job.open.is_wanted();
            forgotten += if wanted { 0 } else { job.windows.len() };
            wanted
        });
        forgotten
    }

    /// One window of each request in turn, as far as a batch goes, and the effort that all of them want.
    fn take_batch(&mut self) -> Option<(Effort, Vec<Unit>)> {
        let (mut batch, mut tokens) = (Vec::new(), 0);
        let effort = self.jobs.front()?.effort;
        while tokens < BATCH_TOKENS
            && let Some(mut job) = self.jobs.pop_front_if(|job| job.effort == effort)
        {
            let Some((index, ids)) = job.windows.next() else { continue };
            tokens += ids.len();
            batch.push(Unit { open: Arc::clone(&job.open), index, ids });
            if job.windows.len() > 0 {
                self.jobs.push_back(job);
            }
        }
        Some((effort, batch))
    }
}

impl Open {
    fn is_wanted(&self) -> bool {
        self.answer.lock().reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    fn deliver(&self, index: usize, vector: Vec<f32>) {
        let mut answer = self.answer.lock();
        answer.vectors[index] = vector;
        answer.left -= 1;
        if answer.left == 0 {
            let vectors = std::mem::take(&mut answer.vectors);
            answer.say(Ok(vectors));
        }
    }

    fn fail(&self, reason: &str) {
        self.answer.lock().say(Err(BackendError::Internal(reason.to_owned())));
    }
}

impl Answer {
    fn say(&mut self, result: Result<Vec<Vec<f32>>, BackendError>) {
        if let Some(reply) = self.reply.take() {
            // The caller may have gone; nobody needs it then.
            let _ = reply.send(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Effort = Effort { layers: 6, quick: false };

    type Answered = oneshot::Receiver<Result<Vec<Vec<f32>>, BackendError>>;

    fn queue_of(jobs: &[&[usize]]) -> (Queue, Vec<Answered>) {
        let (mut queue, mut answers) = (Queue::default(), Vec::new());
        for lengths in jobs {
            let windows: Vec<Vec<u32>> = lengths.iter().map(|length| vec![0; *length]).collect();
            let (reply, answer) = oneshot::channel();
            let (vectors, left) = (vec![Vec::new(); windows.len()], windows.len());
            let open = Open { answer: Mutex::new(Answer { vectors, left, reply: Some(reply) }) };
            queue.jobs.push_back(Job {
                windows: windows.into_iter().enumerate(),
                effort: WHOLE,
                open: Arc::new(open),
            });
            answers.push(answer);
        }
        (queue, answers)
    }

    #[test]
    fn requests_take_turns() {
        let (mut queue, _answers) = queue_of(&[&[200, 201, 202, 203], &[10], &[20, 21]]);
        let mut batches: Vec<Vec<usize>> = Vec::new();
        while !queue.jobs.is_empty() {
            batches.push(queue.take_batch().unwrap().1.iter().map(|unit| unit.ids.len()).collect());
        }
        assert_eq!(batches, [vec![200, 10, 20, 201, 21, 202], vec![203]]);
    }

    #[test]
    fn a_batch_is_of_one_effort() {
        let (mut queue, _answers) = queue_of(&[&[10, 11], &[20], &[30]]);
        let less = Effort { layers: 3, quick: true };
        queue.jobs[1].effort = less;
        let mut sizes = || {
            let (effort, batch) = queue.take_batch().unwrap();
            (effort, batch.iter().map(|unit| unit.ids.len()).collect::<Vec<_>>())
        };
        assert_eq!(sizes(), (WHOLE, vec![10]));
        assert_eq!(sizes(), (less, vec![20]));
        assert_eq!(sizes(), (WHOLE, vec![30, 11]));
    }

    #[test]
    fn work_of_callers_who_left_is_dropped() {
        let (mut queue, mut answers) = queue_of(&[&[5, 5, 5], &[7]]);
        answers.remove(0);
        assert_eq!(queue.forget_abandoned(), 3);
        assert_eq!(queue.take_batch().unwrap().1.len(), 1);
    }

    #[test]
    fn a_failure_answers_once() {
        let (mut queue, mut answers) = queue_of(&[&[1, 1]]);
        let (_, batch) = queue.take_batch().unwrap();
        batch[0].open.fail("no");
        batch[1].open.deliver(1, vec![1.0]);
        assert!(matches!(answers[0].try_recv(), Ok(Err(BackendError::Internal(_)))));
    }
}
