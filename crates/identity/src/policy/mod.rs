//! IAM policies: parsed, compiled once, evaluated as IAM documents it. Pure: no clock, no store, no network.
//!
//! [`Policy::parse`] refuses what IAM refuses, with its reasons, and compiles the rest: action and resource patterns
//! become [`glob`]s, condition values are read into numbers, dates and networks, policy variables into templates. A
//! compiled policy is immutable; whoever stores policy versions keeps one `Arc<Policy>` beside each and swaps it when
//! the version changes, so nothing here needs invalidating. [`evaluate`] asks all policies that apply to a request and
//! says what decided: explicit deny, then allow, else implicit deny, and the kind of policy that was lacking.
//!
//! What the documentation leaves open is closed on the safe side:
//! * A policy variable that the request has no value for makes its pattern match nothing. In an `Allow` statement that
//!   also fails `NotResource` and negated conditions; in a `Deny` statement it does not, so the denial stands.
//! * The value of a variable is always literal: a user named `*` is no wildcard.
//! * A key that is repeated inside one JSON object is refused, where other parsers would silently keep the last.
//! * A value that its operator can't read (`NumericLessThan: "ten"`) is refused when the policy is written.
//!
//! The `iam-rs` crate (0.8.0) was tried first on the same table of decisions (`tests/it/decisions.json`) and not taken.
//! It answers 107 of the 129 rows that it has the means to express; it has none for boundaries, session policies and
//! grants of resource policies. Some wrong answers widen access: it puts a variable's value in place before it looks
//! for wildcards, and reads a missing one as nothing. It also reads conditions anew, with allocations, at each decision.

mod arn;
mod condition;
mod evaluate;
mod glob;
mod json;
mod keys;
mod parse;
mod principal;
mod statement;
mod template;
mod values;

pub use condition::OPERATORS;
pub use evaluate::{Denial, Policies, PolicyType, Request, ResourceSide, Verdict, evaluate};
pub use glob::matches_wildcards;
pub use keys::{Context, Keys, Values};
pub use parse::{MAX_POLICY_BYTES, Malformed, PolicyKind};
pub(crate) use principal::is_unique_id;
pub use principal::{Requester, RequesterKind};
pub use statement::{Effect, Policy};
pub use values::Network;
