//! The one thread that owns a model's context and runs it.
//!
//! Every step is one call of the model over a batch: a token or more for each answer in progress, and pieces of the
//! prompts of those just admitted. Requests join and leave between steps. Prompt pieces are kept small while answers
//! are being written, so that a long prompt slows them a little instead of stopping them.
//!
//! All sequences share one pool of KV cells. What a new prompt has in common with a finished or running sequence is
//! shared, not computed; a request whose prefix another is computing right now waits for it. When the pool runs
//! full, kept sequences go first, then the youngest request of the lowest priority is set aside and later continued
//! from its tokens: its client sees a pause, never an error.
//!
//! An answer that is computed alone is helped along by drafts of what may come next ([`draft`]).
//!
//! A sequence whose guide has not yet said what may come next sits out steps until it has (see [`crate::guided`]).

mod draft;
mod kv;
mod prefix;
mod queue;
mod sequence;
mod threads;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use craton_backend::BackendError;
use llama_cpp_2::DecodeError;
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

pub(crate) use draft::Drafter;
use kv::KvLedger;
use prefix::{PrefixCache, common_prefix};
pub use queue::ModelStats;
pub(crate) use queue::Shared;
use queue::{Choice, WaitingList};
pub(crate) use sequence::{Constraint, EventSender, Sequence};
use sequence::{Outcome, Turn};

use crate::config::EngineConfig;
use crate::guided::MaskPool;
use crate::model::LoadedModel;
use crate::raw::ThreadSetter;
use threads::ThreadChoice;

/// A prefix shorter than this is not worth waiting for.
const WORTH_WAITING_TOKENS: usize = 32;
/// Room kept for each running sequence to grow when another is admitted.
const GROWTH_TOKENS: usize = 16;
/// Time that a step gives guides to get on before it leaves their sequences out of the next step.
const GUIDE_GRACE: Duration = Duration::from_millis(1);
/// Longest sleep while all sequences wait for their guides: clients that go away ring no bell.
const NAP: Duration = Duration::from_millis(50);

pub(crate) struct Scheduler<'m> {
    model: &'m LoadedModel,
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    shared: Arc<Shared>,
    running: Vec<Sequence>,
    cache: PrefixCache,
    ledger: KvLedger,
    free_ids: Vec<i32>,
    max_running: usize,
    batch_tokens: usize,
    prefill_chunk_tokens: usize,
    /// False where nobody wants it, and for architectures whose state can't be cut at a token.
    can_share: bool,
    /// Tokens of a draft at most; 0 where nobody wants any or a state can't be cut.
    draft_tokens: usize,
    /// What the step at hand computes beyond its plan.
    draft: Vec<LlamaToken>,
    thread_setter: Option<ThreadSetter>,
    thread_choice: ThreadChoice,
    masks: MaskPool,
}

/// What one sequence contributes to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    /// Place in `running`.
    index: usize,
    tokens: usize,
    /// Place in the batch of the token whose scores choose the next, when the share reaches the end.
    scores_at: Option<usize>,
}

impl<'m> Scheduler<'m> {
    pub(crate) fn new(
        model: &'m LoadedModel,
        context: LlamaContext<'m>,
        config: &EngineConfig,
        shared: Arc<Shared>,
    ) -> Self {
        let capacity = usize::try_from(context.n_ctx()).unwrap_or(0);
        shared.gauges.kv_capacity.store(capacity, Ordering::Relaxed);
        let sequences = config.sequence_count();
        // llama.cpp lowers its own limit to the size of the context.
        let batch_tokens = config.step_tokens().min(usize::try_from(context.n_batch()).unwrap_or(1)).max(1);
        let threads = config.context_threads();
        let ring = Arc::clone(&shared);
        let can_cut = !(model.weights.is_recurrent() || model.weights.is_hybrid());
        Self {
            masks: MaskPool::new(move || ring.ring()),
            thread_setter: ThreadSetter::of(&context, threads),
            thread_choice: ThreadChoice::new(threads),
            can_share: config.cached_sequences > 0 && can_cut,
            draft_tokens: if can_cut { config.draft_tokens.min(batch_tokens - 1) } else { 0 },
            draft: Vec::new(),
            model,
            context,
            batch: LlamaBatch::new(batch_tokens, 1),
            shared,
            running: Vec::new(),
            cache: PrefixCache::default(),
            ledger: KvLedger::new(capacity),
            free_ids: (0..i32::try_from(sequences).unwrap_or(1)).rev().collect(),
            max_running: config.max_sequences.max(1),
            batch_tokens,
            prefill_chunk_tokens: config.prefill_chunk_tokens.max(1),
        }
    }

