//! The operations of an OpenAPI 3 document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::SchemaError;
use super::json_schema::References;
use crate::definition::{ApiAction, ApiParameter};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "patch", "head", "options", "trace"];

/// All operations, in the order of the document.
pub(super) fn actions(document: &Value) -> Result<Vec<ApiAction>, SchemaError> {
    let Some(root) = document.as_object() else {
        return Err(SchemaError::new("", "an OpenAPI document is an object"));
    };
    check_release(root)?;
    let paths = match root.get("paths") {
        Some(Value::Object(paths)) if !paths.is_empty() => paths,
        Some(Value::Object(_)) => return Err(SchemaError::new("paths", "there is no path")),
        Some(_) => return Err(SchemaError::new("paths", "must be an object")),
        None => return Err(SchemaError::new("paths", "is missing")),
    };
    let mut reader = Reader { references: References::new(document), ids: BTreeSet::new() };
    let mut actions = Vec::new();
    for (path, item) in paths {
        if path.starts_with("x-") {
            continue;
        }
        let place = format!("paths.{path}");
        if !path.starts_with('/') {
            return Err(SchemaError::new(place, "a path starts with /"));
        }
        let (item, place) = reader.references.follow(item, &place)?;
        let item = object(item, &place)?;
        for (method, operation) in item {
            if METHODS.contains(&method.as_str()) {
                let at = At { path, method, place: format!("{place}.{method}") };
                actions.push(reader.action(&at, operation, item.get("parameters"), &place)?);
            }
        }
    }
    if actions.is_empty() {
        return Err(SchemaError::new("paths", "no path has an operation, such as get or post"));
    }
    Ok(actions)
}

fn check_release(root: &Map<String, Value>) -> Result<(), SchemaError> {
    let release = match root.get("openapi") {
        Some(Value::String(release)) => release.clone(),
        Some(Value::Number(release)) => release.to_string(),
        Some(_) => return Err(SchemaError::new("openapi", "must be a text, such as 3.0.0")),
        None => {
            return Err(SchemaError::new(
                "openapi",
                "is missing: an OpenAPI document names its release, such as 3.0.0",
            ));
        }
    };
    if release.split('.').next() == Some("3") {
        return Ok(());
    }
    Err(SchemaError::new("openapi", format!("the release {release} can't be read. Use OpenAPI 3")))
}

struct At<'a> {
    path: &'a str,
    method: &'a str,
    place: String,
}

