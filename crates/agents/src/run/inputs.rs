//! What a caller is asked to do, as sessions keep it: the API's own types of it are only ever written.

use craton_api_bedrock_agent_runtime as api;
use craton_wire::ApiError;
use serde_json::Value;

use super::session::internal;

/// As it is kept.
pub(super) fn kept(inputs: &[api::InvocationInputMember]) -> Result<Vec<Value>, ApiError> {
    let all: Result<_, _> = inputs.iter().map(serde_json::to_value).collect();
    all.map_err(|error| internal(&error))
}

/// What was kept.
pub(super) fn read(kept: &[Value]) -> Result<Vec<api::InvocationInputMember>, ApiError> {
    let broken = || ApiError::internal("What the session keeps of its actions can't be read.");
    kept.iter().map(|value| one(value).ok_or_else(broken)).collect()
}

fn one(value: &Value) -> Option<api::InvocationInputMember> {
    if let Some(it) = value.get("functionInvocationInput") {
        let parameter = |(name, r#type, value)| api::FunctionParameter { name, r#type, value };
        return Some(api::InvocationInputMember::FunctionInvocationInput(api::FunctionInvocationInput {
            action_group: text(it, "actionGroup")?,
            action_invocation_type: text(it, "actionInvocationType").and_then(|kind| kind.parse().ok()),
            agent_id: text(it, "agentId"),
            collaborator_name: text(it, "collaboratorName"),
            function: text(it, "function"),
            parameters: parameters(it, "parameters", parameter),
        }));
    }
    let it = value.get("apiInvocationInput")?;
    let body = it.get("requestBody").map(|body| {
        let content = body.get("content").and_then(Value::as_object);
        let one = |(kind, of): (&String, &Value)| {
            let property = |(name, r#type, value)| api::Parameter { name, r#type, value };
            (kind.clone(), api::PropertyParameters { properties: parameters(of, "properties", property) })
        };
        api::ApiRequestBody { content: content.map(|content| content.iter().map(one).collect()) }
    });
    Some(api::InvocationInputMember::ApiInvocationInput(api::ApiInvocationInput {
        action_group: text(it, "actionGroup")?,
        action_invocation_type: text(it, "actionInvocationType").and_then(|kind| kind.parse().ok()),
        agent_id: text(it, "agentId"),
        api_path: text(it, "apiPath"),
        collaborator_name: text(it, "collaboratorName"),
        http_method: text(it, "httpMethod"),
        parameters: parameters(it, "parameters", |(name, r#type, value)| api::ApiParameter {
            name,
            r#type,
            value,
        }),
        request_body: body,
    }))
}

fn text(of: &Value, name: &str) -> Option<String> {
    of.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// A name, a type and a value.
type Said = (Option<String>, Option<String>, Option<String>);

fn parameters<T>(of: &Value, name: &str, make: impl Fn(Said) -> T) -> Option<Vec<T>> {
    let all = of.get(name)?.as_array()?.iter();
    Some(all.map(|it| make((text(it, "name"), text(it, "type"), text(it, "value")))).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_kept_is_read_again() {
        let parameters = json!([{ "name": "id", "type": "string", "value": "7" }]);
        let all = [
            json!({ "functionInvocationInput": { "actionGroup": "g", "function": "f", "parameters": parameters,
                "actionInvocationType": "USER_CONFIRMATION", "agentId": "A", "collaboratorName": "ada" } }),
            json!({ "functionInvocationInput": { "actionGroup": "g" } }),
            json!({ "apiInvocationInput": { "actionGroup": "g", "actionInvocationType": "RESULT", "agentId": "A",
                "apiPath": "/p", "collaboratorName": "ada", "httpMethod": "POST", "parameters": parameters,
                "requestBody": { "content": { "application/json": { "properties": parameters } } } } }),
            json!({ "apiInvocationInput": { "actionGroup": "g", "requestBody": {} } }),
        ];
        assert_eq!(kept(&read(&all).unwrap()).unwrap(), all);
        for broken in [json!({}), json!(null), json!({ "functionInvocationInput": {} })] {
            assert!(read(&[broken]).is_err());
        }
    }
}
