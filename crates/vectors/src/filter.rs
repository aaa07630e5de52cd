//! Metadata filters: AWS's thirteen operators and what they mean.
//!
//! A leaf is true of a chunk that has the attribute and whose value stands in the named relation. A chunk without the
//! attribute satisfies no leaf, `notEquals` and `notIn` included (AWS: "sources that contain a metadata attribute
//! whose name matches the key and whose value doesn't match"). A value of another type is not equal, so it satisfies
//! `notEquals` and `notIn` and no other leaf. Numbers compare as 64-bit floats, text by code points, case counts.

use std::collections::BTreeMap;

use crate::{MetadataValue, VectorError};

/// Deepest nesting of `andAll` and `orAll`.
pub const MAX_DEPTH: usize = 8;
/// Most leaves in one filter, and most values in one list.
pub const MAX_LEAVES: usize = 1_000;

/// A condition on a chunk's attributes.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    Equals(String, MetadataValue),
    NotEquals(String, MetadataValue),
    GreaterThan(String, f64),
    GreaterThanOrEquals(String, f64),
    LessThan(String, f64),
    LessThanOrEquals(String, f64),
    /// The value is one of these.
    In(String, Vec<MetadataValue>),
    NotIn(String, Vec<MetadataValue>),
    /// The value is text that begins so.
    StartsWith(String, String),
    /// The value is a list with this member.
    ListContains(String, String),
    /// The value is text that contains this, or a list with a member that does.
    StringContains(String, String),
    /// All of them; true when there are none.
    AndAll(Vec<Filter>),
    /// At least one of them.
    OrAll(Vec<Filter>),
}

