//! STS: who is asking, and temporary credentials. A session is its token: nothing is stored. Whether somebody may assume
//! a role, by its trust policy and their own, is decided before a handler is called, as everything else is.

use std::collections::BTreeMap;
use std::sync::Arc;

use craton_api_sts::{
    AssumeRoleRequest, AssumeRoleResponse, AssumedRoleUser, Credentials, GetAccessKeyInfoRequest,
    GetAccessKeyInfoResponse, GetCallerIdentityRequest, GetCallerIdentityResponse, GetSessionTokenRequest,
    GetSessionTokenResponse,
};
use craton_core::{RequestContext, Session, SessionKind};
use craton_identity::directory::{DUPLICATE_TAG_KEYS, Directory, Role, TemporaryCredentials, VaultError};
use craton_identity::policy::PolicyKind;
use craton_wire::ApiError;
use craton_wire::types::Timestamp;

use crate::document;

const ROLE_SESSION_S: i32 = 3_600;
/// Of a role that was assumed with another role's session.
const CHAINED_SESSION_S: i32 = 3_600;
const USER_SESSION_S: i32 = 43_200;
const ROOT_SESSION_S: i32 = 3_600;
/// Characters that session policies and tags may have together.
const MAX_PACKED: usize = 4_096;
const MAX_SESSION_POLICY: usize = 2_048;
const MAX_POLICY_ARNS: usize = 10;

/// STS's operations.
#[derive(Debug, Clone)]
pub struct Sts {
    directory: Directory,
    /// The access key of the root, which is in no directory.
    root_key_id: String,
}

impl Sts {
    pub fn new(directory: Directory, root_key_id: &str) -> Self {
        Self { directory, root_key_id: root_key_id.to_owned() }
    }

    pub async fn get_caller_identity(
        &self,
        context: &RequestContext,
        _input: GetCallerIdentityRequest,
    ) -> Result<GetCallerIdentityResponse, ApiError> {
        let principal = &context.principal;
        Ok(GetCallerIdentityResponse {
            user_id: Some(principal.user_id.clone()),
            account: Some(context.account.id.clone()),
            arn: Some(principal.arn.clone()),
        })
    }

    pub async fn get_access_key_info(
        &self,
        context: &RequestContext,
        input: GetAccessKeyInfoRequest,
    ) -> Result<GetAccessKeyInfoResponse, ApiError> {
        let id = &input.access_key_id;
        let session = id.starts_with("ASIA") && *id == context.principal.access_key_id;
        let known = *id == self.root_key_id || session || self.directory.view().access_key(id).is_ok();
        if known {
            return Ok(GetAccessKeyInfoResponse { account: Some(context.account.id.clone()) });
        }
        Err(ApiError::validation(format!("The access key ID {id} is not known to this account's server.")))
    }

