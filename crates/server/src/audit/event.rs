use std::net::IpAddr;
use std::sync::Arc;

use craton_core::{Arn, Principal, SessionKind};
use craton_wire::ApiError;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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
    /// The permissions that were asked for, in order. A denial is the last one's.
    pub(crate) asked: Vec<(String, Option<Arn>)>,
    pub(crate) denied: bool,
    pub(crate) error: Option<(String, Option<String>)>,
    pub(crate) tls: bool,
}

impl Event {
    /// An error's name, and its message where that can't quote the request.
    pub(crate) fn fail(&mut self, error: &ApiError) {
        let safe = error.code.starts_with("AccessDenied")
            || error.code.contains("Signature")
            || error.code.contains("Token")
            || error.code.starts_with("UnrecognizedClient");
        self.error = Some((error.code.to_string(), safe.then(|| error.message.clone())));
    }

    /// The line of the log, without its end.
    pub(crate) fn line(&self, event_id: &str) -> String {
        let mut event = Map::new();
        let mut put = |name: &str, value: Value| {
            event.insert(name.to_owned(), value);
        };
        put("eventVersion", "1.11".into());
        put("userIdentity", self.identity());
        put("eventTime", rfc3339(self.received_ms).into());
        put("eventSource", format!("{}.amazonaws.com", self.service).into());
        put("eventName", self.operation.into());
        put("awsRegion", self.region.as_str().into());
        put("sourceIPAddress", self.source_ip.map_or(Value::Null, |ip| ip.to_canonical().to_string().into()));
        put("userAgent", self.user_agent.as_deref().map(short).into());
        if let Some((code, message)) = &self.error {
            put("errorCode", code.as_str().into());
            if let Some(message) = message {
                put("errorMessage", short(message).into());
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
        if self.tls {
            put("tlsDetails", json!({"tlsVersion": "TLS"}));
        }
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
                "attributes": {"creationDate": rfc3339(session.issued_ms), "mfaAuthenticated": "false"},
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
        let actions = self.asked.iter().take(MAX_NAMED).map(|(action, _)| action.as_str());
        json!({"decision": decision, "actions": actions.collect::<Vec<_>>()})
    }

    fn resources(&self) -> Value {
        let arns = self.asked.iter().filter_map(|(_, arn)| arn.as_ref()).take(MAX_NAMED);
        arns.map(|arn| {
            let account = if arn.account.is_empty() { &self.account } else { &arn.account };
            json!({"ARN": short(&arn.to_string()), "accountId": short(account)})
        })
        .collect()
    }
}

fn kind(principal: &Principal) -> &'static str {
    match &principal.arn {
        arn if arn.ends_with(":root") => "Root",
        arn if arn.contains(":assumed-role/") => "AssumedRole",
        arn if arn.contains(":federated-user/") => "FederatedUser",
        arn if arn.ends_with(".amazonaws.com") => "AWSService",
        _ => "IAMUser",
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

fn rfc3339(ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000)).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
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
            user_agent: Some("x".repeat(2000)),
            account: "123456789012".into(),
            region: "us-east-1".into(),
            service: "bedrock",
            operation: "Converse",
            principal: Some(Arc::new(Principal::new("arn:aws:iam::123456789012:user/a/eve", "AKIAEVE"))),
            asked: vec![(
                "bedrock:InvokeModel".into(),
                "arn:aws:bedrock:us-east-1::foundation-model/m".parse().ok(),
            )],
            ..Event::default()
        };
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
}
