//! NAME and ADDRESS: what the model says, and what patterns know of titles, streets and post codes.

use std::ops::Range;
use std::sync::LazyLock;

use craton_api_bedrock::GuardrailPiiEntityType as Kind;
use regex::Regex;
use regex_automata::meta::Regex as Anchored;
use regex_automata::{self as automaton, Input};

use super::Finding;
use super::glance::Glance;
use super::nobody::{COMPANIES, is_nobody};
use super::rules::{ascii, near, with_ascii_borders};
use super::subjects::subjects;
use super::tagger::{Kind as Tagged, Span, Tagger};
use crate::ner::NameModel;

/// Titles and phrases after which a capitalised word is a name.
static NAMED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        r"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Madam|Lady|Lord|Rev|Capt|Sgt)\b\.?\s+(\p{Lu}[\p{L}'’-]+(?:\s+\p{Lu}(?:\.|\b))?(?:\s+\p{Lu}[\p{L}'’-]+){0,2})",
        r"(?i:\bmy (?:full )?name is|\bname's|\bi am called|\bcall me|\bthis is|\bi'm|\bi am)\s+(\p{Lu}[\p{L}'’-]+(?:\s+\p{Lu}(?:\.|\b))?(?:\s+\p{Lu}[\p{L}'’-]+){1,2})",
        r"(?i:\bmy (?:full |first |last )?name is|\bname's|\bi am called)\s+(\p{Lu}[\p{L}'’-]+(?:\s+\p{Lu}[\p{L}'’-]+){0,2})",
        r"(?i:\b(?:full |first |last |customer |patient |employee |account holder |client )?name\s?[:=])\s?(\p{Lu}[\p{L}'’-]+(?:\s+\p{Lu}(?:\.|\b))?(?:\s+\p{Lu}[\p{L}'’-]+){0,2})",
        r"(?m)^(?:Dear|Hi|Hello|Hey)\s+(\p{Lu}[\p{L}'’-]+(?:\s+\p{Lu}[\p{L}'’-]+)?),",
        r"(?m)^(?:Best|Regards|Sincerely|Kind regards|Best regards|Thanks|Cheers|Warm regards|Yours truly),?\n+(\p{Lu}[\p{L}'’-]+(?:\s+\p{Lu}[\p{L}'’-]+){0,2})\s*$",
        // Family names of Japan, with the name that may follow, before what is said of a person.
        r"((?:佐藤|鈴木|高橋|田中|伊藤|渡辺|渡邊|山本|中村|小林|加藤|吉田|山田|佐々木|山口|松本|井上|木村|斎藤|斉藤|清水|山崎|阿部|池田|橋本|石川|前田|藤田|小川|後藤|岡田|長谷川|村上|近藤|石井|坂本|遠藤|青木|藤井|西村|福田|太田|三浦|岡本|松田|中島|原田|小野|中野|竹内|金子|和田|中山|石田|上田|森田)(?:\p{Han}{1,3}|[\p{Hiragana}\p{Katakana}]{2,4}?)?)(?:です|と申し|と言い|といい|さん|様|氏)",
    ];
    patterns.iter().filter_map(|pattern| ascii(pattern)).collect()
});

/// Words that stand where a name would but are none.
const NO_NAME: &[&str] = &[
    "Team",
    "All",
    "Customer",
    "Customers",
    "Sir",
    "Madam",
    "Everyone",
    "Support",
    "There",
    "Colleagues",
    "Friends",
    "Hiring",
    "Manager",
    "Valued",
    "Folks",
    "The",
    "This",
    "Not",
    "It",
    "In",
    "If",
    "Whom",
    "Regards",
    "Thanks",
    "Please",
];

/// The words without which none of [`NAMED`], then of [`STREETS`], matches: in the order of the patterns.
pub(super) const WORDS: &[&[&str]] = &[
    &["mr", "ms", "miss", "mx", "dr", "prof", "sir", "madam", "lady", "lord", "rev", "capt", "sgt"],
    &["my name is", "my full name is", "name's", "i am", "call me", "this is", "i'm"],
    &["my name is", "my full name is", "my first name is", "my last name is", "name's", "i am called"],
    &["name", "full name", "first name", "last name"],
    &["dear", "hi", "hello", "hey"],
    &["best", "regards", "sincerely", "kind regards", "thanks", "cheers", "warm regards", "yours truly"],
    &["…です", "…と申し", "…と言い", "…といい", "…さん", "…様", "…氏"],
    &["p.o", "po", "p o", "p. o"],
    &["rue", "avenue", "boulevard", "place", "via", "calle", "piazza"],
    &["…straße", "…strasse", "…weg", "…platz", "…allee", "…gasse"],
];

