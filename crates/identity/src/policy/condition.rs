//! Conditions: an operator, a context key and the values it is compared with.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use super::arn::{self, ArnPattern};
use super::json::Node;
use super::keys::Keys;
use super::parse::Malformed;
use super::statement::Effect;
use super::template::{Fit, Pattern, Syntax};
use super::values::{Network, binary, boolean, date_ms, decimal};

/// Every operator, without the prefixes `ForAllValues:` and `ForAnyValue:` and the suffix `IfExists`.
pub const OPERATORS: &[&str] = &[
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "BinaryEquals",
    "Bool",
    "DateEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateNotEquals",
    "IpAddress",
    "NotIpAddress",
    "Null",
    "NumericEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericNotEquals",
    "StringEquals",
    "StringEqualsIgnoreCase",
    "StringLike",
    "StringNotEquals",
    "StringNotEqualsIgnoreCase",
    "StringNotLike",
];

/// Which of a key's values must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    /// No prefix: the key has one value.
    One,
    All,
    Any,
}

/// One line of a `Condition` block.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    quantifier: Quantifier,
    if_exists: bool,
    /// The operator wants none of its values to match.
    negated: bool,
    /// In lower case.
    pub(super) key: Box<str>,
    pub(super) key_as_written: Box<str>,
    test: Test,
}

/// What a value of the key is compared with. Several values are alternatives.
#[derive(Debug, Clone)]
enum Test {
    Text {
        patterns: Box<[Pattern]>,
        fold: bool,
    },
    Arn(Box<[ArnPattern]>),
    Number(Accepts, Box<[f64]>),
    Date(Accepts, Box<[i64]>),
    Bool(Box<[bool]>),
    Binary(Box<[Vec<u8>]>),
    Address(Box<[Network]>),
    /// Whether the key may be absent, and whether it may be there.
    Null {
        absent: bool,
        present: bool,
    },
}

/// The orderings of a value against the policy's that pass.
#[derive(Debug, Clone, Copy)]
struct Accepts {
    less: bool,
    equal: bool,
    greater: bool,
}

impl Accepts {
    /// Of the operator's name after `Numeric` or `Date`.
    fn parse(name: &str) -> Option<Self> {
        let accepts = |less, equal, greater| Some(Self { less, equal, greater });
        match name {
            "Equals" | "NotEquals" => accepts(false, true, false),
            "LessThan" => accepts(true, false, false),
            "LessThanEquals" => accepts(true, true, false),
            "GreaterThan" => accepts(false, false, true),
            "GreaterThanEquals" => accepts(false, true, true),
            _ => None,
        }
    }

    fn of(self, ordering: Option<Ordering>) -> bool {
        match ordering {
            Some(Ordering::Less) => self.less,
            Some(Ordering::Equal) => self.equal,
            Some(Ordering::Greater) => self.greater,
            None => false,
        }
    }
}

impl Condition {
    /// `operator` as it is written, with prefix and suffix.
    pub(super) fn parse(
        operator: &str,
        key: &str,
        values: &Node,
        variables: bool,
    ) -> Result<Self, Malformed> {
        let values = values.scalars().ok_or(Malformed::SYNTAX)?;
        let (quantifier, name) = match operator.split_once(':') {
            Some(("ForAllValues", name)) => (Quantifier::All, name),
            Some(("ForAnyValue", name)) => (Quantifier::Any, name),
            Some(_) => return Err(Malformed::SYNTAX),
            None => (Quantifier::One, operator),
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        if name == "Null" && (if_exists || quantifier != Quantifier::One) {
            return Err(Malformed::SYNTAX);
        }
        if !key.contains(':') {
            return Err(Malformed::VENDOR);
        }
        let negated = name.contains("Not");
        let test = Test::parse(name, &values, variables)?;
        let (key, key_as_written) = (key.to_lowercase().into(), key.into());
        Ok(Self { quantifier, if_exists, negated, key, key_as_written, test })
    }

    /// Whether the request passes. `effect` is that of the statement.
    pub(super) fn holds(&self, keys: &dyn Keys, effect: Effect) -> bool {
        let values = keys.values(&self.key);
        if let Test::Null { absent, present } = self.test {
            let there = values.is_some_and(|values| !values.is_empty());
            return if there { present } else { absent };
        }
        let values = values.unwrap_or_default();
        if values.is_empty() {
            return match self.quantifier {
                _ if self.if_exists => true,
                Quantifier::All => true,
                Quantifier::Any => false,
                Quantifier::One => self.negated,
            };
        }
        let passes = |value: &Cow<'_, str>| {
            let fit = self.test.fit(value, keys);
            if self.negated { fit.is_none_for(effect) } else { fit == Fit::Yes }
        };
        match self.quantifier {
            Quantifier::All => values.iter().all(passes),
            Quantifier::Any => values.iter().any(passes),
            // A key with several values and no prefix: none may match a negated operator, one may any other.
            Quantifier::One if self.negated => values.iter().all(passes),
            Quantifier::One => values.iter().any(passes),
        }
    }

