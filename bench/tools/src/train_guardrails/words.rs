//! Words and profanity: what is found of words in disguise, and what is found in texts without any.

use std::path::Path;

use craton_guardrails::policies::words::{WordMatcher, profanity};
use craton_guardrails::text::View;

use crate::corpus::Example;
use crate::measure::share;

/// Phrases as guardrails have them, and sentences that only come near.
const PHRASES: [&str; 8] = [
    "project bluebird",
    "acme",
    "globex corporation",
    "strictly confidential",
    "élan vital",
    "c3po",
    "code red",
    "initech",
];
const NEAR: [&str; 10] = [
    "The project manager saw a bluebird.",
    "Acmeology is a word.",
    "The globe and the corporation",
    "confidentially",
    "elan and vitality",
    "c3poetry",
    "The code is read and reviewed.",
    "reinitech",
    "Strict rules are confidential.",
    "An acne cream",
];
const PROFANE: [&str; 10] =
    ["fuck", "shit", "bitch", "asshole", "bastard", "cunt", "dickhead", "motherfucker", "bullshit", "wanker"];

/// A way to disguise a word.
type Disguise = (&'static str, fn(&str) -> String);

const DISGUISES: [Disguise; 8] = [
    ("as it is", str::to_owned),
    ("capitals", str::to_uppercase),
    ("accents", |word| word.replace('a', "á").replace('e', "ê").replace('i', "ï").replace('o', "ö")),
    ("full width", |word| word.chars().map(wide).collect()),
    ("zero-width characters", |word| word.chars().flat_map(|it| [it, '\u{200b}']).collect()),
    ("letters of other alphabets", |word| {
        word.replace('a', "а").replace('e', "е").replace('o', "о").replace('c', "с")
    }),
    ("gaps", |word| {
        let letters =
            word.split(' ').map(|part| part.chars().map(String::from).collect::<Vec<_>>().join(" "));
        letters.collect::<Vec<_>>().join(" ")
    }),
    ("digits and signs", |word| word.replace('a', "@").replace('i', "1").replace('o', "0").replace('s', "$")),
];

fn wide(character: char) -> char {
    match character {
        '!'..='~' => char::from_u32(character as u32 + 0xFEE0).unwrap_or(character),
        other => other,
    }
}

pub(crate) fn report(corpus: &[Example], folder: &Path) -> anyhow::Result<()> {
    let matcher = WordMatcher::new(PHRASES).map_err(anyhow::Error::msg)?;
    let sentence = |word: &str| format!("Well, I think that {word} is it.");
    println!("| written | custom words found | profanity found |\n|---|---|---|");
    for (name, disguise) in DISGUISES {
        let custom = PHRASES.iter().enumerate().filter(|(index, phrase)| {
            let text = sentence(&disguise(phrase));
            matcher.find(&View::folded(&text)).iter().any(|hit| hit.word == *index)
        });
        let custom = match name {
            // Only profanity is looked for behind digits and signs.
            "digits and signs" => "–".to_owned(),
            _ => share(custom.count(), PHRASES.len()),
        };
        let profane =
            PROFANE.iter().filter(|word| !profanity(&View::folded(&sentence(&disguise(word)))).is_empty());
        println!("| {name} | {custom} | {} |", share(profane.count(), PROFANE.len()));
    }
    let near = NEAR.iter().filter(|text| !matcher.find(&View::folded(text)).is_empty()).count();
    println!("\nCustom words are found in {} of sentences that come near.", share(near, NEAR.len()));
    let business = std::fs::read_to_string(folder.join("business.txt"))?;
    let ordinary: Vec<&str> = business
        .lines()
        .chain(corpus.iter().filter(|it| it.label.is_none()).map(|it| it.text.as_str()))
        .filter(|line| !line.is_empty())
        .collect();
    let found: Vec<&&str> =
        ordinary.iter().filter(|text| !profanity(&View::folded(text)).is_empty()).collect();
    println!("\nProfanity is found in {} of the safe texts.", share(found.len(), ordinary.len()));
    if std::env::var_os("SHOW").is_some() {
        found.iter().for_each(|text| eprintln!("{text}"));
    }
    Ok(())
}
