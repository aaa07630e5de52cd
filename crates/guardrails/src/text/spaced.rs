use std::ops::Range;

use super::View;

/// Letters in a row that make a word when the gaps between them are closed.
const FEWEST: usize = 4;

/// Words spelled with gaps between their letters (`p a s s`, `p.a.s.s`, `p-a-s-s`), each as a view without the gaps.
/// Wider gaps end a word: `f o o   b a r` is two.
pub fn spaced_words(folded: &View) -> Vec<View> {
    let text = folded.text();
    let mut found = Vec::new();
    let mut letters: Vec<Range<usize>> = Vec::new();
    let mut gap: Option<char> = None;
    let mut gaps = 0;
    let mut before_is_letter = false;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let is_letter = character.is_alphanumeric() || matches!(character, '@' | '$' | '!');
        if is_letter && !(character == '!' && gaps == 0) {
            let next_is_letter = characters.peek().is_some_and(|(_, next)| next.is_alphanumeric());
            let alone = !before_is_letter && !next_is_letter;
            if !alone || gaps > 1 {
                finish(folded, &mut letters, &mut found);
                gap = None;
            }
            if alone {
                letters.push(at..at + character.len_utf8());
            }
            gaps = 0;
            before_is_letter = true;
            continue;
        }
        before_is_letter = false;
        gaps += 1;
        let fits = matches!(character, ' ' | '.' | '-' | '_' | '*' | '/' | '|' | '+');
        if !fits || gap.is_some_and(|gap| gap != character) {
            finish(folded, &mut letters, &mut found);
            gap = None;
        } else if !letters.is_empty() {
            gap = Some(character);
        }
    }
    finish(folded, &mut letters, &mut found);
    found
}

fn finish(folded: &View, letters: &mut Vec<Range<usize>>, found: &mut Vec<View>) {
    if letters.len() >= FEWEST {
        found.push(View::of_pieces(folded, letters));
    }
    letters.clear();
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
}
