//! What a service does with a role it was given.

use std::sync::Arc;

use craton_core::{Arn, Principal};
use craton_wire::ApiError;

use crate::authorize::{AuthorizationRequest, Decision, decide};
use crate::policy::{
    Context, Keys, Policies, Request, Requester, RequesterKind, ResourceSide, Values, Verdict, evaluate,
};
use crate::source::{PolicySource, RolePolicies};

/// The keys of a service's use of a role, then those of the request.
struct Both<'a>(Context, &'a dyn Keys);

impl Keys for Both<'_> {
    fn values(&self, key: &str) -> Option<Values<'_>> {
        self.0.values(key).or_else(|| self.1.values(key))
    }
}

/// A service that acts with a role.
#[derive(Debug, Clone, Copy)]
pub struct ServiceUse<'a> {
    pub role_arn: &'a str,
    /// `bedrock.amazonaws.com` or `lambda.amazonaws.com`.
    pub service: &'a str,
    /// The agent, knowledge base, job or function it acts for, for `aws:SourceArn` in the role's trust policy.
    pub source_arn: Option<&'a str>,
}

/// What a service did, or was refused, with a role: for the audit log.
#[derive(Debug, Clone, Copy)]
pub struct RoleUse<'a> {
    pub usage: ServiceUse<'a>,
    /// The role's session; the service itself where it could not assume the role.
    pub principal: &'a Principal,
    pub action: &'a str,
    /// An ARN, or `*`.
    pub resource: &'a str,
    pub refused: Option<&'a ApiError>,
}

/// Is told of every use of a role that was checked.
pub trait RoleLog: Send + Sync {
    fn used(&self, role_use: &RoleUse<'_>);
}

/// Checks what agents, knowledge bases, flows, jobs and functions do against the roles given to them.
///
/// Off by default (`enforce_service_roles = false`), so that code with invented role ARNs runs: then every use is
/// allowed and roles need not exist.
#[derive(Clone)]
pub struct ServiceRoles {
    source: Arc<dyn PolicySource>,
    account: String,
    enforce: bool,
    log: Option<Arc<dyn RoleLog>>,
}

impl ServiceRoles {
    /// `account` is the one whose roles may be used.
    pub fn new(source: Arc<dyn PolicySource>, account: &str, enforce: bool) -> Self {
        Self { source, account: account.to_owned(), enforce, log: None }
    }

    /// Tells `log` of every use that is checked.
    #[must_use]
    pub fn with_log(mut self, log: Arc<dyn RoleLog>) -> Self {
        self.log = Some(log);
        self
    }

    fn tell(&self, role_use: &RoleUse<'_>) {
        if let Some(log) = &self.log {
            log.used(role_use);
        }
    }

    /// Allows everything.
    pub fn permissive() -> Self {
        Self::new(Arc::new(crate::source::NoPolicies), "", false)
    }

    /// Whether the service may do this with the role: the role trusts it to act for the component, and its policies allow
    /// the action on the resource (an ARN, or `*`).
    pub fn authorize_use(
        &self,
        usage: &ServiceUse<'_>,
        action: &str,
        resource: &str,
    ) -> Result<(), ApiError> {
        if !self.enforce {
            return Ok(());
        }
        let resources: Vec<Arn> = match resource {
            "*" => Vec::new(),
            text => vec![text.parse().map(Arn::canonical).map_err(|_| {
                ApiError::access_denied(format!(
                    "{} is not authorized to perform: {action} on resource: {text}",
                    usage.service
                ))
            })?],
        };
        let mut context = Context::new();
        if let Some(arn) = resources.first() {
            // Buckets' ARNs name no account: all that are here are this account's.
            let account = if arn.account.is_empty() { &self.account } else { &arn.account };
            context.set("aws:ResourceAccount", account.as_str());
        }
        let asked =
            AuthorizationRequest { context: &context, ..AuthorizationRequest::new(action, &resources) };
        self.authorize(usage, &asked)
    }

    /// Whether roles are asked at all.
    pub fn enforces(&self) -> bool {
        self.enforce
    }

