//! A cursor over a JSON body that knows where it is and how the family words its complaints.
//!
//! Every provider body is read through [`Node`] and [`Object`], so a missing, extra or out-of-range field is refused
//! in one place, with the path and the wording that AWS passes on for that family: a JSON-schema validator's for the
//! families Bedrock checks itself, the model API's own for Anthropic and the OpenAI-shaped ones.

mod wording;

use std::ops::RangeInclusive;

use craton_wire::ApiError;
use serde_json::{Map, Value};

use self::wording::{plain, refusal};

/// Whose words an error uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `Malformed input request: #/temperature: expected type: Number, found: String, please reformat …`
    JsonSchema,
    /// `messages.0.content: Field required`
    Anthropic,
    /// `Missing required parameter: 'messages'.`
    OpenAi,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// What a value had to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Number,
    String,
    Boolean,
    List,
    Object,
}

/// One value of the body and the way to it.
#[derive(Debug, Clone)]
pub(crate) struct Node<'a> {
    dialect: Dialect,
    path: Vec<Step<'a>>,
    value: &'a Value,
}

/// An object whose keys have been checked.
#[derive(Debug, Clone)]
pub(crate) struct Object<'a> {
    node: Node<'a>,
    fields: &'a Map<String, Value>,
}

/// Items of any list: Anthropic's bound on messages, and far above every other family's.
const MOST_ITEMS: usize = 100_000;

type Result<T> = std::result::Result<T, ApiError>;

/// Parses a body. Nesting deeper than 128 levels is refused by the parser.
pub(crate) fn parse(body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body).map_err(|_| {
        ApiError::validation("Malformed input request, please reformat your input and try again.")
    })
}

impl<'a> Node<'a> {
    pub(crate) fn root(value: &'a Value, dialect: Dialect) -> Self {
        Self { dialect, path: Vec::new(), value }
    }

    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// Refuses this value with a message in the family's own words.
    pub(crate) fn refuse(&self, message: &str) -> ApiError {
        refusal(self.dialect, &self.path, message)
    }

