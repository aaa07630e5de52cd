//! Contextual grounding: whether an answer says what its sources say, and answers what was asked.
//!
//! Each sentence of the answer is held against the sources. Its content words have to be there (or words that say the
//! same), and what carries the facts has to match: quantities with their units and bounds ([`quantities`]), names, what
//! belongs to which of them, and whether it is said or denied. One sentence that the sources contradict makes the answer
//! ungrounded, however much of the rest is right.

mod facts;
mod forms;
mod opposites;
mod quantities;
mod relations;
mod words;

use std::collections::{HashMap, HashSet};

use craton_backend::dot;

use super::statics::Statics;
use facts::{Facts, facts, facts_of};
use opposites::opposites;
use words::{is_relation, root};

/// From 0 to 1; none where there is nothing to compare with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    pub grounding: Option<f64>,
    pub relevance: Option<f64>,
}

/// Share of a sentence's words that a source has where it says the same of something else.
const MOSTLY: f32 = 0.75;
/// Most sentences of the sources and of the answer that are compared.
const MOST_SOURCES: usize = 2000;
const MOST_ANSWERS: usize = 400;
/// Most quantities, and names, of an answer: one that has more is no answer to check. Of the sources those beyond ten times as
/// many are not known.
const MOST_DETAILS: usize = 400;

/// Scores an answer; none when there is no answer or nothing to compare it with.
pub fn scores(sources: &str, query: &str, answer: &str) -> Option<Scores> {
    if answer.trim().is_empty() || (sources.trim().is_empty() && query.trim().is_empty()) {
        return None;
    }
    let mut answer_facts = facts_of(answer, MOST_ANSWERS + 1);
    // What is too long to be compared is not grounded.
    let details = |count: fn(&Facts) -> usize| answer_facts.iter().map(count).sum::<usize>() > MOST_DETAILS;
    let too_long = answer_facts.len() > MOST_ANSWERS
        || details(|it| it.quantities.len())
        || details(|it| it.names.iter().map(Vec::len).sum());
    answer_facts.truncate(MOST_ANSWERS);
    let known = Known::of(sources, query);
    answer_facts.iter_mut().for_each(|it| it.name_first(&known.names));
    let grounding = (!sources.trim().is_empty()).then(|| match too_long {
        true => 0.0,
        false => grounded(&known, &answer_facts),
    });
    let relevance = (!query.trim().is_empty()).then(|| relevant(&known, &answer_facts, answer));
    Some(Scores { grounding: grounding.map(round), relevance: relevance.map(round) })
}

fn round(score: f32) -> f64 {
    (f64::from(score.clamp(0.0, 1.0)) * 100.0).round() / 100.0
}

/// What an answer is held against.
struct Known {
    source: Vec<Facts>,
    asked: Facts,
    names: HashSet<String>,
    /// In which of the names of several parts each part is.
    runs: HashMap<String, HashSet<usize>>,
    /// Roots of the content words of both.
    words: HashSet<String>,
}

impl Known {
    fn of(sources: &str, query: &str) -> Self {
        let (mut source, asked) = (facts_of(sources, MOST_SOURCES), facts(query));
        let (mut quantities, mut names) = (0, 0);
        for it in &mut source {
            quantities += it.quantities.len();
            names += it.names.iter().map(Vec::len).sum::<usize>();
            it.forget(quantities > 10 * MOST_DETAILS, names > 10 * MOST_DETAILS);
        }
        let known = |of: &Facts| of.names.concat();
        let names: HashSet<String> = source.iter().chain([&asked]).flat_map(known).collect();
        source.iter_mut().for_each(|it| it.name_first(&names));
        let mut runs: HashMap<String, HashSet<usize>> = HashMap::new();
        let named = source.iter().chain([&asked]).flat_map(|it| &it.names).filter(|run| run.len() > 1);
        for (index, run) in named.enumerate() {
            for name in run {
                runs.entry(name.clone()).or_default().insert(index);
            }
        }
        let words = source.iter().chain([&asked]).flat_map(|it| it.content.iter().cloned()).collect();
        Self { source, asked, names, runs, words }
    }

    fn sentences(&self) -> impl Iterator<Item = &Facts> {
        self.source.iter().chain([&self.asked])
    }
}

