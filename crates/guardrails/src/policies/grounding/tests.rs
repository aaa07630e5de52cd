//! Right answers pass and wrong ones don't, at the threshold that most guardrails have.

use super::*;

const THRESHOLD: f64 = 0.7;

fn grounding(source: &str, answer: &str) -> f64 {
    scores(source, "", answer).unwrap().grounding.unwrap()
}

#[test]
fn what_the_source_says_is_grounded_and_what_it_does_not_is_not() {
    const SOURCE: &str = "London is the capital of the United Kingdom. Tokyo is the capital of Japan. Refunds are accepted within \
                          30 days of purchase. Opened software is not refundable.";
    assert!(grounding(SOURCE, "The capital of Japan is Tokyo.") > 0.75);
    assert!(grounding(SOURCE, "You can get a refund within 30 days of purchase.") > 0.7);
    assert!(grounding(SOURCE, "Opened software isn't refundable.") > 0.7);
    for wrong in [
        "The capital of Japan is Kyoto.",
        "Refunds are accepted within 90 days of purchase.",
        "Refunds are not accepted within 30 days of purchase.",
        "Opened software is refundable.",
        "Refunds aren't accepted within 30 days of purchase.",
        "The cafeteria serves pancakes on Sundays.",
    ] {
        assert!(grounding(SOURCE, wrong) < 0.5, "{wrong}: {}", grounding(SOURCE, wrong));
    }
}

const HEATER: &str = "The Nordheim H3 heater costs 349 euros and weighs 12 kg. It has a two-year warranty. Nordheim launched it in \
                      2019. Maria Lund leads the team of three that looks after it. It heats rooms of up to 40 square metres. It \
                      must not be used in bathrooms.";

#[test]
fn other_words_for_the_same_pass() {
    for right in [
        "It costs EUR 349 and weighs twelve kilograms.",
        "You get 24 months of warranty.",
        "You may not use it in a bathroom.",
        "Nordheim released it in 2019.",
        "The price is €349.",
        "Its warranty lasts two years.",
        "Maria Lund leads the team.",
        "It heats up to 40 square metres.",
        "Using it in bathrooms is forbidden.",
    ] {
        let score = grounding(HEATER, right);
        assert!(score >= THRESHOLD, "{right}: {score}");
    }
}

#[test]
fn a_changed_fact_does_not() {
    for wrong in [
        "It has a three-year warranty.",
        "You get 36 months of warranty.",
        "It was launched by Maria Lund.",
        "It costs 12 euros and weighs 349 kg.",
        "Mario Lund leads the team.",
        "It heats rooms of at least 40 square metres.",
        "It may be used in bathrooms.",
        "It costs 349 dollars.",
        "It was launched in 2018.",
    ] {
        let score = grounding(HEATER, wrong);
        assert!(score < THRESHOLD, "{wrong}: {score}");
    }
}

#[test]
fn numbers_belong_to_their_words() {
    let source =
        "The bridge was opened in 1931 and widened in 1987. Adults pay 12 euros and children pay 5 euros.";
    for right in ["It was widened in 1987.", "Adults pay 12 euros.", "Children pay 5 euros and adults 12."] {
        assert!(grounding(source, right) >= THRESHOLD, "{right}: {}", grounding(source, right));
    }
    for wrong in
        ["It was opened in 1987 and widened in 1931.", "Adults pay 5 euros and children pay 12 euros."]
    {
        assert!(grounding(source, wrong) < THRESHOLD, "{wrong}: {}", grounding(source, wrong));
    }
}

