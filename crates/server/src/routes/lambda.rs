//! `lambda`: functions.

use craton_api_lambda::ops;
use futures::FutureExt as _;

use super::Routes;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .serve::<ops::AddPermission, _>(|s, c, i| s.lambda.add_permission(c, i).boxed())
        .serve::<ops::CreateAlias, _>(|s, c, i| s.lambda.create_alias(c, i).boxed())
        .serve::<ops::CreateFunction, _>(|s, c, i| s.lambda.create_function(c, i).boxed())
        .serve::<ops::DeleteAlias, _>(|s, c, i| s.lambda.delete_alias(c, i).boxed())
        .serve::<ops::DeleteFunction, _>(|s, c, i| s.lambda.delete_function(c, i).boxed())
        .serve::<ops::DeleteFunctionConcurrency, _>(|s, c, i| {
            s.lambda.delete_function_concurrency(c, i).boxed()
        })
        .serve::<ops::GetAlias, _>(|s, c, i| s.lambda.get_alias(c, i).boxed())
        .serve::<ops::GetFunction, _>(|s, c, i| s.lambda.get_function(c, i).boxed())
        .serve::<ops::GetFunctionConcurrency, _>(|s, c, i| s.lambda.get_function_concurrency(c, i).boxed())
        .serve::<ops::GetFunctionConfiguration, _>(|s, c, i| {
            s.lambda.get_function_configuration(c, i).boxed()
        })
        .serve::<ops::GetPolicy, _>(|s, c, i| s.lambda.get_policy(c, i).boxed())
        .serve::<ops::Invoke, _>(|s, c, i| s.lambda.invoke(c, i).boxed())
        .serve::<ops::ListAliases, _>(|s, c, i| s.lambda.list_aliases(c, i).boxed())
        .serve::<ops::ListFunctions, _>(|s, c, i| s.lambda.list_functions(c, i).boxed())
        .serve::<ops::ListTags, _>(|s, c, i| s.lambda.list_tags(c, i).boxed())
        .serve::<ops::ListVersionsByFunction, _>(|s, c, i| s.lambda.list_versions_by_function(c, i).boxed())
        .serve::<ops::PublishVersion, _>(|s, c, i| s.lambda.publish_version(c, i).boxed())
        .serve::<ops::PutFunctionConcurrency, _>(|s, c, i| s.lambda.put_function_concurrency(c, i).boxed())
        .serve::<ops::RemovePermission, _>(|s, c, i| s.lambda.remove_permission(c, i).boxed())
        .serve::<ops::TagResource, _>(|s, c, i| s.lambda.tag_resource(c, i).boxed())
        .serve::<ops::UntagResource, _>(|s, c, i| s.lambda.untag_resource(c, i).boxed())
        .serve::<ops::UpdateAlias, _>(|s, c, i| s.lambda.update_alias(c, i).boxed())
        .serve::<ops::UpdateFunctionCode, _>(|s, c, i| s.lambda.update_function_code(c, i).boxed())
        .serve::<ops::UpdateFunctionConfiguration, _>(|s, c, i| {
            s.lambda.update_function_configuration(c, i).boxed()
        })
}
