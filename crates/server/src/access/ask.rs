use std::collections::BTreeMap;
use std::sync::Arc;

use craton_core::{Arn, RequestContext};
use craton_identity::policy::{Context, Policy, PolicyKind};
use craton_identity::{AuthorizationRequest, Authorizer, ObjectAccess, RequestKeys};
use craton_lambda::Lambda;
use craton_objects::ObjectError;
use craton_s3::{OBJECT_TAG, Sides};
use craton_store::Store;
use craton_wire::{ApiError, api_key};
use http::{HeaderMap, header};
use serde_json::{Map, Value};

use super::keys::QuestionKeys;
use super::{Lookups, Question, of_model, vendor_of};
use crate::audit::Trail;
use crate::services::Services;

/// The headers that name a guardrail where a body has no place for it.
pub(crate) const GUARDRAIL_IDENTIFIER: &str = "x-amzn-bedrock-guardrailidentifier";
pub(crate) const GUARDRAIL_VERSION: &str = "x-amzn-bedrock-guardrailversion";

/// A request that is about to be authorised.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) context: &'a RequestContext,
    pub(crate) headers: &'a HeaderMap,
    /// Its input, for the tags in it; empty where there is none.
    pub(crate) document: &'a Map<String, Value>,
    pub(crate) trail: &'a Trail,
}

/// Whether the principal may do all of this. The first denial is the error.
pub(crate) async fn ask(
    services: &Services,
    asker: Asker<'_>,
    questions: &[Question],
) -> Result<(), ApiError> {
    let bearer = bearer_kind(asker.headers);
    let request = request_keys(services, asker, bearer);
    let with_token = bearer.filter(|_| !questions.is_empty());
    let with_token = with_token.map(|_| Question::on("bedrock:CallWithBearerToken", None));
    for question in with_token.iter().chain(questions) {
        asker.trail.note(|event| event.ask(&question.action, question.resource.as_ref()));
        if let Err(error) =
            decide(Ground::of(services), (asker.context, asker.document), &request, question).await
        {
            asker.trail.note(|event| event.denied = true);
            return Err(error);
        }
    }
    Ok(())
}

/// What decisions rest on, besides policies.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) authorizer: &'a dyn Authorizer,
    pub(crate) lambda: &'a Lambda,
    pub(crate) buckets: &'a Sides,
    pub(crate) store: &'a Store,
}

impl<'a> Ground<'a> {
    fn of(services: &'a Services) -> Self {
        Self {
            authorizer: services.authorizer.as_ref(),
            lambda: &services.lambda,
            buckets: &services.buckets,
            store: &services.store,
        }
    }
}

pub(super) async fn decide(
    ground: Ground<'_>,
    (context, document): (&RequestContext, &Map<String, Value>),
    request: &RequestKeys<'_>,
    question: &Question,
) -> Result<(), ApiError> {
    let asking = (context, document);
    decide_one(ground, asking, request, question).await?;
    match hidden(ground, context.principal.is_root(), question).await? {
        Some(listing) => decide_one(ground, asking, request, &listing).await,
        None => Ok(()),
    }
}

async fn decide_one(
    ground: Ground<'_>,
    (context, document): (&RequestContext, &Map<String, Value>),
    request: &RequestKeys<'_>,
    question: &Question,
) -> Result<(), ApiError> {
    let principal = &context.principal;
    if question.assumes && principal.is_root() {
        return Err(ApiError::access_denied("Roles may not be assumed by root accounts."));
    }
    let asks_for = |prefix: &str| ground.authorizer.asks_for(principal, prefix);
    let side = side(ground, (principal.is_root(), asks_for), question).await?;
    let keys = side.keys((context, document), request, question);
    let asked = AuthorizationRequest {
        context: &keys,
        resource_policy: side.policy.as_deref(),
        assumes: question.assumes,
        ..AuthorizationRequest::new(&question.action, question.resource.as_slice())
    };
    ground.authorizer.authorize(principal, &asked)
}

/// What a resource itself brings to a decision about it.
pub(super) struct Side {
    pub(super) policy: Option<Arc<Policy>>,
    /// Where a policy asks for them.
    tags: BTreeMap<String, String>,
    /// The context keys of an object's tags, likewise.
    object_tags: Context,
}

impl Side {
    pub(super) fn keys<'a>(
        &'a self,
        (context, document): (&'a RequestContext, &'a Map<String, Value>),
        request: &'a RequestKeys<'a>,
        question: &'a Question,
    ) -> QuestionKeys<'a> {
        QuestionKeys {
            request,
            document,
            resource_account: resource_account(context, question),
            own: &question.keys,
            resource_tags: &self.tags,
            object_tags: &self.object_tags,
        }
    }
}

/// `asks_for`: whether a policy of the principal asks for a context key that begins so.
pub(super) async fn side(
    ground: Ground<'_>,
    (is_root, asks_for): (bool, impl Fn(&str) -> bool),
    question: &Question,
) -> Result<Side, ApiError> {
    let policy = own_policy(ground, is_root, question).await?;
    let is_asked =
        |prefix: &str| asks_for(prefix) || policy.as_ref().is_some_and(|policy| policy.mentions(prefix));
    let tags = tags(ground, &is_asked, question).await?;
    let mut object_tags = Context::new();
    if let Some(at) = question.object().filter(|_| is_asked(OBJECT_TAG)) {
        let found = ground.buckets.tags(&question.action, &at).await.map_err(unread)?;
        for (name, value) in found {
            object_tags.set(&format!("{OBJECT_TAG}{name}"), value);
        }
    }
    Ok(Side { policy, tags, object_tags })
}