#[test]
fn who_does_what_to_whom_is_read_without_names() {
    let source = "The tenant informs the agent in writing. The keeper feeds the foxes twice, while the visitor waits outside. The \
                  cellar is darker than the attic. The lamp must be switched off. The box weighs 20 kg.";
    for right in [
        "The agent is informed by the tenant in writing.",
        "The foxes are fed by the keeper.",
        "The attic is brighter than the cellar.",
        "The lamp must be switched off.",
        "The box weighs about 44 pounds.",
        "The box weighs 20,000 grams.",
    ] {
        assert!(grounding(source, right) >= THRESHOLD, "{right}: {}", grounding(source, right));
    }
    for wrong in [
        "The agent informs the tenant in writing.",
        "The keeper is fed by the foxes.",
        "The visitor feeds the foxes, while the keeper waits outside.",
        "The attic is darker than the cellar.",
        "The cellar is brighter than the attic.",
        "The lamp must be switched on.",
        "The box weighs 20 pounds.",
        "The box weighs 44 kg.",
    ] {
        assert!(grounding(source, wrong) < THRESHOLD, "{wrong}: {}", grounding(source, wrong));
    }
}

#[test]
fn a_bound_turns_round_with_a_denial() {
    let source = "Do not swim within two hours of a meal.";
    assert!(grounding(source, "Swim at least two hours after a meal.") >= THRESHOLD);
    assert!(grounding(source, "You can swim within two hours of a meal.") < THRESHOLD);
}

/// Of a corpus, how many answers that are carried are stopped, and how many that are not pass, each with how many there are;
/// and the lines that went wrong.
fn misjudged(corpus: &str) -> ([(usize, usize); 2], Vec<String>) {
    let (mut source, mut query) = ("", "");
    let (mut counts, mut wrong) = ([(0, 0); 2], Vec::new());
    for line in corpus.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (kind, text) = line.split_once('\t').unwrap();
        match kind {
            "source" => source = text,
            "query" => query = text,
            kind => {
                let score = scores(source, query, text).unwrap().grounding.unwrap();
                let good = kind == "good";
                let (missed, all) = &mut counts[usize::from(!good)];
                *all += 1;
                if good == (score < THRESHOLD) {
                    *missed += 1;
                    wrong.push(format!("{kind} {score}: {text}"));
                }
            }
        }
    }
    (counts, wrong)
}

#[test]
fn few_answers_of_the_corpora_are_misjudged() {
    // In how many of a hundred answers that are carried, and of those that are not, it may be wrong.
    for (corpus, most) in [
        (include_str!("../../../corpus/grounding.tsv"), [0, 6]),
        (include_str!("../../../corpus/grounding-held.tsv"), [0, 5]),
        (include_str!("../../../corpus/grounding-fresh.tsv"), [0, 5]),
        (include_str!("../../../corpus/grounding-kinds.tsv"), [10, 6]),
    ] {
        let (counts, wrong) = misjudged(corpus);
        let shares = counts.map(|(missed, all)| missed * 100 / all);
        println!("{counts:?} {wrong:#?}");
        assert!(shares[0] <= most[0] && shares[1] <= most[1], "{counts:?} {wrong:#?}");
    }
}

#[test]
fn an_open_question_is_answered_by_anything_about_it() {
    let relevance = |query: &str, answer: &str| scores(HEATER, query, answer).unwrap().relevance.unwrap();
    assert!(relevance("Tell me about the heater", "It weighs 12 kg.") >= THRESHOLD);
    assert!(relevance("Tell me about the heater", "Paris is the capital of France.") < 0.5);
    assert!(relevance("How do I bake bread?", "It weighs 12 kg.") < 0.5);
}

#[test]
fn hostile_answers_and_sources_take_bounded_time() {
    let started = std::time::Instant::now();
    for (source, answer) in [
        ("1 2 3 ", "1 2 3 "),
        ("Anna Bell Carl ", "Bell Anna Carl "),
        ("x 1 Anna. ", "x 2 Anna. "),
        ("10 km, ", "11 km, "),
    ] {
        let source = source.repeat(250_000 / source.len());
        let answer = answer.repeat(50_000 / answer.len());
        assert!(scores(&source, "Who is Anna?", &answer).is_some());
        // As much as is checked at all.
        let answer: String = answer.chars().take(700).collect();
        assert!(scores(&source, "Who is Anna?", &answer).is_some());
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}
