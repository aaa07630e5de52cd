//! Runs of digits that can be several things: cards, bank accounts, telephone numbers.

use std::ops::Range;
use std::sync::LazyLock;

use craton_api_bedrock::GuardrailPiiEntityType as Kind;
use regex::Regex;

use super::Finding;
use super::rules::{ascii, near, stands_alone};
use super::validators::*;

/// Longest run of digit groups that is looked at whole, in bytes.
const LONGEST_RUN: usize = 4096;

pub(super) fn find(text: &str, kinds: &[Kind], found: &mut Vec<Finding>) {
    if kinds.contains(&Kind::CreditDebitCardNumber) {
        cards(text, found);
    }
    if kinds.contains(&Kind::InternationalBankAccountNumber) {
        ibans(text, found);
    }
    if kinds.contains(&Kind::Phone) {
        phones(text, found);
    }
}

/// Card numbers: groups of digits, one after the other, that make 13 to 19 digits with a right check digit.
fn cards(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let groups = digit_groups(bytes, at);
        let end = groups.last().map_or(at + 1, |group| group.end);
        let mut first = 0;
        while first < groups.len() {
            match card_from(text, &groups[first..]).or_else(|| odd_card(text, &groups, first)) {
                Some((taken, range)) => {
                    found.push(Finding { kind: Kind::CreditDebitCardNumber, range, confidence: 98 });
                    first += taken;
                }
                None => first += 1,
            }
        }
        at = end;
    }
}

/// Most characters between two groups of a number: ". ", a line's end.
const WIDEST_GAP: usize = 3;

/// Groups of digits with nothing but a few spaces and signs between them, from `start`.
fn digit_groups(bytes: &[u8], start: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut at = start;
    while at < bytes.len() && at - start < LONGEST_RUN {
        let group = at;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        groups.push(group..at);
        let rest = &bytes[at..];
        let gap = rest.iter().take(WIDEST_GAP).take_while(|it| is_between(**it)).count();
        if gap == 0 || !rest.get(gap).is_some_and(u8::is_ascii_digit) {
            break;
        }
        at += gap;
    }
    groups
}

fn is_between(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'/' | b'_' | b'|' | b',' | b'\n' | b'\r' | b'\t')
}

const CARD_WORDS: &[&str] = &["card", "credit", "debit", "maestro", "visa", "mastercard"];

/// A card that starts with the first of these groups, one space, hyphen or dot between them: how many groups it takes, and
/// where it is.
fn card_from(text: &str, groups: &[Range<usize>]) -> Option<(usize, Range<usize>)> {
    let mut number = Vec::with_capacity(19);
    for (index, group) in groups.iter().enumerate() {
        let usual = index == 0 || matches!(&text[groups[index - 1].end..group.start], " " | "-" | ".");
        if !usual || number.len() + group.len() > 19 {
            return None;
        }
        number.extend(digits(&text[group.clone()]));
        let range = groups[0].start..group.end;
        // Cards of twelve digits are rare: something must say that it is one.
        let enough = number.len() >= 13 || number.len() == 12 && near(text, &range, CARD_WORDS);
        if enough && card(&number) && (stands_alone(text, &range) || is_glued(text, &range)) {
            return Some((index + 1, range));
        }
    }
    None
}

/// A card in groups as cards have them, with something else between them, always the same: a list of other numbers would
/// go on before or behind it.
fn odd_card(text: &str, groups: &[Range<usize>], first: usize) -> Option<(usize, Range<usize>)> {
    let gap = |index: usize| Some(&text[groups.get(index)?.end..groups.get(index + 1)?.start]);
    let between = gap(first)?;
    let shapes: [&[usize]; 4] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[4, 4, 4, 4, 3]];
    let fits = |shape: &&&[usize]| {
        groups
            .get(first..first + shape.len())
            .is_some_and(|it| it.iter().map(Range::len).eq(shape.iter().copied()))
            && (first..first + shape.len() - 1).all(|index| gap(index) == Some(between))
            && gap(first + shape.len() - 1) != Some(between)
            && (first == 0 || gap(first - 1) != Some(between))
    };
    let shape = shapes.iter().find(fits)?;
    let range = groups[first].start..groups[first + shape.len() - 1].end;
    let is_card = card(&digits(&text[range.clone()])) && stands_alone(text, &range);
    is_card.then_some((shape.len(), range))
}

