//! `opensearchserverless`: collections and their policies: nothing of it is served yet.

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
}
