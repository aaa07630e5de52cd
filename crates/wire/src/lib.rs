//! AWS's wire protocols, by hand: what an unmodified AWS client sends and what it must get back.
//!
//! * [`table`]: what the generated crates say of each operation; facts only.
//! * [`operation`]: the traits that tie a generated operation to its input, its output and its events.
//! * [`types`]: the scalars generated structures are made of; [`reply`]: how outputs are written.
//! * [`error`]: the one error every handler returns, rendered with the status its service gives that name.
//! * [`route`], [`bind`], [`validate`]: the generic engine over the tables.
//! * [`dispatch`]: which service and operation a request is for; [`query`], [`xml`]: the query protocol.
//! * [`coverage`]: which operations are served, as a page.
//! * `sigv4`, `api_key`: who signed.
//! * `eventstream`: frames of `application/vnd.amazon.eventstream`; [`driven`]: streams that are the work they tell of.

pub mod api_key;
pub mod bind;
pub mod coverage;
pub mod dispatch;
pub mod driven;
pub mod error;
pub mod eventstream;
pub mod operation;
mod pattern;
pub mod query;
pub mod reply;
pub mod route;
pub mod sigv4;
pub mod table;
pub mod types;
pub mod validate;
pub mod xml;

pub use error::ApiError;
