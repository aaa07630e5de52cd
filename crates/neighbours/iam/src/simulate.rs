//! Decisions without deeds: what policies would say of actions on resources.

use std::collections::BTreeMap;
use std::sync::Arc;

use craton_api_iam::{
    ContextEntry, EvaluationResult, PermissionsBoundaryDecisionDetail, PolicyEvaluationDecisionType,
    PolicySourceType, SimulateCustomPolicyRequest, SimulatePolicyResponse, SimulatePrincipalPolicyRequest,
    Statement,
};
use craton_core::{Principal, RequestContext};
use craton_identity::directory::{Grants, State};
use craton_identity::policy::{
    Context, Keys as _, Policies, Policy, PolicyKind, PolicyType, Request, Requester, RequesterKind,
    ResourceSide, Verdict, evaluate,
};
use craton_identity::requester;
use craton_wire::ApiError;

use crate::error::refused;
use crate::page::page;
use crate::{Iam, document};

/// Decisions one call may ask for.
const MAX_DECISIONS: usize = 10_000;

/// A policy with its name and kind, for what matched.
struct Named {
    name: String,
    kind: PolicySourceType,
    policy: Arc<Policy>,
}

/// Everything a simulation decides by.
struct Simulation {
    identity: Vec<Named>,
    boundary: Option<Vec<Arc<Policy>>>,
    resource: Option<Policy>,
    requester: Requester,
    context: Context,
}

impl Iam {
    pub async fn simulate_custom_policy(
        &self,
        context: &RequestContext,
        input: SimulateCustomPolicyRequest,
    ) -> Result<SimulatePolicyResponse, ApiError> {
        let organization = input.ordered_organization_policy_input_list.is_some();
        let further = organization.then_some("OrderedOrganizationPolicyInputList");
        check_weighed(context, further, (&input.resource_owner, &input.resource_handling_option))?;
        let simulation = Simulation {
            identity: given(input.policy_input_list)?,
            boundary: boundaries(input.permissions_boundary_policy_input_list)?,
            resource: resource_policy(input.resource_policy)?,
            requester: caller(context, input.caller_arn.as_deref(), None),
            context: entries(input.context_entries),
        };
        simulation.answer(input.action_names, input.resource_arns, (input.marker, input.max_items))
    }

    pub async fn simulate_principal_policy(
        &self,
        context: &RequestContext,
        input: SimulatePrincipalPolicyRequest,
    ) -> Result<SimulatePolicyResponse, ApiError> {
        let further = input.policy_exclusion_list.is_some().then_some("PolicyExclusionList");
        check_weighed(context, further, (&input.resource_owner, &input.resource_handling_option))?;
        let view = self.directory.view();
        let arn = &input.policy_source_arn;
        let (mut identity, own_boundary) = of_principal(&view, arn)?;
        identity.extend(given(input.policy_input_list.unwrap_or_default())?);
        let boundary = match boundaries(input.permissions_boundary_policy_input_list)? {
            Some(given) => Some(given),
            None => own_boundary.map(|arn| {
                let document = view.policy(&arn).ok().and_then(|policy| policy.document().cloned());
                document.iter().map(|document| Arc::clone(document.policy())).collect()
            }),
        };
        let simulation = Simulation {
            identity,
            boundary,
            resource: resource_policy(input.resource_policy)?,
            requester: caller(context, input.caller_arn.as_deref(), Some(arn)),
            context: entries(input.context_entries),
        };
        simulation.answer(input.action_names, input.resource_arns, (input.marker, input.max_items))
    }
}

impl Simulation {
    /// Every action on every resource; `place`: which page of the answers.
    fn answer(
        &self,
        actions: Vec<String>,
        resources: Option<Vec<String>>,
        place: (Option<String>, Option<i32>),
    ) -> Result<SimulatePolicyResponse, ApiError> {
        let mut resources = resources.unwrap_or_default();
        if resources.is_empty() {
            resources.push("*".to_owned());
        }
        if actions.len() * resources.len() > MAX_DECISIONS {
            let message = format!("One simulation decides at most {MAX_DECISIONS} actions on resources.");
            return Err(ApiError::new("InvalidInput", message));
        }
        if let Some(action) = actions.iter().find(|action| !action.contains(':') && *action != "*") {
            let message =
                format!("Invalid ActionName: {action}. An action is named with its service: s3:GetObject.");
            return Err(ApiError::new("InvalidInput", message));
        }
        let identity: Vec<Arc<Policy>> = self.identity.iter().map(|own| Arc::clone(&own.policy)).collect();
        let mut results = Vec::new();
        for action in &actions {
            for resource in &resources {
                // Keys are numbers, so that pages come in the order of the questions.
                results.push((format!("{:06}", results.len()), self.decide(&identity, action, resource)));
            }
        }
        let page = page(results, place, |(order, _)| order.clone())?;
        Ok(SimulatePolicyResponse {
            evaluation_results: Some(page.items.into_iter().map(|(_, result)| result).collect()),
            is_truncated: page.is_truncated,
            marker: page.marker,
        })
    }

