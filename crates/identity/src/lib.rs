//! Who is asking, and whether they may.
//!
//! Owns the root credentials of a data directory, the step from a signed request or an API key to a
//! [`Principal`](craton_core::Principal), and the [`Authorizer`] that the pipeline asks before every operation. The
//! signature sums themselves are in `craton_wire::sigv4`.
//!
//! * [`directory`]: users, groups, roles, policies and keys.
//! * [`policy`]: the policy language, pure.
//! * [`PolicySource`]: which policies apply to whom; the directory of users and roles implements it.
//! * [`PolicyAuthorizer`]: both together, with AWS's messages.
//! * [`Permissions`]: what components ask before they act for somebody.
//! * [`ServiceRoles`]: what agents, knowledge bases, flows, jobs and functions may do with the roles given to them.

mod attempts;
mod authenticate;
mod authorize;
pub mod directory;
mod known_keys;
mod permissions;
pub mod policy;
mod private_file;
mod request_keys;
mod root;
mod service_roles;
mod source;

pub use authenticate::{Authenticated, ClaimedKey, Identity, PendingRequest};
pub use authorize::{AuthorizationRequest, Authorizer, Decision, PolicyAuthorizer, PrincipalKeys};
pub use known_keys::{is_served_key, warn_of_unserved_keys};
pub use permissions::{Actor, ObjectAccess, Permissions};
pub use request_keys::{RequestKeys, rfc3339};
pub use root::{CREDENTIALS_FILE, CredentialsError, Origin, RootCredentials, RootKeys};
pub use service_roles::{RoleInUse, RoleLog, RoleUse, ServiceRoles, ServiceUse};
pub use source::{Attached, NoPolicies, PolicySource, RolePolicies, requester};
