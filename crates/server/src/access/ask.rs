use std::collections::BTreeMap;

use craton_core::{Arn, RequestContext};
use craton_identity::{AuthorizationRequest, RequestKeys};
use craton_wire::{ApiError, api_key};
use http::{HeaderMap, header};
use serde_json::{Map, Value};

use super::keys::QuestionKeys;
use super::{Lookups, Question, of_model, vendor_of};
use crate::audit::Trail;
use crate::services::Services;

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
    let with_token = bearer.filter(|_| !questions.is_empty()).map(|_| Question {
        action: "bedrock:CallWithBearerToken".into(),
        resource: None,
        keys: Vec::new(),
    });
    let principal = &asker.context.principal;
    for question in with_token.iter().chain(questions) {
        let resource_tags = tags(services, asker, question).await?;
        let keys = QuestionKeys {
            request: &request,
            document: asker.document,
            own: &question.keys,
            resource_tags: &resource_tags,
        };
        let resources = question.resource.as_slice();
        let asked =
            AuthorizationRequest { context: &keys, ..AuthorizationRequest::new(&question.action, resources) };
        asker.trail.note(|event| event.asked.push((question.action.clone(), question.resource.clone())));
        if let Err(error) = services.authorizer.authorize(principal, &asked) {
            asker.trail.note(|event| event.denied = true);
            return Err(error);
        }
    }
    Ok(())
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
        questions.push(Question {
            action: "bedrock:ApplyGuardrail".into(),
            resource: Some(guardrail.1),
            keys: Vec::new(),
        });
    }
    ask(services, asker, &questions).await
}

/// The guardrail that a door's request names in its headers: its ARN with its version, and without.
fn guardrail_header(asker: Asker<'_>) -> Option<(String, Arn)> {
    let header = |name: &str| asker.headers.get(name).and_then(|value| value.to_str().ok());
    let id = header("x-amzn-bedrock-guardrailidentifier").filter(|id| !id.is_empty())?;
    let context = asker.context;
    let arn = id.parse().unwrap_or_else(|_| {
        Arn::new("bedrock", &context.region, &context.account.id, format!("guardrail/{id}"))
    });
    let versioned = match header("x-amzn-bedrock-guardrailversion") {
        Some(version) if version != "DRAFT" => format!("{arn}:{version}"),
        _ => arn.to_string(),
    };
    Some((versioned, arn))
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

/// The tags of the resource, where a policy of the principal's asks for them.
async fn tags(
    services: &Services,
    asker: Asker<'_>,
    question: &Question,
) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(resource) = &question.resource else { return Ok(BTreeMap::new()) };
    let principal = &asker.context.principal;
    let vendor = format!("{}:resourcetag/", vendor_of(&question.action));
    let wanted = services.authorizer.asks_for(principal, "aws:resourcetag/")
        || services.authorizer.asks_for(principal, &vendor);
    if !wanted {
        return Ok(BTreeMap::new());
    }
    services.store.tags(&resource.to_string()).await.map_err(|error| ApiError::internal(error.to_string()))
}
