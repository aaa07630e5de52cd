//! Who is asking, and whether they may.
//!
//! Owns the root credentials of a data directory, the step from a signed request or an API key to a
//! [`Principal`](craton_core::Principal), and the [`Authorizer`] that the pipeline asks before every operation. The
//! signature sums themselves are in `craton_wire::sigv4`.

mod authenticate;
mod authorize;
mod root;

pub use authenticate::{Authenticated, Identity, PendingRequest};
pub use authorize::{Authorizer, Decision, RootAllowsAll};
pub use root::{CREDENTIALS_FILE, CredentialsError, Origin, RootCredentials, RootKeys};
