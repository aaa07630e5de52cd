//! AddPermission, RemovePermission, GetPolicy.
//!
//! A function, each of its versions and each alias has a policy of its own; a statement's resource says whose it is.
//! Whether somebody may use a function is decided by it together with their own policies, before a handler is called.

use craton_api_lambda as api;
use craton_core::{Arn, RequestContext};
use craton_store::Transaction;
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::read;
use crate::Lambda;
use crate::error::{conflict, invalid, not_found, store_error};
use crate::function::{FunctionRef, LATEST, StoredFunction};

/// AWS's limit of a function's policy.
const MAX_POLICY_BYTES: usize = 20 * 1024;

impl Lambda {
    pub async fn add_permission(
        &self,
        context: &RequestContext,
        input: api::AddPermissionRequest,
    ) -> Result<api::AddPermissionResponse, ApiError> {
        let reference = FunctionRef::parse(context, &input.function_name, input.qualifier.as_deref())?;
        if reference.qualifier.as_deref() == Some(LATEST) {
            return Err(invalid("We currently do not support adding policies for $LATEST."));
        }
        let resource = self.policy_resource(&reference);
        let statement = statement(&resource, &input);
        let added = self.bound(&statement)?;
        let mut transaction = self.inner.store.begin().await.map_err(|error| store_error(&error))?;
        let held = self.hold(&mut transaction, &reference).await?;
        let mut held = held.ok_or_else(|| self.missing(&reference))?;
        self.check_qualifier(&mut transaction, &reference).await?;
        check_policy_revision(&held.function, input.revision_id.as_deref())?;
        if of(&held.function, &resource).any(|statement| statement["Sid"] == input.statement_id) {
            return Err(conflict(format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the \
                 existing statement.",
                input.statement_id
            )));
        }
        held.function.statements.push(added);
        held.function.policy_revision = Some(self.inner.ids.uuid());
        if policy(of(&held.function, &resource)).len() > MAX_POLICY_BYTES {
            return Err(ApiError::new(
                "PolicyLengthExceededException",
                format!("The final policy size is bigger than the limit ({MAX_POLICY_BYTES})."),
            ));
        }
        self.put(&mut transaction, &reference, &mut held).await?;
        transaction.commit().await.map_err(|error| store_error(&error))?;
        Ok(api::AddPermissionResponse { statement: Some(statement.to_string()) })
    }

    /// A permission for a version or alias that is not there would be waiting for whoever makes one of that name.
    async fn check_qualifier(
        &self,
        transaction: &mut Transaction,
        reference: &FunctionRef,
    ) -> Result<(), ApiError> {
        let Some(qualifier) = reference.qualifier.as_deref() else { return Ok(()) };
        if self.inner.mapped.get(&reference.name).is_some() {
            // It is one of the function that calls go to.
            return Ok(());
        }
        let scope = self.scope(&reference.region);
        let there = match qualifier.parse::<i64>() {
            Ok(number) => transaction
                .version_numbers(&scope, &reference.name)
                .await
                .map(|numbers| number.to_string() == qualifier && numbers.contains(&number)),
            Err(_) => transaction
                .list_aliases(&scope, &reference.name)
                .await
                .map(|aliases| aliases.iter().any(|alias| alias.name == qualifier)),
        };
        if there.map_err(|error| store_error(&error))? { Ok(()) } else { Err(self.missing(reference)) }
    }

    /// Takes the policy of a version or alias away with it. Nothing where the function is gone.
    pub(super) async fn forget_policy(
        &self,
        transaction: &mut Transaction,
        reference: &FunctionRef,
    ) -> Result<(), ApiError> {
        let Some(mut held) = self.hold(transaction, reference).await? else { return Ok(()) };
        let resource = self.policy_resource(reference);
        if of(&held.function, &resource).next().is_none() {
            return Ok(());
        }
        held.function.statements.retain(|statement| statement["Resource"] != resource.as_str());
        held.function.policy_revision = Some(self.inner.ids.uuid());
        self.put(transaction, reference, &mut held).await
    }

    pub async fn remove_permission(
        &self,
        context: &RequestContext,
        input: api::RemovePermissionRequest,
    ) -> Result<(), ApiError> {
        let reference = FunctionRef::parse(context, &input.function_name, input.qualifier.as_deref())?;
        let resource = self.policy_resource(&reference);
        let revision = self.inner.ids.uuid();
        let removed = self.rewrite(&reference, |function| {
            check_policy_revision(function, input.revision_id.as_deref())?;
            let before = function.statements.len();
            function.statements.retain(|statement| {
                statement["Sid"] != input.statement_id || statement["Resource"] != resource.as_str()
            });
            if function.statements.len() == before {
                return Err(not_found("No policy is associated with the given resource."));
            }
            function.policy_revision = Some(revision);
            Ok(())
        });
        removed.await.map(drop)
    }

    pub async fn get_policy(
        &self,
        context: &RequestContext,
        input: api::GetPolicyRequest,
    ) -> Result<api::GetPolicyResponse, ApiError> {
        let reference = FunctionRef::parse(context, &input.function_name, input.qualifier.as_deref())?;
        let resource = self.policy_resource(&reference);
        let function = read(&self.record(&reference).await?.body)?;
        if of(&function, &resource).next().is_none() {
            return Err(not_found("The resource you requested does not exist."));
        }
        Ok(api::GetPolicyResponse {
            policy: Some(self.inner.credentials.show_principals(&policy(of(&function, &resource)))),
            revision_id: Some(policy_revision(&function).to_owned()),
        })
    }

    /// The policy of the function, version or alias with this ARN, if it has one: what is weighed with the policies of
    /// whoever wants to use it.
    pub async fn resource_policy(&self, arn: &Arn) -> Result<Option<String>, ApiError> {
        let account = &self.inner.account.id;
        let Ok(reference) = FunctionRef::read(&arn.region, account, &arn.to_string()) else {
            return Ok(None);
        };
        let found = self.inner.store.get(&self.scope(&reference.region), &reference.name).await;
        let Some(record) = found.map_err(|error| store_error(&error))? else { return Ok(None) };
        let (function, resource) = (read(&record.body)?, self.policy_resource(&reference));
        let has_one = of(&function, &resource).next().is_some();
        Ok(has_one.then(|| policy(of(&function, &resource))))
    }

    /// A statement with its principal by the unique id that only they have, who may lose their name to somebody else.
    fn bound(&self, statement: &Value) -> Result<Value, ApiError> {
        let bound = self.inner.credentials.bind_principals(&policy([statement].into_iter()));
        let bound: Option<Value> = bound.and_then(|text| serde_json::from_str(&text).ok());
        bound.and_then(|mut policy| policy["Statement"].get_mut(0).map(Value::take)).ok_or_else(|| {
            invalid("The provided principal was invalid. Please check the principal and try again.")
        })
    }

    /// Whose policy an operation is about. `$LATEST` has the function's.
    fn policy_resource(&self, reference: &FunctionRef) -> String {
        let qualifier = reference.qualifier.clone().filter(|qualifier| qualifier != LATEST);
        FunctionRef { qualifier, ..reference.clone() }.arn(&self.inner.account.id)
    }
}

