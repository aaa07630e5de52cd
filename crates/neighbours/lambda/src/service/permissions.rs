//! AddPermission, RemovePermission, GetPolicy.

use craton_api_lambda as api;
use craton_core::RequestContext;
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::{check_revision, read};
use crate::Lambda;
use crate::error::{conflict, not_found, service};
use crate::function::{self, FunctionRef, StoredFunction};

/// AWS's limit of a function's policy.
const MAX_POLICY_BYTES: usize = 20 * 1024;

impl Lambda {
    pub async fn add_permission(
        &self,
        context: &RequestContext,
        input: api::AddPermissionRequest,
    ) -> Result<api::AddPermissionResponse, ApiError> {
        let reference = FunctionRef::parse(context, &input.function_name, input.qualifier.as_deref())?;
        let before = read(&self.record(&reference).await?.body)?;
        check_revision(&before, input.revision_id.as_deref())?;
        if before.statements.iter().any(|statement| statement["Sid"] == input.statement_id) {
            return Err(conflict(format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the \
                 existing statement.",
                input.statement_id
            )));
        }
        let statement = self.statement(&reference, &input);
        let mut after = before.statements;
        after.push(statement.clone());
        if policy(&after).len() > MAX_POLICY_BYTES {
            return Err(ApiError::new(
                "PolicyLengthExceededException",
                format!("The final policy size is bigger than the limit ({MAX_POLICY_BYTES})."),
            ));
        }
        self.set_statements(&reference, after).await?;
        Ok(api::AddPermissionResponse { statement: Some(statement.to_string()) })
    }

    fn statement(&self, reference: &FunctionRef, input: &api::AddPermissionRequest) -> Value {
        let principal = match input.principal.as_str() {
            "*" => json!("*"),
            service if service.contains(".amazonaws.") => json!({ "Service": service }),
            account => json!({ "AWS": account }),
        };
        let resource = function::arn(
            &reference.region,
            &self.inner.account.id,
            &reference.name,
            reference.qualifier.as_deref(),
        );
        let mut statement = json!({
            "Sid": input.statement_id,
            "Effect": "Allow",
            "Principal": principal,
            "Action": input.action,
            "Resource": resource,
        });
        let mut condition = serde_json::Map::new();
        if let Some(account) = &input.source_account {
            condition.insert("StringEquals".into(), json!({"AWS:SourceAccount": account}));
        }
        if let Some(arn) = &input.source_arn {
            condition.insert("ArnLike".into(), json!({"AWS:SourceArn": arn}));
        }
        if !condition.is_empty() {
            statement["Condition"] = Value::Object(condition);
        }
        statement
    }

    pub async fn remove_permission(
        &self,
        context: &RequestContext,
        input: api::RemovePermissionRequest,
    ) -> Result<(), ApiError> {
        let reference = FunctionRef::parse(context, &input.function_name, input.qualifier.as_deref())?;
        let before = read(&self.record(&reference).await?.body)?;
        check_revision(&before, input.revision_id.as_deref())?;
        let mut after = before.statements.clone();
        after.retain(|statement| statement["Sid"] != input.statement_id);
        if after.len() == before.statements.len() {
            return Err(not_found("No policy is associated with the given resource."));
        }
        self.set_statements(&reference, after).await.map(drop)
    }

    pub async fn get_policy(
        &self,
        context: &RequestContext,
        input: api::GetPolicyRequest,
    ) -> Result<api::GetPolicyResponse, ApiError> {
        let reference = FunctionRef::parse(context, &input.function_name, input.qualifier.as_deref())?;
        let function = read(&self.record(&reference).await?.body)?;
        if function.statements.is_empty() {
            return Err(not_found("The resource you requested does not exist."));
        }
        Ok(api::GetPolicyResponse {
            policy: Some(policy(&function.statements)),
            revision_id: Some(function.revision),
        })
    }

    /// A policy is no part of what a function runs as, so its environments stay.
    async fn set_statements(
        &self,
        reference: &FunctionRef,
        statements: Vec<Value>,
    ) -> Result<StoredFunction, ApiError> {
        let mut record = self.record(reference).await?;
        let mut function = read(&record.body)?;
        function.statements = statements;
        record.body = serde_json::to_value(&function).map_err(|error| service(&error))?;
        let now_ms = self.inner.clock.now_ms();
        let scope = self.scope(&reference.region);
        let updated = self.inner.store.update(&scope, &record, Some(record.version), now_ms).await;
        updated.map_err(|error| crate::error::store_error(&error))?;
        Ok(function)
    }
}

fn policy(statements: &[Value]) -> String {
    json!({"Version": "2012-10-17", "Id": "default", "Statement": statements}).to_string()
}
