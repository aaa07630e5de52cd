//! Streams: whatever the increments, nothing that is to be hidden leaves, and what leaves is the same.

use std::sync::Arc;

use craton_api_bedrock::{
    GuardrailFilterStrength, GuardrailPiiEntityType as Kind, GuardrailSensitiveInformationAction as Action,
    GuardrailWordAction,
};
use craton_guardrails::definition::{
    ContentPolicy, CustomRegex, Definition, PiiEntity, SensitivePolicy, Sides, Word, WordPolicy,
};
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

/// A guardrail of one custom regex.
fn guard_of(pattern: &str, action: Action) -> Arc<Guard> {
    let regex = CustomRegex {
        name: "key".to_owned(),
        description: None,
        pattern: pattern.to_owned(),
        action,
        sides: Sides::both(action),
    };
    let sensitive = SensitivePolicy { entities: Vec::new(), regexes: vec![regex] };
    let definition = Definition { sensitive: Some(sensitive), ..Definition::named("keys") };
    Arc::new(Guard::of(definition, Vectors::default()).unwrap())
}

/// Whatever the increments: blocked without a word of it gone, or masked as a whole.
fn long_spans_stay(pattern: &str, before: &str, hidden: &str, after: &str) {
    let text = format!("{before}{hidden}{after}");
    for sizes in [vec![1], vec![3, 17, 5], vec![40], vec![211, 1], vec![text.len()]] {
        let (left, blocked) = through(&guard_of(pattern, Action::Block), &cut(&text, &sizes));
        assert!(blocked, "{pattern} in {sizes:?}: {left}");
        assert!(hidden.lines().all(|line| !left.contains(line)), "{pattern} in {sizes:?}: {left}");
        let (left, blocked) = through(&guard_of(pattern, Action::Anonymize), &cut(&text, &sizes));
        assert!(!blocked);
        assert_eq!(left, format!("{before}{{key}}{after}"), "{pattern} in {sizes:?}");
    }
}

#[test]
fn nothing_of_a_key_of_many_lines_leaves() {
    let lines: Vec<String> = (0..26)
        .map(|line| format!("MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDZ{line:012}"))
        .collect();
    let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END", lines.join("\n"));
    assert!(key.len() > 1_700);
    let pattern = r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+?-----END";
    long_spans_stay(
        pattern,
        "Here is the key. Keep it well.\n",
        &key,
        " RSA PRIVATE KEY-----\nThat was it. Bye.",
    );
}

#[test]
fn nothing_of_a_span_of_many_sentences_leaves() {
    for count in [8, 30, 60] {
        let hidden = format!("BEGIN {}END", "A rather short line. ".repeat(count));
        long_spans_stay(r"BEGIN[\s\S]*?END", "It is this. ", &hidden, ". And that is all of it.");
    }
    let hidden = format!("BEGIN {}END", "y".repeat(3_000));
    long_spans_stay(r"BEGIN[\s\S]*?END", "It is this. ", &hidden, ". And that is all of it.");
}

#[test]
fn nothing_of_a_bounded_span_beyond_what_is_held_leaves() {
    let hidden = format!("id-{}", "Ab1. ".repeat(79) + "Ab1.");
    long_spans_stay(r"id-(?:[A-Za-z0-9]{3}\. ?){80}", "It is this. ", &hidden, "\nAnd that is all of it.");
}

#[test]
fn what_short_patterns_let_pass_still_leaves_early() {
    let text = "Nothing is to be found in this one. ".repeat(20);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (pattern, action, early) in [
        (r"TCK-\d{4}", Action::Block, true),
        (r"[a-z]{120}", Action::Block, true),
        (r"[a-z]{121}", Action::Block, false),
        (r"\w+", Action::None, true),
        (r"zz+", Action::Block, false),
        (r"zz+", Action::Anonymize, false),
    ] {
        let mut stream = StreamText::new(guard_of(pattern, action));
        let left = runtime.block_on(stream.push(&text)).unwrap();
        assert_eq!(left != Verdict::Pass(String::new()), early, "{pattern}");
    }
}

#[test]
fn nothing_of_an_escaped_phrase_over_two_lines_leaves() {
    let escaped = |text: &str| text.chars().map(|it| format!("&#{};", it as u32)).collect::<String>();
    let hidden = [escaped("project"), escaped("bluebird")];
    let text = format!("All is well. It is {}\n{} that I mean. Bye.", hidden[0], hidden[1]);
    for sizes in [vec![1], vec![3, 17, 5], vec![40], vec![text.len()]] {
        let (left, blocked) = through(&guard(), &cut(&text, &sizes));
        assert!(blocked && !left.contains("&#"), "{sizes:?}: {left}");
    }
    let text = "Call me.\nIt is five five five.\nOne two three.\nFour five six seven. Bye.";
    for sizes in [vec![1], vec![3, 17, 5], vec![40], vec![text.len()]] {
        let (left, _) = through(&guard(), &cut(text, &sizes));
        assert_eq!(left, "Call me.\nIt is {PHONE}. Bye.", "{sizes:?}");
    }
}

