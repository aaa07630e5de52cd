//! Agents: orchestration that calls models, functions and knowledge bases, one bounded step after another.
//!
//! Two halves that meet in [`definition`]: the control plane (`control`) keeps agents, versions, aliases and what hangs
//! on them, and settles them into snapshots; the runtime (`run`) runs a snapshot, whether it was stored or came with
//! its call.

mod control;
pub mod definition;
mod error;
mod prepared;
pub mod run;
pub mod schema;

pub use control::{Agents, AliasRef, Parts};
pub use prepared::Prepared;