/// What else must be allowed to read an object that is not there, so that nobody learns which keys a bucket has who may
/// not list it.
pub(super) async fn hidden(
    ground: Ground<'_>,
    is_root: bool,
    question: &Question,
) -> Result<Option<Question>, ApiError> {
    if is_root || !matches!(question.action.as_str(), "s3:GetObject" | "s3:GetObjectVersion") {
        return Ok(None);
    }
    let Some(at) = question.object() else { return Ok(None) };
    let lacks = ground.buckets.lacks(&at).await.map_err(unread)?;
    Ok(lacks.then(|| Question::on_objects(&ObjectAccess::List { bucket: &at.bucket, prefix: None }, None)))
}

fn unread(error: ObjectError) -> ApiError {
    ApiError::internal(error.to_string())
}

/// Whose the resource is. AWS's own models and policies belong to nobody here; buckets, whose ARNs have no account, to
/// this one.
fn resource_account<'a>(context: &'a RequestContext, question: &'a Question) -> Option<&'a str> {
    match &question.resource {
        Some(arn) if arn.account.is_empty() && arn.service != "s3" => None,
        Some(arn) if !arn.account.is_empty() => Some(&arn.account),
        _ => Some(&context.account.id),
    }
}

/// What the resource itself has to say of who may use it.
async fn own_policy(
    ground: Ground<'_>,
    is_root: bool,
    question: &Question,
) -> Result<Option<Arc<Policy>>, ApiError> {
    let Some(resource) = &question.resource else { return Ok(None) };
    match resource.service.as_str() {
        "bedrock" => Ok(ground.authorizer.source().resource_policy(&resource.to_string())),
        "s3" if !is_root => {
            let bucket = resource.resource.split('/').next().unwrap_or_default();
            ground.buckets.policy(bucket).await.map_err(unread)
        }
        "lambda" if !is_root => {
            let text = ground.lambda.resource_policy(resource).await?;
            // Lambda writes only statements that allow: without one that can't be read, less is allowed.
            Ok(text.and_then(|text| Policy::parse(&text, PolicyKind::Resource).ok()).map(Arc::new))
        }
        _ => Ok(None),
    }
}

/// As [`ask`], for doing something with a model through one of the front doors. The model's id is as a client sent it.
pub(crate) async fn ask_model(
    services: &Services,
    asker: Asker<'_>,
    (action, id): (&str, &str),
) -> Result<(), ApiError> {
    let mut questions = of_model(Lookups::of(services), asker.context, action, id).await;
    if let Some(guardrail) = guardrail_header(asker) {
        for question in &mut questions {
            question.keys.push(("bedrock:guardrailidentifier", guardrail.0.clone()));
        }
        questions.push(Question::on("bedrock:ApplyGuardrail", Some(guardrail.1)));
    }
    ask(services, asker, &questions).await
}

/// The guardrail that a door's request names in its headers: its ARN with its version, and without.
fn guardrail_header(asker: Asker<'_>) -> Option<(String, Arn)> {
    let header = |name: &str| asker.headers.get(name).and_then(|value| value.to_str().ok());
    let id = header(GUARDRAIL_IDENTIFIER).filter(|id| !id.is_empty())?;
    Some(guardrail_named(asker.context, id, header(GUARDRAIL_VERSION)))
}

/// A guardrail as `bedrock:GuardrailIdentifier` has it, which is with its version unless that is the draft; and its ARN.
pub(super) fn guardrail_named(context: &RequestContext, id: &str, version: Option<&str>) -> (String, Arn) {
    let plain = |_| Arn::new("bedrock", &context.region, &context.account.id, format!("guardrail/{id}"));
    let arn = id.parse().map_or_else(plain, Arn::canonical);
    let versioned = match version {
        Some(version) if version != "DRAFT" => format!("{arn}:{version}"),
        _ => arn.to_string(),
    };
    (versioned, arn)
}

/// What kind of API key the request brings, if it brings one.
fn bearer_kind(headers: &HeaderMap) -> Option<&'static str> {
    let token = api_key::bearer_token(headers)?;
    Some(if token.starts_with("bedrock-api-key-") { "SHORT_TERM" } else { "LONG_TERM" })
}

fn request_keys<'a>(
    services: &Services,
    asker: Asker<'a>,
    bearer_token: Option<&'static str>,
) -> RequestKeys<'a> {
    let header = |name| asker.headers.get(name).and_then(|value| value.to_str().ok());
    RequestKeys {
        source_ip: asker.context.source_ip,
        received_ms: asker.context.received_ms,
        region: &asker.context.region,
        secure: services.secure,
        user_agent: header(header::USER_AGENT),
        referer: header(header::REFERER),
        bearer_token,
    }
}

/// The tags of the resource, where a policy asks for them.
async fn tags(
    ground: Ground<'_>,
    is_asked: impl Fn(&str) -> bool,
    question: &Question,
) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(resource) = &question.resource else { return Ok(BTreeMap::new()) };
    if resource.service == "iam" {
        // They are at hand, and a role's trust policy may ask for them as well.
        return Ok(ground.authorizer.source().tags_of(&resource.to_string()).unwrap_or_default());
    }
    let of_vendor = match vendor_of(&question.action) {
        "aoss" => "aoss:resourcetag/",
        "bedrock" => "bedrock:resourcetag/",
        "iam" => "iam:resourcetag/",
        "lambda" => "lambda:resourcetag/",
        _ => "s3:resourcetag/",
    };
    if !is_asked("aws:resourcetag/") && !is_asked(of_vendor) {
        return Ok(BTreeMap::new());
    }
    ground.store.tags(&resource.to_string()).await.map_err(|error| ApiError::internal(error.to_string()))
}
