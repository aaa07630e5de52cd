//! Text into the words that are indexed and searched: one function for both sides.
//!
//! A run of letters and digits is a word, lower-cased and without an English plural. Runs joined by `-`, `_`, `.`,
//! `/`, `:`, `@` or `'` inside are words each and one word together, so that `ZX-4471` is found exactly and by its
//! parts. Scripts written without spaces become pairs of neighbouring characters.

/// Longest word kept, in bytes. Longer runs are data, not words.
const MAX_WORD_BYTES: usize = 128;

/// The words of a text, in its order, repeated as they are.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(char::is_alphanumeric) {
        rest = &rest[start..];
        let (token, parts) = token(rest);
        add(&rest[..token], parts, &mut words);
        rest = &rest[token..];
    }
    words
}

/// Length in bytes of the token that `text` begins with, and how many runs it joins.
fn token(text: &str) -> (usize, usize) {
    let mut end = 0;
    let mut parts = 1;
    let mut joined = false;
    for (at, character) in text.char_indices() {
        if character.is_alphanumeric() {
            parts += usize::from(joined);
            joined = false;
            end = at + character.len_utf8();
        } else if is_joiner(character) && !joined {
            joined = true;
        } else {
            break;
        }
    }
    (end, parts)
}

fn is_joiner(character: char) -> bool {
    matches!(character, '-' | '_' | '.' | '/' | ':' | '@' | '\'' | '’')
}

fn add(token: &str, parts: usize, words: &mut Vec<String>) {
    for run in token.split(is_joiner) {
        if run.chars().any(is_unspaced) {
            pairs(run, words);
        } else if !run.is_empty() && run.len() <= MAX_WORD_BYTES {
            words.push(singular(run.to_lowercase()));
        }
    }
    if parts > 1 && token.len() <= MAX_WORD_BYTES {
        words.push(token.to_lowercase());
    }
}

/// Characters of scripts that are written without spaces between words.
fn is_unspaced(character: char) -> bool {
    matches!(u32::from(character),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
}

fn pairs(run: &str, words: &mut Vec<String>) {
    let characters: Vec<char> = run.to_lowercase().chars().collect();
    if let [single] = characters[..] {
        words.push(single.to_string());
    }
    words.extend(characters.windows(2).map(|pair| pair.iter().collect::<String>()));
}

/// Takes the plural ending off an English word (Harman's "S" rules), which never joins words of other stems.
fn singular(mut word: String) -> String {
    let ends = |ending: &str| word.ends_with(ending);
    if word.len() < 4 || !word.is_ascii() || !ends("s") || ends("ss") || ends("us") || ends("is") {
        return word;
    }
    if ends("ies") && !ends("eies") && !ends("aies") {
        word.truncate(word.len() - 3);
        word.push('y');
    } else if ends("sses") || ends("shes") || ends("ches") || ends("xes") {
        word.truncate(word.len() - 2);
    } else {
        word.pop();
    }
    word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_as_documented() {
        let table: [(&str, &[&str]); 9] = [
            ("Error code ZX-4471!", &["error", "code", "zx", "4471", "zx-4471"]),
            (
                "policies boxes classes houses this bus gas",
                &["policy", "box", "class", "house", "this", "bus", "gas"],
            ),
            ("a.b@example.com", &["a", "b", "example", "com", "a.b@example.com"]),
            ("end. Start -dash- --", &["end", "start", "dash"]),
            ("don’t", &["don", "t", "don’t"]),
            ("Größe ÉCOLE", &["größe", "école"]),
            ("東京都 a", &["東京", "京都", "a"]),
            ("1,200 3.5", &["1", "200", "3", "5", "3.5"]),
            ("", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_is_bounded(text in "\\PC*") {
            let words = words(&text);
            prop_assert!(words.iter().all(|word| !word.is_empty() && word.len() <= MAX_WORD_BYTES * 2));
            prop_assert!(words.len() <= 2 * text.chars().count());
        }
    }
}