    fn decide(&self, identity: &[Arc<Policy>], action: &str, resource: &str) -> EvaluationResult {
        let request = Request { requester: &self.requester, action, resource, keys: &self.context };
        let boundaries = self.boundary.as_deref();
        let policies = Policies {
            identity,
            // One boundary bounds as one; several given for a try-out bound together.
            boundary: boundaries.and_then(<[_]>::first).map(Arc::as_ref),
            session: None,
            resource: self.resource.as_ref().map_or(ResourceSide::Silent, ResourceSide::Own),
        };
        let mut verdict = evaluate(&request, &policies);
        for further in boundaries.unwrap_or_default().iter().skip(1) {
            if verdict == Verdict::Allow {
                verdict = evaluate(&request, &Policies { boundary: Some(further), ..policies });
            }
        }
        if boundaries.is_some_and(<[_]>::is_empty) && verdict == Verdict::Allow {
            verdict = evaluate(&request, &Policies { boundary: Some(&Policy::default()), ..policies });
        }
        let decision = match verdict {
            Verdict::Allow => PolicyEvaluationDecisionType::Allowed,
            Verdict::Deny(denial) if denial.explicit => PolicyEvaluationDecisionType::ExplicitDeny,
            Verdict::Deny(_) => PolicyEvaluationDecisionType::ImplicitDeny,
        };
        let within = !matches!(verdict, Verdict::Deny(denial) if denial.by == PolicyType::Boundary);
        EvaluationResult {
            eval_action_name: action.to_owned(),
            eval_resource_name: Some(resource.to_owned()),
            eval_decision: decision,
            matched_statements: Some(self.matched(&request)),
            missing_context_values: Some(self.missing()),
            organizations_decision_detail: None,
            permissions_boundary_decision_detail: boundaries
                .map(|_| PermissionsBoundaryDecisionDetail { allowed_by_permissions_boundary: Some(within) }),
            eval_decision_details: None,
            resource_specific_results: None,
        }
    }

    fn matched(&self, request: &Request<'_>) -> Vec<Statement> {
        let own = self.identity.iter().map(|own| (own.name.clone(), own.kind, own.policy.as_ref()));
        let resource = self.resource.as_ref();
        let resource =
            resource.map(|policy| ("ResourcePolicy".to_owned(), PolicySourceType::Resource, policy));
        let statements = own.chain(resource).flat_map(|(name, kind, policy)| {
            policy.matching(request).map(move |_| (name.clone(), kind)).collect::<Vec<_>>()
        });
        statements
            .map(|(name, kind)| Statement {
                source_policy_id: Some(name),
                source_policy_type: Some(kind),
                start_position: None,
                end_position: None,
            })
            .collect()
    }

    /// Keys that policies ask for and nobody said the values of.
    fn missing(&self) -> Vec<String> {
        let identity = self.identity.iter().map(|own| own.policy.as_ref());
        let boundary = self.boundary.iter().flatten().map(Arc::as_ref);
        let all: Vec<&Policy> = identity.chain(boundary).chain(self.resource.as_ref()).collect();
        let asked = all.iter().flat_map(|policy| policy.keys());
        let asked = asked.filter(|key| self.context.values(key).is_none());
        let mut missing: BTreeMap<String, &str> = asked.map(|key| (key.to_owned(), key)).collect();
        for written in all.iter().flat_map(|policy| policy.written_keys()) {
            if let Some(shown) = missing.get_mut(&written.to_lowercase()) {
                *shown = written;
            }
        }
        missing.into_values().map(str::to_owned).collect()
    }
}