    pub(crate) fn string(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.wrong_type(Kind::String))
    }

    /// A string of at least one character.
    pub(crate) fn filled_string(&self) -> Result<&'a str> {
        let text = self.string()?;
        if text.is_empty() {
            return Err(self.empty_string());
        }
        Ok(text)
    }

    pub(crate) fn boolean(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong_type(Kind::Boolean))
    }

    pub(crate) fn number(&self, range: RangeInclusive<f64>) -> Result<f32> {
        let number = self.value.as_f64().ok_or_else(|| self.wrong_type(Kind::Number))?;
        if number < *range.start() {
            return Err(self.out_of_range(true, &plain(*range.start())));
        }
        if number > *range.end() {
            return Err(self.out_of_range(false, &plain(*range.end())));
        }
        // The narrowing is the seam's precision for sampling parameters.
        #[allow(clippy::cast_possible_truncation)]
        Ok(number as f32)
    }

    pub(crate) fn integer(&self, range: RangeInclusive<i64>) -> Result<i64> {
        let whole = match (self.value.as_i64(), self.value.as_u64()) {
            (Some(whole), _) => whole,
            (None, Some(_)) => i64::MAX,
            (None, None) => self.integral_float().ok_or_else(|| self.wrong_type(Kind::Integer))?,
        };
        if whole < *range.start() {
            return Err(self.out_of_range(true, &range.start().to_string()));
        }
        if whole > *range.end() {
            return Err(self.out_of_range(false, &range.end().to_string()));
        }
        Ok(whole)
    }

    /// `9.0`, which the model APIs take for 9 and the schema validator does not.
    fn integral_float(&self) -> Option<i64> {
        let number = self.value.as_f64().filter(|number| number.fract() == 0.0)?;
        // Saturates, and is out of any range that is then asked for.
        #[allow(clippy::cast_possible_truncation)]
        (self.dialect != Dialect::JsonSchema).then_some(number as i64)
    }

    pub(crate) fn count(&self, range: RangeInclusive<u32>) -> Result<u32> {
        let whole = self.integer(i64::from(*range.start())..=i64::from(*range.end()))?;
        // In range by the line above.
        Ok(u32::try_from(whole).unwrap_or(u32::MAX))
    }

    pub(crate) fn list(&self) -> Result<Vec<Node<'a>>> {
        let items = self.value.as_array().ok_or_else(|| self.wrong_type(Kind::List))?;
        if items.len() > MOST_ITEMS {
            return Err(self.too_many(MOST_ITEMS, items.len()));
        }
        Ok(items.iter().enumerate().map(|(index, item)| self.step(Step::Index(index), item)).collect())
    }

    /// A list of `sizes` items.
    pub(crate) fn sized_list(&self, sizes: RangeInclusive<usize>) -> Result<Vec<Node<'a>>> {
        let items = self.list()?;
        let (found, least, most) = (items.len(), *sizes.start(), *sizes.end());
        if found < least {
            return Err(self.too_few(least, found));
        }
        if found > most {
            return Err(self.too_many(most, found));
        }
        Ok(items)
    }

    pub(crate) fn strings(&self, sizes: RangeInclusive<usize>) -> Result<Vec<String>> {
        self.sized_list(sizes)?.iter().map(|item| item.string().map(str::to_owned)).collect()
    }

    /// One of a closed set of words.
    pub(crate) fn word(&self, words: &[&str]) -> Result<&'a str> {
        let word = self.string()?;
        if words.contains(&word) { Ok(word) } else { Err(self.not_one_of(word, words)) }
    }

    /// An object with all `required` keys and no others than those and the `optional` ones.
    pub(crate) fn object(&self, required: &[&str], optional: &[&str]) -> Result<Object<'a>> {
        let fields = self.fields()?;
        let missing = missing_keys(fields, required);
        let extra: Vec<&str> = fields
            .keys()
            .map(String::as_str)
            .filter(|key| !required.contains(key) && !optional.contains(key))
            .collect();
        if missing.is_empty() && extra.is_empty() {
            return Ok(Object { node: self.clone(), fields });
        }
        Err(self.wrong_keys(&missing, &extra))
    }

    /// An object with all `required` keys and any others.
    pub(crate) fn open_object(&self, required: &[&str]) -> Result<Object<'a>> {
        let fields = self.fields()?;
        let missing = missing_keys(fields, required);
        if missing.is_empty() {
            return Ok(Object { node: self.clone(), fields });
        }
        Err(self.wrong_keys(&missing, &[]))
    }

    fn fields(&self) -> Result<&'a Map<String, Value>> {
        self.value.as_object().ok_or_else(|| self.wrong_type(Kind::Object))
    }

    fn step(&self, step: Step<'a>, value: &'a Value) -> Node<'a> {
        let mut path = Vec::with_capacity(self.path.len() + 1);
        path.extend_from_slice(&self.path);
        path.push(step);
        Node { dialect: self.dialect, path, value }
    }

    /// The same value, with the branch of a tagged union in the path, as Anthropic's validator reports it.
    pub(crate) fn branch(&self, tag: &'a str) -> Node<'a> {
        match self.dialect {
            Dialect::Anthropic => self.step(Step::Key(tag), self.value),
            _ => self.clone(),
        }
    }
}

