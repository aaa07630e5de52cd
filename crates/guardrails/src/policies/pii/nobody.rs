//! What looks like a name and is nobody's: things, companies, places, commands, exclamations.
//!
//! The tagger decides by what stands around a word; these rules know what settles it.

use std::ops::Range;

use super::tagger::{Tagger, flags};
use crate::text::View;

/// Whether what the tagger takes for a person is none.
pub(super) fn is_nobody(text: &str, range: &Range<usize>) -> bool {
    is_plain(&text[range.clone()])
        || is_thing(text, range)
        || is_product(&text[range.end..])
        || is_command(text, range)
        || is_place_or_company(text, range)
        || is_german_noun(text, range)
}

/// Whether what follows a name makes it a product's: the sign of a mark, or a version that no amount or mark looks like.
fn is_product(behind: &str) -> bool {
    const MARKS: &[&str] = &["®", "™", " ®", " ™", "(TM)", " (TM)", "(R)"];
    let word = behind.strip_prefix(' ').unwrap_or_default();
    let word = word
        .split([' ', ',', '\n'])
        .next()
        .unwrap_or_default()
        .trim_end_matches(['.', '?', '!', ':', ';', ')']);
    let number = word.strip_prefix(['v', 'V']).unwrap_or(word);
    let parts = number.split('.').count();
    let numbers =
        number.split('.').all(|part| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit()));
    MARKS.iter().any(|mark| behind.starts_with(mark))
        || numbers && (number.len() < word.len() || parts == 3 && number.len() < 9)
}

/// Whether a name is in small letters and none that anybody is known to have: a word that stands where a name might.
fn is_plain(name: &str) -> bool {
    let known = |word: &str| {
        Tagger::shipped().gazetteer.flags(View::folded(word).text()) & (flags::FIRST | flags::LAST) != 0
    };
    name.chars().all(|it| !it.is_alphabetic() || it.is_lowercase()) && !name.split(' ').any(known)
}

/// Whether one word that looks like a name is a thing of that name, by the word before it: "any Dell adapter", "a Harley".
/// "The" says nothing, as families have it too.
fn is_thing(text: &str, range: &Range<usize>) -> bool {
    let before = text[..range.start].trim_end_matches(' ').rsplit(|it: char| !it.is_alphabetic()).next();
    let article =
        before.is_some_and(|word| ARTICLES.iter().any(|article| article.eq_ignore_ascii_case(word)));
    article && !text[range.clone()].contains(' ')
}

/// Whether a first name that is a verb too says what to do with something: "Mark the page", "Bill our client".
fn is_command(text: &str, range: &Range<usize>) -> bool {
    const VERBS: &[&str] = &[
        "Bill", "Bob", "Carry", "Chase", "Chuck", "Drew", "Grace", "Grant", "Hunt", "Jack", "Josh", "Mark",
        "Nick", "Pat", "Pierce", "Rob", "Skip", "Sue", "Trace", "Wade",
    ];
    const WHAT: &[&str] = &[
        "the", "a", "an", "all", "any", "each", "every", "my", "your", "our", "their", "this", "these", "it",
    ];
    let mut behind = text[range.end..].strip_prefix(' ').unwrap_or_default().split(' ');
    VERBS.contains(&&text[range.clone()])
        && behind.next().is_some_and(|word| WHAT.contains(&word))
        && behind.next().is_none_or(|word| word.starts_with(char::is_lowercase))
}

/// Whether what looks like a name is a street, a river or a company, by its last word, the word behind it, or as the whole
/// world knows it.
fn is_place_or_company(text: &str, range: &Range<usize>) -> bool {
    const LAST: &[&str] = &[
        "Street",
        "Avenue",
        "Road",
        "Lane",
        "Boulevard",
        "River",
        "Lake",
        "Bridge",
        "Park",
        "Airport",
        "University",
        "Bank",
        "Airlines",
    ];
    const BEHIND: &[&str] = &[
        "river",
        "lake",
        "street",
        "bridge",
        "rainforest",
        "basin",
        "mountains",
        "delta",
        "line",
        "station",
    ];
    let name = &text[range.clone()];
    let last = name.rsplit(' ').next().unwrap_or_default();
    let behind = text[range.end..].strip_prefix(' ').unwrap_or_default();
    let behind = behind.split(|it: char| !it.is_alphabetic()).next().unwrap_or_default();
    COMPANIES.contains(&last)
        || is_of_science(&text[range.end..])
        || name.contains(' ') && LAST.contains(&last)
        || BEHIND.contains(&behind)
        || KNOWN_COMPANIES.contains(&name)
}

/// Whether what follows a name makes it a law or an illness: "Ohm's law".
fn is_of_science(behind: &str) -> bool {
    const OF: &[&str] = &[
        "law",
        "laws",
        "disease",
        "syndrome",
        "theorem",
        "principle",
        "equation",
        "equations",
        "paradox",
        "lymphoma",
    ];
    let behind = behind.strip_prefix("'s").unwrap_or(behind);
    behind.strip_prefix(' ').is_some_and(|rest| {
        OF.contains(&rest.split(|it: char| !it.is_alphabetic()).next().unwrap_or_default())
    })
}

