use serde::Deserialize;

/// How local models run. One struct, read once at start.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Most threads a model computes with; fewer are used while that is faster. Default: this machine's cores.
    pub threads: Option<usize>,
    /// Requests that generate at once, a model.
    pub max_sequences: usize,
    /// Requests that may wait for a place, a model; one more is answered `Overloaded`.
    pub max_queued: usize,
    /// Finished sequences kept for prefix reuse, a model, within the KV budget. 0 computes every prompt from its start.
    pub cached_sequences: usize,
    /// Memory for keys and values, a model, in MiB. Default: 256, or what a context of up to 8,192 tokens takes where
    /// that is more.
    pub kv_budget_mib: Option<u32>,
    /// Longest prompt and answer together. Default: what the model was trained for, within the KV budget.
    pub context_tokens: Option<u32>,
    /// Most tokens in one step of the model.
    pub batch_tokens: usize,
    /// Most prompt tokens in a step that also continues answers, so that a long prompt does not stall them.
    pub prefill_chunk_tokens: usize,
    /// Most tokens that are drafted from what was said before and computed along with an answer's next one, while it is
    /// the only one in progress. 0 drafts nothing.
    pub draft_tokens: usize,
    /// Answer length when the request gives none.
    pub default_max_tokens: u32,
    /// Use [`fast_copy`](crate::fast_copy) where a model's format has one and this processor does not multiply blocks as they
    /// are ([`multiplies_blocks`](crate::multiplies_blocks)), whatever composes the engine seeing to it.
    pub fast_format: bool,
    /// Fused attention, which passes over the cached tokens of other sequences instead of computing and discarding
    /// them: several times as fast with many sequences or kept prefixes. It adds in half precision, so greedy answers
    /// differ a little more often between batch shapes.
    pub flash_attention: bool,
    /// Models loaded at once, whatever composes the engine seeing to it.
    pub max_loaded_models: usize,
    /// Memory of all loaded models together in MiB, likewise. Default: three quarters of the machine's.
    pub loaded_models_mib: Option<u64>,
    /// How long a request waits for its model to load.
    pub load_timeout_ms: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            threads: None,
            max_sequences: 32,
            max_queued: 256,
            cached_sequences: 32,
            kv_budget_mib: None,
            context_tokens: None,
            batch_tokens: 512,
            prefill_chunk_tokens: 64,
            draft_tokens: 7,
            default_max_tokens: 2048,
            fast_format: true,
            flash_attention: true,
            max_loaded_models: 16,
            loaded_models_mib: None,
            load_timeout_ms: 120_000,
        }
    }
}

impl EngineConfig {
    /// Threads to compute with, at least one.
    pub(crate) fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
    }

    /// [`Self::thread_count`] as llama.cpp wants it.
    pub(crate) fn context_threads(&self) -> i32 {
        i32::try_from(self.thread_count()).unwrap_or(1)
    }

    /// Tokens a step may take: enough for every sequence to go on.
    pub(crate) fn step_tokens(&self) -> usize {
        self.batch_tokens.max(self.max_sequences.saturating_mul(2)).clamp(16, 65_536)
    }

    /// Sequences that the context must tell apart. llama.cpp's limit is 256.
    pub(crate) fn sequence_count(&self) -> usize {
        self.max_sequences.max(1).saturating_add(self.cached_sequences).clamp(2, 256)
    }
}
