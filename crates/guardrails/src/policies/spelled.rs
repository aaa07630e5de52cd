//! Text whose letters all stand apart, put together for what judges meaning.
//!
//! Where wider gaps tell words apart nothing is to do. Where they don't (`i w i l l k i l l`), the letters are cut into the
//! likeliest words by how frequent those are: letters in a heap look like any rare word, and are judged like one.

use super::statics::Statics;
use crate::text::{View, spelled_runs};

/// Letters from which a word may be several.
const FEWEST: usize = 5;
/// Longest word that letters are cut into, in bytes.
const LONGEST: usize = 16;
/// Pieces of the vocabulary before its first word: marks and single letters.
const MARKS: usize = 990;
/// What a letter by itself costs, but for those that are words, as a logarithm of how rare it is.
const LETTER: f32 = 14.0;

/// The text with what its letters spell in their place; none where none stand apart.
pub(crate) fn read(folded: &View) -> Option<String> {
    let text = folded.text();
    let mut said = String::with_capacity(text.len());
    let mut at = 0;
    for run in spelled_runs(folded) {
        said.push_str(&text[at..run.place.start]);
        let words: Vec<String> = run.words.iter().map(|word| cut(word)).collect();
        said.push_str(&words.join(" "));
        at = run.place.end;
    }
    said.push_str(&text[at..]);
    (at > 0).then_some(said)
}

/// Letters in a row as the likeliest words, with a space between them.
fn cut(letters: &str) -> String {
    let statics = Statics::shipped();
    let plain = letters.bytes().all(|byte| byte.is_ascii_alphabetic());
    if letters.len() < FEWEST || !plain || statics.rank(letters).is_some() {
        return letters.to_owned();
    }
    // For each end the least cost of words up to there, and where the last of them begins.
    let mut best: Vec<(f32, usize)> = vec![(0.0, 0)];
    for end in 1..=letters.len() {
        let from = end.saturating_sub(LONGEST);
        let ways = (from..end).map(|start| (best[start].0 + cost(statics, &letters[start..end]), start));
        best.push(ways.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f32::MAX, end - 1)));
    }
    let (mut words, mut end) = (Vec::new(), letters.len());
    while end > 0 {
        let start = best[end].1;
        words.push(&letters[start..end]);
        end = start;
    }
    words.reverse();
    words.join(" ")
}

fn cost(statics: &Statics, word: &str) -> f32 {
    match (word, statics.rank(word)) {
        ("a" | "i", _) => 6.0,
        (word, Some(rank)) if word.len() > 1 => 3.0 + ((rank.saturating_sub(MARKS) + 8) as f32).ln(),
        (word, _) => LETTER * word.len() as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_cut_into_the_likeliest_words() {
        for (letters, words) in [
            ("iwillkillyoutonight", "i will kill you tonight"),
            ("howareyoutoday", "how are you today"),
            ("pleasesendmethereport", "please send me the report"),
            ("secret", "secret"),
            ("4111111111111111", "4111111111111111"),
        ] {
            assert_eq!(cut(letters), words);
        }
    }

    #[test]
    fn what_a_text_spells_is_read() {
        let of = |text: &str| read(&View::folded(text));
        assert_eq!(of("Say k i l l   t h e   c a t, now").as_deref(), Some("say kill the cat, now"));
        assert_eq!(of("h o w a r e y o u, he s a i d").as_deref(), Some("how are you, he said"));
        assert_eq!(of("nothing is spelled here, or 1 2 3"), None);
        assert!(of(&"a ".repeat(100_000)).is_some_and(|said| said.len() >= 100_000));
    }
}
