//! Patterns of literal text, `*` (any characters) and `?` (one character), matched in time linear in the text.
//!
//! A pattern is cut at its stars. The first piece is anchored at the start and the last at the end; those between are
//! searched for one after the other, leftmost first. Plain pieces are searched with `memmem`, pieces with `?` by
//! following all places at once in the bits of a few words.

use memchr::memmem::Finder;

/// Whether a text is what a pattern with the wildcards `*` and `?` says.
pub fn matches_wildcards(pattern: &str, text: &str) -> bool {
    Glob::parse(pattern).matches(text)
}

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Literal(String),
    /// `?`
    One,
    /// `*`
    Any,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) enum Glob {
    Everything,
    Exact(Piece),
    /// `first*`
    Prefix(Box<str>),
    /// `first*middle*…*last`
    Stars {
        first: Piece,
        middle: Box<[Piece]>,
        last: Piece,
    },
}

/// Text without stars.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Plain(Box<str>),
    Sought(Box<Finder<'static>>),
    Holes(Box<Holes>),
}

impl Glob {
    pub(super) fn new(tokens: &[Token]) -> Self {
        let mut pieces: Vec<&[Token]> = tokens.split(|token| *token == Token::Any).collect();
        let first = pieces.remove(0);
        let Some(last) = pieces.pop() else { return Self::Exact(Piece::anchored(first)) };
        pieces.retain(|piece| !piece.is_empty());
        if pieces.is_empty() && last.is_empty() {
            return match Piece::anchored(first) {
                Piece::Plain(text) if text.is_empty() => Self::Everything,
                Piece::Plain(text) => Self::Prefix(text),
                first => Self::Stars { first, middle: Box::default(), last: Piece::Plain(Box::default()) },
            };
        }
        Self::Stars {
            first: Piece::anchored(first),
            middle: pieces.into_iter().map(Piece::sought).collect(),
            last: Piece::anchored(last),
        }
    }

    /// The pattern `text` with its wildcards.
    pub(super) fn parse(text: &str) -> Self {
        Self::new(&tokens(text))
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Exact(Piece::Plain(own)) => **own == *text,
            Self::Exact(piece) => piece.at_start(text).is_some_and(<str>::is_empty),
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Stars { first, middle, last } => {
                let Some(rest) = first.at_start(text) else { return false };
                let Some(mut rest) = last.at_end(rest) else { return false };
                for piece in middle {
                    match piece.find(rest) {
                        Some(after) => rest = after,
                        None => return false,
                    }
                }
                true
            }
        }
    }
}

/// The wildcards of `text`.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    push_text(&mut tokens, text, true);
    tokens
}

/// Appends `text`, whose `*` and `?` are wildcards or not.
pub(super) fn push_text(tokens: &mut Vec<Token>, text: &str, wildcards: bool) {
    for character in text.chars() {
        match (character, tokens.last_mut()) {
            ('*', last) if wildcards => {
                // Stars in a row are one.
                if !matches!(last, Some(Token::Any)) {
                    tokens.push(Token::Any);
                }
            }
            ('?', _) if wildcards => tokens.push(Token::One),
            (_, Some(Token::Literal(text))) => text.push(character),
            (_, _) => tokens.push(Token::Literal(character.to_string())),
        }
    }
}

fn plain(piece: &[Token]) -> Option<String> {
    piece.iter().try_fold(String::new(), |mut text, token| match token {
        Token::Literal(literal) => {
            text.push_str(literal);
            Some(text)
        }
        Token::One | Token::Any => None,
    })
}

impl Piece {
    fn anchored(piece: &[Token]) -> Self {
        plain(piece).map_or_else(|| Self::Holes(Box::new(Holes::new(piece))), |text| Self::Plain(text.into()))
    }

    fn sought(piece: &[Token]) -> Self {
        match plain(piece) {
            Some(text) => Self::Sought(Box::new(Finder::new(text.as_bytes()).into_owned())),
            None => Self::Holes(Box::new(Holes::new(piece))),
        }
    }

