//! Any text is searched for every type of sensitive information: findings are ranges of it, in order and apart.
#![no_main]

use std::sync::LazyLock;

use craton_guardrails::PiiDetector;
use craton_guardrails::policies::pii::custom;
use libfuzzer_sys::fuzz_target;

static ALL: LazyLock<PiiDetector> = LazyLock::new(|| PiiDetector::all(None));

fuzz_target!(|text: &str| {
    let mut end = 0;
    for finding in ALL.find(text) {
        assert!(finding.range.start >= end && text.get(finding.range.clone()).is_some());
        end = finding.range.end;
    }
    // A client's own pattern is compiled within bounds, or refused.
    if let Ok(regex) = custom::compile(text.lines().next().unwrap_or_default()) {
        regex.find_iter(text).for_each(drop);
    }
});
