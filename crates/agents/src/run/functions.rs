//! What the functions behind actions are sent, and how their answers are read.

use std::collections::BTreeMap;

use craton_api_bedrock_agent_runtime::ResponseState;
use serde_json::{Map, Value, json};

use super::arguments::{Argument, Invocation};
use super::trace::Identity;

/// Longest answer of a function, in bytes.
pub(super) const MOST_ANSWER: usize = 256 * 1024;

/// Who calls a function, and in which conversation.
pub(super) struct Caller<'a> {
    pub identity: &'a Identity,
    pub agent_name: &'a str,
    pub question: &'a str,
    pub attributes: &'a BTreeMap<String, String>,
    pub prompt_attributes: &'a BTreeMap<String, String>,
}

impl Caller<'_> {
    pub(super) fn agent(&self) -> Value {
        let Identity { agent_id, alias_id, version, .. } = self.identity;
        json!({ "name": self.agent_name, "id": agent_id, "alias": alias_id, "version": version })
    }

    /// The event of one call, as AWS documents it. An operation's event carries its id as `function` too, and the
    /// properties of its body among the `parameters`, after its own: handlers written for both kinds of action group
    /// read those.
    pub(super) fn event(&self, invocation: &Invocation) -> Value {
        let mut event = Map::new();
        let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
        put("messageVersion", "1.0".into());
        put("agent", self.agent());
        put("inputText", self.question.into());
        put("sessionId", self.identity.session_id.as_str().into());
        put("actionGroup", invocation.group.as_str().into());
        if let Some((path, verb)) = &invocation.operation {
            put("apiPath", path.as_str().into());
            put("httpMethod", verb.as_str().into());
        }
        put("function", invocation.function.as_str().into());
        put("parameters", arguments(invocation.all_parameters()));
        if let Some((content_type, properties)) = &invocation.body {
            put(
                "requestBody",
                json!({ "content": { content_type.as_str(): { "properties": arguments(properties) } } }),
            );
        }
        put("sessionAttributes", json!(self.attributes));
        put("promptSessionAttributes", json!(self.prompt_attributes));
        Value::Object(event)
    }
}

fn arguments<'a>(list: impl IntoIterator<Item = &'a Argument>) -> Value {
    list.into_iter().map(|it| json!({ "name": it.name, "type": it.kind, "value": it.value })).collect()
}

/// What a function answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reply {
    pub text: String,
    pub state: Option<ResponseState>,
    /// The operation's own status says that it failed.
    pub failed: bool,
    /// What it makes of the attributes that the function was called with, the session's first.
    pub changed: (Changes, Changes),
    /// Retrieval configurations by knowledge base.
    pub knowledge_bases: Vec<(String, Value)>,
    /// What the answer says that it is to.
    pub names: BTreeMap<&'static str, String>,
}

/// The attributes that a function was called with, the session's first.
type Before<'a> = (&'a BTreeMap<String, String>, &'a BTreeMap<String, String>);

/// Reads what a function answered to a call; what is wrong with it otherwise.
pub(super) fn reply_to(invocation: &Invocation, before: Before<'_>, payload: &[u8]) -> Result<Reply, String> {
    let reply = reply(before, payload)?;
    let (path, verb) = invocation.operation.clone().unzip();
    let called = [
        ("actionGroup", Some(&invocation.group)),
        ("function", Some(&invocation.function)),
        ("apiPath", path.as_ref()),
        ("httpMethod", verb.as_ref()),
    ];
    for (name, wanted) in called {
        let (Some(wanted), Some(named)) = (wanted, reply.names.get(name)) else { continue };
        let same = named == wanted || name == "httpMethod" && named.eq_ignore_ascii_case(wanted);
        if !same {
            return Err(format!(
                "the function's answer is not to this call: its {name} is {named}, and {wanted} was called"
            ));
        }
    }
    Ok(reply)
}

/// Reads an answer in either form, `responseBody` or `functionResponse`.
fn reply((session, prompt): Before<'_>, payload: &[u8]) -> Result<Reply, String> {
    if payload.len() > MOST_ANSWER {
        return Err(format!(
            "the function's answer has {} bytes, and at most {MOST_ANSWER} can be read",
            payload.len()
        ));
    }
    let answer: Value = serde_json::from_slice(payload)
        .map_err(|error| format!("the function's answer is no JSON: {error}"))?;
    let response = answer.get("response").filter(|it| it.is_object()).ok_or(
        "the function's answer has no \"response\" object; see the response format of action group functions",
    )?;
    let inner = response.get("functionResponse").unwrap_or(response);
    let state = inner.get("responseState").or_else(|| response.get("responseState"));
    let state = state.filter(|it| !it.is_null()).map(response_state).transpose()?;
    let status = response.get("httpStatusCode").and_then(Value::as_u64);
    let body = inner.get("responseBody").filter(|it| !it.is_null());
    if body.is_none() && state.is_none() && status.is_none() {
        return Err("the function's answer says nothing: its \"response\" has no responseBody".to_owned());
    }
    let text = body.map(body_text).unwrap_or_default();
    Ok(Reply {
        text,
        state,
        failed: status.is_some_and(|status| status >= 400),
        changed: (
            changed(session, &answer, "sessionAttributes"),
            changed(prompt, &answer, "promptSessionAttributes"),
        ),
        knowledge_bases: knowledge_bases(&answer),
        names: names(response),
    })
}