impl<'a> Object<'a> {
    pub(crate) fn node(&self) -> &Node<'a> {
        &self.node
    }

    /// The field, when it is there. `null` counts as absent, except where a JSON schema would refuse it.
    pub(crate) fn get(&self, key: &str) -> Option<Node<'a>> {
        let (key, value) = self.fields.get_key_value(key)?;
        if value.is_null() && self.node.dialect != Dialect::JsonSchema {
            return None;
        }
        Some(self.node.step(Step::Key(key), value))
    }

    pub(crate) fn require(&self, key: &str) -> Result<Node<'a>> {
        match self.fields.get_key_value(key) {
            Some((key, value)) => Ok(self.node.step(Step::Key(key), value)),
            None => Err(self.node.wrong_keys(&[key], &[])),
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The fields whose keys are not in `known`, and their values.
    pub(crate) fn rest(&self, known: &[&str]) -> Map<String, Value> {
        self.fields
            .iter()
            .filter(|(key, _)| !known.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    pub(crate) fn string(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key).map(|node| node.string()).transpose()
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.get(key).map(|node| node.boolean()).transpose()
    }

    pub(crate) fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f32>> {
        self.get(key).map(|node| node.number(range)).transpose()
    }

    pub(crate) fn count(&self, key: &str, range: RangeInclusive<u32>) -> Result<Option<u32>> {
        self.get(key).map(|node| node.count(range)).transpose()
    }

    /// A list of strings, empty when the field is absent.
    pub(crate) fn strings(&self, key: &str, sizes: RangeInclusive<usize>) -> Result<Vec<String>> {
        self.get(key).map_or_else(|| Ok(Vec::new()), |node| node.strings(sizes))
    }
}

fn missing_keys<'k>(fields: &Map<String, Value>, required: &[&'k str]) -> Vec<&'k str> {
    required.iter().copied().filter(|key| !fields.contains_key(*key)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().message
    }

    #[test]
    fn json_schema_wording_names_the_pointer() {
        let body = json!({"a": {"t": 2.5, "n": "x", "l": []}, "y": 1});
        let root = Node::root(&body, Dialect::JsonSchema);
        assert_eq!(
            message(root.object(&["prompt"], &["a", "y"])),
            "Malformed input request: #: required key [prompt] not found, please reformat your input and try again."
        );
        assert_eq!(
            message(root.object(&["a"], &[])),
            "Malformed input request: #: extraneous key [y] is not permitted, please reformat your input and try again."
        );
        let a = root.object(&["a"], &["y"]).unwrap().require("a").unwrap().open_object(&[]).unwrap();
        assert_eq!(
            message(a.number("t", 0.0..=1.0)),
            "Malformed input request: #/a/t: 2.5 is not less or equal to 1, please reformat your input and try again."
        );
        assert_eq!(
            message(a.count("n", 0..=9)),
            "Malformed input request: #/a/n: expected type: Integer, found: String, please reformat your input and try again."
        );
        assert_eq!(
            message(a.strings("l", 1..=4)),
            "Malformed input request: #/a/l: expected minimum item count: 1, found: 0, please reformat your input and try again."
        );
    }

    #[test]
    fn anthropic_wording_is_dotted() {
        let body = json!({"messages": [{"role": "robot"}], "top_k": -1, "x": null});
        let root = Node::root(&body, Dialect::Anthropic);
        let object = root.object(&["messages"], &["top_k", "x"]).unwrap();
        assert!(object.get("x").is_none());
        let first = &object.require("messages").unwrap().list().unwrap()[0];
        assert_eq!(message(first.open_object(&["content"])), "messages.0.content: Field required");
        let role = first.open_object(&[]).unwrap().require("role").unwrap();
        assert_eq!(
            message(role.word(&["user", "assistant"])),
            "messages.0.role: Input should be 'user' or 'assistant'"
        );
        assert_eq!(
            message(object.count("top_k", 0..=500)),
            "top_k: Input should be greater than or equal to 0"
        );
        assert_eq!(message(root.object(&["messages"], &["x"])), "top_k: Extra inputs are not permitted");
    }

    #[test]
    fn openai_wording_carries_the_parameter() {
        let body = json!({"messages": [{"role": 3}]});
        let root = Node::root(&body, Dialect::OpenAi);
        let error = root.open_object(&["model"]).unwrap_err();
        assert_eq!(error.message, "Missing required parameter: 'model'.");
        assert_eq!(error.fields["param"], "model");
        let messages = root.open_object(&[]).unwrap().require("messages").unwrap().list().unwrap();
        let role = messages[0].open_object(&[]).unwrap().require("role").unwrap();
        assert_eq!(
            message(role.string()),
            "Invalid type for 'messages[0].role': expected a string, but got an integer instead."
        );
    }

    #[test]
    fn integers_beyond_i64_are_out_of_range_not_wrong_type() {
        let body = json!(u64::MAX);
        let error = Node::root(&body, Dialect::Anthropic).count(1..=10).unwrap_err();
        assert_eq!(error.message, "Input should be less than or equal to 10");
    }

    #[test]
    fn whole_floats_are_integers_to_model_apis_only() {
        let body = json!(9.0);
        assert_eq!(Node::root(&body, Dialect::Anthropic).count(1..=10).unwrap(), 9);
        assert!(Node::root(&body, Dialect::JsonSchema).count(1..=10).is_err());
        assert!(Node::root(&json!(9.5), Dialect::Anthropic).count(1..=10).is_err());
        assert!(Node::root(&json!(1e300), Dialect::Anthropic).count(1..=10).is_err());
    }

    #[test]
    fn length_is_bounded() {
        let body = Value::Array(vec![Value::Null; MOST_ITEMS + 1]);
        let error = Node::root(&body, Dialect::JsonSchema).list().unwrap_err();
        assert!(
            error.message.contains("expected maximum item count: 100000, found: 100001"),
            "{}",
            error.message
        );
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
    }
}
