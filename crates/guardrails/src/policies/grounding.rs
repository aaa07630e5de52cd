//! Contextual grounding: whether an answer says what its sources say, and answers what was asked.
//!
//! Each sentence of the answer is held against the sources. Its content words have to be there (or words near to them in
//! meaning), and what carries the facts has to match exactly: numbers, names, and whether it is said or denied. One
//! sentence that the sources contradict makes the answer ungrounded, however much of the rest is right.

use std::collections::HashSet;

use craton_backend::dot;

use super::lexical::{is_common, stem};
use super::statics::{Statics, words};
use crate::text::{View, sentences};

/// From 0 to 1; none where there is nothing to compare with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    pub grounding: Option<f64>,
    pub relevance: Option<f64>,
}

/// Most sentences of the sources and of the answer that are compared.
const MOST_SOURCES: usize = 2000;
const MOST_ANSWERS: usize = 400;

/// Scores an answer; none when there is no answer or nothing to compare it with.
pub fn scores(sources: &str, query: &str, answer: &str) -> Option<Scores> {
    if answer.trim().is_empty() || (sources.trim().is_empty() && query.trim().is_empty()) {
        return None;
    }
    let mut answer_facts = facts_of(answer, MOST_ANSWERS + 1);
    // What is too long to be compared is not grounded.
    let too_long = answer_facts.len() > MOST_ANSWERS;
    answer_facts.truncate(MOST_ANSWERS);
    let grounding = (!sources.trim().is_empty()).then(|| match too_long {
        true => 0.0,
        false => grounded(sources, query, &answer_facts),
    });
    let relevance = (!query.trim().is_empty()).then(|| relevant(query, answer, sources));
    Some(Scores { grounding: grounding.map(round), relevance: relevance.map(round) })
}

fn round(score: f32) -> f64 {
    (f64::from(score.clamp(0.0, 1.0)) * 100.0).round() / 100.0
}

/// What a sentence says, as far as it can be compared.
struct Facts {
    /// Stems of its content words.
    content: HashSet<String>,
    numbers: HashSet<String>,
    /// Capitalised words that do not start the sentence, in lower case.
    names: HashSet<String>,
    /// How often it denies.
    denials: usize,
    vector: Vec<f32>,
}

fn facts_of(text: &str, most: usize) -> Vec<Facts> {
    sentences(text).into_iter().take(most).map(|range| facts(&text[range])).collect()
}

fn facts(sentence: &str) -> Facts {
    let view = View::plain(sentence);
    let plain = view.text();
    let mut facts = Facts {
        content: HashSet::new(),
        numbers: numbers(plain),
        names: HashSet::new(),
        denials: 0,
        vector: Statics::shipped().embed(&plain.to_lowercase()),
    };
    for (index, word) in words(plain).enumerate() {
        let lower = word.to_lowercase();
        // "isn't" comes as three words, of which the last denies; "can't" too.
        if is_denial(&lower) || (lower == "t" && plain.contains("n't")) {
            facts.denials += 1;
            continue;
        }
        let first = word.chars().next();
        if !first.is_some_and(char::is_alphabetic) || is_common(&lower) {
            continue;
        }
        if index > 0 && first.is_some_and(char::is_uppercase) && word.len() > 1 {
            facts.names.insert(lower.clone());
        }
        facts.content.insert(stem(&lower));
    }
    facts
}

/// Numbers as values: `1,000` and `1000` are the same, `five` is `5`; a percent sign or a unit stays outside.
fn numbers(text: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    let is_part = |it: char| it.is_ascii_digit() || matches!(it, '.' | ',');
    for token in text.split(|it: char| !is_part(it)) {
        let token = token.trim_matches(['.', ',']).replace(',', "");
        if token.bytes().any(|byte| byte.is_ascii_digit()) {
            let value = match token.contains('.') {
                true => token.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => token.trim_start_matches('0').to_owned(),
            };
            found.insert(value);
        }
    }
    for word in words(text) {
        let lower = word.to_ascii_lowercase();
        if let Some(value) = NUMBER_WORDS.iter().position(|it| *it == lower).filter(|value| *value > 1) {
            found.insert(value.to_string());
        }
    }
    found
}

const NUMBER_WORDS: [&str; 21] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

fn is_denial(word: &str) -> bool {
    matches!(
        word,
        "not" | "no" | "never" | "none" | "neither" | "nor" | "without" | "cannot" | "nothing" | "nobody"
    )
}

/// Words that change a claim into its opposite.
const OPPOSITES: &[(&str, &str)] = &[
    ("increase", "decrease"),
    ("rise", "fall"),
    ("rose", "fell"),
    ("higher", "lower"),
    ("more", "less"),
    ("before", "after"),
    ("allow", "forbid"),
    ("allowed", "prohibited"),
    ("accept", "reject"),
    ("accepted", "rejected"),
    ("approve", "deny"),
    ("include", "exclude"),
    ("included", "excluded"),
    ("open", "closed"),
    ("free", "paid"),
    ("always", "never"),
    ("maximum", "minimum"),
    ("most", "least"),
    ("first", "last"),
    ("win", "lose"),
    ("won", "lost"),
    ("true", "false"),
    ("required", "optional"),
    ("mandatory", "optional"),
    ("enable", "disable"),
    ("enabled", "disabled"),
    ("buy", "sell"),
    ("north", "south"),
    ("east", "west"),
    ("hot", "cold"),
    ("safe", "dangerous"),
    ("eligible", "ineligible"),
    ("possible", "impossible"),
    ("legal", "illegal"),
    ("success", "failure"),
    ("succeeded", "failed"),
    ("gain", "loss"),
    ("profit", "loss"),
    ("early", "late"),
    ("start", "end"),
    ("started", "ended"),
    ("import", "export"),
    ("refundable", "nonrefundable"),
];

