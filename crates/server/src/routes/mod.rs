//! Which function answers which operation: tables, one line an operation, grouped by service.
//!
//! An operation that is modelled but not in a table answers that this release does not serve it; a test walks every
//! modelled operation and `docs/coverage.md` is printed from the same tables.

mod bedrock;
mod bedrock_agent;
mod bedrock_agent_runtime;
mod bedrock_runtime;
mod iam;
mod lambda;
mod opensearchserverless;
mod sts;

use std::collections::HashMap;

use craton_core::RequestContext;
use craton_wire::ApiError;
use craton_wire::bind::Bound;
use craton_wire::operation::{ModelledOperation, Output, OutputOf, Reply};
use craton_wire::table::{Operation, ServiceTable};
use futures::future::BoxFuture;

use crate::services::Services;

/// Bedrock's four services and their neighbours, in the order of the documentation.
pub(crate) static TABLES: &[&ServiceTable] = &[
    &craton_api_bedrock::SERVICE,
    &craton_api_bedrock_runtime::SERVICE,
    &craton_api_bedrock_agent::SERVICE,
    &craton_api_bedrock_agent_runtime::SERVICE,
    &craton_api_sts::SERVICE,
    &craton_api_iam::SERVICE,
    &craton_api_lambda::SERVICE,
    &craton_api_opensearchserverless::SERVICE,
];

type Handler = Box<
    dyn for<'a> Fn(&'a Services, &'a RequestContext, Bound) -> BoxFuture<'a, Result<Reply, ApiError>>
        + Send
        + Sync,
>;

/// Handlers by service and operation.
#[derive(Default)]
pub(crate) struct Routes {
    handlers: HashMap<(&'static str, &'static str), Handler>,
}

impl Routes {
    /// Every operation this release serves.
    pub(crate) fn all() -> Self {
        let routes = Self::default();
        let routes = bedrock::routes(routes);
        let routes = bedrock_runtime::routes(routes);
        let routes = bedrock_agent::routes(routes);
        let routes = bedrock_agent_runtime::routes(routes);
        let routes = sts::routes(routes);
        let routes = iam::routes(routes);
        let routes = lambda::routes(routes);
        opensearchserverless::routes(routes)
    }

    /// Ties an operation to the function that answers it.
    fn serve<O, R>(
        mut self,
        handler: impl for<'a> Fn(&'a Services, &'a RequestContext, O::Input) -> BoxFuture<'a, Result<R, ApiError>>
        + Send
        + Sync
        + 'static,
    ) -> Self
    where
        O: ModelledOperation,
        R: OutputOf<O::Output> + 'static,
    {
        let erased: Handler = Box::new(move |services, context, bound| {
            let input = match bound.into_input::<O::Input>() {
                Ok(input) => input,
                Err(error) => return Box::pin(std::future::ready(Err(error))),
            };
            let answer = handler(services, context, input);
            Box::pin(async move { answer.await.and_then(Output::into_reply) })
        });
        self.handlers.insert((O::service().name, O::NAME), erased);
        self
    }

    pub(crate) fn serves(&self, table: &ServiceTable, operation: &Operation) -> bool {
        self.handlers.contains_key(&(table.name, operation.name))
    }

    /// The handler of an operation, or the error that says it has none yet.
    pub(crate) fn find(&self, table: &ServiceTable, operation: &Operation) -> Result<&Handler, ApiError> {
        self.handlers.get(&(table.name, operation.name)).ok_or_else(|| not_served(table, operation))
    }
}

/// What a modelled operation without a handler answers.
pub(crate) fn not_served(table: &ServiceTable, operation: &Operation) -> ApiError {
    ApiError::not_served(format!(
        "{} of {} is not served by this release of Craton; docs/coverage.md lists what is.",
        operation.name, table.name
    ))
}