/// Whether a number has a word that says what it is right before it: `card4111…`.
fn is_glued(text: &str, range: &Range<usize>) -> bool {
    let before = &text.as_bytes()[..range.start];
    let ends = |word: &&str| {
        let from = before.len().checked_sub(word.len());
        from.is_some_and(|from| before[from..].eq_ignore_ascii_case(word.as_bytes()))
    };
    let free = !text[range.end..].starts_with(char::is_alphanumeric);
    free && ["card", "cc", "visa", "amex", "mastercard", "number", "nr", "no", "pan", "pay", "karte"]
        .iter()
        .any(ends)
}

/// IBANs, with or without spaces: as many characters as their country's have, with a right checksum.
fn ibans(text: &str, found: &mut Vec<Finding>) {
    static START: LazyLock<Option<Regex>> = LazyLock::new(|| ascii(r"(?i)\b[A-Z]{2}[ -]?\d{2}[ -]?[A-Z0-9]"));
    let Some(start) = &*START else { return };
    for candidate in start.find_iter(text) {
        let rest = &text[candidate.start()..];
        let Some(length) = iban_length(rest) else { continue };
        let mut number = String::with_capacity(length);
        let mut end = candidate.start();
        for (at, character) in rest.char_indices() {
            match character {
                it if it.is_ascii_alphanumeric() => number.push(it),
                ' ' | '-' => continue,
                _ => break,
            }
            end = candidate.start() + at + 1;
            if number.len() == length {
                break;
            }
        }
        let range = candidate.start()..end;
        if iban(&number) && stands_alone(text, &range) {
            found.push(Finding { kind: Kind::InternationalBankAccountNumber, range, confidence: 99 });
        }
    }
}

const PHONE_WORDS: &[&str] = &[
    "phone",
    "telephone",
    "tel",
    "mobile",
    "cell",
    "cellphone",
    "call",
    "text",
    "whatsapp",
    "fax",
    "dial",
    "reach",
    "ring",
    "number is",
    "hotline",
    "contact",
    "ph",
    "sms",
    "voicemail",
    "telefon",
    "telefonnummer",
    "rufnummer",
    "nummer",
    "handy",
    "handynummer",
    "mobil",
    "anrufen",
    "téléphone",
    "numéro",
    "teléfono",
    "telefono",
    "celular",
];

/// Telephone numbers: shapes that people write them in, confirmed by the numbering plans where those can tell.
fn phones(text: &str, found: &mut Vec<Finding>) {
    static SHAPE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?i)(?:\+|00)?\(?\d{1,5}\)?(?:[ .\-/\u{2011}]{0,2}\(?\d{1,5}\)?){1,7}(?:\s?(?:x|ext\.?|extension)\s?\d{1,5})?").ok()
    });
    let Some(shape) = &*SHAPE else { return };
    for candidate in shape.find_iter(text) {
        let mut range = candidate.range();
        let value = candidate.as_str();
        if value.ends_with(')') && value.matches(')').count() > value.matches('(').count() {
            range.end -= 1;
        }
        let value = &text[range.clone()];
        if !stands_alone(text, &range)
            || goes_on(&text[range.end..])
            || text[..range.start].ends_with(['$', '€', '£', '.', '#', '/', '-', '_', '@', '='])
        {
            continue;
        }
        if let Some(confidence) = phone(text, &range, value) {
            let confidence = if is_introduced(text, &range) { 97 } else { confidence };
            found.push(Finding { kind: Kind::Phone, range, confidence });
        }
    }
}