/// How streets, post boxes and towns with their code are written. The first begins where [`begins_street`] says, and is
/// looked for there only: a search from everywhere for so long a list of words would take as long as all other patterns.
struct Streets {
    street: Option<Anchored>,
    town: Option<Regex>,
    /// Those that need a word: a post box, and streets as they are written in other languages.
    worded: Vec<Regex>,
}

static STREETS: LazyLock<Streets> = LazyLock::new(|| {
    let kind = r"(?:Street|St|Avenue|Ave|Av|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl|Square|Sq|Terrace|Ter|Circle|Cir|Highway|Hwy|Parkway|Pkwy|Close|Crescent|Cres|Row|Mews|Alley|Trail|Trl|Loop|Plaza|Walk|Gardens|Gate|Grove|Hill|Path|Pike|Quay|Rise|Run|View|Vista|Viaduct|Ridge|Crossing|Point|Park|Villages?|Islands?|Isle|Mount|Mountains?|Meadows?|Manor|Landing|Lakes?|Junctions?|Green|Glens?|Forges?|Forest|Flats?|Fields?|Falls|Extensions?|Estates?|Dale|Creek|Coves?|Corners?|Common|Cliffs?|Cape|Camp|Bypass|Burgs?|Brooks?|Bridge|Branch|Bluffs?|Bend|Bayou|Freeway|Fork|Ford|Harbors?|Haven|Heights|Hollow|Inlet|Keys?|Knolls?|Locks|Lodge|Mall|Mills?|Mission|Motorway|Neck|Orchard|Oval|Overpass|Parks|Parkways|Passage|Pass|Pine|Pines|Plains?|Port|Ports|Prairie|Radial|Ramp|Ranch|Rapids?|Rest|River|Roads|Route|Shoals?|Shores?|Skyway|Springs?|Spurs?|Squares|Station|Stravenue|Stream|Streets|Summit|Throughway|Trace|Track|Trafficway|Tunnel|Turnpike|Underpass|Unions?|Valleys?|Via|Ville|Wall|Walks|Ways|Wells?)";
    let unit = r"(?:,?\s+(?:Apt|Apartment|Suite|Ste|Unit|Floor|Fl|Room|Rm|Flat|#)\.?\s?#?[A-Za-z0-9-]{1,6})?";
    let city = r"(?:,?\s+(?:[A-Z][\p{L}.'-]+ ?){1,4}(?:,\s*[A-Z][\p{L} ]{1,20})?)?";
    let post = r"(?:,?\s+(?:[A-Z]{2}\s+\d{5}(?:-\d{4})?|\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d|[A-Z]{2}))?\b";
    let street = format!(
        r"\b(?:(?:Flat|Apt|Unit|Suite)\.? ?\d+[A-Za-z]?,? )?\d{{1,6}}[A-Za-z]?\s+(?:[NSEW]\.?\s+|(?:North|South|East|West)\s+)?(?:[A-Z0-9][\p{{L}}0-9'.-]*\s+){{1,4}}?{kind}\b\.?{unit}(?:,[^\n]{{0,3}}{city}|{city})?{post}"
    );
    let town = r"\b(?:[A-Z][\p{L}.'-]+ ){0,2}[A-Z][\p{L}.'-]+,\s+(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])\s+\d{5}(?:-\d{4})?\b";
    let worded = [
        &*format!(r"(?i:\bP\.?\s?O\.?\s?Box)\s+\d{{1,6}}(?:,{city})?{post}"),
        r"\b\d{1,4}\s+(?:rue|avenue|boulevard|place|via|calle|piazza)\s+(?:d[eu']\s?|des |della |la )?[A-Z][\p{L}'-]+(?:,?\s+\d{5})?(?:\s+[A-Z][\p{L}-]+)?",
        r"\b[A-Z][\p{L}-]+(?:straße|strasse|weg|platz|allee|gasse)\s+\d{1,4}[a-z]?(?:,?\s+\d{5})?(?:\s+[A-Z][\p{L}-]+)?",
    ];
    Streets {
        street: Anchored::new(&with_ascii_borders(&street)).ok(),
        town: ascii(town),
        worded: worded.iter().filter_map(|pattern| ascii(pattern)).collect(),
    }
});

/// Whether a street may begin at this byte: with a digit, or with the word for a flat, and nothing of a word before it.
fn begins_street(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map_or(b' ', |before| text[before]);
    let begins = match text[at] {
        b'0'..=b'9' => true,
        b'F' | b'A' | b'U' | b'S' => {
            ["Flat", "Apt", "Unit", "Suite"].iter().any(|word| text[at..].starts_with(word.as_bytes()))
        }
        _ => false,
    };
    begins && !before.is_ascii_alphanumeric() && before != b'_'
}

