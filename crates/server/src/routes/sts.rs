//! `sts`: who is asking, and temporary credentials.

use craton_api_sts::ops;
use futures::FutureExt as _;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .serve::<ops::AssumeRole, _>(|s, c, i| s.sts.assume_role(c, i).boxed())
        .serve::<ops::GetAccessKeyInfo, _>(|s, c, i| s.sts.get_access_key_info(c, i).boxed())
        .serve::<ops::GetCallerIdentity, _>(|s, c, i| s.sts.get_caller_identity(c, i).boxed())
        .serve::<ops::GetSessionToken, _>(|s, c, i| s.sts.get_session_token(c, i).boxed())
}
