//! What IAM calls every operation: its action, the resources it is on, and the further permissions that its input asks
//! for. The tables follow the service authorization reference; where AWS has not published an action, the operation's
//! own name is it. A test walks the operations of every service, so that none is without a rule, and every member that
//! holds a role, so that none is handed over without `iam:PassRole`.

mod agents;
mod ask;
mod assume;
mod bedrock;
mod conditions;
mod keys;
mod neighbours;
mod permissions;
mod resource;
mod rule;
#[cfg(test)]
mod tests;

use craton_core::{Arn, RequestContext, first_chars};
use craton_identity::{Authorizer, ObjectAccess};
use craton_models::Models;
use craton_objects::ObjectRef;
use craton_prompts::{Prompts, is_prompt_arn};
use craton_wire::table::{Operation, ServiceTable};
use serde_json::{Map, Value};

use crate::services::Services;

use ask::guardrail_named;
pub(crate) use ask::{Asker, GUARDRAIL_IDENTIFIER, GUARDRAIL_VERSION, ask, ask_model};
pub(crate) use permissions::Allowing;
pub(crate) use rule::{Asked, Rule};

/// The longest part of an ARN that is made of what a client sent.
const MAX_PART_CHARS: usize = 2048;
/// Objects that a request is asked about one by one. More than any operation takes are asked about as all there are.
const MAX_URIS: usize = 1000;

/// May the principal do this?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) action: String,
    /// `None` for actions on no resource.
    pub(crate) resource: Option<Arn>,
    /// Context keys that hold for this question only; names in lower case.
    pub(crate) keys: Vec<(&'static str, String)>,
    /// The resource is a role, whose trust policy decides too.
    pub(crate) assumes: bool,
}

impl Question {
    /// About a resource that has one ARN, however the request spells it.
    pub(crate) fn on(action: &str, resource: Option<Arn>) -> Self {
        Self { action: action.to_owned(), resource, keys: Vec::new(), assumes: false }
    }

    /// About objects, or their bucket, that a service is to reach for somebody: what S3 asks about such a request of the
    /// service's own. Keys are any text, so nothing in them is read as an ARN.
    pub(crate) fn on_objects(access: &ObjectAccess<'_>, version: Option<&str>) -> Self {
        let (action, resource) = match access {
            ObjectAccess::Read { bucket, key } if version.is_some() => {
                ("s3:GetObjectVersion", format!("{bucket}/{key}"))
            }
            ObjectAccess::Read { bucket, key } => ("s3:GetObject", format!("{bucket}/{key}")),
            ObjectAccess::Write { bucket, key } => ("s3:PutObject", format!("{bucket}/{key}")),
            ObjectAccess::List { bucket, .. } => ("s3:ListBucket", (*bucket).to_owned()),
        };
        let mut question = Self::on(action, Some(Arn::new("s3", "", "", resource)));
        for (key, value) in [
            ("aws:viaawsservice", "true"),
            ("s3:authtype", "REST-HEADER"),
            ("s3:signatureversion", "AWS4-HMAC-SHA256"),
        ] {
            question.keys.push((key, value.to_owned()));
        }
        question.keys.extend(version.map(|version| (VERSION_KEY, version.to_owned())));
        if let ObjectAccess::List { prefix: Some(prefix), .. } = access {
            question.keys.push(("s3:prefix", (*prefix).to_owned()));
        }
        question
    }

    /// The object that it is about.
    fn object(&self) -> Option<ObjectRef> {
        let arn = self.resource.as_ref().filter(|arn| arn.service == "s3")?;
        let (bucket, key) = arn.resource.split_once('/')?;
        let version = self.keys.iter().find(|(key, _)| *key == VERSION_KEY);
        let version = version.map(|(_, version)| version.clone());
        Some(ObjectRef { bucket: bucket.to_owned(), key: key.to_owned(), version })
    }
}

const VERSION_KEY: &str = "s3:versionid";

/// Where the names in a request are looked up.
#[derive(Clone, Copy)]
pub(crate) struct Lookups<'a> {
    models: &'a Models,
    prompts: &'a Prompts,
    authorizer: &'a dyn Authorizer,
}

impl<'a> Lookups<'a> {
    pub(crate) fn of(services: &'a Services) -> Self {
        Self {
            models: services.models.models(),
            prompts: &services.prompts,
            authorizer: services.authorizer.as_ref(),
        }
    }
}

/// A request as far as permissions depend on it.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) table: &'static ServiceTable,
    pub(crate) operation: &'static Operation,
    /// Its input, not yet validated.
    pub(crate) document: &'a Map<String, Value>,
    pub(crate) context: &'a RequestContext,
}

/// The vendor of a service's actions.
fn vendor(table: &ServiceTable) -> &'static str {
    table.signing_name
}

/// The vendor of an action.
fn vendor_of(action: &str) -> &str {
    action.split(':').next().unwrap_or_default()
}