    pub async fn assume_role(
        &self,
        context: &RequestContext,
        input: AssumeRoleRequest,
    ) -> Result<AssumeRoleResponse, ApiError> {
        let caller = &context.principal;
        if caller.is_root() {
            return Err(ApiError::access_denied("Roles may not be assumed by root accounts."));
        }
        if input.serial_number.is_some() || input.token_code.is_some() {
            return Err(ApiError::access_denied(
                "MultiFactorAuthentication failed: there are no MFA devices here.",
            ));
        }
        let given = |what: &str| {
            ApiError::validation(format!(
                "{what} is not supported here: sessions carry policies and tags only."
            ))
        };
        if input.provided_contexts.as_ref().is_some_and(|contexts| !contexts.is_empty()) {
            return Err(given("ProvidedContexts"));
        }
        if input.minimum_session_token_size.is_some() {
            return Err(given("MinimumSessionTokenSize"));
        }
        let asked = Asked::read(context, &input)?;
        let view = self.directory.view();
        if let Some(arn) = asked.policy_arns.iter().find(|arn| view.policy(arn).is_err()) {
            // Nothing of it would be said later: the session would have no permissions.
            return Err(ApiError::validation(format!("The policy {arn} does not exist in this account.")));
        }
        drop(view);
        let role = self.role(context, &input.role_arn)?;
        let seconds = role_session_s(context, &role, input.duration_seconds)?;
        let account = &context.account.id;
        let session = Session {
            kind: SessionKind::AssumedRole,
            issuer_arn: role.arn(account),
            issuer_id: role.id.clone(),
            name: input.role_session_name.clone(),
            policies: input.policy.into_iter().collect(),
            policy_arns: asked.policy_arns,
            tags: asked.tags,
            transitive_tags: asked.transitive_tags,
            source_identity: asked.source_identity.clone(),
            issued_ms: context.received_ms,
            expires_ms: context.received_ms + i64::from(seconds) * 1000,
        };
        let packed = packed_percent(&session)?;
        let made = self.directory.issue(&session).map_err(|error| fault(&error))?;
        let token_size = crate::shapes::count(made.token.len());
        Ok(AssumeRoleResponse {
            credentials: Some(credentials(made)),
            assumed_role_user: Some(AssumedRoleUser {
                assumed_role_id: format!("{}:{}", role.id, session.name),
                arn: format!("arn:aws:sts::{account}:assumed-role/{}/{}", role.name, session.name),
            }),
            packed_policy_size: packed,
            source_identity: asked.source_identity,
            session_token_utilization: None,
            session_token_size: Some(token_size),
        })
    }

    /// A role that is not there, or not by this ARN, is refused in the words of one that may not be assumed.
    fn role(&self, context: &RequestContext, arn: &str) -> Result<Arc<Role>, ApiError> {
        let view = self.directory.view();
        let role = view.role(arn.rsplit('/').next().unwrap_or_default()).ok();
        role.filter(|role| role.arn(&context.account.id) == arn).cloned().ok_or_else(|| {
            ApiError::access_denied(format!(
                "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                context.principal.arn
            ))
        })
    }

    pub async fn get_session_token(
        &self,
        context: &RequestContext,
        input: GetSessionTokenRequest,
    ) -> Result<GetSessionTokenResponse, ApiError> {
        let caller = &context.principal;
        if caller.session.is_some() {
            return Err(ApiError::access_denied("Cannot call GetSessionToken with session credentials"));
        }
        if input.serial_number.is_some() || input.token_code.is_some() {
            return Err(ApiError::access_denied(
                "MultiFactorAuthentication failed: there are no MFA devices here.",
            ));
        }
        let mut seconds = input.duration_seconds.unwrap_or(USER_SESSION_S);
        if caller.is_root() {
            seconds = seconds.min(ROOT_SESSION_S);
        }
        let session = Session {
            kind: SessionKind::SessionToken,
            issuer_arn: caller.arn.clone(),
            issuer_id: caller.user_id.clone(),
            name: String::new(),
            policies: Vec::new(),
            policy_arns: Vec::new(),
            tags: BTreeMap::new(),
            transitive_tags: Vec::new(),
            source_identity: None,
            issued_ms: context.received_ms,
            expires_ms: context.received_ms + i64::from(seconds) * 1000,
        };
        let made = self.directory.issue(&session).map_err(|error| fault(&error))?;
        let token_size = crate::shapes::count(made.token.len());
        Ok(GetSessionTokenResponse {
            credentials: Some(credentials(made)),
            session_token_utilization: None,
            session_token_size: Some(token_size),
        })
    }
}

/// What a session is asked to carry.
struct Asked {
    policy_arns: Vec<String>,
    /// Those of this request, and those that the caller's own session hands on.
    tags: BTreeMap<String, String>,
    transitive_tags: Vec<String>,
    source_identity: Option<String>,
}