    /// What follows this piece at the start of `text`.
    fn at_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Plain(own) => text.strip_prefix(&**own),
            Self::Sought(finder) => {
                text.as_bytes().starts_with(finder.needle()).then(|| text.get(finder.needle().len()..))?
            }
            Self::Holes(holes) => {
                let mut rest = text.chars();
                holes
                    .characters
                    .iter()
                    .all(|own| rest.next().is_some_and(|c| fits(*own, c)))
                    .then_some(rest.as_str())
            }
        }
    }

    /// What precedes this piece at the end of `text`.
    fn at_end<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Plain(own) => text.strip_suffix(&**own),
            Self::Sought(finder) => {
                let start = text.len().checked_sub(finder.needle().len())?;
                text.as_bytes().ends_with(finder.needle()).then(|| text.get(..start))?
            }
            Self::Holes(holes) => {
                let mut rest = text.chars();
                let mut own = holes.characters.iter().rev();
                own.all(|own| rest.next_back().is_some_and(|c| fits(*own, c))).then_some(rest.as_str())
            }
        }
    }

    /// What follows the first place of this piece in `text`.
    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Plain(own) => text.split_once(&**own).map(|(_, after)| after),
            Self::Sought(finder) => {
                let start = finder.find(text.as_bytes())?;
                text.get(start + finder.needle().len()..)
            }
            Self::Holes(holes) => holes.find(text),
        }
    }
}

fn fits(own: Option<char>, character: char) -> bool {
    own.is_none_or(|own| own == character)
}

/// Literal characters and `?`.
#[derive(Debug, Clone)]
pub(super) struct Holes {
    /// `None` is `?`.
    characters: Box<[Option<char>]>,
    /// Bit n of the words: place n takes any character.
    open: Box<[u64]>,
    /// Sorted by character; bit n of the words: place n takes this character.
    taken: Box<[(char, Box<[u64]>)]>,
}

impl Holes {
    fn new(piece: &[Token]) -> Self {
        let characters: Box<[Option<char>]> = piece
            .iter()
            .flat_map(|token| match token {
                Token::Literal(text) => text.chars().map(Some).collect::<Vec<_>>(),
                Token::One | Token::Any => vec![None],
            })
            .collect();
        let words = |fits: &dyn Fn(Option<char>) -> bool| -> Box<[u64]> {
            let bit = |chunk: &[Option<char>]| {
                chunk.iter().enumerate().fold(0, |word, (n, own)| word | (u64::from(fits(*own)) << n))
            };
            characters.chunks(64).map(bit).collect()
        };
        let mut known: Vec<char> = characters.iter().flatten().copied().collect();
        known.sort_unstable();
        known.dedup();
        let taken = known.iter().map(|c| (*c, words(&|own| own.is_none_or(|own| own == *c)))).collect();
        let open = words(&|own| own.is_none());
        Self { open, taken, characters }
    }

    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let last = self.characters.len().checked_sub(1)?;
        let mut reached = vec![0_u64; self.open.len()];
        let mut rest = text.chars();
        while let Some(character) = rest.next() {
            let mask = match self.taken.binary_search_by_key(&character, |(own, _)| *own) {
                Ok(index) => &self.taken[index].1,
                Err(_) => &self.open,
            };
            let mut carry = 1;
            for (word, mask) in reached.iter_mut().zip(mask.iter()) {
                let next = *word >> 63;
                *word = ((*word << 1) | carry) & mask;
                carry = next;
            }
            if reached[last / 64] >> (last % 64) & 1 == 1 {
                return Some(rest.as_str());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, exponential on purpose.
    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| by_definition(rest, &text[skip..])),
            Some((own, rest)) => text
                .split_first()
                .is_some_and(|(c, tail)| (*own == '?' || own == c) && by_definition(rest, tail)),
        }
    }

    #[test]
    fn known_patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a**b", "ab", true),
            ("?", "é", true),
            ("*b?d*", "abcd", true),
            ("*é?x*", "aéüx", true),
            ("ab?", "ab", false),
            ("?*?", "a", false),
        ] {
            assert_eq!(Glob::parse(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_linear_time() {
        let pattern = format!("{}b", "*a?a".repeat(500));
        let text = "a".repeat(100_000);
        let started = std::time::Instant::now();
        assert!(!Glob::parse(&pattern).matches(&text));
        let long = format!("*{}b*", "a?".repeat(1000));
        assert!(!Glob::parse(&long).matches(&text));
        // Backtracking would need hours; the limit only has to hold on a busy machine and an unoptimised build.
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab?*é]{0,8}", text in "[abé]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Glob::parse(&pattern).matches(&text), by_definition(&chars(&pattern), &chars(&text)));
        }
    }
}