/// The rule of an operation.
pub(crate) fn rule_of(table: &ServiceTable, operation: &Operation) -> Option<&'static Rule> {
    let rules = match table.name {
        "bedrock" => bedrock::BEDROCK,
        "bedrock-runtime" => bedrock::RUNTIME,
        "bedrock-agent" => agents::AGENT,
        "bedrock-agent-runtime" => agents::AGENT_RUNTIME,
        "sts" => neighbours::STS,
        "iam" => neighbours::IAM,
        "lambda" => neighbours::LAMBDA,
        "opensearchserverless" => neighbours::AOSS,
        _ => return None,
    };
    let index = rules.binary_search_by(|rule| rule.operation.cmp(operation.name)).ok()?;
    rules.get(index)
}

/// Everything the principal must be allowed for a request. An operation without a rule is a question nobody but the
/// root can answer with yes.
pub(crate) async fn questions(lookups: Lookups<'_>, subject: Subject<'_>) -> Vec<Question> {
    let vendor = vendor(subject.table);
    let Some(rule) = rule_of(subject.table, subject.operation) else {
        return vec![Question::on(&format!("{vendor}:{}", subject.operation.name), None)];
    };
    match rule.asked {
        Asked::Always => {}
        Asked::OfTheRole => return assume::questions(&subject),
        Asked::Never => return Vec::new(),
    }
    let mut questions = Vec::with_capacity(rule.on.len() + rule.also.len());
    let action = format!("{vendor}:{}", rule.action.unwrap_or(rule.operation));
    let guardrail = guardrail(&subject);
    for template in rule.on {
        for mut question in resolve(lookups, &subject, &action, template).await {
            let of_model = template.starts_with("model/");
            question.keys.extend(
                guardrail.clone().filter(|_| of_model).map(|arn| ("bedrock:guardrailidentifier", arn)),
            );
            question
                .keys
                .extend(tier(&subject).filter(|_| of_model).map(|tier| ("bedrock:servicetier", tier)));
            questions.push(question);
        }
    }
    for (action, template) in rule.also {
        let needed = template.split('?').next().unwrap_or_default();
        if !placeholders(needed).all(|path| text(subject.document, path).is_some()) {
            continue;
        }
        for mut question in resolve(lookups, &subject, action, template).await {
            if *action == "iam:PassRole" {
                question.keys.push(("iam:passedtoservice", passed_to(&subject, template).to_owned()));
            }
            questions.push(question);
        }
    }
    let own = conditions::of(lookups.authorizer, &subject);
    for question in questions.iter_mut().filter(|_| !own.is_empty()) {
        question.keys.extend(own.iter().cloned());
    }
    questions
}

