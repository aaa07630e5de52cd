//! A metadata filter that a model makes from a question.
//!
//! The model fills in a JSON object under a schema made of the attributes the client described, so whatever it says is
//! a filter over those attributes or none. A model that can't be held to a schema, or errs, costs the filter and not
//! the search.

use craton_api_bedrock_agent_runtime as api;
use craton_core::RequestContext;
use craton_vectors::{Filter, MetadataValue};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::Retrieval;

const OPERATORS: [&str; 8] = [
    "equals",
    "notEquals",
    "greaterThan",
    "greaterThanOrEquals",
    "lessThan",
    "lessThanOrEquals",
    "startsWith",
    "listContains",
];

impl Retrieval {
    pub(super) async fn implicit_filter(
        &self,
        context: &RequestContext,
        configuration: api::ImplicitFilterConfiguration,
        question: &str,
    ) -> Result<Option<Filter>, ApiError> {
        let attributes = configuration.metadata_attributes;
        let described: Vec<String> = attributes
            .iter()
            .map(|attribute| {
                format!("- {} ({}): {}", attribute.key, attribute.r#type.as_str(), attribute.description)
            })
            .collect();
        let instruction = format!(
            "You turn a question into conditions on the attributes of documents. Give only conditions that the \
             question states; give none when it states none.\n\nAttributes:\n{}",
            described.join("\n")
        );
        let keys: Vec<&str> = attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        let call = self.json_call(context, &configuration.model_arn).await?;
        let answer = self.ask_json(context, call, (&instruction, question), schema(&keys)).await?;
        let conditions = answer.as_ref().and_then(|answer| answer.get("conditions")?.as_array());
        let read =
            conditions.into_iter().flatten().filter_map(|condition| condition_of(condition, &attributes));
        let mut leaves: Vec<Filter> = read.collect();
        Ok(if leaves.len() > 1 { Some(Filter::AndAll(leaves)) } else { leaves.pop() })
    }
}

fn schema(keys: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": {"conditions": {"type": "array", "maxItems": 5, "items": {
            "type": "object",
            "properties": {
                "attribute": {"type": "string", "enum": keys},
                "operator": {"type": "string", "enum": OPERATORS},
                "value": {"type": "string", "maxLength": 100},
            },
            "required": ["attribute", "operator", "value"],
            "additionalProperties": false,
        }}},
        "required": ["conditions"],
        "additionalProperties": false,
    })
}

/// A condition whose attribute exists and whose value can be read as the attribute's type.
fn condition_of(condition: &Value, attributes: &[api::MetadataAttributeSchema]) -> Option<Filter> {
    let field = |name: &str| condition.get(name)?.as_str();
    let (key, operator, value) = (field("attribute")?, field("operator")?, field("value")?);
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    let key = key.to_owned();
    let number = || value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let typed = || match attribute.r#type {
        api::AttributeType::Number => number().map(MetadataValue::Number),
        api::AttributeType::Boolean => value.trim().to_lowercase().parse().ok().map(MetadataValue::Boolean),
        api::AttributeType::String | api::AttributeType::StringList => Some(value.into()),
    };
    let is_list = attribute.r#type == api::AttributeType::StringList;
    let is_number = attribute.r#type == api::AttributeType::Number;
    match operator {
        "equals" | "listContains" if is_list => Some(Filter::ListContains(key, value.to_owned())),
        "equals" => typed().map(|value| Filter::Equals(key, value)),
        "notEquals" if !is_list => typed().map(|value| Filter::NotEquals(key, value)),
        "greaterThan" if is_number => number().map(|bound| Filter::GreaterThan(key, bound)),
        "greaterThanOrEquals" if is_number => number().map(|bound| Filter::GreaterThanOrEquals(key, bound)),
        "lessThan" if is_number => number().map(|bound| Filter::LessThan(key, bound)),
        "lessThanOrEquals" if is_number => number().map(|bound| Filter::LessThanOrEquals(key, bound)),
        "startsWith" if attribute.r#type == api::AttributeType::String => {
            Some(Filter::StartsWith(key, value.to_owned()))
        }
        _ => None,
    }
}
