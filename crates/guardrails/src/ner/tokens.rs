//! Text into tokens as the model's tokenizer cuts it: at white space, then what stands at the ends of each piece, then what
//! stands inside.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use super::format::Exceptions;
use super::murmur::string_hash;
use crate::fnv::Quick;

/// A token's bytes in the text, and the features that the network sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub range: Range<usize>,
    pub is_space: bool,
    pub features: [u64; 4],
}

/// Cuts text, and gives tokens their features.
#[derive(Debug)]
pub(super) struct Tokenizer {
    exceptions: Exceptions,
    norms: HashMap<u64, String, Quick>,
}

/// Strings that the model's string store numbers instead of hashing.
static SYMBOLS: LazyLock<HashMap<&'static str, u64, Quick>> = LazyLock::new(|| {
    let line =
        |line: &'static str| line.split_once('\t').and_then(|(name, id)| Some((name, id.parse().ok()?)));
    include_str!("symbols.tsv").lines().filter_map(line).collect()
});

fn id_of(text: &str) -> u64 {
    match text {
        "" => 0,
        _ => SYMBOLS.get(text).copied().unwrap_or_else(|| string_hash(text)),
    }
}

/// Longest piece between white space that is cut further, in bytes. Nobody's name is longer.
const LONGEST_PIECE: usize = 2000;

impl Tokenizer {
    pub(super) fn new(exceptions: Exceptions, norms: HashMap<u64, String, Quick>) -> Self {
        Self { exceptions, norms }
    }

    pub(super) fn tokens(&self, text: &str) -> Vec<Token> {
        let mut tokens = Vec::with_capacity(text.len() / 4);
        let mut start = 0;
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            let space = character.is_whitespace();
            let last = characters.peek().is_none_or(|(_, next)| next.is_whitespace() != space);
            if !last {
                continue;
            }
            let end = at + character.len_utf8();
            if space {
                // One space belongs to the token before it; more are a token.
                let from = if start > 0 && text[start..].starts_with(' ') { start + 1 } else { start };
                if from < end {
                    tokens.push(self.token(text, from..end, None));
                }
            } else {
                self.cut(text, start..end, &mut tokens);
            }
            start = end;
        }
        tokens
    }

    fn cut(&self, text: &str, range: Range<usize>, tokens: &mut Vec<Token>) {
        if range.len() > LONGEST_PIECE {
            tokens.push(self.token(text, range, None));
            return;
        }
        let mut suffixes: Vec<Range<usize>> = Vec::new();
        let Range { mut start, mut end } = range;
        let known = |start: usize, end: usize| self.exceptions.contains_key(&text[start..end]);
        while start < end && !known(start, end) {
            let prefix = prefix(&text[start..end]);
            if prefix > 0 && known(start + prefix, end) {
                tokens.push(self.token(text, start..start + prefix, None));
                start += prefix;
                break;
            }
            let suffix = suffix(&text[start + prefix..end]);
            if suffix > 0 && known(start, end - suffix) {
                suffixes.push(end - suffix..end);
                end -= suffix;
                break;
            }
            if prefix == 0 && suffix == 0 {
                break;
            }
            if prefix > 0 {
                tokens.push(self.token(text, start..start + prefix, None));
                start += prefix;
            }
            if suffix > 0 {
                suffixes.push(end - suffix..end);
                end -= suffix;
            }
        }
        if start < end {
            self.middle(text, start..end, tokens);
        }
        let suffixes = suffixes.into_iter().rev().map(|range| self.token(text, range, None));
        tokens.extend(suffixes.collect::<Vec<_>>());
    }

    /// What is left between prefixes and suffixes.
    fn middle(&self, text: &str, range: Range<usize>, tokens: &mut Vec<Token>) {
        let piece = &text[range.clone()];
        if let Some(parts) = self.exceptions.get(piece) {
            let mut at = range.start;
            for (orth, norm) in parts {
                tokens.push(self.token(text, at..at + orth.len(), norm.as_deref()));
                at += orth.len();
            }
            return;
        }
        if is_url(piece) {
            tokens.push(self.token(text, range, None));
            return;
        }
        let mut from = 0;
        for infix in infixes(piece) {
            if infix.start == 0 {
                continue;
            }
            if infix.start > from {
                tokens.push(self.token(text, range.start + from..range.start + infix.start, None));
            }
            tokens.push(self.token(text, range.start + infix.start..range.start + infix.end, None));
            from = infix.end;
        }
        if from < piece.len() {
            tokens.push(self.token(text, range.start + from..range.end, None));
        }
    }

    fn token(&self, text: &str, range: Range<usize>, norm: Option<&str>) -> Token {
        let word = &text[range.clone()];
        let norm = match norm {
            Some(norm) => id_of(norm),
            None => match base_norm(word) {
                Some(norm) => id_of(norm),
                None => match self.norms.get(&string_hash(word)) {
                    Some(norm) => id_of(norm),
                    None if word.bytes().all(|byte| byte.is_ascii_lowercase()) => id_of(word),
                    None => id_of(&word.to_lowercase()),
                },
            },
        };
        let first = word.chars().next().map_or(0, char::len_utf8);
        let last = word.char_indices().rev().nth(2).map_or(0, |(at, _)| at);
        let features = [norm, id_of(&word[..first]), id_of(&word[last..]), id_of(&shape(word))];
        Token { is_space: word.chars().all(char::is_whitespace), features, range }
    }
}