/// What a model would take for a success, if it were left out.
fn response_state(state: &Value) -> Result<ResponseState, String> {
    let known = state.as_str().and_then(|state| state.parse().ok());
    known.ok_or_else(|| {
        format!("the function's answer has the responseState {state}, which is neither FAILURE nor REPROMPT")
    })
}

fn names(response: &Value) -> BTreeMap<&'static str, String> {
    let all = ["actionGroup", "function", "apiPath", "httpMethod"].into_iter();
    let named = all.filter_map(|name| Some((name, response.get(name)?.as_str()?.to_owned())));
    named.filter(|(_, value)| !value.is_empty()).collect()
}

/// The body that a model reads: JSON or plain text before anything else.
fn body_text(body: &Value) -> String {
    let Value::Object(by_type) = body else { return as_text(body) };
    let preferred = ["TEXT", "application/json", "text/plain"];
    let chosen = preferred.iter().find_map(|kind| by_type.get(*kind)).or_else(|| by_type.values().next());
    chosen.map(|content| as_text(content.get("body").unwrap_or(content))).unwrap_or_default()
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What became of attributes: new values, and none for those that are gone. Calls of one answer begin from the same
/// attributes, so that each may only say what it changed.
pub(super) type Changes = BTreeMap<String, Option<String>>;

pub(super) fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Changes {
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), None));
    let set = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    gone.chain(set.map(|(name, value)| (name.clone(), Some(value.clone())))).collect()
}

pub(super) fn apply(changes: Changes, attributes: &mut BTreeMap<String, String>) {
    for (name, value) in changes {
        match value {
            Some(value) => attributes.insert(name, value),
            None => attributes.remove(&name),
        };
    }
}

/// What an answer changes of attributes; nothing where it does not speak of them.
fn changed(before: &BTreeMap<String, String>, answer: &Value, name: &str) -> Changes {
    let Some(object) = answer.get(name).and_then(Value::as_object) else { return Changes::new() };
    changes(before, &object.iter().map(|(key, value)| (key.clone(), as_text(value))).collect())
}

