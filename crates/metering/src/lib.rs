//! What calls cost: one usage record a model call, and the numbers behind `/metrics`.
//!
//! A call is metered by a [`CallMeter`], which records exactly once however the call ends: completed, failed, or
//! dropped because the client went away. Recording touches only atomics that were looked up when the call began; the
//! lookup itself reads a shared map without a lock. Labels are bounded: a model is named by the id it was resolved to,
//! never by what a client sent, and once [`MAX_MODELS`] ids have been seen further ones share the label `other`.
//!
//! Whoever needs more than counters (quotas, invocation logs, cost export) implements [`UsageSink`].

mod call;
mod lookup;
mod metrics;
mod record;
mod request;

pub use call::{CallMeter, CallStart};
pub use metrics::{MAX_MODELS, Metering, QueueDepth, QueueSource};
pub use record::{Outcome, Tokens, UsageRecord, UsageSink};
pub use request::RequestTimer;
