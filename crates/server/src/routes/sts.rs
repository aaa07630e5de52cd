//! `sts`: who is asking, and temporary credentials: nothing of it is served yet.

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
