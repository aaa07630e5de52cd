//! Sentences packed into chunks of so many tokens.

use std::ops::Range;

use craton_backend::BackendError;
use unicode_segmentation::UnicodeSegmentation as _;

use crate::index::Embedder;

/// Bytes that a token of English rarely has on average.
const LONG_TOKEN: usize = 6;

/// A part of a text that is not cut, with its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) range: Range<usize>,
    pub(crate) tokens: usize,
}

/// What a text is packed from: all of it where it is short enough for one chunk, else its sentences.
pub(crate) async fn units(
    text: &str,
    max_tokens: usize,
    embedder: &Embedder,
) -> Result<Vec<Unit>, BackendError> {
    let whole = |tokens| Ok(vec![Unit { range: 0..text.len(), tokens }]);
    // A token has at least a byte, so this needs no counting.
    if text.len() <= max_tokens {
        return whole(text.len());
    }
    // Most short documents are one chunk, which one count shows.
    if text.len() <= max_tokens.saturating_mul(LONG_TOKEN) {
        let tokens = embedder.count_tokens(vec![text.to_owned()]).await?.into_iter().sum();
        if tokens <= max_tokens {
            return whole(tokens);
        }
    }
    sentences(text, max_tokens, embedder).await
}

/// Sentences of a text, each of at most `max_tokens`; longer ones are cut further.
pub(crate) async fn sentences(
    text: &str,
    max_tokens: usize,
    embedder: &Embedder,
) -> Result<Vec<Unit>, BackendError> {
    let mut units = Vec::new();
    let mut start = 0;
    let sentence = |sentence: &str| {
        start += sentence.len();
        start - sentence.len()..start
    };
    let mut open: Vec<Range<usize>> = text.split_sentence_bounds().map(sentence).collect();
    while !open.is_empty() {
        let (spoken, blank): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|range| !text[range.clone()].trim().is_empty());
        units.extend(blank.into_iter().map(|range| Unit { range, tokens: 0 }));
        let texts = spoken.iter().map(|range| text[range.clone()].trim().to_owned());
        let counts = embedder.count_tokens(texts.collect()).await?;
        open = Vec::new();
        for (range, tokens) in spoken.into_iter().zip(counts) {
            let middle = middle(&text[range.clone()]);
            if tokens <= max_tokens || middle == 0 {
                units.push(Unit { range, tokens });
            } else {
                let middle = range.start + middle;
                open.extend([range.start..middle, middle..range.end]);
            }
        }
    }
    units.sort_by_key(|unit| unit.range.start);
    Ok(units)
}

/// Where to cut a text: after the white space nearest to its middle, else at the character there; 0 if it can't be cut.
fn middle(text: &str) -> usize {
    let half = text.floor_char_boundary(text.len() / 2);
    let ends = |(at, space): (usize, char)| at + space.len_utf8();
    let spaces = text.char_indices().filter(|(_, letter)| letter.is_whitespace()).map(ends);
    let inside = spaces.filter(|at| *at < text.len());
    inside.min_by_key(|at| at.abs_diff(half)).unwrap_or(half)
}

/// Groups of consecutive units, each as long as `max_tokens` allow, each beginning with up to `overlap` tokens of the one
/// before.
pub(crate) fn pack(units: &[Unit], max_tokens: usize, overlap: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut first = 0;
    while first < units.len() {
        let mut tokens = 0;
        let mut end = first;
        while end < units.len() && (end == first || tokens + units[end].tokens <= max_tokens) {
            tokens += units[end].tokens;
            end += 1;
        }
        groups.push(first..end);
        if end == units.len() {
            break;
        }
        // Goes back as far as the overlap allows, but always forward from the chunk before.
        let mut shared = 0;
        let mut next = end;
        while next > first + 1
            && shared + units[next - 1].tokens <= overlap
            && shared + units[next - 1].tokens + units[end].tokens <= max_tokens
        {
            next -= 1;
            shared += units[next].tokens;
        }
        first = next;
    }
    groups
}

/// What consecutive units say, without the white space around it, and where in the text that begins.
pub(crate) fn joined<'a>(text: &'a str, units: &[Unit]) -> (usize, &'a str) {
    let (Some(first), Some(last)) = (units.first(), units.last()) else { return (0, "") };
    let said = &text[first.range.start..last.range.end];
    (first.range.start + said.len() - said.trim_start().len(), said.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Unit> {
        let mut start = 0;
        let unit = |word: &str| {
            start += word.len();
            Unit { range: start - word.len()..start, tokens: 1 }
        };
        text.split_inclusive(' ').map(unit).collect()
    }

    fn pack(text: &str, units: &[Unit], max_tokens: usize, overlap: usize) -> Vec<String> {
        let groups = super::pack(units, max_tokens, overlap);
        groups.into_iter().map(|group| joined(text, &units[group]).1.to_owned()).collect()
    }

    #[test]
    fn chunks_are_full_and_overlap() {
        assert_eq!(joined("a  b c", &words("a  b c")[1..3]), (3, "b"));
        let text = "a b c d e f g h i j";
        assert_eq!(pack(text, &words(text), 4, 0), ["a b c d", "e f g h", "i j"]);
        assert_eq!(pack(text, &words(text), 4, 1), ["a b c d", "d e f g", "g h i j"]);
        assert_eq!(
            pack(text, &words(text), 4, 3),
            ["a b c d", "b c d e", "c d e f", "d e f g", "e f g h", "f g h i", "g h i j"]
        );
        assert_eq!(pack(text, &words(text), 100, 10), [text]);
        assert_eq!(pack("", &[], 4, 1), Vec::<String>::new());
    }

    #[test]
    fn texts_are_cut_at_white_space_near_the_middle() {
        assert_eq!(middle("ab cdefgh"), 3);
        assert_eq!(middle("abcdefgh"), 4);
        assert_eq!(middle("é"), 0);
        assert_eq!(middle(""), 0);
    }
}
