use std::ops::Range;

/// Longest piece in bytes: text without an end of a sentence is cut at a space about here.
const LONGEST: usize = 600;

/// The sentences of a text, as byte ranges that leave out the space between them.
///
/// It need not be right about abbreviations: what looks at sentences looks at their neighbours too.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    first_sentences(text, usize::MAX)
}

/// The first sentences of a text, at most so many; no more of it is read.
pub fn first_sentences(text: &str, most: usize) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut start = 0;
    let mut space = None;
    let mut at = 0;
    while at < bytes.len() {
        if found.len() >= most {
            return found;
        }
        let byte = bytes[at];
        let next = bytes.get(at + 1).copied().unwrap_or(b' ');
        let ends = match byte {
            b'\n' => true,
            b'.' | b'!' | b'?' => next.is_ascii_whitespace() || matches!(next, b'"' | b'\'' | b')'),
            // The first byte of 。！？ in UTF-8 is shared with much else: compare the whole character.
            0xE3 => bytes[at..].starts_with("。".as_bytes()),
            0xEF => bytes[at..].starts_with("！".as_bytes()) || bytes[at..].starts_with("？".as_bytes()),
            _ => false,
        };
        if byte == b' ' {
            space = Some(at);
        }
        let width = if byte >= 0xE0 && ends { 3 } else { 1 };
        at += width;
        let long = at - start >= LONGEST;
        if ends {
            push(text, start..at, &mut found);
            (start, space) = (at, None);
        } else if long && text.is_char_boundary(at) {
            let cut = space.map_or(at, |space| space + 1);
            push(text, start..cut, &mut found);
            (start, space) = (cut, None);
        }
    }
    push(text, start..text.len(), &mut found);
    found
}

fn push(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let piece = &text[range.clone()];
    let trimmed = piece.trim_start();
    let start = range.start + (piece.len() - trimmed.len());
    let end = start + trimmed.trim_end().len();
    if start < end {
        found.push(start..end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_at_ends_of_sentences() {
        let text = "One. Two? Three 3.5 is it!\nFour。five";
        let cut: Vec<&str> = sentences(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(cut, ["One.", "Two?", "Three 3.5 is it!", "Four。", "five"]);
    }

    proptest! {
        #[test]
        fn nothing_but_space_is_lost(text in "(\\PC|\n| |\\. ){0,200}") {
            let kept: String = sentences(&text).into_iter().map(|range| text[range].to_owned()).collect();
            let squeeze = |text: &str| text.chars().filter(|it| !it.is_whitespace()).collect::<String>();
            prop_assert_eq!(squeeze(&kept), squeeze(&text));
        }
    }
}