struct Reader<'a> {
    references: References<'a>,
    ids: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    fn action(
        &mut self,
        at: &At<'_>,
        operation: &'a Value,
        shared: Option<&'a Value>,
        path_place: &str,
    ) -> Result<ApiAction, SchemaError> {
        let place = &at.place;
        let operation = object(operation, place)?;
        let description = text(operation, "description", place)?.or(text(operation, "summary", place)?);
        let Some(description) = description.filter(|text| !text.trim().is_empty()) else {
            return Err(SchemaError::new(
                format!("{place}.description"),
                "is missing: an agent chooses an operation by its description",
            ));
        };
        if !matches!(operation.get("responses"), Some(Value::Object(_))) {
            return Err(SchemaError::new(format!("{place}.responses"), "is missing: it must be an object"));
        }
        let mut parameters: Vec<ApiParameter> = Vec::new();
        let own = operation.get("parameters");
        for (list, place) in [(shared, path_place), (own, place.as_str())] {
            for parameter in self.parameters(list, &format!("{place}.parameters"))? {
                // What an operation says of a parameter goes before what its path says.
                parameters.retain(|other| other.name != parameter.name);
                parameters.push(parameter);
            }
        }
        let (body, body_required) = self.body(operation, place)?;
        Ok(ApiAction {
            operation_id: self.operation_id(operation, at)?,
            path: at.path.to_owned(),
            method: at.method.to_ascii_uppercase(),
            description: description.to_owned(),
            parameters,
            body,
            body_required,
            require_confirmation: confirmation(operation, place)?,
        })
    }

    /// The operation's own id, or one made of its method and path.
    fn operation_id(&mut self, operation: &Map<String, Value>, at: &At<'_>) -> Result<String, SchemaError> {
        let place = format!("{}.operationId", at.place);
        let Some(id) = text(operation, "operationId", &at.place)? else {
            let mut made = at.method.to_owned();
            for word in at.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
                made = format!("{made}_{word}");
            }
            if !self.ids.insert(made.clone()) {
                return Err(SchemaError::new(
                    place,
                    format!(
                        "is missing, and the name {made}, made of method and path, is another operation's"
                    ),
                ));
            }
            return Ok(made);
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if id.is_empty() || !id.chars().all(plain) {
            return Err(SchemaError::new(
                place,
                format!("{id:?} may have only letters, digits, hyphens and underscores"),
            ));
        }
        if !self.ids.insert(id.to_owned()) {
            return Err(SchemaError::new(place, format!("{id} is given more than once")));
        }
        Ok(id.to_owned())
    }

    fn parameters(&mut self, list: Option<&'a Value>, place: &str) -> Result<Vec<ApiParameter>, SchemaError> {
        let list = match list {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(SchemaError::new(place, "must be a list")),
        };
        let mut parameters = Vec::with_capacity(list.len());
        for (at, parameter) in list.iter().enumerate() {
            parameters.push(self.parameter(parameter, &format!("{place}.{at}"))?);
        }
        Ok(parameters)
    }

    fn parameter(&mut self, value: &'a Value, place: &str) -> Result<ApiParameter, SchemaError> {
        let (value, place) = self.references.follow(value, place)?;
        let parameter = object(value, &place)?;
        let Some(name) = text(parameter, "name", &place)?.filter(|name| !name.is_empty()) else {
            return Err(SchemaError::new(format!("{place}.name"), "is missing"));
        };
        let location = text(parameter, "in", &place)?;
        if !matches!(location, Some("query" | "path" | "header" | "cookie")) {
            return Err(SchemaError::new(format!("{place}.in"), "must be query, path, header or cookie"));
        }
        let schema = match (parameter.get("schema"), first_content(parameter)) {
            (Some(schema), _) => self.references.schema(schema, &format!("{place}.schema"))?,
            (None, Some((kind, schema))) => {
                self.references.schema(schema, &format!("{place}.content.{kind}.schema"))?
            }
            (None, None) => return Err(SchemaError::new(format!("{place}.schema"), "is missing")),
        };
        let description = text(parameter, "description", &place)?;
        let description =
            description.or_else(|| schema.get("description").and_then(Value::as_str)).unwrap_or_default();
        Ok(ApiParameter {
            name: name.to_owned(),
            description: description.to_owned(),
            required: location == Some("path") || flag(parameter, "required", &place)?,
            schema,
        })
    }

    fn body(
        &mut self,
        operation: &'a Map<String, Value>,
        place: &str,
    ) -> Result<(BTreeMap<String, Value>, bool), SchemaError> {
        let mut bodies = BTreeMap::new();
        let Some(body) = operation.get("requestBody") else { return Ok((bodies, false)) };
        let (body, place) = self.references.follow(body, &format!("{place}.requestBody"))?;
        let body = object(body, &place)?;
        let Some(Value::Object(content)) = body.get("content") else {
            return Err(SchemaError::new(format!("{place}.content"), "is missing: it must be an object"));
        };
        for (kind, media) in content {
            let place = format!("{place}.content.{kind}.schema");
            let Some(schema) = media.get("schema") else { return Err(SchemaError::new(place, "is missing")) };
            let mut schema = self.references.schema(schema, &place)?;
            let Some(members) = schema.as_object_mut() else {
                return Err(SchemaError::new(place, "must be an object"));
            };
            match members.get("type") {
                Some(Value::String(kind)) if kind == "object" => {}
                Some(kind) => {
                    return Err(SchemaError::new(
                        place,
                        format!("a request body must be of the type object, and not of {kind}"),
                    ));
                }
                None => {
                    members.insert("type".into(), json!("object"));
                }
            }
            bodies.insert(kind.clone(), schema);
        }
        let required = flag(body, "required", &place)?;
        Ok((bodies, required))
    }
}

fn first_content(parameter: &Map<String, Value>) -> Option<(&String, &Value)> {
    let (kind, media) = parameter.get("content")?.as_object()?.iter().next()?;
    Some((kind, media.get("schema")?))
}

/// `x-requireConfirmation`: whether the agent's user must agree before the operation is called.
fn confirmation(operation: &Map<String, Value>, place: &str) -> Result<bool, SchemaError> {
    match operation.get("x-requireConfirmation") {
        None => Ok(false),
        Some(Value::String(word)) if word == "ENABLED" => Ok(true),
        Some(Value::String(word)) if word == "DISABLED" => Ok(false),
        Some(_) => {
            Err(SchemaError::new(format!("{place}.x-requireConfirmation"), "must be ENABLED or DISABLED"))
        }
    }
}

fn object<'v>(value: &'v Value, place: &str) -> Result<&'v Map<String, Value>, SchemaError> {
    value.as_object().ok_or_else(|| SchemaError::new(place, "must be an object"))
}

fn text<'v>(
    members: &'v Map<String, Value>,
    name: &str,
    place: &str,
) -> Result<Option<&'v str>, SchemaError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(SchemaError::new(format!("{place}.{name}"), "must be a text")),
    }
}

fn flag(members: &Map<String, Value>, name: &str, place: &str) -> Result<bool, SchemaError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(SchemaError::new(format!("{place}.{name}"), "must be true or false")),
    }
}