/// The service that a role is handed to.
fn passed_to(subject: &Subject<'_>, template: &str) -> &'static str {
    match vendor(subject.table) {
        _ if template.contains("sageMaker") => "sagemaker.amazonaws.com",
        "lambda" => "lambda.amazonaws.com",
        _ => "bedrock.amazonaws.com",
    }
}

/// The questions that a template comes to.
async fn resolve(lookups: Lookups<'_>, subject: &Subject<'_>, action: &str, template: &str) -> Vec<Question> {
    let one = |resource| vec![Question::on(action, resource)];
    if template == "*" {
        return one(None);
    }
    if let Some(path) = template.strip_prefix("model/{").and_then(|rest| rest.strip_suffix('}')) {
        return match text(subject.document, path) {
            Some(id) => of_model(lookups, subject.context, action, &id).await,
            None => one(Some(resource::arn(subject, "foundation-model/*"))),
        };
    }
    if template.starts_with("object/{") {
        return object(subject.document, template).into_iter().collect();
    }
    if let Some(path) = template.strip_prefix("uri/{").and_then(|rest| rest.strip_suffix('}')) {
        let uris = texts(subject.document, path);
        if uris.len() > MAX_URIS {
            return one(None);
        }
        return uris.iter().map(|uri| read(uri.strip_prefix("s3://").unwrap_or(uri))).collect();
    }
    if let Some(path) = template.strip_prefix("profile/{").and_then(|rest| rest.strip_suffix('}')) {
        let id = text(subject.document, path).unwrap_or_else(|| "*".into());
        // The profiles of AWS are named by their geography, those of users by twelve characters.
        let kind = if id.contains('.') { "inference-profile" } else { "application-inference-profile" };
        let plain = |_| resource::arn(subject, &format!("{kind}/{id}"));
        return one(Some(id.parse().map_or_else(plain, Arn::canonical)));
    }
    if let Some(kind) = template.strip_prefix("moved/") {
        return resource::moved(lookups, subject, kind).map(|arn| one(Some(arn))).unwrap_or_default();
    }
    let filled = resource::fill(subject, template).map(|arn| resource::with_path(lookups, template, arn));
    let mut questions = one(filled.clone());
    if let Some(within) = resource::named_within(subject, template).filter(|arn| Some(arn) != filled.as_ref())
    {
        questions.extend(one(Some(within)));
    }
    questions
}

/// The object in a bucket that a request names, with its version where it names one.
fn object(document: &Map<String, Value>, template: &str) -> Option<Question> {
    let mut named = placeholders(template).map(|path| text(document, path));
    let (bucket, key) = (named.next()??, named.next()??);
    let access = ObjectAccess::Read { bucket: &bucket, key: &key };
    Some(Question::on_objects(&access, named.next().flatten().as_deref()))
}

/// Reading what is at `bucket/key`.
fn read(place: &str) -> Question {
    let (bucket, key) = place.split_once('/').unwrap_or((place, ""));
    Question::on_objects(&ObjectAccess::Read { bucket, key }, None)
}

/// What answers for a model id: the foundation model, and the profile it is asked through; for a prompt, the prompt
/// and its model.
async fn of_model(lookups: Lookups<'_>, context: &RequestContext, action: &str, id: &str) -> Vec<Question> {
    if !is_prompt_arn(id) {
        return of_plain_model(lookups.models, context, action, id).await;
    }
    let prompt = id.strip_suffix(":DRAFT").unwrap_or(id);
    let prompt: Option<Arn> = prompt.parse().ok();
    let mut questions = vec![Question::on("bedrock:RenderPrompt", prompt.map(Arn::canonical))];
    // A prompt that isn't there has no model to ask about; the handler says so.
    if let Ok(Some(model)) = lookups.prompts.model_id(context, id).await {
        questions.extend(of_plain_model(lookups.models, context, action, &model).await);
    }
    questions
}

/// A model that nobody knows is asked about by the name it was given. One that is, by its own id in the region that
/// was asked; and in the region of the ARN it was named by, where that is another.
async fn of_plain_model(models: &Models, context: &RequestContext, action: &str, id: &str) -> Vec<Question> {
    let question = |resource| Question::on(action, Some(resource));
    let foundation =
        |region: &str, id: &str| Arn::new("bedrock", region, "", format!("foundation-model/{id}"));
    let named = id.parse().map(Arn::canonical);
    let Ok(resolved) = models.resolve(context, id).await else {
        return vec![question(named.unwrap_or_else(|_| foundation(&context.region, id)))];
    };
    let mut model = question(foundation(&context.region, &resolved.model.id));
    let Some(profile) = resolved.profile_arn else {
        let elsewhere = named.ok().filter(|named| named.region != context.region);
        let elsewhere = elsewhere.map(|named| question(foundation(&named.region, &resolved.model.id)));
        return elsewhere.into_iter().chain([model]).collect();
    };
    model.keys.push(("bedrock:inferenceprofilearn", profile.clone()));
    match profile.parse::<Arn>() {
        Ok(arn) => vec![question(arn.canonical()), model],
        Err(_) => vec![model],
    }
}

/// The guardrail that an invocation names, as `bedrock:GuardrailIdentifier` has it: its ARN, with the version unless
/// that is the draft.
fn guardrail(subject: &Subject<'_>) -> Option<String> {
    let from = |identifier, version| {
        let id = text(subject.document, identifier)?;
        Some(guardrail_named(subject.context, &id, text(subject.document, version).as_deref()).0)
    };
    from("guardrailConfig.guardrailIdentifier", "guardrailConfig.guardrailVersion")
        .or_else(|| from("guardrailIdentifier", "guardrailVersion"))
}

/// The service tier that an invocation asks for.
fn tier(subject: &Subject<'_>) -> Option<String> {
    text(subject.document, "serviceTier.type").or_else(|| text(subject.document, "serviceTier"))
}

/// The paths in a template's braces.
fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    template.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(path, _)| path))
}

/// The first text at a path of the input, if there is one.
fn text(document: &Map<String, Value>, path: &str) -> Option<String> {
    let mut first = None;
    visit(document, path, &mut |text| {
        first = Some(text);
        false
    });
    first
}

/// The texts at a path of the input.
fn texts(document: &Map<String, Value>, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    visit(document, path, &mut |text| {
        all.push(text);
        true
    });
    all
}

/// Goes to each text at a path of the input, until one is enough (and says so). Several are where a name in the path
/// ends in `[]`, which stands for all members of a list.
fn visit(document: &Map<String, Value>, path: &str, found: &mut dyn FnMut(String) -> bool) -> bool {
    let (part, rest) = path.split_once('.').map_or((path, None), |(part, rest)| (part, Some(rest)));
    let name = part.trim_end_matches("[]");
    let members = match document.get(name) {
        None => return true,
        Some(list) if name.len() < part.len() => list.as_array().map(Vec::as_slice).unwrap_or_default(),
        Some(one) => std::slice::from_ref(one),
    };
    members.iter().all(|member| match rest {
        None => kept(member).is_none_or(&mut *found),
        Some(rest) => member.as_object().is_none_or(|inner| visit(inner, rest, found)),
    })
}

/// As much of a text as is looked at; an empty one is none.
fn kept(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(|text| first_chars(text, MAX_PART_CHARS).to_owned())
}
