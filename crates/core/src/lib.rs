//! The few words every other crate speaks: names of resources, who is asking, what time it is, where ids come from.
//!
//! Kept small on purpose; anything with a feature's own rules belongs to that feature's crate.

mod arn;
mod clock;
mod context;
mod ids;
pub mod image;
pub mod media;
mod page;
mod text;

pub use arn::{Arn, ArnError, partition};
pub use clock::{Clock, DAY_MS, SystemClock};
pub use context::{Account, Principal, RequestContext, Session, SessionKind};
pub use ids::{IdSource, RandomIds};
pub use page::{Page, PageError, PageRequest};
pub use text::first_chars;
