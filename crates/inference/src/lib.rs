//! The inference path: what a client asked, in whichever format it speaks, to one call of a backend and back.
//!
//! Everything that makes a model speak goes through [`Inference::chat`]: Converse and InvokeModel here, the OpenAI and
//! Anthropic front doors of the server, later agents, flows and evaluation. It resolves the model, refuses what the
//! backend behind it can't take, turns documents into text, and answers with an [`ActiveChat`]: a metered stream of
//! events that is cancelled by dropping it. A non-streaming answer is the same stream, collected into an [`Answer`].
//!
//! * `converse`, `invoke`, `count_tokens`, `optimize_prompt`: the modelled operations, as methods of [`Inference`] named after them.
//! * [`codec`]: the provider bodies of InvokeModel.
//! * [`answer`]: an answer collected from its events, and back.
//! * [`error`]: the one mapping from a backend's errors to AWS's.

mod active;
pub mod answer;
mod backends;
mod chat;
pub mod codec;
mod converse;
mod count_tokens;
mod documents;
pub mod error;
pub mod guarded;
mod headers;
mod images;
mod invoke;
mod optimize_prompt;
mod schema;
mod schema_check;
mod tool_turns;

pub use active::ActiveChat;
pub use answer::Answer;
pub use backends::Backends;
pub use chat::{ChatCall, Inference, ModelChoice};
pub use guarded::{BodyConfig, Guarding, Marked, Place, TraceLevel};