    /// The keys it asks for, in lower case.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let of_values: Box<dyn Iterator<Item = &str>> = match &self.test {
            Test::Text { patterns, .. } => Box::new(patterns.iter().flat_map(Pattern::keys)),
            Test::Arn(patterns) => Box::new(patterns.iter().flat_map(ArnPattern::keys)),
            _ => Box::new(std::iter::empty()),
        };
        std::iter::once(&*self.key).chain(of_values)
    }
}

impl Test {
    fn parse(name: &str, values: &[String], variables: bool) -> Result<Self, Malformed> {
        let text = |wildcards, fold| {
            let read = |value: &String| Pattern::parse(value, Syntax { variables, wildcards }, fold);
            let patterns = values.iter().map(read).collect::<Result<_, _>>()?;
            Ok(Self::Text { patterns, fold })
        };
        match name {
            "StringEquals" | "StringNotEquals" => text(false, false),
            "StringEqualsIgnoreCase" | "StringNotEqualsIgnoreCase" => text(false, true),
            "StringLike" | "StringNotLike" => text(true, false),
            "ArnEquals" | "ArnNotEquals" | "ArnLike" | "ArnNotLike" => {
                let read = |value: &String| ArnPattern::parse(value, variables, false).transpose();
                // A value that is no ARN matches none.
                Ok(Self::Arn(values.iter().filter_map(read).collect::<Result<_, _>>()?))
            }
            "Bool" => all(values, boolean).map(Self::Bool),
            "BinaryEquals" => all(values, binary).map(Self::Binary),
            "IpAddress" | "NotIpAddress" => all(values, Network::parse).map(Self::Address),
            "Null" => {
                let flags = all(values, boolean)?;
                Ok(Self::Null { absent: flags.contains(&true), present: flags.contains(&false) })
            }
            _ => {
                let order = |prefix| name.strip_prefix(prefix).and_then(Accepts::parse);
                if let Some(accepts) = order("Numeric") {
                    all(values, decimal).map(|numbers| Self::Number(accepts, numbers))
                } else if let Some(accepts) = order("Date") {
                    // As IAM says of a date it can't read.
                    all(values, date_ms)
                        .map(|dates| Self::Date(accepts, dates))
                        .map_err(|_| Malformed::LEGACY)
                } else {
                    Err(Malformed::SYNTAX)
                }
            }
        }
    }

    /// Whether a value of the key matches one of the policy's.
    fn fit(&self, value: &str, keys: &dyn Keys) -> Fit {
        match self {
            Self::Text { patterns, fold: false } => {
                Fit::any(patterns.iter().map(|pattern| pattern.fit(value, keys)))
            }
            Self::Text { patterns, fold: true } => {
                let value = value.to_lowercase();
                Fit::any(patterns.iter().map(|pattern| pattern.fit(&value, keys)))
            }
            Self::Arn(patterns) => {
                let parts = arn::split(value);
                Fit::any(patterns.iter().map(|pattern| pattern.fit(parts.as_ref(), keys)))
            }
            Self::Number(accepts, numbers) => Fit::of(
                decimal(value)
                    .is_some_and(|value| numbers.iter().any(|number| accepts.of(value.partial_cmp(number)))),
            ),
            Self::Date(accepts, dates) => Fit::of(
                date_ms(value)
                    .is_some_and(|value| dates.iter().any(|date| accepts.of(Some(value.cmp(date))))),
            ),
            Self::Bool(flags) => Fit::of(boolean(value).is_some_and(|value| flags.contains(&value))),
            Self::Binary(all) => Fit::of(binary(value).is_some_and(|value| all.contains(&value))),
            Self::Address(networks) => Fit::of(
                value
                    .parse::<IpAddr>()
                    .is_ok_and(|address| networks.iter().any(|network| network.contains(address))),
            ),
            Self::Null { .. } => Fit::No,
        }
    }
}

fn all<T>(values: &[String], read: impl Fn(&str) -> Option<T>) -> Result<Box<[T]>, Malformed> {
    values.iter().map(|value| read(value)).collect::<Option<_>>().ok_or(Malformed::SYNTAX)
}
