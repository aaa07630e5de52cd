use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use craton_core::{Arn, Principal, SessionKind, first_chars};
use craton_identity::policy::RequesterKind;
use craton_identity::{requester, rfc3339};
use craton_wire::ApiError;
use craton_wire::sigv4::{self, RequestHead};
use craton_wire::table::ServiceTable;
use http::header;
use http::request::Parts;
use serde::Serialize;

use crate::services::Services;

/// The longest text a client can put into an event.
const MAX_TEXT_CHARS: usize = 512;
/// Resources and actions named in one event.
const MAX_NAMED: usize = 32;

/// What is known of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Event {
    pub(crate) request_id: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) received_ms: i64,
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) user_agent: Option<String>,
    pub(crate) account: String,
    pub(crate) region: String,
    /// The vendor: `bedrock`.
    pub(crate) service: Cow<'static, str>,
    pub(crate) operation: Cow<'static, str>,
    /// `None` for somebody who could not be told.
    pub(crate) principal: Option<Arc<Principal>>,
    /// The key that the request says it was signed with. No secret, and all there is to know of who was refused.
    pub(crate) claimed_key_id: Option<String>,
    /// The service that acted with a role, and the component that it acted for.
    pub(crate) invoked_by: Option<(String, Option<String>)>,
    /// The permissions that were asked for, in order, as far as they are kept. See [`Event::ask`].
    pub(super) asked: Vec<Named>,
    pub(crate) denied: bool,
    pub(crate) error: Option<(String, Option<String>)>,
}

/// A permission that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Named {
    action: String,
    /// The resource's ARN and its account, empty where it has none.
    resource: Option<(String, String)>,
}

impl Event {
    /// What a request's head says of it. Events wait in memory, so that no text of a client's is kept longer than it is
    /// written.
    pub(crate) fn begin(services: &Services, parts: &Parts, peer: IpAddr, request_id: &str) -> Self {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Self {
            request_id: request_id.to_owned(),
            received_ms: services.clock.now_ms(),
            source_ip: Some(peer),
            user_agent: agent.map(short),
            claimed_key_id: claimed_key_id(parts),
            account: services.account.id.clone(),
            region: services.account.home_region.clone(),
            ..Self::default()
        }
    }

    /// Notes a permission that is asked for: the first [`MAX_NAMED`], and the last of all, which is the one that is denied
    /// where one is.
    pub(crate) fn ask(&mut self, action: &str, resource: Option<&Arn>) {
        self.asked.truncate(MAX_NAMED);
        let resource = resource.map(|arn| {
            // The account that the whole line is of is not kept again.
            let other = if arn.account == self.account { "" } else { arn.account.as_str() };
            (short(&arn.to_string()), short(other))
        });
        self.asked.push(Named { action: short(action), resource });
    }

    /// An error's name as the service's clients are told it, and its message where that can't quote the request.
    pub(crate) fn fail(&mut self, error: &ApiError, table: Option<&ServiceTable>) {
        self.fail_as(error.name_in(table), error);
    }

    /// The same under another name than the error's own.
    pub(crate) fn fail_as(&mut self, name: &str, error: &ApiError) {
        let safe = error.code.starts_with("AccessDenied")
            || error.code.contains("Signature")
            || error.code.contains("Token")
            || error.code.starts_with("UnrecognizedClient");
        self.error = Some((name.to_owned(), safe.then(|| short(&error.message))));
    }

    /// The line of the log, without its end.
    pub(crate) fn line(&self, event_id: &str) -> String {
        let (error_code, error_message) =
            self.error.as_ref().map_or((None, None), |(code, message)| (Some(code), message.as_ref()));
        // What a service does with a role comes from the service, as in CloudTrail.
        let service = self.invoked_by.as_ref().map(|(service, _)| service.as_str());
        let address = self.source_ip.map(|ip| ip.to_canonical());
        let line = Line {
            event_version: "1.11",
            user_identity: self.identity(),
            event_time: rfc3339(self.received_ms).unwrap_or_default(),
            event_source: format!("{}.amazonaws.com", self.service),
            event_name: &self.operation,
            aws_region: &self.region,
            source_ip_address: service.map(str::to_owned).or_else(|| address.map(|ip| ip.to_string())),
            user_agent: service.or(self.user_agent.as_deref()),
            error_code,
            error_message,
            request_parameters: (),
            response_elements: (),
            additional_event_data: self.decision(),
            request_id: &self.request_id,
            event_id,
            read_only: read_only(&self.operation),
            resources: self.resources(),
            event_type: "AwsApiCall",
            management_event: true,
            recipient_account_id: &self.account,
            event_category: "Management",
        };
        serde_json::to_string(&line).unwrap_or_default()
    }

