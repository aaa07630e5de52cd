//! The language of conditions.
//!
//! ```text
//! condition  = all { "or" all }
//! all        = some { "and" some }
//! some       = "not" some | comparison
//! comparison = operand [ ("==" | "!=" | ">" | ">=" | "<" | "<=") operand ]
//! operand    = "(" condition ")" | name | number | "text" | true | false
//! ```
//!
//! `==` and `!=` compare strings, numbers and booleans with their like, the others numbers; everything else is refused
//! when the condition is read, for the types of inputs are known then.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::ExpressionError;
use super::cursor::Cursor;

/// Parentheses and `not`s within each other.
const DEEPEST: usize = 32;

/// The type of an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Truth,
    /// Arrays and objects, which can't be compared.
    Other,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "a String",
            Self::Number => "a Number",
            Self::Truth => "a Boolean",
            Self::Other => "an Array or Object",
        }
    }
}

/// A condition, read and checked against the types of its inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    root: Term,
}

#[derive(Debug, Clone, PartialEq)]
enum Term {
    Input(String),
    Constant(Value),
    Not(Box<Term>),
    And(Box<Term>, Box<Term>),
    Or(Box<Term>, Box<Term>),
    Compare(Box<Term>, Comparison, Box<Term>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Longer ones before those they begin with.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl Condition {
    /// Reads a condition; `kinds` says which inputs there are and of which type.
    pub fn parse(text: &str, kinds: &BTreeMap<&str, Kind>) -> Result<Self, ExpressionError> {
        let mut parser = Parser { cursor: Cursor::new(text), kinds, depth: 0, refers: false };
        parser.cursor.skip_spaces();
        let (root, kind) = parser.any()?;
        if parser.cursor.peek().is_some() {
            return parser.cursor.expected("'and', 'or', a comparison or the end");
        }
        if kind != Kind::Truth {
            return Err(parser
                .cursor
                .error_at(0, format!("the condition is {}, not a comparison", kind.name())));
        }
        if !parser.refers {
            return Err(parser.cursor.error_at(0, "the condition refers to none of the node's inputs"));
        }
        Ok(Self { root })
    }

    /// Whether it holds; `None` where an input is missing or of another type than it was declared.
    pub fn holds(&self, inputs: &BTreeMap<String, Value>) -> Option<bool> {
        value(&self.root, inputs)?.as_bool()
    }
}

fn value(term: &Term, inputs: &BTreeMap<String, Value>) -> Option<Value> {
    let truth = |term: &Term| value(term, inputs)?.as_bool();
    Some(match term {
        Term::Input(name) => inputs.get(name)?.clone(),
        Term::Constant(constant) => constant.clone(),
        Term::Not(term) => Value::Bool(!truth(term)?),
        Term::And(left, right) => Value::Bool(truth(left)? && truth(right)?),
        Term::Or(left, right) => Value::Bool(truth(left)? || truth(right)?),
        Term::Compare(left, comparison, right) => {
            Value::Bool(compare(&value(left, inputs)?, *comparison, &value(right, inputs)?)?)
        }
    })
}

fn compare(left: &Value, comparison: Comparison, right: &Value) -> Option<bool> {
    let order = match (left, right) {
        (Value::Number(left), Value::Number(right)) => order(left, right)?,
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        _ => return None,
    };
    Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::Unequal => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::AtMost => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::AtLeast => order.is_ge(),
    })
}

/// Exact where both are integers.
fn order(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    kinds: &'a BTreeMap<&'a str, Kind>,
    depth: usize,
    /// Whether an input was named.
    refers: bool,
}

type Typed = (Term, Kind);