/// What kinds of characters a word has, runs of more than four cut to four.
fn shape(word: &str) -> String {
    if word.len() >= 100 && word.chars().count() >= 100 {
        return "LONG".to_owned();
    }
    let mut shape = String::with_capacity(word.len());
    let (mut last, mut run) = ('\0', 0);
    for character in word.chars() {
        let kind = match character {
            it if it.is_alphabetic() && it.is_uppercase() => 'X',
            it if it.is_alphabetic() => 'x',
            it if it.is_numeric() => 'd',
            it => it,
        };
        run = if kind == last { run + 1 } else { 0 };
        last = kind;
        if run < 4 {
            shape.push(kind);
        }
    }
    shape
}

/// Signs that are read as a commoner one.
fn base_norm(word: &str) -> Option<&'static str> {
    Some(match word {
        "'s" | "'S" | "’s" | "’S" => "'s",
        "’" | "‘" | "´" | "`" => "'",
        "”" | "“" | "''" | "``" | "´´" | "„" | "»" | "«" | "‘‘" | "’’" => "\"",
        "？" => "?",
        "！" => "!",
        "，" => ",",
        "；" => ";",
        "：" => ":",
        "。" | "।" => ".",
        "…" => "...",
        "—" | "–" | "--" | "---" | "——" => "-",
        "€" | "£" | "¥" | "฿" | "US$" | "C$" | "A$" | "₺" | "₹" | "৳" | "₩" | "Mex$" | "₣" | "E£" => {
            "$"
        }
        _ => return None,
    })
}

fn is_quote(it: char) -> bool {
    matches!(
        it,
        '\'' | '"'
            | '”'
            | '“'
            | '`'
            | '‘'
            | '´'
            | '’'
            | '‚'
            | ','
            | '„'
            | '»'
            | '«'
            | '「'
            | '」'
            | '『'
            | '』'
            | '（'
            | '）'
            | '〔'
            | '〕'
            | '【'
            | '】'
            | '《'
            | '》'
            | '\u{3008}'
            | '\u{3009}'
            | '\u{2329}'
            | '\u{232A}'
            | '⟦'
            | '⟧'
    )
}

fn is_punctuation(it: char) -> bool {
    matches!(
        it,
        '…' | ','
            | ':'
            | ';'
            | '!'
            | '?'
            | '¿'
            | '؟'
            | '¡'
            | '('
            | ')'
            | '['
            | ']'
            | '{'
            | '}'
            | '<'
            | '>'
            | '_'
            | '#'
            | '*'
            | '&'
            | '。'
            | '？'
            | '！'
            | '，'
            | '、'
            | '；'
            | '：'
            | '～'
            | '·'
            | '।'
            | '،'
            | '۔'
            | '؛'
            | '٪'
    )
}