/// How far the sources carry every sentence of the answer: mostly the weakest sentence, a little the average.
fn grounded(known: &Known, answer: &[Facts]) -> f32 {
    let told = answer.iter().filter(|it| !it.content.is_empty() || !it.quantities.is_empty());
    let scores: Vec<f32> = told.map(|facts| carried(known, facts)).collect();
    if scores.is_empty() {
        return 1.0;
    }
    let weakest = scores.iter().copied().fold(1.0, f32::min);
    let mean = scores.iter().sum::<f32>() / scores.len() as f32;
    0.8 * weakest + 0.2 * mean
}

/// How far the sources carry one sentence.
fn carried(known: &Known, facts: &Facts) -> f32 {
    let claimed: Vec<&String> = facts.content.iter().filter(|word| !is_relation(word)).collect();
    let shared = claimed.iter().filter(|word| known.words.contains(**word)).count();
    let told = Told { known, facts };
    let (numbers, numbers_shared) = told.count_quantities();
    let words = match claimed.len() + numbers {
        0 => 1.0,
        all => (shared + numbers_shared) as f32 / all as f32,
    };
    let best = best_source(facts, &known.source);
    let meaning = best.map_or(0.0, |(_, similarity)| similarity);
    // Words in common carry a claim; meaning alone carries a paraphrase, less surely.
    let mut score = (0.65 * words + 0.35 * words.max(meaning)).max(0.9 * meaning * meaning);
    let quantities = told.quantities();
    if quantities == Judged::Wrong {
        score *= 0.25;
    }
    if told.has_wrong_name() || told.has_other_subject() {
        score *= 0.35;
    }
    if told.has_wrong_period() || told.is_free_alone() {
        score *= 0.35;
    }
    // "Not within 12 hours" is "at least 12 hours": a bound that is turned round goes with a denial.
    if let Some((index, similarity)) = best
        && contradicts(facts, &known.source[index], similarity, quantities == Judged::Turned)
    {
        score *= 0.25;
    }
    score
}

/// What the sources say of a sentence's quantities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    Right,
    /// Right, where what is denied in one is said in the other.
    Turned,
    Wrong,
}

/// One sentence beside what is known.
struct Told<'a> {
    known: &'a Known,
    facts: &'a Facts,
}