impl Filter {
    /// The attribute a leaf looks at.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Equals(key, _)
            | Self::NotEquals(key, _)
            | Self::GreaterThan(key, _)
            | Self::GreaterThanOrEquals(key, _)
            | Self::LessThan(key, _)
            | Self::LessThanOrEquals(key, _)
            | Self::In(key, _)
            | Self::NotIn(key, _)
            | Self::StartsWith(key, _)
            | Self::ListContains(key, _)
            | Self::StringContains(key, _) => Some(key),
            Self::AndAll(_) | Self::OrAll(_) => None,
        }
    }

    /// Whether a chunk with these attributes passes.
    pub fn matches(&self, attributes: &BTreeMap<String, MetadataValue>) -> bool {
        match self {
            Self::AndAll(parts) => parts.iter().all(|part| part.matches(attributes)),
            Self::OrAll(parts) => parts.iter().any(|part| part.matches(attributes)),
            leaf => {
                let value = leaf.key().and_then(|key| attributes.get(key));
                value.is_some_and(|value| leaf.holds_of(value))
            }
        }
    }

    /// Whether a leaf holds of an attribute's value. False for groups.
    pub(crate) fn holds_of(&self, value: &MetadataValue) -> bool {
        let number = |holds: &dyn Fn(f64) -> bool| matches!(value, MetadataValue::Number(n) if holds(*n));
        match self {
            Self::Equals(_, wanted) => value == wanted,
            Self::NotEquals(_, unwanted) => value != unwanted,
            Self::GreaterThan(_, bound) => number(&|n| n > *bound),
            Self::GreaterThanOrEquals(_, bound) => number(&|n| n >= *bound),
            Self::LessThan(_, bound) => number(&|n| n < *bound),
            Self::LessThanOrEquals(_, bound) => number(&|n| n <= *bound),
            Self::In(_, wanted) => wanted.contains(value),
            Self::NotIn(_, unwanted) => !unwanted.contains(value),
            Self::StartsWith(_, prefix) => {
                matches!(value, MetadataValue::Text(text) if text.starts_with(prefix.as_str()))
            }
            Self::ListContains(_, member) => {
                matches!(value, MetadataValue::List(members) if members.contains(member))
            }
            Self::StringContains(_, part) => match value {
                MetadataValue::Text(text) => text.contains(part.as_str()),
                MetadataValue::List(members) => members.iter().any(|text| text.contains(part.as_str())),
                MetadataValue::Boolean(_) | MetadataValue::Number(_) => false,
            },
            Self::AndAll(_) | Self::OrAll(_) => false,
        }
    }

    /// Refuses filters that are too deep or too large to be meant.
    pub fn check(&self) -> Result<(), VectorError> {
        let mut leaves = 0;
        self.check_at(1, &mut leaves)
    }

    fn check_at(&self, depth: usize, leaves: &mut usize) -> Result<(), VectorError> {
        *leaves += match self {
            Self::AndAll(parts) | Self::OrAll(parts) => {
                if depth > MAX_DEPTH {
                    return Err(VectorError::Invalid(format!(
                        "A filter can be nested {MAX_DEPTH} levels deep."
                    )));
                }
                for part in parts {
                    part.check_at(depth + 1, leaves)?;
                }
                0
            }
            Self::In(_, values) | Self::NotIn(_, values) => values.len(),
            _ => 1,
        };
        if *leaves > MAX_LEAVES {
            return Err(VectorError::Invalid(format!("A filter can have {MAX_LEAVES} conditions.")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes() -> BTreeMap<String, MetadataValue> {
        BTreeMap::from([
            ("year".to_owned(), MetadataValue::Number(2025.0)),
            ("dept".to_owned(), "finance".into()),
            ("public".to_owned(), MetadataValue::Boolean(true)),
            ("tags".to_owned(), MetadataValue::List(vec!["alpha".into(), "beta".into()])),
        ])
    }

    #[test]
    fn leaves_mean_what_aws_says() {
        let key = |key: &str| key.to_owned();
        let number = MetadataValue::Number;
        let table = [
            (Filter::Equals(key("dept"), "finance".into()), true),
            (Filter::Equals(key("dept"), "Finance".into()), false),
            (Filter::Equals(key("year"), number(2025.0)), true),
            (Filter::Equals(key("year"), "2025".into()), false),
            (Filter::Equals(key("public"), MetadataValue::Boolean(true)), true),
            (Filter::NotEquals(key("dept"), "hr".into()), true),
            (Filter::NotEquals(key("dept"), "finance".into()), false),
            (Filter::NotEquals(key("missing"), "hr".into()), false),
            (Filter::NotEquals(key("year"), "2025".into()), true),
            (Filter::GreaterThan(key("year"), 2025.0), false),
            (Filter::GreaterThanOrEquals(key("year"), 2025.0), true),
            (Filter::GreaterThan(key("dept"), 0.0), false),
            (Filter::LessThan(key("year"), 2026.0), true),
            (Filter::LessThanOrEquals(key("year"), 2024.0), false),
            (Filter::In(key("dept"), vec!["hr".into(), "finance".into()]), true),
            (Filter::In(key("dept"), vec![]), false),
            (Filter::NotIn(key("dept"), vec!["hr".into()]), true),
            (Filter::NotIn(key("missing"), vec!["hr".into()]), false),
            (Filter::StartsWith(key("dept"), "fin".into()), true),
            (Filter::StartsWith(key("year"), "20".into()), false),
            (Filter::ListContains(key("tags"), "beta".into()), true),
            (Filter::ListContains(key("tags"), "bet".into()), false),
            (Filter::ListContains(key("dept"), "finance".into()), false),
            (Filter::StringContains(key("dept"), "nan".into()), true),
            (Filter::StringContains(key("tags"), "lph".into()), true),
            (Filter::StringContains(key("year"), "20".into()), false),
        ];
        for (filter, expected) in table {
            assert_eq!(filter.matches(&attributes()), expected, "{filter:?}");
        }
    }

    #[test]
    fn groups_nest() {
        let finance = Filter::Equals("dept".into(), "finance".into());
        let old = Filter::LessThan("year".into(), 2000.0);
        let filter = Filter::AndAll(vec![finance.clone(), Filter::OrAll(vec![old.clone(), finance.clone()])]);
        assert!(filter.matches(&attributes()));
        assert!(!Filter::AndAll(vec![finance, old]).matches(&attributes()));
        assert!(!Filter::OrAll(vec![]).matches(&attributes()));
    }

    #[test]
    fn bounds_are_kept() {
        let mut deep = Filter::Equals("a".into(), "b".into());
        for _ in 0..MAX_DEPTH {
            deep = Filter::AndAll(vec![deep]);
        }
        assert!(deep.check().is_ok());
        assert!(Filter::AndAll(vec![deep]).check().is_err());
        assert!(Filter::In("a".into(), vec!["b".into(); MAX_LEAVES + 1]).check().is_err());
    }
}