    fn identity(&self) -> Identity<'_> {
        let Some(principal) = &self.principal else {
            let access_key_id = self.claimed_key_id.as_deref();
            return Identity {
                kind: "Unknown",
                account_id: "anonymous",
                access_key_id,
                ..Identity::default()
            };
        };
        let invoked_by = self.invoked_by.as_ref().map(|(service, _)| service.as_str());
        let user = principal.arn.split_once(":user/").map(|(_, name)| last_of(name));
        Identity {
            kind: kind(principal),
            principal_id: Some(principal.user_id.as_str()).filter(|id| !id.is_empty()),
            // A service has a name and no ARN.
            arn: Some(principal.arn.as_str()).filter(|arn| arn.starts_with("arn:")),
            account_id: &self.account,
            access_key_id: Some(principal.access_key_id.as_str()).filter(|id| !id.is_empty()),
            user_name: user,
            invoked_by,
            session_context: principal.session.as_ref().map(|session| SessionContext {
                session_issuer: Issuer {
                    kind: if session.kind == SessionKind::AssumedRole { "Role" } else { "User" },
                    principal_id: &session.issuer_id,
                    arn: &session.issuer_arn,
                    account_id: &self.account,
                    user_name: last_of(&session.issuer_arn),
                },
                attributes: Attributes {
                    creation_date: rfc3339(session.issued_ms).unwrap_or_default(),
                    mfa_authenticated: "false",
                },
            }),
        }
    }

    fn decision(&self) -> Decision<'_> {
        let decision = match (&self.principal, self.denied) {
            (None, _) => "notAuthenticated",
            (Some(_), true) => "denied",
            (Some(_), false) if self.asked.is_empty() => "notAsked",
            (Some(_), false) => "allowed",
        };
        let source_arn = self.invoked_by.as_ref().and_then(|(_, source)| source.as_deref());
        let actions = self.asked.iter().map(|asked| asked.action.as_str()).collect();
        Decision { decision, actions, source_arn }
    }

    fn resources(&self) -> Vec<Resource<'_>> {
        let named = self.asked.iter().filter_map(|asked| asked.resource.as_ref());
        named
            .map(|(arn, account)| Resource {
                arn,
                account_id: if account.is_empty() { &self.account } else { account },
            })
            .collect()
    }
}

/// One line, in the order and the names of CloudTrail's events.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    event_version: &'static str,
    user_identity: Identity<'a>,
    event_time: String,
    event_source: String,
    event_name: &'a str,
    aws_region: &'a str,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Option<String>,
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a String>,
    request_parameters: (),
    response_elements: (),
    additional_event_data: Decision<'a>,
    #[serde(rename = "requestID")]
    request_id: &'a str,
    #[serde(rename = "eventID")]
    event_id: &'a str,
    read_only: bool,
    resources: Vec<Resource<'a>>,
    event_type: &'static str,
    management_event: bool,
    recipient_account_id: &'a str,
    event_category: &'static str,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arn: Option<&'a str>,
    account_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoked_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_context: Option<SessionContext<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionContext<'a> {
    session_issuer: Issuer<'a>,
    attributes: Attributes,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Issuer<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    principal_id: &'a str,
    arn: &'a str,
    account_id: &'a str,
    user_name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    creation_date: String,
    mfa_authenticated: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Decision<'a> {
    decision: &'static str,
    actions: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_arn: Option<&'a str>,
}

#[derive(Serialize)]
struct Resource<'a> {
    #[serde(rename = "ARN")]
    arn: &'a str,
    #[serde(rename = "accountId")]
    account_id: &'a str,
}

