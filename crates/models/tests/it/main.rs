//! Models, their listings and the model store, as the other crates use them.

mod files;
mod hub;
mod inference_profiles;
mod listing;
mod resolve;
mod setup;
mod wheels;
