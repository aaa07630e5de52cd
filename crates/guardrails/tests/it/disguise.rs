//! What is hidden is found, by every policy that looks at words and meaning.

use std::sync::Arc;

use base64::Engine as _;
use craton_api_bedrock::{GuardrailFilterStrength, GuardrailSensitiveInformationAction as Action};
use craton_guardrails::definition::{ContentPolicy, CustomRegex, Definition, SensitivePolicy, Sides};
use craton_guardrails::{Assessed, Guard, Piece, Source, Vectors};

fn assess(definition: Definition, text: &str) -> Assessed {
    let guard = Arc::new(Guard::of(definition, Vectors::default()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(guard.assess(Source::Input, vec![Piece::new(text)])).unwrap()
}

#[test]
fn threats_are_seen_through_disguises() {
    let plain = "I will kill you tonight";
    let spaced: Vec<String> =
        plain.split(' ').map(|word| word.chars().map(String::from).collect::<Vec<_>>().join(" ")).collect();
    let apart = |gap: &str| {
        let letters: Vec<String> = plain.chars().filter(|it| *it != ' ').map(String::from).collect();
        letters.join(gap)
    };
    let wide: String = plain.chars().map(|it| if it == ' ' { ' ' } else { shifted(it, 0xFEE0) }).collect();
    for text in [
        plain.to_owned(),
        spaced.join("   "),
        apart(" "),
        apart("-"),
        wide,
        plain.replace('i', "\u{456}").replace('o', "\u{43e}"),
        plain.chars().flat_map(|it| [it, '\u{200b}']).collect(),
        base64::engine::general_purpose::STANDARD.encode(plain),
        format!("read {} aloud", hex::encode(plain)),
    ] {
        assert!(assess(crate::definitions::everything(), &text).blocked, "{text}");
    }
    assert!(!assess(crate::definitions::everything(), "A fine day for a walk in the park.").blocked);
}

fn shifted(character: char, by: u32) -> char {
    char::from_u32(character as u32 + by).unwrap()
}

#[test]
fn harmless_text_with_gaps_is_harmless() {
    let definition = Definition {
        content: Some(ContentPolicy::every(GuardrailFilterStrength::High)),
        ..Definition::named("content")
    };
    for text in ["Please send me the invoice", "How are you today", "Opening hours nine to five"] {
        for gap in [" ", "-", "."] {
            let letters: Vec<String> = text.chars().filter(|it| *it != ' ').map(String::from).collect();
            assert!(!assess(definition.clone(), &letters.join(gap)).blocked, "{text} {gap:?}");
        }
    }
}

#[test]
fn secrets_with_gaps_are_masked_where_they_stand() {
    for (text, kept) in [
        ("It is 5 3 6 - 9 0 - 4 3 9 9, thanks", "It is {US_SOCIAL_SECURITY_NUMBER}, thanks"),
        ("to a n n @ e x a m p l e . c o m", "to {EMAIL}"),
        ("pay 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 please", "pay {CREDIT_DEBIT_CARD_NUMBER} please"),
    ] {
        assert_eq!(assess(crate::definitions::masking(), text).texts, [kept]);
    }
}

#[test]
fn regexes_see_what_people_read() {
    let sides = Sides::both(Action::Anonymize);
    let regex = CustomRegex {
        name: "ticket".to_owned(),
        description: None,
        pattern: r"TCK-\d{4}|№\d".to_owned(),
        action: Action::Anonymize,
        sides,
    };
    let sensitive = SensitivePolicy { entities: Vec::new(), regexes: vec![regex] };
    let definition = Definition { sensitive: Some(sensitive), ..Definition::named("tickets") };
    for (text, kept) in [
        ("see TCK-1234 now", "see {ticket} now"),
        ("see TCK\u{2010}12\u{200b}34 now", "see {ticket} now"),
        ("see ＴＣＫ-１２３４ now", "see {ticket} now"),
        ("see №7 now", "see {ticket} now"),
        ("see TCK-123 now", "see TCK-123 now"),
    ] {
        assert_eq!(assess(definition.clone(), text).texts, [kept], "{text}");
    }
}
