//! The part of JSONPath that node inputs are written in.
//!
//! `$.data` is all that arrives; after it come any number of `.name`, `['name']`, `[0]` (from the end where negative),
//! `[0, 2]`, `[1:3]` (either end may be left out), `.*` and `[*]`. A path that can only mean one value means that value;
//! one with a list, a slice or a wildcard means the array of all it finds.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::ExpressionError;
use super::cursor::Cursor;

/// Steps that a path can have; the model's 64 characters have room for fewer.
const MOST_STEPS: usize = 64;
/// Indices that a list can have.
const MOST_INDICES: usize = 64;
/// Values that a path may find.
const MOST_FOUND: usize = 100_000;

/// A path, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(i64),
    Indices(Vec<i64>),
    Slice(Option<i64>, Option<i64>),
    Any,
}

impl Path {
    /// The path that means everything that arrives: `$.data`.
    pub fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether the first step is into an object; `None` where there is none, or it could be into either.
    pub fn starts_in_object(&self) -> Option<bool> {
        match self.steps.first()? {
            Step::Name(_) => Some(true),
            Step::Index(_) | Step::Indices(_) | Step::Slice(..) => Some(false),
            Step::Any => None,
        }
    }

    /// What the path means in `data`; `None` where nothing is there.
    pub fn find(&self, data: &Value) -> Option<Value> {
        let mut found = vec![data];
        let mut single = true;
        for step in &self.steps {
            let mut next = Vec::new();
            for value in found {
                step.from(value, &mut next);
                if next.len() > MOST_FOUND {
                    return None;
                }
            }
            single &= matches!(step, Step::Name(_) | Step::Index(_));
            found = next;
        }
        match (single, found.as_slice()) {
            (true, [value]) => Some((*value).clone()),
            (true, _) => None,
            (false, values) => Some(values.iter().map(|value| (*value).clone()).collect()),
        }
    }
}

impl Step {
    fn from<'v>(&self, value: &'v Value, found: &mut Vec<&'v Value>) {
        match (self, value) {
            (Self::Name(name), Value::Object(members)) => found.extend(members.get(name)),
            (Self::Index(index), Value::Array(items)) => {
                found.extend(place(*index, items.len()).map(|at| &items[at]))
            }
            (Self::Indices(indices), Value::Array(items)) => {
                let places = indices.iter().filter_map(|index| place(*index, items.len()));
                found.extend(places.map(|at| &items[at]));
            }
            (Self::Slice(from, to), Value::Array(items)) => {
                let end = |index: i64| {
                    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                    let from_start = if index < 0 { index.saturating_add(length) } else { index };
                    usize::try_from(from_start.clamp(0, length)).unwrap_or_default()
                };
                let (from, to) = (from.map_or(0, end), to.map_or(items.len(), end));
                found.extend(items.get(from..to).unwrap_or_default());
            }
            (Self::Any, Value::Array(items)) => found.extend(items),
            (Self::Any, Value::Object(members)) => found.extend(members.values()),
            _ => {}
        }
    }
}

/// Where an index points in an array of a length.
fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let at = if index < 0 { index.checked_add(length)? } else { index };
    usize::try_from(at).ok().filter(|_| at < length)
}

impl FromStr for Path {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let mut cursor = Cursor::new(text.trim_end());
        cursor.skip_spaces();
        if !cursor.take("$") {
            return cursor.expected("'$.data'");
        }
        let after = cursor.at();
        if !cursor.take(".data") || cursor.peek().is_some_and(is_name) {
            return Err(cursor.error_at(after, "expected '.data' after '$'"));
        }
        let mut steps = Vec::new();
        while cursor.peek().is_some() {
            if steps.len() == MOST_STEPS {
                return cursor.expected("the end, because the path is too long");
            }
            steps.push(step(&mut cursor)?);
        }
        Ok(Self { steps })
    }
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-')
}

fn step(cursor: &mut Cursor<'_>) -> Result<Step, ExpressionError> {
    if cursor.take(".") {
        if cursor.take("*") {
            return Ok(Step::Any);
        }
        let name = cursor.take_while(is_name);
        if name.is_empty() {
            return cursor.expected("a field's name or '*'");
        }
        return Ok(Step::Name(name.to_owned()));
    }
    if !cursor.take("[") {
        return cursor.expected("'.' or '['");
    }
    cursor.skip_spaces();
    let step = match cursor.peek() {
        Some('*') => {
            cursor.take("*");
            Step::Any
        }
        Some(quote @ ('\'' | '"')) => Step::Name(quoted(cursor, quote)?),
        _ => indices(cursor)?,
    };
    cursor.skip_spaces();
    if !cursor.take("]") {
        return cursor.expected("']'");
    }
    Ok(step)
}

fn quoted(cursor: &mut Cursor<'_>, quote: char) -> Result<String, ExpressionError> {
    let mark = quote.to_string();
    cursor.take(&mark);
    let name = cursor.take_while(|character| character != quote);
    if !cursor.take(&mark) {
        return cursor.expected("a closing quotation mark");
    }
    Ok(name.to_owned())
}

