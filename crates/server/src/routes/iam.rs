//! `iam`: users, groups, roles, policies and keys: nothing of it is served yet.

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