fn knowledge_bases(answer: &Value) -> Vec<(String, Value)> {
    let list = answer.get("knowledgeBasesConfiguration").and_then(Value::as_array);
    let one = |entry: &Value| {
        let id = entry.get("knowledgeBaseId")?.as_str()?.to_owned();
        Some((id, entry.get("retrievalConfiguration")?.clone()))
    };
    list.into_iter().flatten().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(name: &str, kind: &str, value: &str) -> Argument {
        Argument { name: name.into(), kind: kind.into(), value: value.into() }
    }

    fn read(payload: &[u8]) -> Result<Reply, String> {
        reply((&BTreeMap::new(), &BTreeMap::new()), payload)
    }

    #[test]
    fn an_operations_event_is_as_documented() {
        let identity = Identity {
            agent_id: "AGENT00001".into(),
            alias_id: "TSTALIASID".into(),
            version: "DRAFT".into(),
            session_id: "s-1".into(),
            ..Identity::default()
        };
        let attributes = BTreeMap::from([("tier".to_owned(), "gold".to_owned())]);
        let caller = Caller {
            identity: &identity,
            agent_name: "support",
            question: "Cancel it",
            attributes: &attributes,
            prompt_attributes: &BTreeMap::new(),
        };
        let invocation = Invocation {
            group: "orders".into(),
            function: "cancel".into(),
            operation: Some(("/orders/{id}".into(), "POST".into())),
            parameters: vec![argument("id", "string", "7")],
            body: Some(("application/json".into(), vec![argument("reason", "string", "late")])),
        };
        assert_eq!(
            caller.event(&invocation),
            json!({
                "messageVersion": "1.0",
                "agent": { "name": "support", "id": "AGENT00001", "alias": "TSTALIASID", "version": "DRAFT" },
                "inputText": "Cancel it", "sessionId": "s-1", "actionGroup": "orders",
                "apiPath": "/orders/{id}", "httpMethod": "POST", "function": "cancel",
                "parameters": [{ "name": "id", "type": "string", "value": "7" },
                               { "name": "reason", "type": "string", "value": "late" }],
                "requestBody": { "content": { "application/json": { "properties": [
                    { "name": "reason", "type": "string", "value": "late" }] } } },
                "sessionAttributes": { "tier": "gold" }, "promptSessionAttributes": {},
            })
        );
        // A parameter is not hidden by a property of the same name.
        let same =
            Invocation { body: Some((String::new(), vec![argument("id", "string", "8")])), ..invocation };
        assert_eq!(
            caller.event(&same)["parameters"],
            json!([{ "name": "id", "type": "string", "value": "7" }])
        );
    }

    #[test]
    fn both_forms_of_answers_are_read() {
        let api = json!({ "messageVersion": "1.0", "response": { "actionGroup": "g", "httpStatusCode": 404,
            "responseBody": { "application/json": { "body": "{\"error\":\"none\"}" } } },
            "sessionAttributes": { "n": 1 } });
        let read = read(api.to_string().as_bytes()).unwrap();
        assert_eq!((read.text.as_str(), read.failed), ("{\"error\":\"none\"}", true));
        assert_eq!(read.changed.0["n"].as_deref(), Some("1"));
        let function = json!({ "response": { "functionResponse": { "responseState": "REPROMPT",
            "responseBody": { "TEXT": { "body": "which one?" } } } },
            "knowledgeBasesConfiguration": [{ "knowledgeBaseId": "KB", "retrievalConfiguration": { "a": 1 } }] });
        let read =
            super::reply((&BTreeMap::new(), &BTreeMap::new()), function.to_string().as_bytes()).unwrap();
        assert_eq!((read.text.as_str(), read.state), ("which one?", Some(ResponseState::Reprompt)));
        assert_eq!(read.knowledge_bases, [("KB".to_owned(), json!({ "a": 1 }))]);
    }

    #[test]
    fn an_answer_is_to_its_call() {
        let invocation = Invocation {
            group: "g".into(),
            function: "cancel".into(),
            operation: Some(("/orders/{id}".into(), "POST".into())),
            parameters: Vec::new(),
            body: None,
        };
        let answer = |named: Value| {
            let mut response = json!({ "responseBody": { "TEXT": { "body": "ok" } } });
            response.as_object_mut().unwrap().extend(named.as_object().unwrap().clone());
            let none = BTreeMap::new();
            reply_to(&invocation, (&none, &none), json!({ "response": response }).to_string().as_bytes())
        };
        for fits in [
            json!({}),
            json!({ "actionGroup": "g", "function": null }),
            json!({ "actionGroup": "g", "apiPath": "/orders/{id}", "httpMethod": "post", "function": "cancel" }),
        ] {
            assert_eq!(answer(fits.clone()).map(|reply| reply.text), Ok("ok".to_owned()), "{fits}");
        }
        for other in [
            json!({ "actionGroup": "h" }),
            json!({ "function": "refund" }),
            json!({ "apiPath": "/orders" }),
            json!({ "httpMethod": "GET" }),
        ] {
            assert!(answer(other.clone()).unwrap_err().contains("not to this call"), "{other}");
        }
    }

    #[test]
    fn each_call_changes_only_what_it_changed() {
        let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let before = of(&[("a", "1"), ("b", "2")]);
        let one = changes(&before, &of(&[("a", "1"), ("b", "3")]));
        let other = changes(&before, &of(&[("b", "2"), ("c", "4")]));
        let mut both = before.clone();
        apply(one, &mut both);
        apply(other, &mut both);
        assert_eq!(both, of(&[("b", "3"), ("c", "4")]));
    }

    #[test]
    fn answers_that_are_none_are_refused() {
        for bad in ["", "null", "[]", "{}", "{\"response\": 3}", "{\"response\": {}}"] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        let with = |response: Value| read(json!({ "response": response }).to_string().as_bytes());
        for state in [json!("WEIRD"), json!("failure"), json!(1), json!({})] {
            let response = json!({ "functionResponse": { "responseState": state, "responseBody": "ok" } });
            assert!(with(response).unwrap_err().contains("FAILURE"), "{state}");
            assert!(with(json!({ "responseState": state, "responseBody": "ok" })).is_err(), "{state}");
        }
        assert!(with(json!({ "functionResponse": { "responseBody": null } })).is_err());
        // These say what came of the call, without a body.
        assert!(with(json!({ "functionResponse": { "responseState": "FAILURE" } })).is_ok());
        assert!(with(json!({ "httpStatusCode": 204 })).is_ok());
        assert!(with(json!({ "responseState": null, "responseBody": "ok" })).is_ok());
        assert!(read(&vec![b' '; MOST_ANSWER + 1]).is_err());
    }
}
