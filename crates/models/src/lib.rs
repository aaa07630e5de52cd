//! Which models there are, what serves each of them, and the model files on this machine.
//!
//! - [`catalogue`]: the foundation models clients know, as data (`catalogue.toml`).
//! - [`config`]: what an operator says about them.
//! - [`Models::resolve`]: a `modelId` as a client sends it → the model and the backend that answers for it.
//! - [`files`]: the model store: pull, import, remove.
//! - [`ModelsService`]: the listings and inference profiles of the control plane.

pub mod catalogue;
pub mod config;
mod error;
mod family;
pub mod files;
mod index;
mod resolve;
mod service;

pub use catalogue::{Catalogue, FoundationModel, Modality, Price, Thinking};
pub use config::{ModelConfig, ModelsConfig, UpstreamConfig, UpstreamKind};
pub use error::ModelsError;
pub use family::{Family, Task};
pub use index::{DEFAULT_CHAT_MODEL, DEFAULT_EMBEDDING_MODEL, DEFAULT_NAME_MODEL, ServingRow};
pub use resolve::{Models, Resolved, Target};
pub use service::{ModelsService, tags_from_list};