/// Refuses what a simulation here does not weigh, rather than answer as if it were not there.
fn check_weighed(
    context: &RequestContext,
    further: Option<&str>,
    (owner, handling): (&Option<String>, &Option<String>),
) -> Result<(), ApiError> {
    let refused = |what: &str| {
        let message =
            format!("{what} is not supported here: there are no organizations and no other accounts.");
        Err(ApiError::new("InvalidInput", message))
    };
    let account = &context.account.id;
    let own = [account.clone(), format!("arn:aws:iam::{account}:root")];
    match (further, owner.as_ref().filter(|owner| !own.contains(owner)), handling) {
        (Some(further), ..) => refused(further),
        (_, Some(_), _) => refused("ResourceOwner"),
        (.., Some(_)) => refused("ResourceHandlingOption"),
        (None, None, None) => Ok(()),
    }
}

/// Policies given with the call.
fn given(texts: Vec<String>) -> Result<Vec<Named>, ApiError> {
    let named = texts.iter().enumerate().map(|(index, text)| {
        let document = document(text, PolicyKind::Inline)?;
        Ok(Named {
            name: format!("PolicyInputList.{}", index + 1),
            kind: PolicySourceType::None,
            policy: Arc::clone(document.policy()),
        })
    });
    named.collect()
}

fn boundaries(texts: Option<Vec<String>>) -> Result<Option<Vec<Arc<Policy>>>, ApiError> {
    let Some(texts) = texts.filter(|texts| !texts.is_empty()) else { return Ok(None) };
    let parsed = texts.iter().map(|text| Ok(Arc::clone(document(text, PolicyKind::Inline)?.policy())));
    parsed.collect::<Result<_, ApiError>>().map(Some)
}

fn resource_policy(text: Option<String>) -> Result<Option<Policy>, ApiError> {
    text.map(|text| Policy::parse(&text, PolicyKind::Resource).map_err(|malformed| refused(malformed.into())))
        .transpose()
}

fn entries(entries: Option<Vec<ContextEntry>>) -> Context {
    let mut context = Context::new();
    for entry in entries.unwrap_or_default() {
        if let Some(name) = entry.context_key_name {
            context.set_all(&name, entry.context_key_values.unwrap_or_default());
        }
    }
    context
}

/// Who asks: the caller that is named, else the principal whose policies are tried, else a user nobody knows.
fn caller(context: &RequestContext, caller_arn: Option<&str>, source: Option<&str>) -> Requester {
    match caller_arn.or(source).filter(|arn| arn.contains(":user/") || arn.contains(":assumed-role/")) {
        Some(arn) => requester(&Principal::new(arn, "")),
        None => Requester {
            kind: RequesterKind::User,
            arn: source.unwrap_or_default().to_owned(),
            account: context.account.id.clone(),
            ..Requester::default()
        },
    }
}

/// The policies of a user with its groups, of a group, or of a role; and the boundary's ARN.
fn of_principal(state: &State, arn: &str) -> Result<(Vec<Named>, Option<String>), ApiError> {
    let account = state.account();
    let name = arn.rsplit('/').next().unwrap_or_default();
    let mut found = Vec::new();
    if arn.contains(":user/") {
        let user = state.user(name).map_err(refused)?;
        if user.arn(account) == arn {
            named(&mut found, state, &user.grants, PolicySourceType::User);
            for group in state.groups_of(user) {
                named(&mut found, state, &group.grants, PolicySourceType::Group);
            }
            return Ok((found, user.boundary.clone()));
        }
    } else if arn.contains(":role/") {
        let role = state.role(name).map_err(refused)?;
        if role.arn(account) == arn {
            named(&mut found, state, &role.grants, PolicySourceType::Role);
            return Ok((found, role.boundary.clone()));
        }
    } else if arn.contains(":group/") {
        let group = state.group(name).map_err(refused)?;
        if group.arn(account) == arn {
            named(&mut found, state, &group.grants, PolicySourceType::Group);
            return Ok((found, None));
        }
    }
    Err(ApiError::new("NoSuchEntity", format!("No user, group or role has the ARN {arn}.")))
}

fn named(found: &mut Vec<Named>, state: &State, grants: &Grants, kind: PolicySourceType) {
    for (name, document) in &grants.inline {
        found.push(Named { name: name.clone(), kind, policy: Arc::clone(document.policy()) });
    }
    for policy in grants.attached.iter().filter_map(|arn| state.policy(arn).ok()) {
        let kind = if policy.is_aws() { PolicySourceType::AwsManaged } else { PolicySourceType::UserManaged };
        if let Some(document) = policy.document() {
            found.push(Named { name: policy.name.clone(), kind, policy: Arc::clone(document.policy()) });
        }
    }
}