/// What is after the last slash.
fn last_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn kind(principal: &Principal) -> &'static str {
    match requester(principal).kind {
        RequesterKind::Root => "Root",
        RequesterKind::User => "IAMUser",
        RequesterKind::AssumedRole => "AssumedRole",
        RequesterKind::FederatedUser => "FederatedUser",
        RequesterKind::Service => "AWSService",
        RequesterKind::Anonymous => "Unknown",
    }
}

/// Whether an operation changes nothing that is kept.
fn read_only(operation: &str) -> bool {
    const READS: &[&str] = &[
        "Get", "List", "BatchGet", "Retrieve", "Converse", "Invoke", "Count", "Simulate", "Rerank",
        "Validate",
    ];
    READS.iter().any(|prefix| operation.starts_with(prefix))
}

/// The key that a request names, in whichever way it is signed.
fn claimed_key_id(parts: &Parts) -> Option<String> {
    let head = RequestHead::from(parts);
    if let Some(id) = sigv4::claimed_key_id(&head) {
        return Some(short_id(&id));
    }
    // S3's signatures of version 2 in a query.
    let id = head.query.split('&').find_map(|pair| pair.strip_prefix("AWSAccessKeyId="))?;
    Some(short_id(id))
}

/// What can be a key's id, of what a client says it is.
fn short_id(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).take(128).collect()
}

fn short(text: &str) -> String {
    first_chars(text, MAX_TEXT_CHARS).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_event_has_cloudtrails_shape_and_no_message_that_could_quote_a_body() {
        let mut event = Event {
            request_id: "r-1".into(),
            received_ms: 1_767_225_600_000,
            source_ip: Some("127.0.0.1".parse().unwrap()),
            user_agent: Some(short(&"x".repeat(2000))),
            account: "123456789012".into(),
            region: "us-east-1".into(),
            service: "bedrock".into(),
            operation: "Converse".into(),
            principal: Some(Arc::new(Principal::new("arn:aws:iam::123456789012:user/a/eve", "AKIAEVE"))),
            ..Event::default()
        };
        let model = "arn:aws:bedrock:us-east-1::foundation-model/m".parse().unwrap();
        event.ask("bedrock:InvokeModel", Some(&model));
        event.fail(&ApiError::validation("the prompt 'secret' is too long"), None);
        let line = event.line("e-1");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert!(!line.contains("secret") && !line.contains('\n'), "{line}");
        assert_eq!(read["userIdentity"]["type"], "IAMUser");
        assert_eq!(read["userIdentity"]["userName"], "eve");
        assert_eq!(read["eventTime"], "2026-01-01T00:00:00Z");
        assert_eq!(read["eventSource"], "bedrock.amazonaws.com");
        assert_eq!(read["errorCode"], "ValidationException");
        assert_eq!(read["additionalEventData"]["decision"], "allowed");
        assert_eq!(read["resources"][0]["ARN"], "arn:aws:bedrock:us-east-1::foundation-model/m");
        assert_eq!(read["userAgent"].as_str().unwrap().len(), MAX_TEXT_CHARS);
        event.fail(&ApiError::access_denied("no"), None);
        event.denied = true;
        let read: Value = serde_json::from_str(&event.line("e-2")).unwrap();
        assert_eq!(
            (&read["errorMessage"], &read["additionalEventData"]["decision"]),
            (&"no".into(), &"denied".into())
        );
    }

    #[test]
    fn an_event_that_waits_is_small_and_ends_with_what_was_denied() {
        let mut event = Event::default();
        for number in 0..1000 {
            let key = format!("arn:aws:s3:::bucket/{number}/{}", "k".repeat(1000));
            event.ask("s3:DeleteObject", key.parse().ok().as_ref());
        }
        assert_eq!(event.asked.len(), MAX_NAMED + 1);
        let texts = event.asked.iter().map(|asked| asked.resource.as_ref().unwrap().0.chars().count());
        assert!(texts.max().unwrap() <= MAX_TEXT_CHARS);
        assert!(event.asked.last().unwrap().resource.as_ref().unwrap().0.contains("/999/"));
        event.fail(&ApiError::access_denied("x".repeat(100_000)), None);
        assert!(event.line("e").len() < 64 * 1024);
    }
}
