//! However a text is cut into increments, what leaves a guardrail is the same, and nothing that is masked is in it.
#![no_main]

#[path = "../../crates/guardrails/tests/it/definitions.rs"]
#[allow(dead_code, reason = "other targets use the rest")]
mod definitions;

use std::sync::{Arc, LazyLock};

use craton_guardrails::stream::{StreamText, Verdict};
use craton_guardrails::{Guard, Vectors};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

static GUARD: LazyLock<Option<Arc<Guard>>> =
    LazyLock::new(|| Guard::of(definitions::patterns(), Vectors::default()).ok().map(Arc::new));
static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| Builder::new_current_thread().build().ok());

/// What leaves of a text in increments of these sizes in characters; none once it is blocked.
fn through(guard: &Arc<Guard>, runtime: &Runtime, text: &str, sizes: &[u8]) -> Option<String> {
    let characters: Vec<char> = text.chars().collect();
    runtime.block_on(async {
        let mut stream = StreamText::new(Arc::clone(guard));
        let (mut left, mut at, mut turn) = (String::new(), 0, 0);
        while at < characters.len() {
            let size = sizes.get(turn % sizes.len().max(1)).map_or(usize::MAX, |size| usize::from(*size) + 1);
            let end = at.saturating_add(size).min(characters.len());
            let increment: String = characters[at..end].iter().collect();
            match stream.push(&increment).await.ok()? {
                Verdict::Pass(text) => left.push_str(&text),
                Verdict::Blocked => return None,
            }
            (at, turn) = (end, turn + 1);
        }
        match stream.finish().await.ok()? {
            Verdict::Pass(text) => left.push_str(&text),
            Verdict::Blocked => return None,
        }
        Some(left)
    })
}

fuzz_target!(|input: (&str, [u8; 4])| {
    let (Some(guard), Some(runtime)) = (&*GUARD, &*RUNTIME) else { return };
    let secret = "anna.secret@example.com";
    let text = format!("{} {secret} {}", input.0, input.0);
    let whole = through(guard, runtime, &text, &[]);
    let cut = through(guard, runtime, &text, &input.1);
    assert_eq!(whole, cut);
    assert!(!cut.is_some_and(|cut| cut.contains(secret)));
});