#[test]
fn what_is_too_long_to_be_held_is_blocked() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let guard = guard_of(r"BEGIN[\s\S]*?END", Action::Block);
    let mut stream = StreamText::new(Arc::clone(&guard));
    let part = "All is well here. ".repeat(10_000);
    let passed = Verdict::Pass(String::new());
    for _ in 0..5 {
        assert_eq!(runtime.block_on(stream.push(&part)).unwrap(), passed);
    }
    assert_eq!(runtime.block_on(stream.push(&part)).unwrap(), Verdict::Blocked);
    assert_eq!(runtime.block_on(stream.push("And more.")).unwrap(), Verdict::Blocked);
    assert_eq!(runtime.block_on(stream.finish()).unwrap(), Verdict::Blocked);
    // Text that leaves at once is not held: it is judged on the way.
    let mut stream = StreamText::leaving(guard);
    assert!(runtime.block_on(stream.push(&part)).unwrap() != passed);
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

/// A guardrail of these words alone, and of these types.
fn words_and(words: &[&str], kinds: &[Kind], content: bool) -> Arc<Guard> {
    let word =
        |text: &&str| Word { text: (*text).to_owned(), sides: Sides::both(GuardrailWordAction::Block) };
    let entity = |kind: &Kind| PiiEntity {
        kind: *kind,
        action: Action::Anonymize,
        sides: Sides::both(Action::Anonymize),
    };
    let definition = Definition {
        words: (!words.is_empty())
            .then(|| WordPolicy { words: words.iter().map(word).collect(), managed: Vec::new() }),
        sensitive: (!kinds.is_empty())
            .then(|| SensitivePolicy { entities: kinds.iter().map(entity).collect(), regexes: Vec::new() }),
        content: content.then(|| ContentPolicy::every(GuardrailFilterStrength::High)),
        ..Definition::named("some")
    };
    Arc::new(Guard::of(definition, Vectors::default()).unwrap())
}

/// How many characters of a text have come before any of it leaves.
fn first_at(guard: &Arc<Guard>, text: &str) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut stream = StreamText::new(Arc::clone(guard));
    for (count, character) in text.chars().enumerate() {
        let left = runtime.block_on(stream.push(&character.to_string())).unwrap();
        if left != Verdict::Pass(String::new()) {
            return count;
        }
    }
    text.len()
}

#[test]
fn streams_hold_no_more_than_their_detectors_need() {
    let text = "We open at nine today. ".repeat(20);
    // One sentence, and the first letter of the next that shows that it is over.
    assert!(first_at(&words_and(&["acme"], &[], false), &text) <= 25);
    assert!(first_at(&words_and(&[], &[Kind::CreditDebitCardNumber], false), &text) <= 130);
    // Two sentences, as meaning may take two, and what may be spelled letter by letter.
    assert!(first_at(&words_and(&["acme"], &[], true), &text) <= 80);
    assert!(first_at(&guard(), &text) > 130);
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
            // Letters for Unicode that nobody sees.
            (1..400_usize).prop_map(|count| "\u{3164}".repeat(count) + " "),
            (1..400_usize).prop_map(|count| "\u{363}".repeat(count) + " "),
        ],
    ) {
        let text = format!("{}. project{gap}bluebird starts", before.join(" "));
        for (guard, text) in [(guard(), &text), (words_and(&["project bluebird"], &[], false), &text)] {
            let (left, blocked) = through(&guard, &cut(text, &sizes));
            prop_assert!(blocked);
            prop_assert!(!left.contains("project"), "{}", left);
        }
    }

    #[test]
    fn numbers_leave_masked_when_little_is_held(
        before in proptest::collection::vec("[bdlrv][aeo][mnt][.]?", 0..40),
        sizes in proptest::collection::vec(1..20_usize, 1..6),
        gap in prop_oneof![Just(" "), Just("-"), Just(". "), Just("\n"), Just("/")],
        behind in prop_oneof![Just(""), Just(" and more. All of it.\nEnd"), Just(". Then")],
    ) {
        let number = ["4111", "1111", "1111", "1111"].join(gap);
        let text = format!("{} {number}{behind}", before.join(" "));
        let (left, blocked) = through(&words_and(&["acme"], &[Kind::CreditDebitCardNumber], false), &cut(&text, &sizes));
        prop_assert!(!blocked);
        prop_assert!(!left.contains("4111"), "{}", left);
        prop_assert_eq!(left, text.replace(&number, "{CREDIT_DEBIT_CARD_NUMBER}"));
    }
}