fn is_currency(it: char) -> bool {
    matches!(it, '$' | '£' | '€' | '¥' | '฿' | '﷼' | '\u{20A0}'..='\u{20BF}')
}

/// Pictures and signs that are no letters, digits or punctuation.
fn is_icon(it: char) -> bool {
    matches!(it, '\u{00A6}' | '\u{00A9}' | '\u{00AE}' | '\u{00B0}' | '\u{0482}' | '\u{2100}'..='\u{214F}' | '\u{2190}'..='\u{23FF}'
        | '\u{2400}'..='\u{27BF}' | '\u{2800}'..='\u{2BFF}' | '\u{1F000}'..='\u{1FAFF}')
        && !it.is_alphanumeric()
        && !matches!(it, '\u{2200}'..='\u{22FF}' | '\u{27C0}'..='\u{27EF}' | '\u{2190}'..='\u{2194}')
}

/// Dots in a row at the start, when there are at least two.
fn dots(text: &str) -> usize {
    let count = text.bytes().take_while(|byte| *byte == b'.').count();
    if count >= 2 { count } else { 0 }
}

/// Bytes of what is cut off at the start of a piece.
fn prefix(piece: &str) -> usize {
    let mut characters = piece.chars();
    let Some(first) = characters.next() else { return 0 };
    let dots = dots(piece);
    if dots > 0 {
        return dots;
    }
    if ["US$", "C$", "A$"].iter().any(|it| piece.starts_with(it)) {
        return piece.find('$').map_or(0, |at| at + 1);
    }
    if piece.starts_with("……") {
        return '…'.len_utf8();
    }
    let cut = match first {
        '§' | '%' | '=' | '—' | '–' => true,
        '+' => !characters.next().is_some_and(|next| next.is_ascii_digit()),
        _ => is_punctuation(first) || is_quote(first) || is_currency(first) || is_icon(first),
    };
    if cut { first.len_utf8() } else { 0 }
}

const UNITS: [&str; 48] = [
    "km²", "km³", "km/h", "kmh", "km", "m²", "m³", "m/s", "dm²", "dm³", "dm", "cm²", "cm³", "cm", "mm²",
    "mm³", "mm", "ha", "µm", "nm", "yd", "in", "ft", "kg", "µg", "mg", "lb", "oz", "mph", "hPa", "Pa",
    "mbar", "mb", "MB", "kb", "KB", "gb", "GB", "tb", "TB", "m", "g", "t", "T", "G", "M", "K", "%",
];

/// Bytes of what is cut off at the end of a piece. Where several would do, the one that begins first.
fn suffix(piece: &str) -> usize {
    let Some(last) = piece.chars().next_back() else { return 0 };
    let trailing = piece.bytes().rev().take_while(|byte| *byte == b'.').count();
    if trailing >= 2 {
        return trailing;
    }
    if piece.ends_with("……") {
        return "……".len();
    }
    if let Some(possessive) = ["'s", "'S", "’s", "’S"].iter().find(|it| piece.ends_with(**it)) {
        return possessive.len();
    }
    let before = |length: usize| piece[..piece.len() - length].chars().next_back();
    let digit_before = |length: usize| before(length).is_some_and(|it| it.is_ascii_digit());
    if let Some(money) = ["US$", "C$", "A$"].iter().find(|it| piece.ends_with(**it) && digit_before(it.len()))
    {
        return money.len();
    }
    if let Some(unit) = UNITS.iter().find(|it| piece.ends_with(**it) && digit_before(it.len())) {
        return unit.len();
    }
    let cut = match last {
        '—' | '–' => true,
        '+' => digit_before(1),
        '.' => full_stop(&piece[..piece.len() - 1]),
        _ if is_currency(last) => digit_before(last.len_utf8()),
        _ => is_punctuation(last) || is_quote(last) || is_icon(last),
    };
    if cut { last.len_utf8() } else { 0 }
}

