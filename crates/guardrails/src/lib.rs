//! Guardrails: what may go into a model and come out of it.
//!
//! A guardrail is a set of policies (words, sensitive information, content, topics, grounding) that an account keeps
//! under an id, with a moving DRAFT and numbered versions that never change.
//!
//! * `control`: the operations that keep guardrails ([`Guardrails`], one method an operation).
//! * [`definition`]: a guardrail as it is stored.
//! * [`guard`]: a definition made ready to judge text: [`Guard::assess`] looks at pieces of text and says what was
//!   found, what to do, and what the text is once anonymised.
//! * [`stream`]: the same for text that arrives in increments: nothing leaves before it has been looked at.
//! * `apply`: ApplyGuardrail and InvokeGuardrailChecks.
//! * [`text`]: how text is normalised for detection while offsets stay those of the original.
//! * `policies`: the detectors, one module a policy.
//! * [`ner`]: names and places, by a small statistical model.
//!
//! Detection never changes the meaning of offsets: every finding is a byte range of the text that was given.

mod apply;
pub mod config;
mod control;
pub mod definition;
mod error;
pub mod fnv;
pub mod guard;
mod metrics;
pub mod ner;
pub mod policies;
mod service;
pub mod stream;
pub mod text;

pub use config::GuardrailsConfig;
pub use guard::{Assessed, Guard, Piece, Qualifier, Source};
pub use policies::content::ContentModel;
pub use policies::pii::{Finding as PiiFinding, PiiDetector};
pub use service::{EnforcedGuard, GuardReference, Guardrails, GuardrailsParts, NameModels, Vectors};
