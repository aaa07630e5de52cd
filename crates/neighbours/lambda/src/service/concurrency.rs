//! PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency.

use craton_api_lambda as api;
use craton_core::RequestContext;
use craton_wire::ApiError;

use super::{read, unqualified};
use crate::Lambda;
use crate::function::FunctionRef;

impl Lambda {
    pub async fn put_function_concurrency(
        &self,
        context: &RequestContext,
        input: api::PutFunctionConcurrencyRequest,
    ) -> Result<api::Concurrency, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        let count = u32::try_from(input.reserved_concurrent_executions).unwrap_or(0);
        self.reserve(&reference, Some(count)).await?;
        Ok(api::Concurrency { reserved_concurrent_executions: Some(input.reserved_concurrent_executions) })
    }

    pub async fn get_function_concurrency(
        &self,
        context: &RequestContext,
        input: api::GetFunctionConcurrencyRequest,
    ) -> Result<api::GetFunctionConcurrencyResponse, ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        let function = read(&self.record(&reference).await?.body)?;
        let count = function.reserved_concurrency.and_then(|count| i32::try_from(count).ok());
        Ok(api::GetFunctionConcurrencyResponse { reserved_concurrent_executions: count })
    }

    pub async fn delete_function_concurrency(
        &self,
        context: &RequestContext,
        input: api::DeleteFunctionConcurrencyRequest,
    ) -> Result<(), ApiError> {
        let reference = unqualified(context, &input.function_name)?;
        self.reserve(&reference, None).await
    }

    /// The function stays as it is, and so do its environments.
    async fn reserve(&self, reference: &FunctionRef, count: Option<u32>) -> Result<(), ApiError> {
        let reserved = self.rewrite(reference, |function| {
            function.reserved_concurrency = count;
            Ok(())
        });
        reserved.await.map(drop)
    }
}