/// The streets, post boxes and towns with their code of a text.
fn streets(text: &str, glance: &Glance) -> Vec<Range<usize>> {
    let mut streets = Vec::new();
    let mut add = |found: Range<usize>| {
        let trimmed = text[found.clone()].trim_end_matches([' ', ',', '.']);
        streets.push(found.start..found.start + trimmed.len());
    };
    if !glance.has_digit() {
        return streets;
    }
    if let Some(street) = &STREETS.street {
        let mut from = 0;
        for at in (0..text.len()).filter(|at| begins_street(text.as_bytes(), *at)) {
            let here = Input::new(text).range(at..).anchored(automaton::Anchored::Yes);
            if let Some(found) = (at >= from).then(|| street.search(&here)).flatten() {
                from = found.end();
                add(found.range());
            }
        }
    }
    if let Some(town) = STREETS.town.as_ref().filter(|_| glance.longest_digits() >= 5) {
        town.find_iter(text).for_each(|found| add(found.range()));
    }
    for (index, pattern) in STREETS.worded.iter().enumerate() {
        if glance.has_name_word(NAMED.len() + index) {
            pattern.find_iter(text).for_each(|found| add(found.range()));
        }
    }
    joined(text, streets)
}

/// Words that say that a place is somebody's.
const HOME_WORDS: &[&str] = &[
    "live in",
    "lives in",
    "living in",
    "live at",
    "lives at",
    "reside",
    "resides",
    "residing",
    "home is",
    "ship to",
    "shipped to",
    "deliver to",
    "delivered to",
    "mail to",
    "moved to",
    "located at",
    "born in",
    "hometown",
    "i'm from",
    "i am from",
    "grew up in",
];

pub(super) fn find(
    (text, glance): (&str, &Glance),
    names: Option<&NameModel>,
    kinds: &[Kind],
    found: &mut Vec<Finding>,
) {
    let streets = streets(text, glance);
    let spans = Tagger::shipped().tag(text, names);
    if kinds.contains(&Kind::Address) {
        addresses(text, &spans, &streets, found);
    }
    if kinds.contains(&Kind::Name) {
        people((text, glance), &spans, &streets, found);
    }
}

/// Parts of an address that stand side by side, as one.
fn joined(text: &str, mut parts: Vec<Range<usize>>) -> Vec<Range<usize>> {
    parts.sort_by_key(|part| (part.start, part.end));
    let mut whole: Vec<Range<usize>> = Vec::with_capacity(parts.len());
    for part in parts {
        match whole.last_mut() {
            Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
            Some(last) if is_gap(&text[last.end..part.start]) => last.end = part.end,
            _ => whole.push(part),
        }
    }
    whole
}

fn is_gap(text: &str) -> bool {
    text.len() <= 8 && text.chars().all(|it| matches!(it, ',' | ' ' | '\n' | '.' | '>'))
}

fn addresses(text: &str, spans: &[Span], streets: &[Range<usize>], found: &mut Vec<Finding>) {
    let tagged =
        spans.iter().filter(|span| span.kind == Tagged::Address && is_address(&text[span.range.clone()]));
    let parts = tagged.map(|span| span.range.clone()).chain(streets.iter().cloned()).collect();
    // Places that follow a street belong to its address. Both are in the order of the text.
    let mut places = spans.iter().filter(|it| it.kind == Tagged::Place).peekable();
    for address in joined(text, parts) {
        let mut range = address;
        while places.next_if(|place| place.range.start < range.end).is_some() {}
        while let Some(place) =
            places.next_if(|place| text.get(range.end..place.range.start).is_some_and(is_gap))
        {
            range.end = place.range.end;
        }
        found.push(Finding { kind: Kind::Address, range, confidence: 91 });
    }
    for place in spans.iter().filter(|it| it.kind == Tagged::Place) {
        if near(text, &place.range, HOME_WORDS) {
            found.push(Finding { kind: Kind::Address, range: place.range.clone(), confidence: 80 });
        }
    }
}

/// What is an address says more than the name of a town: it has a number, or several words that are no company's.
pub(super) fn is_address(text: &str) -> bool {
    let company =
        text.trim_end_matches('.').rsplit([' ', '\n']).next().is_some_and(|it| COMPANIES.contains(&it));
    if company || text.contains('%') || is_code(text) || is_room(text) || is_version(text) {
        return false;
    }
    let shouted = text.chars().any(char::is_alphabetic) && !text.chars().any(char::is_lowercase);
    text.bytes().any(|byte| byte.is_ascii_digit())
        || !shouted && (text.contains(" and ") || text.split_whitespace().count() > 1)
}

/// Signs that programs have and addresses don't, quoted ones neither.
fn is_code(text: &str) -> bool {
    let called = text.as_bytes().windows(2).any(|it| it[1] == b'(' && it[0].is_ascii_alphanumeric());
    called
        || text.contains(['{', '}', '[', ']', ';', '=', '<', '|', '\\', '*', '_'])
        || ["',", "')", "::", "=>"].iter().any(|it| text.contains(it))
}

