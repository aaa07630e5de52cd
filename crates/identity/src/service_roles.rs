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

/// What a service did for somebody, or was refused: for the audit log.
#[derive(Debug, Clone, Copy)]
pub struct RoleUse<'a> {
    /// As in [`ServiceUse`].
    pub service: &'a str,
    pub source_arn: Option<&'a str>,
    /// Of the request that it is a part of, where it is of one: its id and the region it was signed for.
    pub request_id: Option<&'a str>,
    pub region: Option<&'a str>,
    /// The role's session; the service itself where it acted as such, or could not assume the role; the caller where the
    /// component acts as them.
    pub principal: &'a Principal,
    pub action: &'a str,
    /// An ARN, or `*`.
    pub resource: &'a str,
    pub refused: Option<&'a ApiError>,
}

/// Is told of everything that a service did for somebody and was checked.
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

    /// Tells the log of a use.
    pub fn tell(&self, role_use: &RoleUse<'_>) {
        if let Some(log) = &self.log {
            log.used(role_use);
        }
    }

    /// Allows everything.
    pub fn permissive() -> Self {
        Self::new(Arc::new(crate::source::NoPolicies), "", false)
    }

    /// Whether roles are asked at all.
    pub fn enforces(&self) -> bool {
        self.enforce
    }

    /// A role, looked up once for all that is asked of it.
    pub fn using<'a>(&'a self, usage: ServiceUse<'a>) -> RoleInUse<'a> {
        let account = usage.role_arn.parse::<Arn>().map(|arn| arn.account).unwrap_or_default();
        let role = self.source.role(usage.role_arn).filter(|_| account == self.account);
        RoleInUse { roles: self, usage, role }
    }

    /// Whether the role lets the service act with it, as when it is handed over.
    pub fn check_trust(&self, usage: &ServiceUse<'_>) -> Result<(), ApiError> {
        if self.enforce { self.trusts(usage) } else { Ok(()) }
    }

    /// Whether the role is there and lets the service act with it. For what gives out a role's own credentials, which
    /// are never given to whom the role does not trust, enforced or not.
    pub fn trusts(&self, usage: &ServiceUse<'_>) -> Result<(), ApiError> {
        self.using(*usage).assumed().map(drop)
    }
}

/// A service that acts with a role, and the role if there is one.
pub struct RoleInUse<'a> {
    roles: &'a ServiceRoles,
    usage: ServiceUse<'a>,
    role: Option<RolePolicies>,
}

impl RoleInUse<'_> {
    /// Whether a policy of the role asks for a context key that begins so, in lower case.
    pub fn asks_for(&self, prefix: &str) -> bool {
        self.role.as_ref().is_some_and(|role| role.attached.asks_for(prefix))
    }

    /// Whether the resource's own policy lets the service itself do this on behalf of the component, as the policy of a
    /// function does for the agents that call it. What it does not say is for the role to be asked.
    pub fn lets_service(&self, request: &AuthorizationRequest<'_>) -> bool {
        let Some((policy, resource)) = request.resource_policy.zip(request.resources.first()) else {
            return false;
        };
        let mut context = self.context();
        context.set("aws:PrincipalIsAWSService", "true");
        let resource = resource.to_string();
        let asked = Request {
            requester: &self.service(),
            action: request.action,
            resource: &resource,
            keys: &Both(context, request.context),
        };
        let policies = Policies { resource: ResourceSide::Own(policy), ..Policies::default() };
        let allowed = evaluate(&asked, &policies) == Verdict::Allow;
        if allowed {
            self.tell(&Principal::new(self.usage.service, ""), (request.action, &resource), None);
        }
        allowed
    }

    /// Whether the service may do this with the role: the role trusts it to act for the component, and its policies and
    /// the resource's own allow it.
    pub fn authorize(&self, request: &AuthorizationRequest<'_>) -> Result<(), ApiError> {
        if !self.roles.enforce {
            return Ok(());
        }
        let role = self.assumed().inspect_err(|error| {
            let service = Principal::new(self.usage.service, "");
            self.tell(&service, ("sts:AssumeRole", self.usage.role_arn), Some(error));
        })?;
        let account = &self.roles.account;
        let name = role.arn.rsplit('/').next().unwrap_or_default();
        let session = self.usage.service.split('.').next().unwrap_or_default();
        let arn = format!("arn:aws:sts::{account}:assumed-role/{name}/{session}");
        let principal =
            Principal { user_id: format!("{}:{session}", role.id), ..Principal::new(arn, String::new()) };
        let requester = Requester {
            kind: RequesterKind::AssumedRole,
            arn: principal.arn.clone(),
            id: principal.user_id.clone(),
            role_arn: Some(role.arn.clone()),
            account: account.clone(),
        };
        let context = Both(self.context(), request.context);
        let request = AuthorizationRequest { context: &context, ..*request };
        let side = request.resource_policy.map_or(ResourceSide::Silent, ResourceSide::Own);
        let decided = match decide(&principal, &requester, (&role.attached, side), &request) {
            Decision::Allow => Ok(()),
            Decision::Deny { resource, denial } => {
                Err(request.refusal(&principal.arn, resource.as_ref(), denial))
            }
        };
        let resource = request.resources.first().map_or_else(|| "*".to_owned(), ToString::to_string);
        self.tell(&principal, (request.action, &resource), decided.as_ref().err());
        decided
    }

    fn tell(&self, principal: &Principal, (action, resource): (&str, &str), refused: Option<&ApiError>) {
        let ServiceUse { service, source_arn, .. } = self.usage;
        self.roles.tell(&RoleUse {
            service,
            source_arn,
            request_id: None,
            region: None,
            principal,
            action,
            resource,
            refused,
        });
    }

    /// The role, where it is there and lets the service act with it.
    fn assumed(&self) -> Result<&RolePolicies, ApiError> {
        let refused = || {
            ApiError::validation(format!(
                "{} can't assume the role {}. Check that the role exists in this account and that its trust policy \
                 allows the service.",
                self.usage.service, self.usage.role_arn
            ))
        };
        let role = self.role.as_ref().ok_or_else(refused)?;
        let requester = self.service();
        let context = self.context();
        let request =
            Request { requester: &requester, action: "sts:AssumeRole", resource: &role.arn, keys: &context };
        let policies = Policies { resource: ResourceSide::Trust(&role.trust), ..Policies::default() };
        match evaluate(&request, &policies) {
            Verdict::Allow => Ok(role),
            Verdict::Deny(_) => Err(refused()),
        }
    }

    /// The service as policies see it.
    fn service(&self) -> Requester {
        let arn = self.usage.service.to_owned();
        Requester { kind: RequesterKind::Service, arn, ..Requester::default() }
    }

    fn context(&self) -> Context {
        let mut context = Context::new().with("aws:SourceAccount", &*self.roles.account);
        // It is true of what a service does with its caller's permissions, not with those of a role.
        context.set("aws:ViaAWSService", "false");
        if let Some(arn) = self.usage.source_arn {
            context.set("aws:SourceArn", arn);
        }
        context
    }
}
