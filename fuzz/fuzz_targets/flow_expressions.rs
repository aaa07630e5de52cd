//! Any text is read as a path and as a condition, or refused at a character that it has; what is read can be used.
#![no_main]

use std::collections::BTreeMap;

use craton_flows::expression::{Condition, Kind, Path};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// First line: an expression; the rest: what arrives, as JSON.
fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (expression, arrives) = text.split_once('\n').unwrap_or((text, "null"));
    let arrives: Value = serde_json::from_str(arrives).unwrap_or_default();
    match expression.parse::<Path>() {
        Ok(path) => {
            let again: Path = path.to_string().parse().expect("a path can be read again");
            assert_eq!(again.find(&arrives), path.find(&arrives));
        }
        Err(error) => assert!(error.at <= expression.chars().count() + 1),
    }
    let kinds =
        BTreeMap::from([("a", Kind::Number), ("b", Kind::Text), ("c", Kind::Truth), ("d", Kind::Other)]);
    match Condition::parse(expression, &kinds) {
        Ok(condition) => {
            let inputs = serde_json::from_str(r#"{"a": 1.5, "b": "x", "c": true, "d": []}"#).expect("inputs");
            assert!(condition.holds(&inputs).is_some());
        }
        Err(error) => assert!(error.at <= expression.chars().count() + 1),
    }
});