    /// Runs until the model is closed.
    pub(crate) fn run(mut self) {
        loop {
            if self.running.is_empty() && !self.shared.wait_for_work() {
                return;
            }
            if self.shared.is_closed() {
                return;
            }
            let seen = self.shared.news();
            self.reap();
            self.admit();
            self.resume_waiting(Duration::ZERO);
            let computed = self.step();
            self.publish();
            if !computed && !self.running.is_empty() {
                self.shared.wait_for_news(seen, NAP);
            }
        }
    }

    fn publish(&self) {
        let gauges = &self.shared.gauges;
        gauges.active.store(self.running.len(), Ordering::Relaxed);
        gauges.kv_used.store(self.ledger.used(), Ordering::Relaxed);
        gauges.cached.store(self.cache.len(), Ordering::Relaxed);
    }

    /// Frees the places of requests whose clients have gone away.
    fn reap(&mut self) {
        let mut at = 0;
        while at < self.running.len() {
            if self.running[at].is_abandoned() {
                let sequence = self.running.remove(at);
                self.retire(sequence);
            } else {
                at += 1;
            }
        }
        self.shared.waiting().drop_abandoned();
    }

    /// Lets waiting requests in while there is room.
    fn admit(&mut self) {
        while self.running.len() < self.max_running {
            let shared = Arc::clone(&self.shared);
            let mut waiting = shared.waiting();
            let Some(mut sequence) = self.next_admissible(&mut waiting) else { return };
            drop(waiting);
            let source = self.prefix_source(&sequence);
            let Some(id) = self.take_id(source.map(|(id, _)| id)) else {
                self.shared.waiting().push_front(sequence);
                return;
            };
            sequence.id = id;
            let reused = self.share_prefix(source, id);
            sequence.computed = reused;
            if sequence.usage.is_none() {
                let gauges = &self.shared.gauges;
                gauges.prompt_tokens.fetch_add(sequence.prompt_tokens as u64, Ordering::Relaxed);
                gauges.reused_tokens.fetch_add(reused as u64, Ordering::Relaxed);
            }
            sequence.announce(reused);
            let needed = sequence.pending() + GROWTH_TOKENS;
            self.running.push(sequence);
            while self.ledger.available() < needed && self.evict_cached() {}
        }
    }

    fn next_admissible(&self, waiting: &mut WaitingList) -> Option<Sequence> {
        // Everything not held by a running sequence can be evicted, and a prefix may be shared: this bound is safe.
        let held: usize = self.running.iter().map(|sequence| sequence.tokens.len() + GROWTH_TOKENS).sum();
        waiting.take_first(|sequence| {
            if self.prefix_is_being_computed(sequence) {
                return Choice::Skip;
            }
            let shared = self.running_prefix(sequence).map_or(0, |(_, common)| common);
            let fits = held + sequence.tokens.len() - shared + GROWTH_TOKENS <= self.ledger.capacity();
            if fits || self.running.is_empty() { Choice::Take } else { Choice::Stop }
        })
    }

