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
            match card_from(text, &groups[first..]) {
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

/// Groups of digits with one space, hyphen or dot between them, from `start`.
fn digit_groups(bytes: &[u8], start: usize) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut at = start;
    while at < bytes.len() && at - start < LONGEST_RUN {
        let group = at;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        if at == group {
            break;
        }
        groups.push(group..at);
        if !matches!(bytes.get(at), Some(b' ' | b'-' | b'.')) {
            break;
        }
        at += 1;
    }
    groups
}

const CARD_WORDS: &[&str] = &["card", "credit", "debit", "maestro", "visa", "mastercard"];

/// A card that starts with the first of these groups: how many groups it takes, and where it is.
fn card_from(text: &str, groups: &[Range<usize>]) -> Option<(usize, Range<usize>)> {
    let mut number = Vec::with_capacity(19);
    for (index, group) in groups.iter().enumerate() {
        if number.len() + group.len() > 19 {
            return None;
        }
        number.extend(digits(&text[group.clone()]));
        let range = groups[0].start..group.end;
        // Cards of twelve digits are rare: something must say that it is one.
        let enough = number.len() >= 13 || number.len() == 12 && near(text, &range, CARD_WORDS);
        if enough && card(&number) && stands_alone(text, &range) {
            return Some((index + 1, range));
        }
    }
    None
}

/// IBANs, with or without spaces: as many characters as their country's have, with a right checksum.
fn ibans(text: &str, found: &mut Vec<Finding>) {
    static START: LazyLock<Option<Regex>> = LazyLock::new(|| ascii(r"(?i)\b[A-Z]{2}\d{2}[ -]?[A-Z0-9]"));
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
            || text[..range.start].ends_with(['$', '€', '£', '.', '#', '/', '-', '_', '@', '='])
        {
            continue;
        }
        if let Some(confidence) = phone(text, &range, value) {
            found.push(Finding { kind: Kind::Phone, range, confidence });
        }
    }
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

/// `(555) 123-4567`, `555-123-4567`, `555.123.4567`, `+1 555 123 4567`, with or without an extension.
fn north_american(value: &str) -> bool {
    static NANP: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?i)^(?:\+?1[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])[2-9]?\d{2,3}[ .-]\d{4}(?:\s?(?:x|ext\.?|extension)\s?\d{1,5})?$|^\+1[2-9]\d{9}$").ok()
    });
    NANP.as_ref().is_some_and(|shape| shape.is_match(value))
}