fn statement(resource: &str, input: &api::AddPermissionRequest) -> Value {
    let is_account = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let principal = match input.principal.as_str() {
        "*" => json!("*"),
        service if service.contains(".amazonaws.") => json!({ "Service": service }),
        account if is_account(account) => json!({ "AWS": format!("arn:aws:iam::{account}:root") }),
        arn => json!({ "AWS": arn }),
    };
    let mut statement = json!({
        "Sid": input.statement_id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": input.action,
        "Resource": resource,
    });
    let condition = conditions(input);
    if !condition.is_empty() {
        statement["Condition"] = Value::Object(condition);
    }
    statement
}

/// What a permission is bound to: by operator, by key.
fn conditions(input: &api::AddPermissionRequest) -> Map<String, Value> {
    let url_auth = input.function_url_auth_type.as_ref().map(|kind| kind.as_str().to_owned());
    let via_url = input.invoked_via_function_url.map(|via| via.to_string());
    let mut conditions = Map::new();
    for (operator, key, value) in [
        ("StringEquals", "AWS:SourceAccount", &input.source_account),
        ("StringEquals", "aws:PrincipalOrgID", &input.principal_org_id),
        ("StringEquals", "lambda:EventSourceToken", &input.event_source_token),
        ("StringEquals", "lambda:FunctionUrlAuthType", &url_auth),
        ("Bool", "lambda:InvokedViaFunctionUrl", &via_url),
        ("ArnLike", "AWS:SourceArn", &input.source_arn),
    ] {
        if let Some(value) = value {
            let keys = conditions.entry(operator).or_insert_with(|| json!({}));
            keys[key] = json!(value);
        }
    }
    conditions
}

/// The statements of one of a function's policies.
fn of<'a>(function: &'a StoredFunction, resource: &'a str) -> impl Iterator<Item = &'a Value> {
    function.statements.iter().filter(move |statement| statement["Resource"] == resource)
}

fn policy<'a>(statements: impl Iterator<Item = &'a Value>) -> String {
    let statements: Vec<&Value> = statements.collect();
    json!({"Version": "2012-10-17", "Id": "default", "Statement": statements}).to_string()
}

/// Policies have revisions of their own: they change without the function.
fn policy_revision(function: &StoredFunction) -> &str {
    function.policy_revision.as_deref().unwrap_or(&function.revision)
}

fn check_policy_revision(function: &StoredFunction, expected: Option<&str>) -> Result<(), ApiError> {
    super::check_expected(policy_revision(function), expected)
}
