//! Local models: the embedded engine behind [`craton_backend`]'s traits.
//!
//! This crate owns everything between a chat request and the weights of a GGUF file on this machine: checking the
//! file ([`gguf`]), rendering the model's own chat template, tokenising, batching, sampling, constraining answers to
//! schemas, and turning tokens back into events. [`embed`] does the same for embeddings and rerank. It knows no HTTP and no AWS.
//!
//! # Shape
//! [`Engine::open`] does nothing but remember its configuration. A model gets one OS thread, started by its first
//! request or by [`Engine::preload`], which loads the file and then runs the scheduler until the model is dropped;
//! requests wait for the load within `load_timeout_ms`. A request is prepared on a blocking task (template, tokens,
//! grammar), queued by priority, and from then on belongs to the scheduler thread, which alone touches the llama.cpp
//! context. Events travel back over a channel; dropping the stream closes it, and the scheduler frees the place at
//! its next step.
//!
//! # What is promised
//! - Memory is bounded: the KV budget, the queue, the schema and the template each have a limit.
//! - Usage is truthful: cache reads are prompt tokens before the last cache point that were not computed again.
//! - A constrained answer satisfies its schema, unless `max_tokens` cuts it off.
//! - With temperature 0, or with a seed, a request gives the same tokens streamed or collected, and again when the
//!   model computes it in the same pieces. llama.cpp does not promise the same last digits for another batch shape
//!   (another request beside it, a prefix reused instead of computed), and rounding to 8-bit activations widens
//!   such differences, as does attention that adds in half precision; so there two tokens that the model finds about
//!   equally good can change places. Draws whose noise belongs to the token keep this rare.
//!
//! OpenMP stays on in llama.cpp: its own thread pool spins at every barrier without ever yielding, which on a busy
//! machine is far worse. How many threads compute a step is learned while running.

mod config;
mod dialect;
pub mod embed;
mod engine;
mod fast;
pub mod gguf;
mod guide;
mod guided;
mod model;
mod output;
mod products;
mod prompt;
mod raw;
mod sampler;
mod scheduler;
mod tool_text;

pub use config::EngineConfig;
pub use engine::Engine;
pub use fast::fast_copy;
pub use model::memory_bytes;
pub use products::{computed_products, multiplies_blocks};
pub use scheduler::ModelStats;
