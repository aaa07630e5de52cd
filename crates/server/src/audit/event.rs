use std::net::IpAddr;
use std::sync::Arc;

use craton_core::{Arn, Principal, SessionKind};
use craton_identity::policy::RequesterKind;
use craton_identity::{requester, rfc3339};
use craton_wire::ApiError;
use http::header;
use http::request::Parts;
use serde_json::{Map, Value, json};

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
    pub(crate) service: &'static str,
    pub(crate) operation: &'static str,
    /// `None` for somebody who could not be told.
    pub(crate) principal: Option<Arc<Principal>>,
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
            account: services.account.id.clone(),
            region: services.account.home_region.clone(),
            ..Self::default()
        }
    }

    /// Notes a permission that is asked for: the first [`MAX_NAMED`], and the last of all, which is the one that is denied
    /// where one is.
    pub(crate) fn ask(&mut self, action: &str, resource: Option<&Arn>) {
        self.asked.truncate(MAX_NAMED);
        let resource = resource.map(|arn| (short(&arn.to_string()), short(&arn.account)));
        self.asked.push(Named { action: short(action), resource });
    }

    /// An error's name, and its message where that can't quote the request.
    pub(crate) fn fail(&mut self, error: &ApiError) {
        let safe = error.code.starts_with("AccessDenied")
            || error.code.contains("Signature")
            || error.code.contains("Token")
            || error.code.starts_with("UnrecognizedClient");
        self.error = Some((error.code.to_string(), safe.then(|| short(&error.message))));
    }

    /// The line of the log, without its end.
    pub(crate) fn line(&self, event_id: &str) -> String {
        let mut event = Map::new();
        let mut put = |name: &str, value: Value| {
            event.insert(name.to_owned(), value);
        };
        put("eventVersion", "1.11".into());
        put("userIdentity", self.identity());
        put("eventTime", rfc3339(self.received_ms).unwrap_or_default().into());
        put("eventSource", format!("{}.amazonaws.com", self.service).into());
        put("eventName", self.operation.into());
        put("awsRegion", self.region.as_str().into());
        put("sourceIPAddress", self.source_ip.map_or(Value::Null, |ip| ip.to_canonical().to_string().into()));
        put("userAgent", self.user_agent.as_deref().into());
        if let Some((code, message)) = &self.error {
            put("errorCode", code.as_str().into());
            if let Some(message) = message {
                put("errorMessage", message.as_str().into());
            }
        }
        put("requestParameters", Value::Null);
        put("responseElements", Value::Null);
        put("additionalEventData", self.decision());
        put("requestID", self.request_id.as_str().into());
        put("eventID", event_id.into());
        put("readOnly", read_only(self.operation).into());
        put("resources", self.resources());
        put("eventType", "AwsApiCall".into());
        put("managementEvent", true.into());
        put("recipientAccountId", self.account.as_str().into());
        put("eventCategory", "Management".into());
        Value::Object(event).to_string()
    }

    fn identity(&self) -> Value {
        let Some(principal) = &self.principal else {
            return json!({"type": "Unknown", "accountId": "anonymous"});
        };
        let mut identity = json!({
            "type": kind(principal), "principalId": principal.user_id, "arn": principal.arn,
            "accountId": self.account, "accessKeyId": principal.access_key_id,
        });
        if let Some((_, name)) = principal.arn.split_once(":user/") {
            identity["userName"] = name.rsplit('/').next().unwrap_or_default().into();
        }
        if let Some(session) = &principal.session {
            let issuer = session.issuer_arn.rsplit('/').next().unwrap_or_default();
            identity["sessionContext"] = json!({
                "sessionIssuer": {"type": if session.kind == SessionKind::AssumedRole { "Role" } else { "User" },
                    "principalId": session.issuer_id, "arn": session.issuer_arn, "accountId": self.account,
                    "userName": issuer},
                "attributes": {"creationDate": rfc3339(session.issued_ms).unwrap_or_default(), "mfaAuthenticated": "false"},
            });
        }
        identity
    }

    fn decision(&self) -> Value {
        let decision = match (&self.principal, self.denied) {
            (None, _) => "notAuthenticated",
            (Some(_), true) => "denied",
            (Some(_), false) if self.asked.is_empty() => "notAsked",
            (Some(_), false) => "allowed",
        };
        let actions = self.asked.iter().map(|asked| asked.action.as_str());
        json!({"decision": decision, "actions": actions.collect::<Vec<_>>()})
    }

    fn resources(&self) -> Value {
        let named = self.asked.iter().filter_map(|asked| asked.resource.as_ref());
        named
            .map(|(arn, account)| {
                json!({"ARN": arn, "accountId": if account.is_empty() { &self.account } else { account }})
            })
            .collect()
    }
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

fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
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
            service: "bedrock",
            operation: "Converse",
            principal: Some(Arc::new(Principal::new("arn:aws:iam::123456789012:user/a/eve", "AKIAEVE"))),
            ..Event::default()
        };
        let model = "arn:aws:bedrock:us-east-1::foundation-model/m".parse().unwrap();
        event.ask("bedrock:InvokeModel", Some(&model));
        event.fail(&ApiError::validation("the prompt 'secret' is too long"));
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
        event.fail(&ApiError::access_denied("no"));
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
        event.fail(&ApiError::access_denied("x".repeat(100_000)));
        assert!(event.line("e").len() < 64 * 1024);
    }
}