/// Companies that are known by one word, where it is a family's name too or reads like one.
const KNOWN_COMPANIES: &[&str] = &[
    "Accenture",
    "Adidas",
    "Airbus",
    "Aldi",
    "Allianz",
    "Audi",
    "Bayer",
    "Boeing",
    "Bosch",
    "Carrefour",
    "Chanel",
    "Cisco",
    "Deloitte",
    "Disney",
    "Ericsson",
    "Facebook",
    "Ferrari",
    "Google",
    "Gucci",
    "Heineken",
    "Hitachi",
    "Honda",
    "Huawei",
    "Hyundai",
    "Ikea",
    "Intel",
    "Kellogg",
    "Lego",
    "Lenovo",
    "Lidl",
    "Lufthansa",
    "Maersk",
    "Mazda",
    "Michelin",
    "Microsoft",
    "Motorola",
    "Nestle",
    "Nestlé",
    "Netflix",
    "Nike",
    "Nintendo",
    "Nissan",
    "Nokia",
    "Novartis",
    "Nvidia",
    "Oracle",
    "Panasonic",
    "Peugeot",
    "Pfizer",
    "Philips",
    "Porsche",
    "Prada",
    "Renault",
    "Ryanair",
    "Samsung",
    "Siemens",
    "Sony",
    "Spotify",
    "Starbucks",
    "Suzuki",
    "Tesla",
    "Toshiba",
    "Toyota",
    "Unilever",
    "Vodafone",
    "Volkswagen",
    "Volvo",
    "Walmart",
    "Yamaha",
    "Zara",
];

/// Whether the sentence is German, where every noun has a capital letter, and nobody is known to have this name.
fn is_german_noun(text: &str, range: &Range<usize>) -> bool {
    const GERMAN: &[&str] = &[
        "der", "die", "das", "und", "ist", "nicht", "bitte", "ich", "wir", "ein", "eine", "einen", "mit",
        "für", "auf", "den", "dem", "zu", "vom", "zum", "zur", "im", "Sie", "Ihre", "Herr", "Frau",
    ];
    const GREETINGS: &[&str] = &[
        "Guten", "Gute", "Morgen", "Tag", "Abend", "Nacht", "Hallo", "Danke", "Bitte", "Ober", "Kellner",
        "Rechnung", "Sehr", "Liebe", "Lieber", "Grüße", "Gruß", "Mit", "Herr", "Frau", "Damen", "Herren",
    ];
    let start = text[..range.start].rfind(['.', '!', '?', '\n']).map_or(0, |at| at + 1);
    let end = text[range.end..].find(['.', '!', '?', '\n']).map_or(text.len(), |at| range.end + at);
    let (start, end) = (
        start.max(text.floor_char_boundary(range.start.saturating_sub(200))),
        end.min(text.floor_char_boundary(range.end + 200)),
    );
    let mut words = text[start..end].split(|it: char| !it.is_alphabetic());
    if !words.any(|word| GERMAN.contains(&word)) {
        return false;
    }
    let name = &text[range.clone()];
    let known = |word: &str| {
        Tagger::shipped().gazetteer.flags(View::folded(word).text()) & (flags::FIRST | flags::LAST) != 0
    };
    let mut parts = name.split([' ', '-']).filter(|it| !it.is_empty());
    parts.all(|it| GREETINGS.contains(&it) || !known(it))
        && text[..range.start].trim_end().rsplit(' ').next() != Some("Frau")
}

const ARTICLES: &[&str] = &["a", "an", "any", "every", "each", "another"];

/// Last words of companies' names.
pub(super) const COMPANIES: &[&str] = &[
    "Inc",
    "Ltd",
    "LLC",
    "Corp",
    "Corporation",
    "GmbH",
    "Group",
    "Holdings",
    "PLC",
    "plc",
    "AG",
    "Limited",
    "SA",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_letters_are_a_name_where_somebody_is_known_to_have_it() {
        for plain in ["helpful", "very helpful", "o'clock"] {
            assert!(is_plain(plain), "{plain}");
        }
        for name in ["Helpful", "anna", "anna helpful", "王伟", "JOHN"] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn versions_and_marks_are_of_products() {
        for product in ["® filters", "™", " (TM)", " 10.1.3 is out", " v3", " v2.1,", " 4.2.1."] {
            assert!(is_product(product), "{product}");
        }
        for person in [
            "",
            ".",
            " 3 times",
            " 3.16",
            " 1.7, Ben 2.3",
            " v. Jones",
            " van Dyk",
            " 2.5% more",
            " 12.11.2024",
        ] {
            assert!(!is_product(person), "{person}");
        }
    }
}
