//! Models that run elsewhere, behind the same seam as the embedded engine.
//!
//! An [`Upstream`] is one endpoint of a kind: an OpenAI-compatible server, Anthropic's API, or Bedrock itself. This
//! crate owns the conversation with it: connections, timeouts, bounds on what is read, the translation of requests,
//! answers and errors. Which model id is served by which upstream is decided elsewhere.
//!
//! An upstream is not trusted: its answers are bounded in size and time, and whatever it sends becomes either events
//! in the order that [`craton_backend::ChatEvent`] promises, or an error.

mod anthropic;
mod bedrock;
mod errors;
mod estimate;
mod fields;
mod http;
mod json_end;
mod openai;
mod pump;
mod settings;
mod sse;
mod stops;
mod upstream;
mod vectors;

pub use craton_outbound::AwsCredentials;
pub use settings::{ApiKey, MaxTokensField, SettingsError, Timeouts, UpstreamKind, UpstreamSettings};
pub use upstream::Upstream;
