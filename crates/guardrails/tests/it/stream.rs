//! Streams: whatever the increments, nothing that is to be hidden leaves, and what leaves is the same.

use std::sync::Arc;

use craton_guardrails::stream::{StreamText, Verdict};
use craton_guardrails::{Guard, Vectors};
use proptest::prelude::*;

fn guard() -> Arc<Guard> {
    Arc::new(Guard::of(crate::definitions::patterns(), Vectors::default()).unwrap())
}

/// What leaves of a text that arrives in these increments; none once it is blocked.
fn through(guard: &Arc<Guard>, increments: &[String]) -> (String, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut stream = StreamText::new(Arc::clone(guard));
        let mut left = String::new();
        for increment in increments {
            match stream.push(increment).await.unwrap() {
                Verdict::Pass(text) => left.push_str(&text),
                Verdict::Blocked => return (left, true),
            }
        }
        match stream.finish().await.unwrap() {
            Verdict::Pass(text) => left.push_str(&text),
            Verdict::Blocked => return (left, true),
        }
        (left, false)
    })
}

fn cut(text: &str, sizes: &[usize]) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut increments = Vec::new();
    let mut at = 0;
    let mut sizes = sizes.iter().cycle();
    while at < characters.len() {
        let size = sizes.next().copied().unwrap_or(1).max(1);
        increments.push(characters[at..(at + size).min(characters.len())].iter().collect());
        at += size;
    }
    increments
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[bdlrv][aeo][mnt]?".prop_map(|word| format!("{word} ")),
        2 => "[bdlrv][eo][mnt][.!?]".prop_map(|end| format!("{end} ")),
        1 => Just("anna.secret@example.com ".to_owned()),
        1 => Just("4111 1111 1111 1111 ".to_owned()),
        1 => Just("\n".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_hidden_leaves_however_it_is_cut(
        pieces in proptest::collection::vec(piece(), 1..60),
        sizes in proptest::collection::vec(1..40_usize, 1..8),
    ) {
        let text = pieces.concat();
        let guard = guard();
        let (whole, _) = through(&guard, std::slice::from_ref(&text));
        let (cut, blocked) = through(&guard, &cut(&text, &sizes));
        prop_assert!(!blocked);
        prop_assert_eq!(&cut, &whole);
        prop_assert!(!cut.contains("anna.secret") && !cut.contains("4111 1111"), "{}", cut);
        prop_assert_eq!(cut.matches("{EMAIL}").count(), text.matches("anna.secret").count());
    }

    #[test]
    fn a_phrase_is_stopped_before_any_of_it_leaves(
        before in proptest::collection::vec("[bdlrv][aeo][mnt]?", 0..40),
        sizes in proptest::collection::vec(1..20_usize, 1..6),
        gap in prop_oneof![
            Just(" ".to_owned()), Just("-".to_owned()), Just("  ".to_owned()), Just("\n".to_owned()),
            (1..400_usize).prop_map(|count| " ".repeat(count)), (1..400_usize).prop_map(|count| "\n ".repeat(count)),
            (1..400_usize).prop_map(|count| "\u{200b}".repeat(count) + " "),
        ],
    ) {
        let text = format!("{}. project{gap}bluebird starts", before.join(" "));
        let (left, blocked) = through(&guard(), &cut(&text, &sizes));
        prop_assert!(blocked);
        prop_assert!(!left.contains("project"), "{}", left);
    }
}
