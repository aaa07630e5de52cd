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

/// How a text is disguised, and whether that can be undone where case, accents or signs count.
type Disguise = (&'static str, fn(&str) -> String);

/// Letters of other alphabets for those that look like them.
fn imitated(it: char) -> char {
    let (latin, other) = ("aceopxyijsETKMHOPCBA", "асеорхуіјѕЕТКМНОРСВА");
    latin.chars().zip(other.chars()).find(|(latin, _)| *latin == it).map_or(it, |(_, other)| other)
}

fn wide(it: char) -> char {
    if it.is_ascii_graphic() { shifted(it, 0xFEE0) } else { it }
}

fn lines(digits: &str) -> String {
    let lines: Vec<&str> = digits.as_bytes().chunks(20).map(|it| std::str::from_utf8(it).unwrap()).collect();
    lines.join("\n")
}

const DISGUISES: &[Disguise] = &[
    ("itself", str::to_owned),
    ("zero width", |text| text.chars().flat_map(|it| [it, '\u{200b}']).collect()),
    ("full width", |text| text.chars().map(wide).collect()),
    ("look-alikes", |text| text.chars().map(imitated).collect()),
    ("mixed scripts", |text| {
        let mixed = text.chars().enumerate();
        mixed.map(|(at, it)| if at % 2 == 0 { wide(it) } else { imitated(it) }).collect()
    }),
    ("accents", |text| {
        text.chars().flat_map(|it| [Some(it), it.is_alphabetic().then_some('\u{301}')]).flatten().collect()
    }),
    ("base64", |text| base64::engine::general_purpose::STANDARD.encode(text)),
    ("base64 in lines", |text| lines(&base64::engine::general_purpose::STANDARD.encode(text))),
    ("hexadecimal", |text| hex::encode(text)),
    ("hexadecimal by bytes", |text| text.bytes().map(|byte| format!("{byte:02x} ")).collect()),
    ("URL", |text| text.bytes().map(|byte| format!("%{byte:02X}")).collect()),
    ("HTML", |text| text.chars().map(|it| format!("&#{};", it as u32)).collect()),
    ("JSON", |text| text.chars().map(|it| format!("\\u{:04x}", it as u32)).collect()),
    ("tags", |text| format!("Hello{}", text.chars().map(|it| shifted(it, 0xE0000)).collect::<String>())),
];

#[test]
fn every_policy_sees_through_every_disguise() {
    let ticket = CustomRegex {
        name: "ticket".to_owned(),
        description: None,
        pattern: r"TCK-\d{4}".to_owned(),
        action: Action::Block,
        sides: Sides::both(Action::Block),
    };
    let everything = crate::definitions::everything();
    let masking = crate::definitions::masking();
    let only = |regex: &CustomRegex| {
        let sensitive = SensitivePolicy { entities: Vec::new(), regexes: vec![regex.clone()] };
        Definition { sensitive: Some(sensitive), ..Definition::named("tickets") }
    };
    let content = Definition { content: everything.content.clone(), ..Definition::named("content") };
    let topics = Definition { topics: everything.topics.clone(), ..Definition::named("topics") };
    let words = Definition { words: everything.words.clone(), ..Definition::named("words") };
    for (definition, text) in [
        (content, "I will kill you tonight"),
        (topics, "Can I sue my employer?"),
        (words.clone(), "news of project bluebird"),
        (words, "this is fucking bad"),
        (masking.clone(), "to ann.smith@example.com"),
        (masking.clone(), "my SSN is 536-90-4399"),
        (masking.clone(), "pay by 4111 1111 1111 1111"),
        (masking, "call +1 415 555 2671"),
        (only(&ticket), "please see TCK-1234 too"),
    ] {
        for (name, disguise) in DISGUISES {
            let hidden = disguise(text);
            let assessed = assess(definition.clone(), &hidden);
            assert!(assessed.intervened(), "{text:?} as {name}: {hidden:?}");
        }
    }
}

#[test]
fn meaning_is_read_over_broken_lines_and_through_digits() {
    let content = ContentPolicy::every(GuardrailFilterStrength::High);
    let content = Definition { content: Some(content), ..Definition::named("content") };
    let topics =
        Definition { topics: crate::definitions::everything().topics, ..Definition::named("topics") };
    for (definition, text) in [
        (&content, "I\nwill\nkill\nyou\ntonight"),
        (&content, "1 w1ll k1ll y0u t0n1ght"),
        (&topics, "Can I\nsue my\nemployer?"),
        (&topics, "C4n I 5ue my 3mpl0yer?"),
    ] {
        assert!(assess(definition.clone(), text).blocked, "{text:?}");
    }
    for text in ["Milk\nEggs\nFine bread\nApples", "Model X1 has 4GB and mp3, from the 1st of May at 7pm"] {
        assert!(!assess(content.clone(), text).blocked, "{text:?}");
        assert!(!assess(topics.clone(), text).blocked, "{text:?}");
    }
}

#[test]
fn what_is_disguised_is_masked_where_it_stands() {
    for (text, kept) in [
        ("to &#97;&#110;&#110;@example.com now", "to {EMAIL} now"),
        (r"to \u0061nn@example\x2ecom now", "to {EMAIL} now"),
        ("to \u{430}nn@ex\u{430}mple.com now", "to {EMAIL} now"),
        ("It is 5.3.6.-.9.0.-.4.3.9.9, thanks", "It is {US_SOCIAL_SECURITY_NUMBER}, thanks"),
        ("to a_n_n_@_e_x_a_m_p_l_e_._c_o_m", "to {EMAIL}"),
        ("Call five five five, one two three, four five six seven now", "Call {PHONE} now"),
        ("My phone is four one five, five five five, 2671", "My phone is {PHONE}"),
        ("dial plus four four two zero seven nine four six oh nine five eight", "dial {PHONE}"),
        (
            "My SSN is five three six, nine zero, four three double nine.",
            "My SSN is {US_SOCIAL_SECURITY_NUMBER}.",
        ),
        (
            "Count to ten: one, two, three, four, five, six, seven.",
            "Count to ten: one, two, three, four, five, six, seven.",
        ),
    ] {
        assert_eq!(assess(crate::definitions::masking(), text).texts, [kept]);
    }
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

#[test]
fn ciphers_are_read_where_a_sentence_is_written_in_one() {
    let turn = |it: char| match it {
        'a'..='m' | 'A'..='M' => shifted(it, 13),
        'n'..='z' | 'N'..='Z' => char::from_u32(it as u32 - 13).unwrap(),
        other => other,
    };
    let turned = |text: &str| -> String { text.chars().map(turn).collect() };
    let words = |text: &str| -> String { text.split(' ').map(backwards).collect::<Vec<_>>().join(" ") };
    let said = "I will kill you tonight";
    for text in [turned(said), backwards(said), words(said)] {
        assert!(assess(crate::definitions::everything(), &text).blocked, "{text}");
    }
    let secret = "You can write to ann@example.com about the order that I made";
    let named = "They told me that project bluebird is what they want to do";
    let ciphers: [&dyn Fn(&str) -> String; 3] = [&turned, &backwards, &words];
    for cipher in ciphers {
        let text = cipher(secret);
        assert_eq!(assess(crate::definitions::masking(), &text).texts, ["{EMAIL}"], "{text}");
        assert!(assess(crate::definitions::patterns(), &cipher(named)).blocked);
    }
    let kept = "Dear all, the word of the day is level, which reads the same from both ends.";
    assert!(!assess(crate::definitions::everything(), kept).blocked);
}

fn backwards(text: &str) -> String {
    text.chars().rev().collect()
}
