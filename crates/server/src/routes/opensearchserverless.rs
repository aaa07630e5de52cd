//! `opensearchserverless`: collections and their policies.

use craton_api_opensearchserverless::ops;
use futures::FutureExt as _;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .serve::<ops::BatchGetCollection, _>(|s, c, i| s.collections.batch_get_collection(c, i).boxed())
        .serve::<ops::CreateAccessPolicy, _>(|s, c, i| s.collections.create_access_policy(c, i).boxed())
        .serve::<ops::CreateCollection, _>(|s, c, i| s.collections.create_collection(c, i).boxed())
        .serve::<ops::CreateSecurityPolicy, _>(|s, c, i| s.collections.create_security_policy(c, i).boxed())
        .serve::<ops::DeleteAccessPolicy, _>(|s, c, i| s.collections.delete_access_policy(c, i).boxed())
        .serve::<ops::DeleteCollection, _>(|s, c, i| s.collections.delete_collection(c, i).boxed())
        .serve::<ops::DeleteSecurityPolicy, _>(|s, c, i| s.collections.delete_security_policy(c, i).boxed())
        .serve::<ops::GetAccessPolicy, _>(|s, c, i| s.collections.get_access_policy(c, i).boxed())
        .serve::<ops::GetSecurityPolicy, _>(|s, c, i| s.collections.get_security_policy(c, i).boxed())
        .serve::<ops::ListAccessPolicies, _>(|s, c, i| s.collections.list_access_policies(c, i).boxed())
        .serve::<ops::ListCollections, _>(|s, c, i| s.collections.list_collections(c, i).boxed())
        .serve::<ops::ListSecurityPolicies, _>(|s, c, i| s.collections.list_security_policies(c, i).boxed())
        .serve::<ops::ListTagsForResource, _>(|s, c, i| s.collections.list_tags_for_resource(c, i).boxed())
        .serve::<ops::TagResource, _>(|s, c, i| s.collections.tag_resource(c, i).boxed())
        .serve::<ops::UntagResource, _>(|s, c, i| s.collections.untag_resource(c, i).boxed())
        .serve::<ops::UpdateAccessPolicy, _>(|s, c, i| s.collections.update_access_policy(c, i).boxed())
        .serve::<ops::UpdateCollection, _>(|s, c, i| s.collections.update_collection(c, i).boxed())
        .serve::<ops::UpdateSecurityPolicy, _>(|s, c, i| s.collections.update_security_policy(c, i).boxed())
}