impl Told<'_> {
    fn quantities(&self) -> Judged {
        let mut all = Judged::Right;
        for (index, quantity) in self.facts.quantities.iter().enumerate().filter(|(_, it)| !it.loose) {
            match self.quantity(index, quantity) {
                Judged::Right => {}
                Judged::Turned => all = Judged::Turned,
                Judged::Wrong => return Judged::Wrong,
            }
        }
        all
    }

    fn quantity(&self, index: usize, quantity: &quantities::Quantity) -> Judged {
        let mut judged = Judged::Wrong;
        for sentence in self.known.sentences() {
            if sentence.quantities.iter().any(|it| quantity.rounds(it)) {
                judged = Judged::Right;
            }
            for known in sentence.quantities.iter().filter(|it| quantity.is(it)) {
                // A denial on both sides says nothing, one on one side turns the bound round.
                let turned = sentence.is_denied() != self.facts.is_denied();
                judged = match agree(quantity.bound, known.bound, turned) {
                    true if turned && quantity.bound.is_some() && known.bound.is_some() => match judged {
                        Judged::Right => judged,
                        _ => Judged::Turned,
                    },
                    true => Judged::Right,
                    false => judged,
                };
            }
        }
        if judged != Judged::Wrong && self.is_swapped(index, quantity) { Judged::Wrong } else { judged }
    }

    /// Whether the words beside a quantity are those that the sources have beside another one.
    fn is_swapped(&self, index: usize, quantity: &quantities::Quantity) -> bool {
        let beside: Vec<&String> =
            self.facts.before(index).filter(|it| self.known.words.contains(*it)).take(2).collect();
        let (mut own, mut of_others) = ([false; 2], [false; 2]);
        for sentence in self.known.source.iter().filter(|_| !beside.is_empty()) {
            for (place, known) in sentence.quantities.iter().enumerate() {
                let (its, others) = (quantity.is(known), quantity.is_like(known));
                for (at, word) in beside.iter().enumerate() {
                    own[at] |= its && (sentence.is_beside(place, word) || sentence.continues(place, word));
                    of_others[at] |= !its && others && sentence.before(place).take(3).any(|it| it == *word);
                }
            }
        }
        // Words that both have tell nothing.
        let telling = |its: [bool; 2], not: [bool; 2]| (0..2).any(|at| its[at] && !not[at]);
        telling(of_others, own) && !telling(own, of_others)
    }

    /// Whether the sentence names somebody or something that the sources don't, or says of one what they say of another.
    fn has_wrong_name(&self) -> bool {
        let unknown = |run: &Vec<String>| run.iter().any(|name| !self.known.words.contains(name));
        self.facts.names.iter().any(|run| unknown(run) || self.is_mixed(run))
            || self.facts.names.iter().any(|run| self.is_said_of_another(run))
    }

    /// How many quantities the sentence has, and how many of them the sources have too.
    fn count_quantities(&self) -> (usize, usize) {
        let own = || self.facts.quantities.iter().filter(|it| !it.loose);
        let has = |it: &&quantities::Quantity| {
            let same = |known| it.is(known) || it.rounds(known);
            self.known.sentences().any(|sentence| sentence.quantities.iter().any(same))
        };
        (own().count(), own().filter(has).count())
    }

    /// Whether something costs nothing that the sources do not call free.
    fn is_free_alone(&self) -> bool {
        let free = root("free");
        self.facts.content.contains(&free) && !self.known.words.contains(&free)
    }

    /// Whether something happens or costs in another period than the sources have.
    fn has_wrong_period(&self) -> bool {
        let known: HashSet<&str> =
            self.known.sentences().flat_map(|it| it.relations.periods.iter().copied()).collect();
        !known.is_empty() && self.facts.relations.periods.iter().any(|it| !known.contains(it))
    }

    /// Whether the sources say what the sentence says, but of something else than what it begins with, of which they say
    /// other things.
    fn has_other_subject(&self) -> bool {
        let Some(subject) = self.facts.subject() else { return false };
        let rest: Vec<&String> = self.facts.content.iter().filter(|it| *it != subject).collect();
        if rest.len() < 2 {
            return false;
        }
        let carries = |it: &Facts| {
            rest.iter().filter(|word| it.content.contains(**word)).count() as f32 / rest.len() as f32
        };
        let (mut of_it, mut of_another, mut begins) = (0.0_f32, 0.0_f32, false);
        let mut meant = false;
        for sentence in &self.known.source {
            let has = sentence.content.contains(subject) || sentence.refers_back && meant;
            begins |= sentence.subject() == Some(subject);
            if has || sentence.refers_back {
                of_it = of_it.max(carries(sentence));
            } else if sentence.subject().is_some_and(|it| !self.facts.content.contains(it)) {
                of_another = of_another.max(carries(sentence));
            }
            meant = has;
        }
        begins && of_another >= MOSTLY && of_it < of_another * 0.6
    }

    /// Whether a name of several parts has one of a name of the sources and one of another.
    fn is_mixed(&self, run: &[String]) -> bool {
        run.windows(2).any(|pair| match (self.known.runs.get(&pair[0]), self.known.runs.get(&pair[1])) {
            (Some(a), Some(b)) => a.is_disjoint(b),
            _ => false,
        })
    }

    /// Whether the sources say nothing of what the sentence says of this name, but say it of another that the sentence
    /// does not name.
    fn is_said_of_another(&self, run: &[String]) -> bool {
        let named: HashSet<&String> = self.facts.names.iter().flatten().collect();
        let said: HashSet<&String> = self
            .facts
            .content
            .iter()
            .filter(|it| !named.contains(it) && self.known.words.contains(*it))
            .collect();
        if said.is_empty() {
            return false;
        }
        let (mut of_it, mut of_another) = (false, false);
        // Who a pronoun stands for: the names of the sentence before.
        let mut meant: HashSet<&String> = HashSet::new();
        for sentence in &self.known.source {
            let mut names: HashSet<&String> = sentence.names.iter().flatten().collect();
            let own = !names.is_empty();
            if sentence.refers_back {
                names.extend(meant.iter().copied());
            }
            let says = sentence.content.iter().any(|it| said.contains(it));
            if says {
                let its = run.iter().any(|it| names.contains(it) || sentence.content.contains(it));
                of_it |= its || names.is_empty();
                of_another |=
                    own && !its && sentence.names.iter().any(|it| !it.iter().any(|it| named.contains(it)));
            }
            meant = names;
        }
        of_another && !of_it
    }
}