/// Whether a full stop after this ends a sentence, and is no part of an abbreviation.
fn full_stop(before: &str) -> bool {
    let mut back = before.chars().rev();
    let (Some(last), second) = (back.next(), back.next()) else { return false };
    last.is_ascii_digit()
        || last.is_lowercase()
        || (last.is_alphabetic() && !last.is_uppercase())
        || matches!(last, '%' | '²' | '-' | '+')
        || is_punctuation(last)
        || is_quote(last)
        || (last.is_uppercase() && second.is_some_and(char::is_uppercase))
        || (matches!(last, 'F' | 'C' | 'K' | 'f' | 'c' | 'k') && second == Some('°'))
}

/// What cuts a piece inside, in order.
fn infixes(piece: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut before: Option<char> = None;
    while let Some(character) = piece[at..].chars().next() {
        let length = infix(&piece[at..], before);
        let step = if length > 0 { length } else { character.len_utf8() };
        if length > 0 {
            found.push(at..at + length);
        }
        before = piece[at..at + step].chars().next_back();
        at += step;
    }
    found
}

/// Bytes of the infix at the start of `rest`; 0 when there is none.
fn infix(rest: &str, before: Option<char>) -> usize {
    let dots = dots(rest);
    if dots > 0 {
        return dots;
    }
    let Some(first) = rest.chars().next() else { return 0 };
    let next = rest[first.len_utf8()..].chars().next();
    let letter = |it: Option<char>| it.is_some_and(char::is_alphabetic);
    let digit = |it: Option<char>| it.is_some_and(|it| it.is_ascii_digit());
    let one = |cut: bool| if cut { first.len_utf8() } else { 0 };
    if first == '…' || is_icon(first) {
        return first.len_utf8();
    }
    if matches!(first, '+' | '-' | '*' | '^') && digit(before) && (digit(next) || next == Some('-')) {
        return 1;
    }
    for hyphens in ["---", "——", "--", "-", "–", "—", "~"] {
        if let Some(after) = rest.strip_prefix(hyphens)
            && (letter(before) || digit(before))
            && letter(after.chars().next())
        {
            return hyphens.len();
        }
    }
    match first {
        '.' => one(before.is_some_and(|it| it.is_lowercase() || is_quote(it))
            && next.is_some_and(|it| it.is_uppercase() || is_quote(it))),
        ',' => one(letter(before) && letter(next)),
        ':' | '<' | '>' | '=' | '/' => one((letter(before) || digit(before)) && letter(next)),
        _ => 0,
    }
}

/// Whether a piece is an address of the web or of mail, which is one token.
fn is_url(piece: &str) -> bool {
    static URL: LazyLock<Option<regex::Regex>> = LazyLock::new(|| {
        regex::Regex::new(
            r"^(?:[\w+.-]{2,}://)?(?:\S+(?::\S*)?@)?(?:(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.(?:1?\d{1,2}|2[0-4]\d|25[0-5])){2}\.(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-4])|(?:(?:[A-Za-z0-9\u{a1}-\u{ffff}][A-Za-z0-9\u{a1}-\u{ffff}_-]{0,62})?[A-Za-z0-9\u{a1}-\u{ffff}]\.)+[a-z\u{df}-\u{ffff}]{2,63})(?::\d{2,5})?(?:[/?#]\S*)?$",
        )
        .ok()
    });
    piece.contains('.') && URL.as_ref().is_some_and(|url| url.is_match(piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<String> {
        let tokenizer = Tokenizer::new(HashMap::default(), HashMap::default());
        tokenizer.tokens(text).into_iter().map(|token| text[token.range].to_owned()).collect()
    }

    #[test]
    fn cuts_as_the_original_does() {
        assert_eq!(cut("Hello, (world)!"), ["Hello", ",", "(", "world", ")", "!"]);
        assert_eq!(
            cut("John's well-known $5.00 U.K. test..."),
            ["John", "'s", "well", "-", "known", "$", "5.00", "U.K.", "test", "..."]
        );
        assert_eq!(cut("a  b\nc"), ["a", " ", "b", "\n", "c"]);
        assert_eq!(cut("mail me@x.com 10km/h 3-4"), ["mail", "me@x.com", "10", "km/h", "3", "-", "4"]);
    }

    #[test]
    fn shapes_are_short() {
        assert_eq!(shape("McDonalds99"), "XxXxxxxdd");
        assert_eq!(shape("12345678"), "dddd");
    }
}
