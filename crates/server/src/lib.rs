//! The server: sockets, the pipeline every request goes through, and the tables that say which function answers which
//! operation. It composes the concrete drivers (engine, providers, identity); nobody below it names one.
//!
//! * `audit`: the log of who did what.
//! * `config`: `craton.toml`.
//! * `transport`: one port, HTTP/1.1, HTTP/2 and TLS.
//! * `access`: what IAM calls each operation, and what a principal needs for it.
//! * `pipeline`: request id → authenticate → authorise → bind and validate → handler → render → metrics.
//! * `resource_policies`, `tags`: what resources of every crate have.
//! * `routes`: tables, one line an operation.
//! * `doors`: the OpenAI and Anthropic front doors.
//! * `server`: puts them together.

mod access;
mod audit;
mod banner;
mod body;
mod compose;
pub mod config;
pub mod coverage;
mod doors;
mod health;
mod pipeline;
mod resource_policies;
mod routes;
mod server;
mod services;
mod tags;
mod transport;

pub use config::ServerConfig;
pub use health::{HealthSource, Readiness};
pub use server::{Server, StartError, Surroundings};
pub use transport::TlsError;