impl Asked {
    fn read(context: &RequestContext, input: &AssumeRoleRequest) -> Result<Self, ApiError> {
        if let Some(policy) = &input.policy {
            document(policy, PolicyKind::Inline)?;
            if policy.len() > MAX_SESSION_POLICY {
                return Err(too_large(100 * policy.len() / MAX_SESSION_POLICY));
            }
        }
        let arns = input.policy_arns.iter().flatten().filter_map(|descriptor| descriptor.arn.clone());
        let policy_arns: Vec<String> = arns.collect();
        if policy_arns.len() > MAX_POLICY_ARNS {
            let message = format!("A session can be given at most {MAX_POLICY_ARNS} policy ARNs.");
            return Err(ApiError::validation(message));
        }
        let mut own_tags = BTreeMap::new();
        for tag in input.tags.iter().flatten() {
            let same = |key: &String| key.to_lowercase() == tag.key.to_lowercase();
            if own_tags.keys().any(same) {
                return Err(ApiError::new("InvalidParameterValue", DUPLICATE_TAG_KEYS));
            }
            own_tags.insert(tag.key.clone(), tag.value.clone());
        }
        let session = context.principal.session.as_deref();
        let mut tags = BTreeMap::new();
        for key in session.map(|session| session.transitive_tags.as_slice()).unwrap_or_default() {
            let Some(value) = session.and_then(|session| session.tags.get(key)) else { continue };
            if own_tags.keys().any(|own| own.to_lowercase() == key.to_lowercase()) {
                let message = format!("The tag {key} is transitive and can't be set again.");
                return Err(ApiError::new("InvalidParameterValue", message));
            }
            tags.insert(key.clone(), value.clone());
        }
        let mut transitive_tags: Vec<String> = tags.keys().cloned().collect();
        for key in input.transitive_tag_keys.iter().flatten() {
            if !own_tags.contains_key(key) {
                let message = "The specified transitive tag key must be included in the requested tags.";
                return Err(ApiError::new("InvalidParameterValue", message));
            }
            transitive_tags.push(key.clone());
        }
        tags.extend(own_tags);
        let inherited = session.and_then(|session| session.source_identity.clone());
        if inherited.is_some() && input.source_identity.is_some() && inherited != input.source_identity {
            return Err(ApiError::access_denied("The source identity of a session can't be changed."));
        }
        let source_identity = inherited.or_else(|| input.source_identity.clone());
        Ok(Self { policy_arns, tags, transitive_tags, source_identity })
    }
}

/// How long a role's session lasts, within what the role and chaining allow.
fn role_session_s(context: &RequestContext, role: &Role, asked: Option<i32>) -> Result<i32, ApiError> {
    let seconds = asked.unwrap_or(ROLE_SESSION_S);
    let session = context.principal.session.as_ref();
    let chained = session.is_some_and(|session| session.kind == SessionKind::AssumedRole);
    if chained && seconds > CHAINED_SESSION_S {
        return Err(ApiError::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    if seconds > role.max_session_s {
        return Err(ApiError::validation(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    Ok(seconds)
}

/// How much of the room for policies and tags is taken, in percent; nothing where there are none.
fn packed_percent(session: &Session) -> Result<Option<i32>, ApiError> {
    let policies = session.policies.iter().chain(&session.policy_arns).map(String::len);
    let tags = session.tags.iter().map(|(key, value)| key.len() + value.len());
    let total: usize = policies.chain(tags).sum();
    let percent = (100 * total).div_ceil(MAX_PACKED);
    if percent > 100 {
        return Err(too_large(percent));
    }
    Ok((total > 0).then(|| crate::shapes::count(percent)))
}

fn too_large(percent: usize) -> ApiError {
    let message = format!("Packed policy consumes {percent}% of allotted space, please use smaller policy.");
    ApiError::new("PackedPolicyTooLarge", message)
}

fn credentials(made: TemporaryCredentials) -> Credentials {
    Credentials {
        access_key_id: made.access_key_id,
        secret_access_key: made.secret.expose().to_owned(),
        session_token: made.token,
        expiration: Timestamp::from_ms(made.expires_ms),
    }
}

fn fault(error: &VaultError) -> ApiError {
    tracing::error!(%error, "temporary credentials could not be made");
    ApiError::internal("The server could not complete the request. See its log.")
}