/// How far the sources carry every sentence of the answer: mostly the weakest sentence, a little the average.
fn grounded(sources: &str, query: &str, answer: &[Facts]) -> f32 {
    let source = facts_of(sources, MOST_SOURCES);
    let asked = facts(query);
    let mut all_numbers: HashSet<&String> = source.iter().flat_map(|it| &it.numbers).collect();
    all_numbers.extend(&asked.numbers);
    let mut all_words: HashSet<&String> = source.iter().flat_map(|it| &it.content).collect();
    all_words.extend(&asked.content);
    let mut scores = Vec::with_capacity(answer.len());
    for facts in answer {
        if facts.content.is_empty() && facts.numbers.is_empty() {
            continue;
        }
        let known = facts.content.iter().filter(|word| all_words.contains(word)).count();
        let words = known as f32 / facts.content.len().max(1) as f32;
        let best = best_source(facts, &source);
        let meaning = best.map_or(0.0, |(_, similarity)| similarity);
        // Words in common carry a claim; meaning alone carries a paraphrase, less surely.
        let mut score = (0.65 * words + 0.35 * words.max(meaning)).max(0.9 * meaning * meaning);
        let wrong_numbers = facts.numbers.iter().filter(|it| !all_numbers.contains(it)).count();
        if wrong_numbers > 0 {
            score *= 0.25;
        }
        let wrong_names = facts.names.iter().filter(|it| !all_words.contains(&stem(it))).count();
        if wrong_names > 0 {
            score *= 0.35;
        }
        if let Some((index, similarity)) = best
            && contradicts(facts, &source[index], similarity)
        {
            score *= 0.25;
        }
        scores.push(score);
    }
    if scores.is_empty() {
        return 1.0;
    }
    let weakest = scores.iter().copied().fold(1.0, f32::min);
    let mean = scores.iter().sum::<f32>() / scores.len() as f32;
    0.8 * weakest + 0.2 * mean
}

/// The sentence of the sources that says most of the same.
fn best_source(facts: &Facts, source: &[Facts]) -> Option<(usize, f32)> {
    let scored = source.iter().enumerate().map(|(index, it)| {
        let shared = facts.content.intersection(&it.content).count() as f32;
        let overlap = shared / facts.content.len().max(1) as f32;
        (index, 0.6 * overlap + 0.4 * dot(&facts.vector, &it.vector).max(0.0))
    });
    scored.max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Whether a sentence says the opposite of the one it is most like: it denies what that says or says what that denies, or
/// has the opposite of one of its words.
fn contradicts(facts: &Facts, source: &Facts, similarity: f32) -> bool {
    if similarity < 0.45 {
        return false;
    }
    if facts.denials % 2 != source.denials % 2 {
        return true;
    }
    let has = |facts: &Facts, word: &str| facts.content.contains(&stem(word));
    OPPOSITES.iter().any(|(a, b)| {
        (has(facts, a) && !has(source, a) && has(source, b) && !has(facts, b))
            || (has(facts, b) && !has(source, b) && has(source, a) && !has(facts, a))
    })
}

/// How far the answer is about what was asked.
fn relevant(query: &str, answer: &str, sources: &str) -> f32 {
    let asked = facts(query);
    let given = facts_of(answer, MOST_ANSWERS);
    let folded = answer.to_lowercase();
    let whole = dot(&asked.vector, &Statics::shipped().embed(&folded)).max(0.0);
    let best = given.iter().map(|it| dot(&asked.vector, &it.vector)).fold(whole, f32::max);
    let words: HashSet<&String> = given.iter().flat_map(|it| &it.content).collect();
    let shared = asked.content.iter().filter(|word| words.contains(word)).count() as f32;
    let overlap = shared / asked.content.len().max(1) as f32;
    // A short answer ("14 days.") shares no word with its question, but its source does.
    let short = given.iter().map(|it| it.content.len() + it.numbers.len()).sum::<usize>() <= 4;
    let bridge = match short && !sources.is_empty() {
        true => {
            let about: Vec<Facts> = facts_of(sources, MOST_SOURCES);
            let carries = |it: &&Facts| {
                given
                    .iter()
                    .all(|given| given.numbers.is_subset(&it.numbers) && given.content.is_subset(&it.content))
            };
            about.iter().filter(carries).map(|it| dot(&asked.vector, &it.vector)).fold(0.0, f32::max)
        }
        false => 0.0,
    };
    let meaning = best.max(bridge);
    (0.55 * overlap + 0.75 * meaning).max(1.1 * meaning).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "London is the capital of the United Kingdom. Tokyo is the capital of Japan. Refunds are accepted within \
                          30 days of purchase. Opened software is not refundable.";

    fn grounding(answer: &str) -> f64 {
        scores(SOURCE, "", answer).unwrap().grounding.unwrap()
    }

    #[test]
    fn what_the_source_says_is_grounded_and_what_it_does_not_is_not() {
        assert!(grounding("The capital of Japan is Tokyo.") > 0.75);
        assert!(grounding("You can get a refund within 30 days of purchase.") > 0.7);
        assert!(grounding("Opened software isn't refundable.") > 0.7);
        for wrong in [
            "The capital of Japan is Kyoto.",
            "Refunds are accepted within 90 days of purchase.",
            "Refunds are not accepted within 30 days of purchase.",
            "Opened software is refundable.",
            "Refunds aren't accepted within 30 days of purchase.",
            "The cafeteria serves pancakes on Sundays.",
        ] {
            assert!(grounding(wrong) < 0.5, "{wrong}: {}", grounding(wrong));
        }
    }
}
