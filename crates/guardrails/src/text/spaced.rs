use std::ops::Range;

use super::View;

/// Letters in a row that make a word when the gaps between them are closed.
const FEWEST: usize = 4;
/// Characters of a gap between two words whose letters all stand apart.
const WIDEST: usize = 3;

/// Words spelled with gaps between their letters (`p a s s`, `p.a.s.s`, `p-a-s-s`), each as a view without the gaps.
/// Wider gaps end a word: `f o o   b a r` is two.
pub fn spaced_words(folded: &View) -> Vec<View> {
    let words = folded.apart().iter().flatten().filter(|word| word.letters.len() >= FEWEST);
    words.map(|word| View::of_pieces(folded, &word.letters)).collect()
}

/// Several words one after the other that are spelled with gaps.
#[derive(Debug, Clone)]
pub struct Spelled {
    /// Where it stands in the view.
    pub place: Range<usize>,
    /// The words, without the gaps between their letters.
    pub words: Vec<String>,
    /// All letters without any gap, for where gaps don't tell words apart.
    pub joined: View,
}

/// Runs of letters that all stand apart, as the words that they may be.
pub fn spelled_runs(folded: &View) -> Vec<Spelled> {
    let text = folded.text();
    let long = |run: &&Vec<Word>| run.iter().map(|word| word.letters.len()).sum::<usize>() >= FEWEST;
    let spelled = folded.apart().iter().filter(long).map(|run| {
        let word = |word: &Word| word.letters.iter().map(|letter| &text[letter.clone()]).collect();
        let letters: Vec<Range<usize>> = run.iter().flat_map(|word| word.letters.iter().cloned()).collect();
        let place = letters[0].start..letters[letters.len() - 1].end;
        Spelled { place, words: run.iter().map(word).collect(), joined: View::of_pieces(folded, &letters) }
    });
    spelled.collect()
}

/// The whole text with the gaps of longer runs closed, and one character left between their words: what is a number, an
/// address or a key then. None where there is no such run.
pub fn closed(view: &View) -> Option<View> {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    let long =
        |run: &&Vec<Word>| run.iter().map(|word| word.letters.len()).sum::<usize>() >= FEWEST_OF_SECRETS;
    for run in view.apart().iter().filter(long) {
        for word in run {
            match &word.joint {
                Some(joint) => pieces.push(joint.clone()),
                None => pieces.push(at..word.letters[0].start),
            }
            pieces.extend(word.letters.iter().cloned());
            at = word.letters.last().map_or(at, |letter| letter.end);
        }
    }
    if pieces.is_empty() {
        return None;
    }
    pieces.push(at..view.text().len());
    Some(View::of_pieces(view, &pieces))
}

/// Characters of a run that may be a secret.
const FEWEST_OF_SECRETS: usize = 7;

/// A word whose letters stand apart.
#[derive(Debug, Clone)]
pub(super) struct Word {
    letters: Vec<Range<usize>>,
    /// The character that tells most of what stands between it and the word before it in its run.
    joint: Option<Range<usize>>,
}

/// What stands between the last letter and here: the first character of it, how many there are, and where the one is that
/// tells most.
#[derive(Default)]
struct Between {
    first: Option<char>,
    count: usize,
    joint: Option<Range<usize>>,
}

impl Between {
    fn add(&mut self, at: usize, character: char) {
        if self.joint.is_none() || Some(character) != self.first {
            self.joint = Some(at..at + character.len_utf8());
        }
        self.first = self.first.or(Some(character));
        self.count += 1;
    }
}

/// The words of each run of letters that stand apart. A word has one character, always the same, between its letters; a wider
/// or another gap begins the next word.
pub(super) fn runs(text: &str) -> Vec<Vec<Word>> {
    let mut found = Vec::new();
    let mut run: Vec<Word> = Vec::new();
    // The gap of the open word.
    let mut gap: Option<char> = None;
    let mut between = Between::default();
    let mut before_is_letter = false;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let is_letter = character.is_alphanumeric() || matches!(character, '@' | '$' | '!');
        if !is_letter || (character == '!' && between.count == 0) {
            before_is_letter = false;
            let fits = matches!(character, ' ' | '.' | '-' | '_' | '*' | '/' | '|' | '+');
            if !fits || between.count >= WIDEST {
                found.extend(Some(std::mem::take(&mut run)).filter(|run| !run.is_empty()));
                gap = None;
            }
            between.add(at, character);
            continue;
        }
        let next_is_letter = characters.peek().is_some_and(|(_, next)| next.is_alphanumeric());
        let alone = !before_is_letter && !next_is_letter;
        before_is_letter = true;
        let stood = std::mem::take(&mut between);
        if !alone {
            found.extend(Some(std::mem::take(&mut run)).filter(|run| !run.is_empty()));
            gap = None;
            continue;
        }
        let letter = at..at + character.len_utf8();
        let only = stood.first.filter(|_| stood.count == 1);
        match (run.last_mut(), only) {
            (Some(word), Some(one)) if gap.is_none_or(|gap| gap == one) => {
                gap = Some(one);
                word.letters.push(letter);
            }
            (before, _) => {
                gap = None;
                let joint = before.and(stood.joint);
                run.push(Word { letters: vec![letter], joint });
            }
        }
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

    fn runs_of(text: &str) -> Vec<(String, String)> {
        let runs = spelled_runs(&View::folded(text));
        runs.into_iter().map(|run| (run.words.join(" "), run.joined.text().to_owned())).collect()
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
        let both = [("kill the cat".to_owned(), "killthecat".to_owned())];
        assert_eq!(runs_of("please k i l l   t h e   c a t, now"), both);
        assert_eq!(runs_of("k.i.l.l t.h.e c.a.t"), both);
        assert_eq!(runs_of("k i l l t h e c a t")[0].1, "killthecat");
        assert!(runs_of("I am a b-side fan").is_empty());
    }

    #[test]
    fn no_run_of_letters_before_a_word_cuts_it() {
        for before in 1990..2003 {
            for gap in ["   ", ", ", " "] {
                let text = "a ".repeat(before).trim_end().to_owned() + gap + "a c m e";
                let runs = runs_of(&text);
                assert!(runs.iter().any(|(_, joined)| joined.ends_with("acme")), "{before} {gap:?}");
            }
        }
    }

    #[test]
    fn secrets_are_closed_where_they_stand() {
        let of = |text: &str| closed(&View::plain(text)).map(|view| view.text().to_owned());
        assert_eq!(of("SSN 5 3 6 - 9 0 - 4 3 9 9, ok?").as_deref(), Some("SSN 536-90-4399, ok?"));
        assert_eq!(of("to a n n @ e x a m p l e . c o m now").as_deref(), Some("to ann@example.com now"));
        assert_eq!(of("I am a b-side fan, see 1 2 3"), None);
        let text = "my 5 3 6 - 9 0 - 4 3 9 9!";
        let view = closed(&View::plain(text)).unwrap();
        assert_eq!(&text[view.original(3..14)], "5 3 6 - 9 0 - 4 3 9 9");
    }
}
