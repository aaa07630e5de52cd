use std::ops::Range;
use std::sync::OnceLock;

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

use super::escaped::escapes;
use super::lookalike::{self, Imitated};
use super::spaced::{Word, runs};

/// A text changed for detection, and where each of its bytes came from.
#[derive(Debug, Clone)]
pub struct View {
    text: String,
    /// For each byte of `text`, the original character it came from; none when every byte is its own.
    origins: Option<Vec<Origin>>,
    /// The words whose letters stand apart, once looked for: several policies ask.
    apart: OnceLock<Vec<Vec<Word>>>,
}

/// A character of the original: where it starts and how long it is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    start: u32,
    len: u8,
}

impl Origin {
    fn of(start: usize, len: usize) -> Self {
        Self { start: u32::try_from(start).unwrap_or(u32::MAX), len: u8::try_from(len).unwrap_or(u8::MAX) }
    }
}

impl View {
    fn new(text: String, origins: Option<Vec<Origin>>) -> Self {
        Self { text, origins, apart: OnceLock::new() }
    }

    /// The words of each run of letters that all stand apart.
    pub(super) fn apart(&self) -> &[Vec<Word>] {
        self.apart.get_or_init(|| runs(&self.text))
    }

    /// Characters that look alike made the same, with their case and accents kept: for patterns and names.
    ///
    /// Invisible characters are gone; full-width forms, digits of other scripts, odd spaces and dashes are ASCII, and
    /// characters that are written as escapes are themselves.
    pub fn plain(text: &str) -> Self {
        Self::through_escapes(text, |text| {
            if is_plain(text) {
                return Self::new(text.to_owned(), None);
            }
            Self::build(text, |_, character, out| {
                if !is_invisible(character) {
                    out.push(plain_ascii(character).unwrap_or(character));
                }
            })
        })
    }

    /// For words and meaning: lower case, without accents, with letters of other alphabets that are made to look Latin
    /// turned into the Latin ones.
    pub fn folded(text: &str) -> Self {
        Self::through_escapes(text, |text| {
            if is_plain(text) {
                return Self::new(text.to_ascii_lowercase(), None);
            }
            let imitated = lookalike::imitated(text);
            Self::build(text, |at, character, out| {
                bare(at, character, &imitated, |it| out.extend(it.to_lowercase()))
            })
        })
    }

    /// The same with the case kept, for patterns of what is no language: none where no letter imitates another and no mark
    /// stands on one.
    pub fn bared(text: &str) -> Option<Self> {
        if text.is_ascii() || !text.chars().any(is_combining_mark) && !lookalike::is_imitated(text) {
            return None;
        }
        let view = Self::through_escapes(text, |text| {
            let imitated = lookalike::imitated(text);
            Self::build(text, |at, character, out| bare(at, character, &imitated, |it| out.push(it)))
        });
        (view.text() != Self::plain(text).text()).then_some(view)
    }

    /// A view of a text whose escapes are undone.
    fn through_escapes(text: &str, view: impl Fn(&str) -> Self) -> Self {
        let escapes = escapes(text);
        if escapes.is_empty() {
            return view(text);
        }
        let mut unescaped = String::with_capacity(text.len());
        let mut origins = Vec::with_capacity(text.len());
        let mut at = 0;
        for (place, character) in escapes {
            for (start, kept) in text[at..place.start].char_indices() {
                unescaped.push(kept);
                origins.resize(unescaped.len(), Origin::of(at + start, kept.len_utf8()));
            }
            unescaped.push(character);
            origins.resize(unescaped.len(), Origin::of(place.start, place.len()));
            at = place.end;
        }
        for (start, kept) in text[at..].char_indices() {
            unescaped.push(kept);
            origins.resize(unescaped.len(), Origin::of(at + start, kept.len_utf8()));
        }
        let seen = view(&unescaped);
        let origins = (0..seen.text.len()).map(|at| origins[seen.origin(at).start as usize]).collect();
        Self::new(seen.text, Some(origins))
    }

    /// Builds a view by what each character becomes.
    fn build(text: &str, mut change: impl FnMut(usize, char, &mut String)) -> Self {
        let mut out = String::with_capacity(text.len());
        let mut origins = Vec::with_capacity(text.len());
        for (start, character) in text.char_indices() {
            change(start, character, &mut out);
            origins.resize(out.len(), Origin::of(start, character.len_utf8()));
        }
        Self::new(out, Some(origins))
    }

