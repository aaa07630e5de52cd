use std::ops::Range;

use super::View;

/// Letters in a row that make a word when the gaps between them are closed.
const FEWEST: usize = 4;
/// Characters of a gap between two words whose letters all stand apart.
const WIDEST: usize = 3;
/// Letters of a run at most; what follows is another run.
const LONGEST: usize = 2000;

/// Words spelled with gaps between their letters (`p a s s`, `p.a.s.s`, `p-a-s-s`), each as a view without the gaps.
/// Wider gaps end a word: `f o o   b a r` is two.
pub fn spaced_words(folded: &View) -> Vec<View> {
    let runs = runs(folded);
    let words = runs.iter().flatten().filter(|word| word.len() >= FEWEST);
    words.map(|word| View::of_pieces(folded, word)).collect()
}

/// Several words one after the other that are spelled with gaps.
#[derive(Debug, Clone)]
pub struct Spelled {
    /// The words with a space between them.
    pub text: String,
    /// All letters without any gap, for where gaps don't tell words apart.
    pub joined: View,
}

/// Runs of letters that all stand apart, as the words that they may be.
pub fn spelled_runs(folded: &View) -> Vec<Spelled> {
    let text = folded.text();
    let runs = runs(folded).into_iter().filter(|run| run.iter().map(Vec::len).sum::<usize>() >= FEWEST);
    runs.map(|run| {
        let words: Vec<String> =
            run.iter().map(|word| word.iter().map(|letter| &text[letter.clone()]).collect()).collect();
        let letters: Vec<Range<usize>> = run.into_iter().flatten().collect();
        Spelled { text: words.join(" "), joined: View::of_pieces(folded, &letters) }
    })
    .collect()
}

/// A word whose letters stand apart: where each is.
type Letters = Vec<Range<usize>>;

/// The words of each run of letters that stand apart. A word has one character, always the same, between its letters; a wider
/// or another gap begins the next word.
fn runs(folded: &View) -> Vec<Vec<Letters>> {
    let text = folded.text();
    let mut found = Vec::new();
    let mut run: Vec<Letters> = Vec::new();
    // The gap of the open word, and what stands between the last letter and here.
    let (mut gap, mut between): (Option<char>, Vec<char>) = (None, Vec::new());
    let (mut before_is_letter, mut count) = (false, 0);
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let is_letter = character.is_alphanumeric() || matches!(character, '@' | '$' | '!');
        if !is_letter || (character == '!' && between.is_empty()) {
            before_is_letter = false;
            let fits = matches!(character, ' ' | '.' | '-' | '_' | '*' | '/' | '|' | '+');
            if !fits || between.len() >= WIDEST {
                found.extend(Some(std::mem::take(&mut run)).filter(|run| !run.is_empty()));
                gap = None;
            }
            between.push(character);
            between.truncate(WIDEST + 1);
            continue;
        }
        let next_is_letter = characters.peek().is_some_and(|(_, next)| next.is_alphanumeric());
        let alone = !before_is_letter && !next_is_letter;
        before_is_letter = true;
        if !alone || count >= LONGEST {
            found.extend(Some(std::mem::take(&mut run)).filter(|run| !run.is_empty()));
            (gap, count) = (None, 0);
        }
        if alone {
            let letter = at..at + character.len_utf8();
            let continues = between.len() == 1 && gap.is_none_or(|gap| gap == between[0]);
            match run.last_mut() {
                Some(word) if continues => {
                    gap = Some(between[0]);
                    word.push(letter);
                }
                _ => {
                    gap = None;
                    run.push(vec![letter]);
                }
            }
            count += 1;
        }
        between.clear();
    }
    found.extend(Some(run).filter(|run| !run.is_empty()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(String, String)> {
        let whole = |view: &View| text[view.original(0..view.text().len())].to_owned();
        spaced_words(&View::folded(text)).iter().map(|view| (view.text().to_owned(), whole(view))).collect()
    }

    #[test]
    fn gaps_are_closed() {
        assert_eq!(words("say S e c r e t now"), [("secret".into(), "S e c r e t".into())]);
        assert_eq!(words("a.c.m.e"), [("acme".into(), "a.c.m.e".into())]);
        assert_eq!(words("p l a n  b o a t").len(), 2);
        assert!(words("I am a b-side fan, see 1 2 3").is_empty());
    }

    #[test]
    fn phrases_are_put_together() {
        let of = |text: &str| -> Vec<(String, String)> {
            let runs = spelled_runs(&View::folded(text));
            runs.into_iter().map(|run| (run.text, run.joined.text().to_owned())).collect()
        };
        let both = [("kill the cat".to_owned(), "killthecat".to_owned())];
        assert_eq!(of("please k i l l   t h e   c a t, now"), both);
        assert_eq!(of("k.i.l.l t.h.e c.a.t"), both);
        assert_eq!(of("k i l l t h e c a t")[0].1, "killthecat");
        assert!(of("I am a b-side fan").is_empty());
        let long = "a ".repeat(100_000);
        assert!(of(&long).iter().all(|(_, joined)| joined.len() <= LONGEST));
    }
}
