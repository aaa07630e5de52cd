//! `.metadata.json` files: attributes of a document, and how the columns of a csv file are to be read.

use std::collections::BTreeMap;

use craton_vectors::MetadataValue;
use serde::Deserialize;
use serde_json::Value;

/// AWS's limit for a metadata file.
pub(crate) const MAX_BYTES: usize = 10 << 10;

/// Begins the names of attributes that the system gives.
const RESERVED: &str = "x-amz-bedrock-kb-";

/// Whether an attribute's name is the system's to give.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}

/// What a metadata file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Metadata {
    pub(crate) attributes: BTreeMap<String, MetadataValue>,
    /// Names of attributes that are embedded together with the text.
    pub(crate) embedded: Vec<String>,
    pub(crate) records: Option<Records>,
}

/// Which columns of a csv file are text and which are metadata. Each row is a document of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Records {
    pub(crate) content: Vec<String>,
    /// Empty: all columns that are neither content nor excluded.
    pub(crate) include: Vec<String>,
    pub(crate) exclude: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct File {
    metadata_attributes: Option<BTreeMap<String, Value>>,
    document_structure_configuration: Option<Structure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structure {
    r#type: String,
    record_based_structure_metadata: RecordStructure,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordStructure {
    content_fields: Vec<Field>,
    #[serde(default)]
    metadata_fields_specification: FieldChoice,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct FieldChoice {
    fields_to_include: Vec<Field>,
    fields_to_exclude: Vec<Field>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    field_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    value: TypedValue,
    #[serde(default)]
    include_for_embedding: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypedValue {
    r#type: String,
    string_value: Option<String>,
    number_value: Option<f64>,
    boolean_value: Option<bool>,
    string_list_value: Option<Vec<String>>,
}

/// Reads a metadata file; the error is for its owner.
pub(crate) fn read(bytes: &[u8]) -> Result<Metadata, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("the metadata file has more than {MAX_BYTES} bytes"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let file: File = serde_json::from_slice(bytes)
        .map_err(|error| format!("the metadata file is not readable: {error}"))?;
    let mut metadata = Metadata::default();
    for (key, value) in file.metadata_attributes.unwrap_or_default() {
        if is_reserved(&key) {
            return Err(format!("the metadata attribute '{key}' is the system's own"));
        }
        let (value, embedded) = attribute(&value).ok_or_else(|| {
            format!("the metadata attribute '{key}' is no string, number, boolean or list of strings")
        })?;
        if embedded {
            metadata.embedded.push(key.clone());
        }
        metadata.attributes.insert(key, value);
    }
    if let Some(structure) = file.document_structure_configuration {
        metadata.records = Some(records(structure)?);
    }
    Ok(metadata)
}

/// A plain value, or one that states its type and whether it is embedded.
fn attribute(value: &Value) -> Option<(MetadataValue, bool)> {
    if !value.is_object() {
        return MetadataValue::from_json(value).map(|value| (value, false));
    }
    let Typed { value, include_for_embedding } = Typed::deserialize(value).ok()?;
    let value = match value.r#type.as_str() {
        "STRING" => MetadataValue::Text(value.string_value?),
        "NUMBER" => MetadataValue::Number(value.number_value?),
        "BOOLEAN" => MetadataValue::Boolean(value.boolean_value?),
        "STRING_LIST" => MetadataValue::List(value.string_list_value?),
        _ => return None,
    };
    Some((value, include_for_embedding))
}

fn records(structure: Structure) -> Result<Records, String> {
    if structure.r#type != "RECORD_BASED_STRUCTURE_METADATA" {
        return Err(format!("documentStructureConfiguration of type {} is not known", structure.r#type));
    }
    let names = |fields: Vec<Field>| fields.into_iter().map(|field| field.field_name).collect::<Vec<_>>();
    let RecordStructure { content_fields, metadata_fields_specification: choice } =
        structure.record_based_structure_metadata;
    let content = names(content_fields);
    if content.is_empty() {
        return Err("contentFields names no column".into());
    }
    Ok(Records {
        content,
        include: names(choice.fields_to_include),
        exclude: names(choice.fields_to_exclude),
    })
}

impl Metadata {
    /// What goes before a text that is embedded: the attributes that are to be embedded with it.
    pub(crate) fn embedded_text(&self) -> String {
        let mut text = String::new();
        for key in &self.embedded {
            if let Some(value) = self.attributes.get(key) {
                let value = match value {
                    MetadataValue::Text(value) => value.clone(),
                    MetadataValue::List(values) => values.join(", "),
                    other => other.to_json().to_string(),
                };
                text.push_str(&format!("{key}: {value}\n"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_typed_values_are_read() {
        let file = br#"{"metadataAttributes": {"year": 2025, "ok": true, "who": "x", "tags": ["a", "b"],
            "dept": {"value": {"type": "STRING", "stringValue": "hr"}, "includeForEmbedding": true},
            "n": {"value": {"type": "NUMBER", "numberValue": 1.5}},
            "l": {"value": {"type": "STRING_LIST", "stringListValue": ["c", "d"]}, "includeForEmbedding": true}}}"#;
        let read = read(file).unwrap();
        assert_eq!(read.attributes["year"], MetadataValue::Number(2025.0));
        assert_eq!(read.attributes["ok"], MetadataValue::Boolean(true));
        assert_eq!(read.attributes["tags"], MetadataValue::List(vec!["a".into(), "b".into()]));
        assert_eq!(read.attributes["dept"], "hr".into());
        assert_eq!(read.attributes["n"], MetadataValue::Number(1.5));
        assert_eq!(read.embedded_text(), "dept: hr\nl: c, d\n");
        assert_eq!(read.records, None);
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        for file in [
            "",
            "[]",
            "{\"metadataAttributes\": 3}",
            "{\"metadataAttributes\": {\"a\": null}}",
            "{\"metadataAttributes\": {\"a\": {\"value\": {\"type\": \"STRING\", \"numberValue\": 1}}}}",
            "{\"metadataAttributes\": {\"a\": [1]}}",
            "{\"metadataAttributes\": {\"x-amz-bedrock-kb-source-uri\": \"s3://other/x\"}}",
        ] {
            assert!(read(file.as_bytes()).is_err(), "{file}");
        }
        let long = format!("{{\"metadataAttributes\": {{\"a\": \"{}\"}}}}", "x".repeat(MAX_BYTES));
        assert!(read(long.as_bytes()).unwrap_err().contains("bytes"));
    }

    #[test]
    fn columns_of_a_csv_file_are_read() {
        let file = br#"{"metadataAttributes": {}, "documentStructureConfiguration": {
            "type": "RECORD_BASED_STRUCTURE_METADATA", "recordBasedStructureMetadata": {
            "contentFields": [{"fieldName": "text"}],
            "metadataFieldsSpecification": {"fieldsToInclude": [{"fieldName": "who"}], "fieldsToExclude": []}}}}"#;
        let records = read(file).unwrap().records.unwrap();
        assert_eq!(
            (records.content, records.include, records.exclude),
            (vec!["text".into()], vec!["who".into()], vec![])
        );
    }
}