impl Parser<'_> {
    fn any(&mut self) -> Result<Typed, ExpressionError> {
        self.deeper(|parser| parser.joined("or", Self::all, Term::Or))
    }

    fn all(&mut self) -> Result<Typed, ExpressionError> {
        self.joined("and", Self::some, Term::And)
    }

    /// `part { word part }`, where every part of two or more must be true or false.
    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Typed, ExpressionError>,
        join: fn(Box<Term>, Box<Term>) -> Term,
    ) -> Result<Typed, ExpressionError> {
        let at = self.cursor.at();
        let (mut term, mut kind) = part(self)?;
        while self.word(word) {
            self.must_be_truth(at, kind)?;
            let at = self.cursor.at();
            let (next, next_kind) = part(self)?;
            self.must_be_truth(at, next_kind)?;
            term = join(Box::new(term), Box::new(next));
            kind = Kind::Truth;
        }
        Ok((term, kind))
    }

    fn some(&mut self) -> Result<Typed, ExpressionError> {
        if self.word("not") {
            let at = self.cursor.at();
            let (term, kind) = self.deeper(Self::some)?;
            self.must_be_truth(at, kind)?;
            return Ok((Term::Not(Box::new(term)), Kind::Truth));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Typed, ExpressionError> {
        let (left, left_kind) = self.operand()?;
        let at = self.cursor.at();
        let Some((sign, comparison)) = COMPARISONS.into_iter().find(|(sign, _)| self.cursor.take(sign))
        else {
            return Ok((left, left_kind));
        };
        self.cursor.skip_spaces();
        let (right, right_kind) = self.operand()?;
        let ordered = !matches!(comparison, Comparison::Equal | Comparison::Unequal);
        let wrong = |message: String| Err(self.cursor.error_at(at, message));
        if left_kind != right_kind {
            return wrong(format!("'{sign}' can't compare {} with {}", left_kind.name(), right_kind.name()));
        }
        if left_kind == Kind::Other || (ordered && left_kind != Kind::Number) {
            return wrong(format!("'{sign}' can't compare {} with another", left_kind.name()));
        }
        Ok((Term::Compare(Box::new(left), comparison, Box::new(right)), Kind::Truth))
    }

    fn operand(&mut self) -> Result<Typed, ExpressionError> {
        let operand = match self.cursor.peek() {
            Some('(') => {
                self.cursor.take("(");
                self.cursor.skip_spaces();
                let inner = self.any()?;
                if !self.cursor.take(")") {
                    return self.cursor.expected("')'");
                }
                inner
            }
            Some(quote @ ('"' | '\'')) => (Term::Constant(Value::String(self.text(quote)?)), Kind::Text),
            Some(first) if first.is_ascii_digit() || matches!(first, '-' | '.') => self.number()?,
            Some(first) if first.is_ascii_alphabetic() => self.name()?,
            _ => return self.cursor.expected("an input's name, a number, a text, 'not' or '('"),
        };
        self.cursor.skip_spaces();
        Ok(operand)
    }

    /// Up to the closing mark; a backslash keeps the next character from meaning anything.
    fn text(&mut self, quote: char) -> Result<String, ExpressionError> {
        let mark = quote.to_string();
        self.cursor.take(&mark);
        let mut text = String::new();
        loop {
            text.push_str(self.cursor.take_while(|character| character != quote && character != '\\'));
            if self.cursor.take(&mark) {
                return Ok(text);
            }
            if !self.cursor.take("\\") {
                return self.cursor.expected("a closing quotation mark");
            }
            match self.cursor.peek() {
                Some(character) => {
                    text.push(character);
                    self.cursor.take(&character.to_string());
                }
                None => return self.cursor.expected("a character after '\\'"),
            }
        }
    }

    fn number(&mut self) -> Result<Typed, ExpressionError> {
        let at = self.cursor.at();
        let digits = self.cursor.take_while(|character| {
            character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '+')
        });
        match serde_json::from_str::<Number>(digits) {
            Ok(number) => Ok((Term::Constant(Value::Number(number)), Kind::Number)),
            Err(_) => Err(self.cursor.error_at(at, format!("'{digits}' is not a number"))),
        }
    }

    fn name(&mut self) -> Result<Typed, ExpressionError> {
        let at = self.cursor.at();
        let name = self.cursor.take_while(is_name);
        match name {
            "true" | "false" => return Ok((Term::Constant(Value::Bool(name == "true")), Kind::Truth)),
            "and" | "or" | "not" => {
                return Err(self.cursor.error_at(at, format!("expected an operand, found '{name}'")));
            }
            _ => {}
        }
        let Some(kind) = self.kinds.get(name) else {
            return Err(self.cursor.error_at(at, format!("the node has no input '{name}'")));
        };
        self.refers = true;
        Ok((Term::Input(name.to_owned()), *kind))
    }

    /// Takes a word, and the spaces after it, if it comes next and is not the beginning of a longer one.
    fn word(&mut self, word: &str) -> bool {
        let ends = self.cursor.rest().strip_prefix(word).is_some_and(|rest| !rest.starts_with(is_name));
        if ends {
            self.cursor.take(word);
            self.cursor.skip_spaces();
        }
        ends
    }

    fn must_be_truth(&self, at: usize, kind: Kind) -> Result<(), ExpressionError> {
        if kind == Kind::Truth {
            return Ok(());
        }
        Err(self.cursor.error_at(at, format!("expected a comparison, found {}", kind.name())))
    }

    fn deeper(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<Typed, ExpressionError>,
    ) -> Result<Typed, ExpressionError> {
        if self.depth == DEEPEST {
            let message = format!("the condition is nested more than {DEEPEST} deep");
            return Err(self.cursor.error_at(self.cursor.at(), message));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn kinds() -> BTreeMap<&'static str, Kind> {
        BTreeMap::from([
            ("a", Kind::Number),
            ("b", Kind::Number),
            ("kind", Kind::Text),
            ("flag", Kind::Truth),
            ("list", Kind::Other),
        ])
    }

    fn holds(text: &str) -> bool {
        let inputs = json!({"a": 7, "b": 2.5, "kind": "produce", "flag": true, "list": []});
        let inputs = serde_json::from_value(inputs).unwrap();
        Condition::parse(text, &kinds())
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .holds(&inputs)
            .unwrap()
    }

    #[test]
    fn conditions_mean_what_is_documented() {
        let true_ones = [
            "a > 5",
            "a>5",
            "a == 7.0",
            "(a > 5) and (kind == \"produce\")",
            "a < 5 or b >= 2.5 and flag",
            "not (a > b) or flag",
            "not not flag",
            "not a < b",
            "flag == true",
            "kind != 'meat'",
            "(((a)) > (b))",
            "-1 < a",
            "kind == \"pro\\duce\"",
        ];
        for text in true_ones {
            assert!(holds(text), "{text}");
        }
        for text in ["a <= 5", "flag and a == 1", "not flag", "kind == \"\"", "a < 5 and flag or b > 3"] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn large_integers_are_compared_exactly() {
        let inputs = BTreeMap::from([("a".to_owned(), json!(9_007_199_254_740_993_i64))]);
        let condition = Condition::parse("a == 9007199254740992", &kinds()).unwrap();
        assert_eq!(condition.holds(&inputs), Some(false));
    }

    #[test]
    fn errors_point_at_the_character() {
        let expected = [
            ("", "expected an input's name, a number, a text, 'not' or '(', found the end at character 1"),
            ("a >", "expected an input's name, a number, a text, 'not' or '(', found the end at character 4"),
            ("a > 5 &", "expected 'and', 'or', a comparison or the end, found '&' at character 7"),
            ("c > 5", "the node has no input 'c' at character 1"),
            ("(a > 5", "expected ')', found the end at character 7"),
            ("kind > 5", "'>' can't compare a String with a Number at character 6"),
            ("kind > \"x\"", "'>' can't compare a String with another at character 6"),
            ("list == list", "'==' can't compare an Array or Object with another at character 6"),
            ("a", "the condition is a Number, not a comparison at character 1"),
            ("1 < 2", "the condition refers to none of the node's inputs at character 1"),
            ("flag and a", "expected a comparison, found a Number at character 10"),
            ("kind == \"x", "expected a closing quotation mark, found the end at character 11"),
            ("a > 1x", "'1x' is not a number at character 5"),
            ("a > and", "expected an operand, found 'and' at character 5"),
        ];
        for (text, error) in expected {
            assert_eq!(Condition::parse(text, &kinds()).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        for deep in ["(".repeat(100_000), "not ".repeat(100_000)] {
            let error = Condition::parse(&deep, &kinds()).unwrap_err();
            assert!(error.message.contains("nested"), "{error}");
        }
    }

    #[test]
    fn an_input_that_is_missing_decides_nothing() {
        let condition = Condition::parse("a > 5", &kinds()).unwrap();
        assert_eq!(condition.holds(&BTreeMap::new()), None);
        assert_eq!(condition.holds(&BTreeMap::from([("a".to_owned(), json!("7"))])), None);
    }

    /// A condition and what it means for a = 7, b = 2.5, flag = true.
    fn condition() -> impl Strategy<Value = (String, bool)> {
        let leaf = prop_oneof![
            (0..15_i32).prop_map(|n| (format!("a > {n}"), 7 > n)),
            (0..15_i32).prop_map(|n| (format!("{n} <= b"), f64::from(n) <= 2.5)),
            Just(("flag".to_owned(), true)),
            Just(("kind == \"meat\"".to_owned(), false)),
        ];
        leaf.prop_recursive(4, 24, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone())
                    .prop_map(|(l, r)| (format!("({}) and ({})", l.0, r.0), l.1 && r.1)),
                (inner.clone(), inner.clone())
                    .prop_map(|(l, r)| (format!("({})or({})", l.0, r.0), l.1 || r.1)),
                inner.prop_map(|it| (format!("not ({})", it.0), !it.1)),
            ]
        })
    }

    proptest! {
        #[test]
        fn conditions_hold_as_logic_says((text, expected) in condition()) {
            prop_assert_eq!(holds(&text), expected, "{}", text);
        }

        #[test]
        fn anything_is_read_or_refused(text in any::<String>()) {
            if let Err(error) = Condition::parse(&text, &kinds()) {
                prop_assert!(error.at <= text.chars().count() + 1);
            }
        }

        #[test]
        fn what_is_almost_a_condition_too(text in r#"(a|b|kind|flag|list|and|or|not|\(|\)|[<>=!]{1,2}|"x"|1|-1\.5| ){0,20}"#) {
            let inputs = serde_json::from_value(json!({"a": 7, "b": 2.5, "kind": "x", "flag": true, "list": []})).unwrap();
            if let Ok(condition) = Condition::parse(&text, &kinds()) {
                prop_assert!(condition.holds(&inputs).is_some());
            }
        }
    }
}