/// A room of a building that nobody names.
fn is_room(text: &str) -> bool {
    const INSIDE: &[&str] = &[
        "room", "floor", "level", "suite", "building", "wing", "th", "st", "nd", "rd", "desk", "hall", "and",
    ];
    let words = text.split(|it: char| !it.is_alphabetic()).filter(|it| it.len() > 1);
    words.map(str::to_ascii_lowercase).all(|it| INSIDE.contains(&it.as_str()))
}

/// Numbers with a point in them, as versions and amounts have.
fn is_version(text: &str) -> bool {
    text.as_bytes().windows(3).any(|it| it[0].is_ascii_digit() && it[1] == b'.' && it[2].is_ascii_digit())
}

fn people(
    (text, glance): (&str, &Glance),
    spans: &[Span],
    streets: &[Range<usize>],
    found: &mut Vec<Finding>,
) {
    // Streets are in order and apart: the last that begins before the range's end is the one that may touch it.
    let in_street = |range: &Range<usize>| {
        let after = streets.partition_point(|street| street.start < range.end);
        after > 0 && streets[after - 1].end > range.start
    };
    for person in spans.iter().filter(|it| it.kind == Tagged::Name) {
        let range = trimmed(text, person.range.clone());
        let name = &text[range.clone()];
        if !in_street(&range) && is_name(name) && !is_nobody(text, &range) {
            found.push(Finding { kind: Kind::Name, range, confidence: 85 });
        }
    }
    for range in subjects(text).filter(|range| !in_street(range)) {
        found.push(Finding { kind: Kind::Name, range, confidence: 84 });
    }
    for (_, pattern) in NAMED.iter().enumerate().filter(|(index, _)| glance.has_name_word(*index)) {
        for captures in pattern.captures_iter(text) {
            let Some(name) = captures.get(1) else { continue };
            let first = name.as_str().split_whitespace().next().unwrap_or_default();
            if !NO_NAME.contains(&first) && !in_street(&name.range()) {
                found.push(Finding { kind: Kind::Name, range: trimmed(text, name.range()), confidence: 86 });
            }
        }
    }
}

/// A name without what the model takes in at its ends: a title, a possessive, punctuation.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let mut name = &text[range.clone()];
    let mut start = range.start;
    for title in ["Mr. ", "Mrs. ", "Ms. ", "Dr. ", "Mr ", "Mrs ", "Ms ", "Dr ", "Prof. "] {
        if let Some(rest) = name.strip_prefix(title) {
            start += title.len();
            name = rest;
        }
    }
    for ending in ["'s", "’s"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    let name = name.trim_end_matches([' ', ',', '.', ';', ':', '\n']);
    start..start + name.len()
}

/// What forms and tables write in capitals beside a value.
const NO_INITIALS: &[&str] = &[
    "VIN", "SSN", "IBAN", "DOB", "PIN", "CVV", "CVC", "NHS", "NI", "SIN", "UTR", "ITIN", "EIN", "OHIP",
    "SWIFT", "BIC", "ZIP", "ID", "URL", "IP", "MAC", "AWS", "API", "USA", "UK", "US", "EU", "UN", "VAT",
    "PO", "APT", "REF", "TEL", "FAX", "SMS", "ATM", "PDF", "CEO", "CFO", "CTO", "HR", "IT", "OK", "FAQ",
    "NDA", "CV", "AI",
];

/// Names have letters, more than one, and few signs between them.
fn is_name(name: &str) -> bool {
    !NO_INITIALS.contains(&name)
        && name.chars().any(char::is_alphabetic)
        && name.len() > 1
        && !name.contains(['@', '/', '{', '}', '<', '>', '=', '_', '\n', '#', '$', '%'])
        && !name.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles_and_has_its_words() {
        let streets = [STREETS.street.is_some(), STREETS.town.is_some()];
        assert_eq!((NAMED.len() + STREETS.worded.len(), streets), (WORDS.len(), [true; 2]));
    }

    #[test]
    fn streets_are_found_where_they_begin() {
        let found = |text: &str| -> Vec<String> {
            streets(text, &Glance::at(text)).into_iter().map(|it| text[it].to_owned()).collect()
        };
        assert_eq!(
            found("At 12 High Street - or Flat 3, 12 Mill Road."),
            ["12 High Street", "Flat 3, 12 Mill Road"]
        );
        assert_eq!(found("Hauptstraße 14, 10115 Berlin"), ["Hauptstraße 14, 10115 Berlin"]);
        assert!(found("In 1999 we met 12 people on the road.").is_empty());
    }
}