/// Whether a bound is carried by a source's; `turned` where one of the two is denied.
fn agree(told: Option<quantities::Bound>, known: Option<quantities::Bound>, turned: bool) -> bool {
    match (told, known) {
        (None, _) => true,
        (Some(told), None) => !told.strict,
        (Some(told), Some(known)) => (told.upper == known.upper) != turned,
    }
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

/// Whether a sentence says the opposite of the one it is most like: it denies what that says or says what that denies, has
/// the opposite of one of its words, means all where that means some, or changes who does what to whom.
fn contradicts(facts: &Facts, source: &Facts, similarity: f32, turned: bool) -> bool {
    if similarity < 0.45 || turned {
        return false;
    }
    let without =
        |a: &Facts, b: &Facts| a.lacks.iter().any(|it| b.content.contains(it) && !b.lacks.contains(it));
    // "Not without consent" is "only with consent".
    if (facts.is_denied() != source.is_denied()) != (without(facts, source) || without(source, facts)) {
        return true;
    }
    let (told, known) = (&facts.relations, &source.relations);
    if told.is_turned(known) || told.differs_in_extent(known) {
        return true;
    }
    let has = |facts: &Facts, word: &String| facts.content.contains(word);
    let opposite = opposites().iter().any(|(a, b)| {
        (has(facts, a) && !has(source, a) && has(source, b) && !has(facts, b))
            || (has(facts, b) && !has(source, b) && has(source, a) && !has(facts, a))
    });
    // "A is deeper than B" is "B is shallower than A".
    opposite != told.is_compared_turned(known)
}

/// How far the answer is about what was asked.
fn relevant(known: &Known, given: &[Facts], answer: &str) -> f32 {
    let asked = &known.asked;
    let folded = answer.to_lowercase();
    let whole = dot(&asked.vector, &Statics::shipped().embed(&folded)).max(0.0);
    let best = given.iter().map(|it| dot(&asked.vector, &it.vector)).fold(whole, f32::max);
    let words: HashSet<&String> = given.iter().flat_map(|it| &it.content).collect();
    let shared = asked.content.iter().filter(|word| words.contains(word)).count() as f32;
    let overlap = shared / asked.content.len().max(1) as f32;
    // A short answer ("14 days.") shares no word with its question, but its source does.
    let short = given.iter().map(|it| it.content.len() + it.quantities.len()).sum::<usize>() <= 4;
    let bridge = if short {
        let carries = |it: &&Facts| given.iter().all(|given| given.is_part_of(it));
        known.source.iter().filter(carries).map(|it| dot(&asked.vector, &it.vector)).fold(0.0, f32::max)
    } else {
        0.0
    };
    let meaning = best.max(bridge);
    let scored = (0.55 * overlap + 0.75 * meaning).max(1.1 * meaning).min(1.0);
    if tells_of_it(known, given) { scored.max(0.85) } else { scored }
}

/// Whether the question asks for anything about what the sources are about ("Tell me about the heater"), and the answer is
/// theirs.
fn tells_of_it(known: &Known, given: &[Facts]) -> bool {
    const ASKS: &[&str] = &[
        "tell",
        "describe",
        "information",
        "overview",
        "summarise",
        "summarize",
        "explain",
        "know",
        "details",
    ];
    let asks: HashSet<String> = ASKS.iter().map(|it| root(it)).collect();
    let about: Vec<&String> = known.asked.content.iter().filter(|it| !asks.contains(*it)).collect();
    let open = about.len() < known.asked.content.len();
    let source: HashSet<&String> = known.source.iter().flat_map(|it| &it.content).collect();
    let told = || given.iter().filter(|it| !it.content.is_empty() || !it.quantities.is_empty());
    open && !about.is_empty()
        && about.iter().all(|it| source.contains(it))
        && told().next().is_some()
        && told().all(|it| it.content.iter().all(|word| source.contains(word)))
}

#[cfg(test)]
mod tests;
