//! Models, their listings and the model store, as the other crates use them.

#![allow(clippy::unwrap_used)]

mod files;
mod hub;
mod inference_profiles;
mod listing;
mod resolve;
mod setup;
mod wheels;