/// Whether a number is only the beginning of a code: `555-123-4567-X`. A word says whose or what it is: `-Office`.
fn goes_on(behind: &str) -> bool {
    let rest = behind.strip_prefix('-').unwrap_or_default();
    let code = rest.split(|it: char| !it.is_alphanumeric()).next().unwrap_or_default();
    code.contains(|it: char| it.is_ascii_digit())
        || (1..=2).contains(&code.len()) && code.chars().all(char::is_uppercase)
}

/// How sure it is that a shape is a telephone number; none when it is not.
fn phone(text: &str, range: &Range<usize>, value: &str) -> Option<u8> {
    let count = value.bytes().filter(u8::is_ascii_digit).count();
    let international = value.starts_with('+') || value.starts_with("00");
    let with_words = || near(text, range, PHONE_WORDS);
    if !(7..=20).contains(&count) {
        return None;
    }
    if north_american(value) {
        return Some(93);
    }
    if international && count >= 8 {
        let number = value.strip_prefix("00").map_or_else(|| value.to_owned(), |rest| format!("+{rest}"));
        let parsed = phonenumber::parse(None, &number).ok()?;
        let valid = phonenumber::is_valid(&parsed) || with_words();
        return valid.then_some(94);
    }
    if is_slashed(value) {
        let german = phonenumber::parse(Some(phonenumber::country::DE), value.replace('/', " "));
        return (german.is_ok_and(|it| phonenumber::is_valid(&it)) || with_words()).then_some(90);
    }
    if north_american(&value.replace('/', "-")) && with_words() {
        return Some(88);
    }
    if value.contains('/') || (!value.contains([' ', '-', '.', '(']) && !with_words()) {
        return None;
    }
    // Dates and other numbers have dots and hyphens too.
    if value.starts_with('0') && (10..=12).contains(&count) {
        let regions = [
            phonenumber::country::GB,
            phonenumber::country::DE,
            phonenumber::country::AU,
            phonenumber::country::FR,
        ];
        let valid =
            |region| phonenumber::parse(Some(region), value).is_ok_and(|it| phonenumber::is_valid(&it));
        return (regions.into_iter().any(valid) || with_words()).then_some(90);
    }
    let short = count == 7 && value.len() == 8 && matches!(value.as_bytes()[3], b'-' | b'.' | b' ');
    ((short || (9..=15).contains(&count) || count == 8) && with_words()).then_some(84)
}

/// Whether the word right before a number says that it is a telephone's, whatever else it could be.
fn is_introduced(text: &str, range: &Range<usize>) -> bool {
    const WORDS: &[&str] =
        &["tel", "phone", "telephone", "mobile", "cell", "fax", "telefon", "móvil", "teléfono", "téléphone"];
    let before = text[..range.start].trim_end_matches([' ', ':', '.']);
    let word = before.rsplit(|it: char| !it.is_alphabetic()).next().unwrap_or_default();
    WORDS.iter().any(|it| it.eq_ignore_ascii_case(word))
}

/// `0171/1234567`, as German numbers are written: the code of a town or network, and what is dialled behind it.
fn is_slashed(value: &str) -> bool {
    let Some((code, rest)) = value.split_once('/') else { return false };
    let code = code.trim_end();
    code.starts_with('0')
        && (3..=6).contains(&code.len())
        && code.bytes().all(|it| it.is_ascii_digit())
        && !rest.contains('/')
        && rest.bytes().filter(u8::is_ascii_digit).count() >= 4
}

/// `(555) 123-4567`, `555-123-4567`, `555.123.4567`, `+1 555 123 4567`, with or without an extension.
fn north_american(value: &str) -> bool {
    static NANP: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?i)^(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]?\d{2,3}[ .-]\d{4}(?:\s?(?:x|ext\.?|extension)\s?\d{1,5})?$|^\+1[2-9]\d{9}$").ok()
    });
    NANP.as_ref().is_some_and(|shape| shape.is_match(value))
}
