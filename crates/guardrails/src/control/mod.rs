//! The operations that keep guardrails: create, read, change, version, delete; and the account's enforced ones.

mod enforced;
mod guardrails;
mod read;
mod records;
mod show;
mod versions;

pub(crate) use enforced::{Enforced, enforced_for};
pub(crate) use records::{Identifier, Stored, find};