fn indices(cursor: &mut Cursor<'_>) -> Result<Step, ExpressionError> {
    let first = if cursor.peek() == Some(':') { None } else { Some(integer(cursor)?) };
    cursor.skip_spaces();
    if cursor.take(":") {
        cursor.skip_spaces();
        let last = if cursor.peek() == Some(']') { None } else { Some(integer(cursor)?) };
        return Ok(Step::Slice(first, last));
    }
    let mut all: Vec<i64> = first.into_iter().collect();
    while cursor.take(",") {
        if all.len() == MOST_INDICES {
            return cursor.expected("']', because the list is too long");
        }
        cursor.skip_spaces();
        all.push(integer(cursor)?);
        cursor.skip_spaces();
    }
    match all.as_slice() {
        [one] => Ok(Step::Index(*one)),
        _ => Ok(Step::Indices(all)),
    }
}

fn integer(cursor: &mut Cursor<'_>) -> Result<i64, ExpressionError> {
    let at = cursor.at();
    let sign = if cursor.take("-") { "-" } else { "" };
    let digits = cursor.take_while(|character| character.is_ascii_digit());
    if digits.is_empty() {
        return cursor.expected("a number, a quoted name, '*' or ':'");
    }
    let number: Result<i32, _> = format!("{sign}{digits}").parse();
    number.map(i64::from).map_err(|_| cursor.error_at(at, "the number is too large"))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |index: &Option<i64>| index.map(|index| index.to_string()).unwrap_or_default();
        f.write_str("$.data")?;
        for step in &self.steps {
            match step {
                Step::Name(name) if !name.is_empty() && name.chars().all(is_name) => write!(f, ".{name}")?,
                Step::Name(name) if name.contains('\'') => write!(f, "[\"{name}\"]")?,
                Step::Name(name) => write!(f, "['{name}']")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Indices(all) => {
                    let all: Vec<String> = all.iter().map(i64::to_string).collect();
                    write!(f, "[{}]", all.join(","))?;
                }
                Step::Slice(from, to) => write!(f, "[{}:{}]", end(from), end(to))?,
                Step::Any => f.write_str(".*")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The examples of AWS's own documentation, and what follows from them.
    #[test]
    fn documented_examples() {
        let data = json!({
            "animals": {"mammals": ["cat", "dog"], "reptiles": ["snake", "turtle", "iguana"]},
            "organisms": {"mammals": ["rabbit", "horse", "mouse"], "flowers": ["lily", "daisy"]},
            "numbers": [1, 2, 3, 5, 8]
        });
        let expected = [
            ("$.data", data.clone()),
            ("$.data.numbers", json!([1, 2, 3, 5, 8])),
            ("$.data.animals.reptiles[2]", json!("iguana")),
            ("$.data.animals.reptiles[-1]", json!("iguana")),
            ("$.data.numbers[0, 3]", json!([1, 5])),
            ("$.data.organisms.mammals[1:]", json!(["horse", "mouse"])),
            ("$.data.organisms.mammals[:1]", json!(["rabbit"])),
            ("$.data.*.mammals", json!([["cat", "dog"], ["rabbit", "horse", "mouse"]])),
            ("$.data.animals[*][0]", json!(["cat", "snake"])),
            ("$.data['numbers'][1:3]", json!([2, 3])),
        ];
        for (path, value) in expected {
            assert_eq!(path.parse::<Path>().unwrap().find(&data), Some(value), "{path}");
        }
        for path in ["$.data.nobody", "$.data.numbers[9]", "$.data.numbers.first", "$.data[0]"] {
            assert_eq!(path.parse::<Path>().unwrap().find(&data), None, "{path}");
        }
        assert_eq!("$.data".parse::<Path>().unwrap().find(&json!("text")), Some(json!("text")));
    }

    #[test]
    fn errors_point_at_the_character() {
        let expected = [
            ("", "expected '$.data', found the end at character 1"),
            ("data", "expected '$.data', found 'd' at character 1"),
            ("$.name", "expected '.data' after '$' at character 2"),
            ("$.database", "expected '.data' after '$' at character 2"),
            ("$.data.", "expected a field's name or '*', found the end at character 8"),
            ("$.data[", "expected a number, a quoted name, '*' or ':', found the end at character 8"),
            ("$.data[1", "expected ']', found the end at character 9"),
            ("$.data['a]", "expected a closing quotation mark, found the end at character 11"),
            ("$.data[99999999999]", "the number is too large at character 8"),
            ("$.data x", "expected '.' or '[', found ' ' at character 7"),
            ("$.data.é!", "expected '.' or '[', found '!' at character 9"),
        ];
        for (text, error) in expected {
            assert_eq!(text.parse::<Path>().unwrap_err().to_string(), error, "{text}");
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[ab]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[ab]{1,2}", inner), 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in any::<String>()) {
            if let Err(error) = text.parse::<Path>() {
                prop_assert!(error.at <= text.chars().count() + 1);
            }
        }

        #[test]
        fn paths_are_what_they_print(text in r"\$\.data(\.[ab_]{1,3}|\.\*|\[-?[0-9]{1,3}\]|\[[0-9]?:[0-9]?\]|\[1,2\]|\['[a. ]{0,2}'\]){0,5}", data in json_value()) {
            let path: Path = text.parse().unwrap();
            let again: Path = path.to_string().parse().unwrap();
            prop_assert_eq!(&again, &path);
            prop_assert_eq!(again.find(&data), path.find(&data));
        }
    }
}