    /// Tokens of its prompt that could come from elsewhere; the last is always computed, for its scores.
    fn shareable<'s>(&self, sequence: &'s Sequence) -> &'s [LlamaToken] {
        let end = if self.can_share { sequence.tokens.len().saturating_sub(1) } else { 0 };
        sequence.tokens.get(..end).unwrap_or_default()
    }

    /// The running sequence with the most computed tokens in common.
    fn running_prefix(&self, sequence: &Sequence) -> Option<(i32, usize)> {
        let wanted = self.shareable(sequence);
        self.running
            .iter()
            .map(|other| (other.id, common_prefix(&other.tokens[..other.computed], wanted)))
            .filter(|(_, common)| *common > 0)
            .max_by_key(|(_, common)| *common)
    }

    fn prefix_source(&self, sequence: &Sequence) -> Option<(i32, usize)> {
        let kept = self.cache.best(self.shareable(sequence));
        let running = self.running_prefix(sequence);
        kept.into_iter().chain(running).max_by_key(|(_, common)| *common)
    }

    /// Whether a running sequence will soon have much more of this prompt than anyone has now.
    fn prefix_is_being_computed(&self, sequence: &Sequence) -> bool {
        let wanted = self.shareable(sequence);
        let coming = self
            .running
            .iter()
            .filter(|other| other.computed < other.prompt_tokens)
            .map(|other| common_prefix(&other.tokens[..other.prompt_tokens], wanted))
            .max()
            .unwrap_or(0);
        coming >= WORTH_WAITING_TOKENS && {
            let now = self.prefix_source(sequence).map_or(0, |(_, common)| common);
            coming >= now + WORTH_WAITING_TOKENS
        }
    }

    /// A free sequence number, evicting a kept sequence other than `spare` when there is none.
    fn take_id(&mut self, spare: Option<i32>) -> Option<i32> {
        if self.free_ids.is_empty() {
            if let Some(spare) = spare {
                self.cache.touch(spare);
            }
            self.evict_cached();
        }
        self.free_ids.pop()
    }

    /// Makes `id` begin with what `source` has in common; how many tokens that is.
    fn share_prefix(&mut self, source: Option<(i32, usize)>, id: i32) -> usize {
        let Some((from, common)) = source.filter(|(from, _)| *from != id) else { return 0 };
        let end = u32::try_from(common).ok();
        if self.context.copy_kv_cache_seq(from, id, Some(0), end).is_err() {
            return 0;
        }
        self.ledger.share(from, id, common);
        self.cache.touch(from);
        common
    }

    fn evict_cached(&mut self) -> bool {
        let Some(id) = self.cache.evict() else { return false };
        self.release(id);
        true
    }

    fn release(&mut self, id: i32) {
        let _ = self.context.clear_kv_cache_seq(u32::try_from(id).ok(), None, None);
        self.ledger.release(id);
        self.free_ids.push(id);
    }

    /// Ends a sequence's stay: what it computed is kept for its prefix.
    fn retire(&mut self, sequence: Sequence) {
        let Sequence { id, mut tokens, computed, .. } = sequence;
        tokens.truncate(computed);
        if !self.can_share || tokens.is_empty() {
            self.release(id);
            return;
        }
        for contained in self.cache.insert(id, tokens) {
            self.release(contained);
        }
    }

    /// Which tokens the next call of the model computes: answers first, then prompts in order of arrival.
    fn plan(&mut self) -> Vec<Share> {
        let writing = |sequence: &Sequence| sequence.pending() <= GROWTH_TOKENS && sequence.computed > 0;
        let any_writing = self.running.iter().any(writing);
        let mut left = self.batch_tokens;
        let mut prompt_left = if any_writing { self.prefill_chunk_tokens } else { self.batch_tokens };
        let mut plan = Vec::new();
        for prompts in [false, true] {
            for (index, sequence) in self.running.iter().enumerate() {
                if sequence.waiting || writing(sequence) == prompts {
                    continue;
                }
                let limit = if prompts { left.min(prompt_left) } else { left };
                let tokens = sequence.pending().min(limit);
                if tokens == 0 {
                    continue;
                }
                left -= tokens;
                if prompts {
                    prompt_left -= tokens;
                }
                plan.push(Share { index, tokens, scores_at: None });
            }
        }
        self.draft = self.draft_for(&plan);
        self.fill_batch(&mut plan);
        plan
    }

    /// A draft for an answer that is computed alone. Together with others the processor has enough to do.
    fn draft_for(&self, plan: &[Share]) -> Vec<LlamaToken> {
        let ([share], [sequence]) = (plan, self.running.as_slice()) else { return Vec::new() };
        let room = self.ledger.available().saturating_sub(share.tokens);
        sequence.draft(self.draft_tokens.min(room)).to_vec()
    }

    fn fill_batch(&mut self, plan: &mut [Share]) {
        self.batch.clear();
        let mut place = 0;
        for share in plan.iter_mut() {
            let sequence = &self.running[share.index];
            for at in sequence.computed..sequence.computed + share.tokens {
                let last = at + 1 == sequence.tokens.len();
                let position = i32::try_from(at).unwrap_or(i32::MAX);
                // The batch was made as large as a plan can be.
                let _ = self.batch.add(sequence.tokens[at], position, &[sequence.id], last);
                if last {
                    share.scores_at = Some(place);
                }
                place += 1;
            }
            for (at, token) in (sequence.tokens.len()..).zip(&self.draft) {
                let position = i32::try_from(at).unwrap_or(i32::MAX);
                let _ = self.batch.add(*token, position, &[sequence.id], true);
            }
        }
    }

    /// One call of the model. False when there was nothing to compute.
    fn step(&mut self) -> bool {
        let plan = loop {
            let plan = self.plan();
            if plan.is_empty() {
                return false;
            }
            match self.decode(&plan) {
                Ok(()) => break plan,
                Err(DecodeError::NoKvCacheSlot) => {
                    if !self.evict_cached() && !self.set_one_aside() {
                        if self.running.iter().any(|sequence| sequence.waiting) {
                            return false;
                        }
                        self.fail_all("one request does not fit the KV cache");
                        return true;
                    }
                }
                Err(error) => {
                    self.fail_all(&format!("the model could not be run: {error}"));
                    return true;
                }
            }
        };
        self.shared.gauges.steps.fetch_add(1, Ordering::Relaxed);
        let mut ended = Vec::new();
        for share in &plan {
            ended.push((share.index, self.settle(*share)));
        }
        self.conclude(ended);
        self.resume_waiting(GUIDE_GRACE);
        true
    }

    /// Goes on with the sequences whose guides are done within `grace`.
    fn resume_waiting(&mut self, grace: Duration) {
        let until = Instant::now() + grace;
        let mut ended = Vec::new();
        for index in 0..self.running.len() {
            if self.running[index].waiting {
                ended.push((index, self.choose_next(index, until, None)));
            }
        }
        self.conclude(ended);
    }

    /// Ends the sequences that came to their end.
    fn conclude(&mut self, mut outcomes: Vec<(usize, Outcome)>) {
        outcomes.retain(|(_, outcome)| !matches!(outcome, Outcome::Continue | Outcome::Waiting));
        outcomes.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        for (index, outcome) in outcomes {
            let mut sequence = self.running.remove(index);
            match outcome {
                Outcome::Done { reason, stop_sequence } => sequence.finish(reason, stop_sequence),
                Outcome::Failed(error) => sequence.send(Err(error)),
                Outcome::Continue | Outcome::Waiting => {}
            }
            self.retire(sequence);
        }
    }

    /// Runs the model over the batch, with as many threads as have lately been fastest for its size.
    fn decode(&mut self, plan: &[Share]) -> Result<(), DecodeError> {
        let tokens = plan.iter().map(|share| share.tokens).sum::<usize>() + self.draft.len();
        let Some(setter) = &mut self.thread_setter else { return self.context.decode(&mut self.batch) };
        let threads = self.thread_choice.next(tokens);
        setter.set(threads);
        let start = Instant::now();
        let result = self.context.decode(&mut self.batch);
        if result.is_ok() {
            self.thread_choice.record(tokens, threads, start.elapsed().as_secs_f64());
        }
        result
    }

    /// Books what was computed for one sequence and lets it choose its next token.
    fn settle(&mut self, share: Share) -> Outcome {
        let Some(sequence) = self.running.get_mut(share.index) else { return Outcome::Continue };
        self.ledger.append(sequence.id, share.tokens);
        sequence.computed += share.tokens;
        let Some(place) = share.scores_at.and_then(|place| i32::try_from(place).ok()) else {
            return Outcome::Continue;
        };
        let outcome = self.choose_next(share.index, Instant::now(), Some(place));
        match self.draft.is_empty() {
            true => outcome,
            false => self.check_draft(share.index, place, outcome),
        }
    }

    /// Goes on with the scores of a draft for as long as the sequence chooses what it says, and cuts off the rest.
    fn check_draft(&mut self, index: usize, place: i32, mut outcome: Outcome) -> Outcome {
        let draft = std::mem::take(&mut self.draft);
        let mut right = 0;
        for (token, place) in draft.iter().zip(place + 1..) {
            let Some(sequence) = self.running.get_mut(index) else { return outcome };
            if outcome != Outcome::Continue || !sequence.has_chosen(*token) {
                break;
            }
            self.ledger.append(sequence.id, 1);
            sequence.computed += 1;
            right += 1;
            outcome = self.choose_next(index, Instant::now(), Some(place));
        }
        let Some(sequence) = self.running.get_mut(index) else { return outcome };
        sequence.drafter.learn(right, draft.len());
        if right < draft.len() && !cut(&mut self.context, sequence.id, sequence.computed) {
            // Whatever is left of it, it is computed anew.
            let _ = self.context.clear_kv_cache_seq(u32::try_from(sequence.id).ok(), None, None);
            self.ledger.cut(sequence.id, 0);
            sequence.computed = 0;
            self.draft_tokens = 0;
        }
        outcome
    }

    /// Lets a sequence choose from the scores at `scores_at`, or from those it chose from before.
    fn choose_next(&mut self, index: usize, until: Instant, scores_at: Option<i32>) -> Outcome {
        let Some(sequence) = self.running.get_mut(index) else { return Outcome::Continue };
        let before = sequence.generated();
        let model = self.model;
        let spell = |bytes: &[u8]| model.guides().map(|guides| guides.spell(bytes)).unwrap_or_default();
        let vocabulary = model.weights.vocab();
        let turn = Turn { vocabulary: &vocabulary, spell: &spell, masks: &self.masks, until };
        let outcome = match scores_at {
            Some(place) => sequence.advance(self.context.get_logits_ith(place), &turn),
            None => sequence.resume(&turn),
        };
        let generated = (sequence.generated() - before) as u64;
        self.shared.gauges.generated_tokens.fetch_add(generated, Ordering::Relaxed);
        outcome
    }

    /// Sets the youngest request of the lowest priority aside, to go on from its tokens when there is room.
    fn set_one_aside(&mut self) -> bool {
        if self.running.len() < 2 {
            return false;
        }
        let movable = |sequence: &&Sequence| !sequence.waiting;
        let lowest = self.running.iter().filter(movable).map(|sequence| sequence.priority).min();
        let is_lowest = |sequence: &Sequence| movable(&sequence) && Some(sequence.priority) == lowest;
        let Some(at) = self.running.iter().rposition(is_lowest) else { return false };
        let mut sequence = self.running.remove(at);
        self.release(sequence.id);
        sequence.computed = 0;
        self.shared.gauges.preempted.fetch_add(1, Ordering::Relaxed);
        self.shared.waiting().push_front(sequence);
        true
    }

    fn fail_all(&mut self, reason: &str) {
        tracing::error!(reason, "a step of the model failed");
        for sequence in std::mem::take(&mut self.running) {
            sequence.send(Err(BackendError::Internal(reason.to_owned())));
            self.release(sequence.id);
        }
        while self.evict_cached() {}
        self.cache.clear();
        self.context.clear_kv_cache();
    }
}

/// Takes all but the first `length` tokens of a sequence out of the cache; false where that can't be done.
fn cut(context: &mut LlamaContext<'_>, id: i32, length: usize) -> bool {
    let from = u32::try_from(length).ok();
    from.is_some() && context.clear_kv_cache_seq(u32::try_from(id).ok(), from, None).unwrap_or(false)
}