    /// Whether a policy of the role asks for a context key that begins so, in lower case.
    pub fn asks_for(&self, usage: &ServiceUse<'_>, prefix: &str) -> bool {
        self.source.role(usage.role_arn).is_some_and(|role| role.attached.asks_for(prefix))
    }

    /// As [`Self::authorize_use`], with the resource's own policy and its context keys.
    pub fn authorize(
        &self,
        usage: &ServiceUse<'_>,
        request: &AuthorizationRequest<'_>,
    ) -> Result<(), ApiError> {
        if !self.enforce {
            return Ok(());
        }
        let role = self.assume(usage).inspect_err(|error| {
            let service = Principal::new(usage.service, "");
            let (action, resource) = ("sts:AssumeRole", usage.role_arn);
            self.tell(&RoleUse {
                usage: *usage,
                principal: &service,
                action,
                resource,
                refused: Some(error),
            });
        })?;
        let name = role.arn.rsplit('/').next().unwrap_or_default();
        let session = usage.service.split('.').next().unwrap_or_default();
        let arn = format!("arn:aws:sts::{}:assumed-role/{name}/{session}", self.account);
        let principal =
            Principal { user_id: format!("{}:{session}", role.id), ..Principal::new(arn, String::new()) };
        let requester = Requester {
            kind: RequesterKind::AssumedRole,
            arn: principal.arn.clone(),
            id: principal.user_id.clone(),
            role_arn: Some(role.arn.clone()),
            account: self.account.clone(),
        };
        let context = Both(self.context(usage), request.context);
        let request = AuthorizationRequest { context: &context, ..*request };
        let side = request.resource_policy.map_or(ResourceSide::Silent, ResourceSide::Own);
        let decided = match decide(&principal, &requester, (&role.attached, side), &request) {
            Decision::Allow => Ok(()),
            Decision::Deny { resource, denial } => {
                Err(request.refusal(&principal.arn, resource.as_ref(), denial))
            }
        };
        let refused = decided.as_ref().err();
        let resource = request.resources.first().map_or_else(|| "*".to_owned(), ToString::to_string);
        let (action, resource) = (request.action, resource.as_str());
        self.tell(&RoleUse { usage: *usage, principal: &principal, action, resource, refused });
        decided
    }

    /// Whether the role lets the service act with it, as when it is handed over.
    pub fn check_trust(&self, usage: &ServiceUse<'_>) -> Result<(), ApiError> {
        if self.enforce { self.assume(usage).map(drop) } else { Ok(()) }
    }

    /// Whether the role is there and lets the service act with it. For what gives out a role's own credentials, which
    /// are never given to whom the role does not trust, enforced or not.
    pub fn trusts(&self, usage: &ServiceUse<'_>) -> Result<(), ApiError> {
        self.assume(usage).map(drop)
    }

    fn assume(&self, usage: &ServiceUse<'_>) -> Result<RolePolicies, ApiError> {
        let refused = || {
            ApiError::validation(format!(
                "{} can't assume the role {}. Check that the role exists in this account and that its trust policy \
                 allows the service.",
                usage.service, usage.role_arn
            ))
        };
        let account = usage.role_arn.parse::<Arn>().map(|arn| arn.account).unwrap_or_default();
        let role =
            self.source.role(usage.role_arn).filter(|_| account == self.account).ok_or_else(refused)?;
        let requester =
            Requester { kind: RequesterKind::Service, arn: usage.service.to_owned(), ..Requester::default() };
        let context = self.context(usage);
        let request =
            Request { requester: &requester, action: "sts:AssumeRole", resource: &role.arn, keys: &context };
        let policies = Policies { resource: ResourceSide::Trust(&role.trust), ..Policies::default() };
        match evaluate(&request, &policies) {
            Verdict::Allow => Ok(role),
            Verdict::Deny(_) => Err(refused()),
        }
    }

    fn context(&self, usage: &ServiceUse<'_>) -> Context {
        let mut context = Context::new().with("aws:SourceAccount", &*self.account);
        context.set("aws:ViaAWSService", "true");
        if let Some(arn) = usage.source_arn {
            context.set("aws:SourceArn", arn);
        }
        context
    }
}
