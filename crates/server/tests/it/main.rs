//! The server as its clients see it, over real sockets, with a scripted model behind it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod agent_bounds;
mod agent_frames;
mod agent_requests;
mod agent_runs;
mod agent_sessions;
mod agent_streams;
mod agent_turns;
mod agents;
mod attacks;
mod coverage;
mod denied;
mod doors;
mod enforced;
mod flow_executions;
mod flow_prompts;
mod flow_questions;
mod flows;
mod front;
mod guardrails;
mod guards;
mod identity;
mod inference;
mod lifecycle;
mod posture;
mod prompts;
mod reached;
mod sessions;
mod sign_in;
mod transport;
mod upstreams;
