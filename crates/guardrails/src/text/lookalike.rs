//! Letters of other alphabets that look like Latin ones.

use unicode_normalization::char::is_combining_mark;

use super::view::{is_invisible, plain_ascii};

/// The Latin letter, in lower case, that people take this one for.
pub(super) fn latin(character: char) -> Option<char> {
    Some(match character {
        'а' | 'А' | 'α' | 'Α' | 'ɑ' => 'a',
        'В' | 'в' | 'β' | 'Β' | 'Ь' | 'ь' => 'b',
        'с' | 'С' | 'ϲ' | 'Ϲ' => 'c',
        'ԁ' | 'Ԁ' | 'ɗ' => 'd',
        'е' | 'Е' | 'ё' | 'Ё' | 'ε' | 'Ε' | 'ҽ' | 'є' => 'e',
        'ғ' | 'Ғ' | 'ϝ' => 'f',
        'ɡ' | 'ց' | 'ԍ' => 'g',
        'һ' | 'Һ' | 'Н' | 'н' | 'Η' | 'հ' => 'h',
        'і' | 'І' | 'ι' | 'Ι' | 'ї' | 'ı' | 'ӏ' => 'i',
        'ј' | 'Ј' | 'ϳ' => 'j',
        'к' | 'К' | 'κ' | 'Κ' => 'k',
        'ⅼ' | 'Ӏ' => 'l',
        'м' | 'М' | 'Μ' => 'm',
        'п' | 'η' | 'Ν' | 'ո' => 'n',
        'о' | 'О' | 'ο' | 'Ο' | 'օ' | 'σ' => 'o',
        'р' | 'Р' | 'ρ' | 'Ρ' => 'p',
        'ԛ' | 'զ' => 'q',
        'г' | 'я' => 'r',
        'ѕ' | 'Ѕ' => 's',
        'т' | 'Т' | 'τ' | 'Τ' => 't',
        'υ' | 'ս' => 'u',
        'ν' | 'ѵ' => 'v',
        'ѡ' | 'ω' | 'ԝ' => 'w',
        'х' | 'Х' | 'χ' | 'Χ' => 'x',
        'у' | 'У' | 'γ' | 'Υ' | 'ү' => 'y',
        'ᴢ' | 'Ζ' => 'z',
        _ => return None,
    })
}

/// Whether letters of other alphabets stand in for Latin ones anywhere.
pub fn is_imitated(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    let imitated = imitated(text);
    text.char_indices().any(|(at, it)| !it.is_ascii() && latin(it).is_some() && imitated.contains(at))
}

/// Where letters of other alphabets stand in for Latin ones.
pub(super) struct Imitated {
    /// Byte ranges of such words, in order.
    words: Vec<(usize, usize)>,
}

impl Imitated {
    pub(super) fn contains(&self, at: usize) -> bool {
        let next = self.words.partition_point(|word| word.1 <= at);
        self.words.get(next).is_some_and(|word| word.0 <= at)
    }
}

/// Finds the words that imitate Latin ones: those that mix alphabets, and those made only of look-alikes in a text that
/// has no word that is really of another alphabet.
pub(super) fn imitated(text: &str) -> Imitated {
    let is_foreign = |it: char| it.is_alphabetic() && matches!(it as u32, 0x0370..=0x058F);
    let native = text.chars().any(|it| is_foreign(it) && latin(it).is_none());
    let mut words = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        let inside = character.is_alphanumeric() || is_combining_mark(character) || is_invisible(character);
        match (inside, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                let word = &text[from..at];
                // Wide and styled letters are Latin ones too.
                let is_latin = |it: char| plain_ascii(it).is_some_and(|it| it.is_ascii_alphabetic());
                let mixed = word.chars().any(is_latin);
                let alike = word.chars().all(|it| !it.is_alphabetic() || latin(it).is_some());
                if mixed || (alike && !native) {
                    words.push((from, at));
                }
                start = None;
            }
            _ => {}
        }
    }
    Imitated { words }
}
