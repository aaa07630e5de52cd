//! Security policies (encryption, network) and data access policies: kept and given back. What the latter
//! allow is weighed where a collection is used ([`crate::rest`]).

use craton_api_opensearchserverless as api;
use craton_core::{PageRequest, RequestContext};
use craton_store::{Idempotency, NewRecord, Range, Record};
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::{Bound, bind, covers, problem, security_problem};
use crate::error::{from_store, internal};
use crate::{Collections, scope};

const SECURITY: &str = "aoss-security-policy";
const ACCESS: &str = "aoss-access-policy";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    policy: Value,
    /// Of a data access policy.
    #[serde(default, skip_serializing_if = "Bound::is_empty")]
    bound: Bound,
    /// Opaque; must be named to change the policy.
    policy_version: String,
    /// The client token of the last change and a digest of what it asked: who repeats it is told what it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_change: Option<(String, String)>,
}

/// A policy as all operations give it back.
struct Kept {
    name: String,
    stored: Stored,
    record: Record,
}

/// Which policy: its record's kind, its type and name.
struct Key<'a> {
    kind: &'static str,
    r#type: &'a str,
    name: &'a str,
}

impl Key<'_> {
    fn id(&self) -> String {
        format!("{}/{}", self.r#type, self.name)
    }

    fn missing(&self) -> ApiError {
        ApiError::not_found(format!("Policy with name {} and type {} is not found", self.name, self.r#type))
    }
}

/// What an update changes.
struct Change {
    version: String,
    description: Option<String>,
    policy: Option<String>,
    token: Option<String>,
}

/// What a new policy is made of.
struct New {
    description: Option<String>,
    policy: String,
    token: Option<String>,
}

impl Collections {
    async fn create_policy(
        &self,
        context: &RequestContext,
        key: Key<'_>,
        New { description, policy, token }: New,
    ) -> Result<Kept, ApiError> {
        let request = json!([key.kind, key.id(), description, policy]);
        let (policy, bound) = self.document(&key, &policy)?;
        let stored = Stored {
            description,
            policy,
            bound,
            policy_version: self.parts.ids.short(20),
            last_change: None,
        };
        let new = NewRecord {
            id: key.id(),
            name: None,
            body: serde_json::to_value(&stored).map_err(|error| internal(&error))?,
            now_ms: self.now_ms(),
            idempotency: token.map(|token| Idempotency::of(token, &request, Value::Null)),
            tags: None,
        };
        let exists = format!("Policy with name {} and type {} already exists", key.name, key.r#type);
        let created = self.parts.store.create(&scope(context, key.kind), new).await;
        created.map_err(|error| match error {
            craton_store::StoreError::NameTaken { .. } => ApiError::conflict(exists),
            other => from_store(other),
        })?;
        self.policy(context, &key).await
    }

    async fn policy(&self, context: &RequestContext, key: &Key<'_>) -> Result<Kept, ApiError> {
        let found = self.parts.store.get(&scope(context, key.kind), &key.id()).await.map_err(from_store)?;
        read(found.ok_or_else(|| key.missing())?)
    }

    async fn update_policy(
        &self,
        context: &RequestContext,
        key: Key<'_>,
        change: Change,
    ) -> Result<Kept, ApiError> {
        let Kept { mut stored, record, .. } = self.policy(context, &key).await?;
        let asked = json!([change.version, change.description, change.policy]);
        let token = change.token.map(|token| Idempotency::of(token, &asked, Value::Null));
        let by = token.map(|Idempotency { token, request_hash, .. }| (token, request_hash));
        if let (Some((token, asked)), Some((last, done))) = (&by, &stored.last_change)
            && token == last
        {
            if asked == done {
                return self.policy(context, &key).await;
            }
            return Err(from_store(craton_store::StoreError::TokenReused));
        }
        if stored.policy_version != change.version {
            return Err(ApiError::conflict(
                "The policy version is not the current one. Read it and try again.",
            ));
        }
        stored.description = change.description.or(stored.description);
        if let Some(policy) = &change.policy {
            (stored.policy, stored.bound) = self.document(&key, policy)?;
        }
        stored.policy_version = self.parts.ids.short(20);
        stored.last_change = by;
        let body = serde_json::to_value(&stored).map_err(|error| internal(&error))?;
        let changed = Record { body, ..record };
        let scope = scope(context, key.kind);
        let updated = self.parts.store.update(&scope, &changed, Some(changed.version), self.now_ms()).await;
        read(updated.map_err(from_store)?)
    }

    async fn delete_policy(&self, context: &RequestContext, key: Key<'_>) -> Result<(), ApiError> {
        let deleted = self.parts.store.delete(&scope(context, key.kind), &key.id(), None).await;
        if deleted.map_err(from_store)? { Ok(()) } else { Err(key.missing()) }
    }

    async fn policies(
        &self,
        context: &RequestContext,
        kind: &'static str,
        r#type: &str,
    ) -> Result<Vec<Kept>, ApiError> {
        let range = Range { prefix: format!("{}/", r#type), ..Range::default() };
        let records = self.parts.store.list(&scope(context, kind), &range).await.map_err(from_store)?;
        records.into_iter().map(read).collect()
    }

    /// What the data access policies say, and whom they mean.
    pub(crate) async fn data_access_policies(
        &self,
        context: &RequestContext,
    ) -> Result<Vec<(Value, Bound)>, ApiError> {
        let policies = self.policies(context, ACCESS, "data").await?;
        Ok(policies.into_iter().map(|kept| (kept.stored.policy, kept.stored.bound)).collect())
    }

    /// A policy's text, read, with the ids of the principals of one for data access.
    fn document(&self, key: &Key<'_>, policy: &str) -> Result<(Value, Bound), ApiError> {
        let wrong =
            |problem: String| ApiError::validation(format!("Policy json is invalid, error: [{problem}]"));
        let document: Value = serde_json::from_str(policy).map_err(|error| wrong(error.to_string()))?;
        if !document.is_object() && !document.is_array() {
            return Err(wrong("it must be an object or an array".into()));
        }
        let is_access = key.kind == ACCESS;
        let found = if is_access { problem(&document) } else { security_problem(key.r#type, &document) };
        if let Some(problem) = found {
            return Err(wrong(problem));
        }
        let bound = if is_access { bind(&document, self.parts.principals.as_ref()) } else { Bound::new() };
        Ok((document, bound))
    }

    /// Whether an encryption policy covers a collection of this name.
    pub(crate) async fn is_encrypted(&self, context: &RequestContext, name: &str) -> Result<bool, ApiError> {
        let policies = self.policies(context, SECURITY, "encryption").await?;
        let wanted = format!("collection/{name}");
        Ok(policies.iter().any(|kept| covers(&kept.stored.policy, &wanted)))
    }
}

fn read(record: Record) -> Result<Kept, ApiError> {
    let stored = Stored::deserialize(&record.body).map_err(|error| internal(&error))?;
    let name = record.id.split_once('/').map_or("", |(_, name)| name).to_owned();
    Ok(Kept { name, stored, record })
}

/// The operations of one kind of policy, which differ in their types alone.
macro_rules! policies {
    ($kind:expr, $type:ident, $detail:ident, $field:ident, $summary:ident, $summaries:ident,
     create $create:ident $create_in:ident $create_out:ident, get $get:ident $get_in:ident $get_out:ident,
     list $list:ident $list_in:ident $list_out:ident, update $update:ident $update_in:ident $update_out:ident,
     delete $delete:ident $delete_in:ident $delete_out:ident) => {
        impl Collections {
            pub async fn $create(
                &self,
                context: &RequestContext,
                input: api::$create_in,
            ) -> Result<api::$create_out, ApiError> {
                let key = Key { kind: $kind, r#type: input.r#type.as_str(), name: &input.name };
                let new =
                    New { description: input.description, policy: input.policy, token: input.client_token };
                let kept = self.create_policy(context, key, new).await?;
                Ok(api::$create_out { $field: Some(kept.into()) })
            }

            pub async fn $get(
                &self,
                context: &RequestContext,
                input: api::$get_in,
            ) -> Result<api::$get_out, ApiError> {
                let key = Key { kind: $kind, r#type: input.r#type.as_str(), name: &input.name };
                Ok(api::$get_out { $field: Some(self.policy(context, &key).await?.into()) })
            }

            pub async fn $list(
                &self,
                context: &RequestContext,
                input: api::$list_in,
            ) -> Result<api::$list_out, ApiError> {
                let mut kept = self.policies(context, $kind, input.r#type.as_str()).await?;
                if let Some(resources) = input.resource {
                    kept.retain(|kept| resources.iter().any(|wanted| covers(&kept.stored.policy, wanted)));
                }
                let page =
                    PageRequest::of(input.next_token, input.max_results).cut(kept, |kept| kept.name.clone());
                let page = page.map_err(|error| ApiError::validation(error.to_string()))?;
                Ok(api::$list_out {
                    $summaries: Some(page.items.into_iter().map(Into::into).collect()),
                    next_token: page.next_token,
                })
            }

            pub async fn $update(
                &self,
                context: &RequestContext,
                input: api::$update_in,
            ) -> Result<api::$update_out, ApiError> {
                let key = Key { kind: $kind, r#type: input.r#type.as_str(), name: &input.name };
                let change = Change {
                    version: input.policy_version,
                    description: input.description,
                    policy: input.policy,
                    token: input.client_token,
                };
                Ok(api::$update_out { $field: Some(self.update_policy(context, key, change).await?.into()) })
            }

            pub async fn $delete(
                &self,
                context: &RequestContext,
                input: api::$delete_in,
            ) -> Result<api::$delete_out, ApiError> {
                let key = Key { kind: $kind, r#type: input.r#type.as_str(), name: &input.name };
                self.delete_policy(context, key).await?;
                Ok(api::$delete_out {})
            }
        }

        impl From<Kept> for api::$detail {
            fn from(kept: Kept) -> Self {
                Self {
                    r#type: kept
                        .record
                        .id
                        .split_once('/')
                        .and_then(|(kind, _)| kind.parse::<api::$type>().ok()),
                    name: Some(kept.name),
                    policy_version: Some(kept.stored.policy_version),
                    description: kept.stored.description,
                    policy: Some(kept.stored.policy),
                    created_date: Some(kept.record.created_ms),
                    last_modified_date: Some(kept.record.updated_ms),
                }
            }
        }

        impl From<Kept> for api::$summary {
            fn from(kept: Kept) -> Self {
                Self {
                    r#type: kept
                        .record
                        .id
                        .split_once('/')
                        .and_then(|(kind, _)| kind.parse::<api::$type>().ok()),
                    name: Some(kept.name),
                    policy_version: Some(kept.stored.policy_version),
                    description: kept.stored.description,
                    created_date: Some(kept.record.created_ms),
                    last_modified_date: Some(kept.record.updated_ms),
                }
            }
        }
    };
}

policies!(
    SECURITY, SecurityPolicyType, SecurityPolicyDetail, security_policy_detail, SecurityPolicySummary,
    security_policy_summaries,
    create create_security_policy CreateSecurityPolicyRequest CreateSecurityPolicyResponse,
    get get_security_policy GetSecurityPolicyRequest GetSecurityPolicyResponse,
    list list_security_policies ListSecurityPoliciesRequest ListSecurityPoliciesResponse,
    update update_security_policy UpdateSecurityPolicyRequest UpdateSecurityPolicyResponse,
    delete delete_security_policy DeleteSecurityPolicyRequest DeleteSecurityPolicyResponse
);

policies!(
    ACCESS, AccessPolicyType, AccessPolicyDetail, access_policy_detail, AccessPolicySummary,
    access_policy_summaries,
    create create_access_policy CreateAccessPolicyRequest CreateAccessPolicyResponse,
    get get_access_policy GetAccessPolicyRequest GetAccessPolicyResponse,
    list list_access_policies ListAccessPoliciesRequest ListAccessPoliciesResponse,
    update update_access_policy UpdateAccessPolicyRequest UpdateAccessPolicyResponse,
    delete delete_access_policy DeleteAccessPolicyRequest DeleteAccessPolicyResponse
);
