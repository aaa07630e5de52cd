//! Attributes as terms, and filters as queries over them.
//!
//! Attributes come with any name and any type, one document's year a number and another's a text, which no mapping of
//! fields holds. So each attribute becomes terms of a few fixed keyword fields, and each operator asks for one kind of
//! term: that there is the attribute (`has`), its value (`is`), text that can be searched within (`text`), members of a
//! list (`member`), and a number in digits that sort as numbers do (`number`).

use std::collections::BTreeMap;

use craton_wire::sigv4::sha256;
use serde_json::{Value, json};

use crate::{Filter, MetadataValue, Query};

/// Between an attribute's name and its value. A name can't hold it: in names it is written as an escape.
const MARK: char = '\u{1}';
/// Longest value that a term spells out, in bytes; Lucene's limit is 32,766 with its name.
const SPELT_BYTES: usize = 16_000;

/// The object that holds everything of ours in a document.
pub(super) const OURS: &str = "craton";

/// The value of the attributes' fields.
pub(super) fn terms(attributes: &BTreeMap<String, MetadataValue>) -> Value {
    let (mut has, mut is, mut text) = (Vec::new(), Vec::new(), Vec::new());
    let (mut member, mut number) = (Vec::new(), Vec::new());
    for (key, value) in attributes {
        has.push(name(key));
        is.push(equal(key, value));
        match value {
            MetadataValue::Text(value) => text.push(spelt(key, value)),
            MetadataValue::Number(value) => number.push(sortable(key, *value)),
            MetadataValue::List(values) => member.extend(values.iter().map(|value| spelt(key, value))),
            MetadataValue::Boolean(_) => {}
        }
    }
    json!({"has": has, "is": is, "text": text, "member": member, "number": number})
}

/// The fields of [`terms`].
pub(super) fn mapping() -> Value {
    let fields = ["has", "is", "text", "member", "number"];
    let keyword = json!({"type": "keyword", "doc_values": false});
    json!({"properties": fields.into_iter().map(|field| (field.to_owned(), keyword.clone())).collect::<serde_json::Map<_, _>>()})
}

fn field(kind: &str) -> String {
    format!("{OURS}.attributes.{kind}")
}

fn name(key: &str) -> String {
    let quoted = Value::from(short(key)).to_string();
    format!("{quoted}{MARK}")
}

/// A text, or what stands for one that is too long to be a term.
fn short(text: &str) -> String {
    if text.len() <= SPELT_BYTES {
        return text.to_owned();
    }
    format!("sha256{MARK}{}", hex::encode(sha256(text.as_bytes())))
}

fn equal(key: &str, value: &MetadataValue) -> String {
    // Zero is zero, with or without a sign.
    let value = match value {
        MetadataValue::Number(number) => MetadataValue::Number(number + 0.0).to_json(),
        other => other.to_json(),
    };
    format!("{}{}", name(key), short(&value.to_string()))
}

/// What is searched within; of very long texts the beginning.
fn spelt(key: &str, text: &str) -> String {
    format!("{}{}", name(key), &text[..text.floor_char_boundary(SPELT_BYTES)])
}

/// Sixteen digits whose order is that of the numbers.
fn sortable(key: &str, number: f64) -> String {
    let bits = (number + 0.0).to_bits();
    let ordered = if bits >> 63 == 0 { bits | 1 << 63 } else { !bits };
    format!("{}{ordered:016x}", name(key))
}

/// What a query lets through, as the clauses of a `filter`.
pub(super) fn clauses(query: &Query) -> Vec<Value> {
    let mut clauses = Vec::new();
    if let Some(owner) = &query.owner {
        clauses.push(json!({"terms": {format!("{OURS}.owner"): [owner, ""]}}));
    }
    clauses.extend(query.filter.as_ref().map(clause));
    clauses
}

fn clause(filter: &Filter) -> Value {
    let any = |key: &str, values: &[MetadataValue]| {
        let terms: Vec<String> = values.iter().map(|value| equal(key, value)).collect();
        json!({"terms": {field("is"): terms}})
    };
    let has = |key: &str| json!({"term": {field("has"): name(key)}});
    let but = |key: &str, values| json!({"bool": {"filter": [has(key)], "must_not": [any(key, values)]}});
    let range = |key: &str, from: (&str, Option<f64>), to: (&str, Option<f64>)| {
        let bound = |number: Option<f64>, open: char| match number {
            Some(number) => sortable(key, number),
            None => format!("{}{}", name(key), String::from(open).repeat(16)),
        };
        json!({"range": {field("number"): {from.0: bound(from.1, '0'), to.0: bound(to.1, 'f')}}})
    };
    match filter {
        Filter::Equals(key, value) => any(key, std::slice::from_ref(value)),
        Filter::In(key, values) => any(key, values),
        Filter::NotEquals(key, value) => but(key, std::slice::from_ref(value)),
        Filter::NotIn(key, values) => but(key, values.as_slice()),
        Filter::GreaterThan(key, n) => range(key, ("gt", Some(*n)), ("lte", None)),
        Filter::GreaterThanOrEquals(key, n) => range(key, ("gte", Some(*n)), ("lte", None)),
        Filter::LessThan(key, n) => range(key, ("gte", None), ("lt", Some(*n))),
        Filter::LessThanOrEquals(key, n) => range(key, ("gte", None), ("lte", Some(*n))),
        Filter::StartsWith(key, prefix) => json!({"prefix": {field("text"): spelt(key, prefix)}}),
        Filter::ListContains(key, member) => json!({"term": {field("member"): spelt(key, member)}}),
        Filter::StringContains(key, part) => {
            let pattern = format!("{}*{}*", escaped(&name(key)), escaped(part));
            let within = |kind: &str| json!({"wildcard": {field(kind): {"value": pattern}}});
            json!({"bool": {"should": [within("text"), within("member")], "minimum_should_match": 1}})
        }
        Filter::AndAll(parts) => json!({"bool": {"filter": parts.iter().map(clause).collect::<Vec<_>>()}}),
        Filter::OrAll(parts) if parts.is_empty() => json!({"match_none": {}}),
        Filter::OrAll(parts) => {
            let parts: Vec<Value> = parts.iter().map(clause).collect();
            json!({"bool": {"should": parts, "minimum_should_match": 1}})
        }
    }
}

/// A text that means itself in a wildcard.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_sort_as_numbers(a in proptest::num::f64::NORMAL | proptest::num::f64::ZERO, b in -1e3..1e3) {
            prop_assert_eq!(a.partial_cmp(&b), Some(sortable("k", a).cmp(&sortable("k", b))));
        }
    }

    #[test]
    fn names_and_values_can_t_be_confused() {
        let of = |key: &str, value: &str| equal(key, &value.into());
        assert_ne!(of("a", "b"), of(&format!("a\"{MARK}\"b"), ""));
        assert_ne!(equal("a", &MetadataValue::Number(1.0)), of("a", "1"));
        assert_eq!(equal("a", &MetadataValue::Number(-0.0)), equal("a", &MetadataValue::Number(0.0)));
        assert_eq!(escaped(r"a*b?\"), r"a\*b\?\\");
        let long = "x".repeat(100_000);
        assert!(of("a", &long).len() < 200 && of("a", &long) != of("a", &format!("{long}y")));
        assert!(spelt("a", &long).len() < 32_766 && name(&long).len() < 32_766);
    }
}