    /// A view made of pieces of another: each range of `of` in turn.
    pub(super) fn of_pieces(of: &View, pieces: &[Range<usize>]) -> Self {
        let mut text = String::new();
        let mut origins = Vec::new();
        for piece in pieces {
            text.push_str(&of.text[piece.clone()]);
            origins.extend(piece.clone().map(|at| of.origin(at)));
        }
        Self::new(text, Some(origins))
    }

    /// A view made of ranges of another in turn, each as it is or as something else that is read there.
    pub(super) fn rewritten(of: &View, pieces: &[(Range<usize>, Option<String>)]) -> Self {
        let mut text = String::new();
        let mut origins = Vec::new();
        for (range, other) in pieces {
            match other {
                Some(other) => {
                    let place = of.original(range.clone());
                    text.push_str(other);
                    origins.resize(text.len(), Origin::of(place.start, place.len()));
                }
                None => {
                    text.push_str(&of.text[range.clone()]);
                    origins.extend(range.clone().map(|at| of.origin(at)));
                }
            }
        }
        Self::new(text, Some(origins))
    }

    /// Runs of white space and of marks that may join two words made one space, so that `a-b`, `a  b`, `a, b`, `a (b)` and
    /// `a_b` are the same phrase. The end of a sentence joins nothing.
    pub fn squeezed(&self) -> Self {
        let mut text = String::with_capacity(self.text.len());
        let mut origins = Vec::with_capacity(self.text.len());
        let mut characters = self.text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            let joins = match character {
                '.' => next.is_some_and(|next| next.is_alphanumeric() || next == '.'),
                other => other.is_whitespace() || is_joint(other),
            };
            if !joins {
                text.push(character);
            } else if !text.ends_with(' ') {
                text.push(' ');
            }
            let origin = self.origin(at);
            origins.resize(text.len(), origin);
        }
        Self::new(text, Some(origins))
    }

    pub fn into_text(self) -> String {
        self.text
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    fn origin(&self, at: usize) -> Origin {
        match &self.origins {
            Some(origins) => origins.get(at).copied().unwrap_or(Origin { start: u32::MAX, len: 0 }),
            None => Origin { start: u32::try_from(at).unwrap_or(u32::MAX), len: 1 },
        }
    }

    /// The bytes of the original that a range of this text came from.
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        if range.is_empty() {
            let start = self.origin(range.start).start as usize;
            return start..start;
        }
        if self.origins.is_none() {
            return range;
        }
        let (first, last) = (self.origin(range.start), self.origin(range.end - 1));
        first.start as usize..last.start as usize + usize::from(last.len)
    }
}

/// Characters that show nothing: what Unicode calls default ignorable (zero-width ones, directional marks, soft hyphens,
/// fillers, variation selectors, tags), annotation marks, and control characters that are no white space.
pub(super) fn is_invisible(character: char) -> bool {
    is_control(character)
        || matches!(character,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D159}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

/// Gives `out` what a character is without accents, and the Latin letter for one that imitates it.
fn bare(at: usize, character: char, imitated: &Imitated, mut out: impl FnMut(char)) {
    if is_invisible(character) {
        return;
    }
    if let Some(ascii) = plain_ascii(character) {
        out(ascii);
    } else if let Some(latin) = lookalike::latin(character).filter(|_| imitated.contains(at)) {
        out(if character.is_uppercase() { latin.to_ascii_uppercase() } else { latin });
    } else {
        decompose_compatible(character, |part| {
            if !is_combining_mark(part) {
                out(part);
            }
        });
    }
}

/// Marks that may stand between the parts of a phrase.
fn is_joint(character: char) -> bool {
    matches!(
        character,
        '-' | '_'
            | ','
            | ';'
            | ':'
            | '/'
            | '\\'
            | '|'
            | '('
            | ')'
            | '['
            | ']'
            | '{'
            | '}'
            | '"'
            | '\''
            | '*'
            | '~'
            | '<'
            | '>'
            | '·'
            | '•'
            | '…'
            | '«'
            | '»'
    )
}

/// Whether a character is a letter or a digit that anybody sees: what is told by.
pub fn is_telling(character: char) -> bool {
    character.is_alphanumeric() && !is_invisible(character) && !is_combining_mark(character)
}

/// Control characters of ASCII that are no white space.
fn is_control(character: char) -> bool {
    matches!(character, '\0'..='\u{08}' | '\u{0E}'..='\u{1F}' | '\u{7F}')
}

/// Whether there is nothing in the text that could have to be changed.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && !text.contains(is_control)
}

/// The ASCII character that this one stands for, when it is a form of it and not a letter in its own right.
pub(super) fn plain_ascii(character: char) -> Option<char> {
    if character.is_ascii() {
        return Some(character);
    }
    let code = character as u32;
    match character {
        '\u{FF01}'..='\u{FF5E}' => return char::from_u32(code - 0xFEE0),
        '\u{00A0}'
        | '\u{1680}'
        | '\u{2000}'..='\u{200A}'
        | '\u{202F}'
        | '\u{205F}'
        | '\u{2800}'
        | '\u{3000}' => {
            return Some(' ');
        }
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' => return Some('-'),
        '\u{2018}' | '\u{2019}' | '\u{02BC}' => return Some('\''),
        '\u{201C}' | '\u{201D}' => return Some('"'),
        '\u{2024}' | '\u{3002}' | '\u{FE52}' => return Some('.'),
        _ => {}
    }
    digit(code).or_else(|| styled(character))
}

/// Decimal digits of other scripts. Each script's ten are in a row.
fn digit(code: u32) -> Option<char> {
    const ZEROS: [u32; 24] = [
        0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
        0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x17E0, 0x1810, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1FBF0,
    ];
    let zero = ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

/// Letters and digits in circles, in mathematical alphabets, raised and lowered.
fn styled(character: char) -> Option<char> {
    let blocks = matches!(character as u32,
        0x00B2 | 0x00B3 | 0x00B9 | 0x2070..=0x209C | 0x2102..=0x2139 | 0x2460..=0x24E9 | 0x1D400..=0x1D7CB);
    if !blocks {
        return None;
    }
    let mut only = None;
    let mut count = 0;
    decompose_compatible(character, |part| {
        if part.is_ascii_alphanumeric() {
            only = Some(part);
        }
        count += 1;
    });
    only.filter(|_| count <= 3)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn obfuscated_letters_are_read() {
        for text in
            ["pass\u{200B}word", "ｐａｓｓｗｏｒｄ", "PÄSSWÖRD", "раsswоrd", "𝓹𝓪𝓼𝓼𝔀𝓸𝓻𝓭", "p\u{0301}assword"]
        {
            assert_eq!(View::folded(text).text(), "password", "{text}");
        }
        assert_eq!(View::plain("４１１１\u{00A0}١٢٣").text(), "4111 123");
        assert_eq!(View::plain("José").text(), "José");
    }

    #[test]
    fn nothing_that_shows_nothing_hides_a_word() {
        for hidden in [
            '\u{1}',
            '\u{7F}',
            '\u{AD}',
            '\u{34F}',
            '\u{115F}',
            '\u{1160}',
            '\u{17B5}',
            '\u{180E}',
            '\u{200B}',
            '\u{200D}',
            '\u{2063}',
            '\u{3164}',
            '\u{FE0F}',
            '\u{FEFF}',
            '\u{FFA0}',
            '\u{FFF9}',
            '\u{1BCA1}',
            '\u{1D174}',
            '\u{E0041}',
        ] {
            let text = format!("pass{hidden}word");
            assert_eq!(View::folded(&text).text(), "password", "{hidden:?}");
            assert_eq!(View::plain(&text).text(), "password", "{hidden:?}");
        }
    }

    #[test]
    fn other_alphabets_stay_what_they_are() {
        assert_eq!(View::folded("Москва и мир").text(), "москва и мир");
    }

    #[test]
    fn offsets_are_those_of_the_original() {
        let text = "a\u{200B}ｂc";
        let view = View::folded(text);
        assert_eq!(view.text(), "abc");
        assert_eq!(&text[view.original(1..2)], "ｂ");
        assert_eq!(view.original(0..3), 0..text.len());
    }

    proptest! {
        #[test]
        fn every_range_maps_into_the_original(text in "\\PC{0,40}") {
            for view in [View::folded(&text), View::plain(&text)] {
                let starts: Vec<usize> = view.text().char_indices().map(|(at, _)| at).chain([view.text().len()]).collect();
                for pair in starts.windows(2) {
                    let range = view.original(pair[0]..pair[1]);
                    prop_assert!(text.get(range).is_some());
                }
            }
        }
    }
}
