//! Whether characters can be what they look like: check digits, issued ranges, registered countries.

/// The digits of a text, as numbers.
pub(super) fn digits(text: &str) -> Vec<u8> {
    text.bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect()
}

/// The Luhn check digit of card numbers and Canadian social insurance numbers.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(*digit);
            match place % 2 {
                0 => digit,
                _ if digit > 4 => digit * 2 - 9,
                _ => digit * 2,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// A payment card: a known issuer's prefix, its length, and the check digit.
pub(super) fn card(digits: &[u8]) -> bool {
    let prefix =
        |count: usize| digits.iter().take(count).fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit));
    let (two, three, four) = (prefix(2), prefix(3), prefix(4));
    let known = match digits.len() {
        15 => matches!(two, 34 | 37) || four == 1800 || four == 2131,
        14 => matches!(three, 300..=305) || matches!(two, 36 | 38 | 39),
        12 => matches!(two, 50 | 56..=69),
        13 => digits[0] == 4,
        16..=19 => {
            digits[0] == 4
                || matches!(two, 50..=69)
                || matches!(four, 2221..=2720)
                || matches!(two, 35 | 36 | 38 | 39)
                || matches!(two, 81 | 82)
        }
        _ => false,
    };
    known && luhn(digits) && digits.iter().any(|digit| *digit != digits[0])
}

/// Registered IBAN lengths by country.
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SC", 31),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
];

/// Characters of an IBAN of the country that `text` starts with.
pub(super) fn iban_length(text: &str) -> Option<usize> {
    let country = text.as_bytes().get(..2)?.to_ascii_uppercase();
    IBAN_LENGTHS.iter().find(|(code, _)| code[..] == country).map(|(_, length)| *length)
}

/// The mod-97 check of an IBAN without spaces.
pub(super) fn iban(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 15 || iban_length(text) != Some(bytes.len()) {
        return false;
    }
    let turned = bytes[4..].iter().chain(&bytes[..4]);
    let remainder = turned.fold(0_u32, |remainder, byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte.to_ascii_uppercase().saturating_sub(b'A')) + 10) % 97,
    });
    remainder == 1
}

/// A United States social security number in an issued range.
pub(super) fn ssn(digits: &[u8]) -> bool {
    if digits.len() != 9 {
        return false;
    }
    let number =
        |range: std::ops::Range<usize>| digits[range].iter().fold(0_u32, |sum, it| sum * 10 + u32::from(*it));
    let area = number(0..3);
    area != 0 && area != 666 && area < 900 && number(3..5) != 0 && number(5..9) != 0
}

/// An individual taxpayer identification number in an issued range.
pub(super) fn itin(digits: &[u8]) -> bool {
    let group = || digits[3] * 10 + digits[4];
    digits.len() == 9 && digits[0] == 9 && matches!(group(), 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// A United States bank routing number: a Federal Reserve prefix and the check digit.
pub(super) fn routing(digits: &[u8]) -> bool {
    if digits.len() != 9 {
        return false;
    }
    let prefix = digits[0] * 10 + digits[1];
    let weights = [3_u32, 7, 1, 3, 7, 1, 3, 7, 1];
    let sum: u32 = digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    matches!(prefix, 1..=12 | 21..=32 | 61..=72 | 80) && sum.is_multiple_of(10)
}

/// A vehicle identification number's check digit.
pub(super) fn vin(text: &str) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let value = |byte: u8| match byte.to_ascii_uppercase() {
        digit @ b'0'..=b'9' => Some(u32::from(digit - b'0')),
        letter @ b'A'..=b'H' => Some(u32::from(letter - b'A') + 1),
        letter @ b'J'..=b'N' => Some(u32::from(letter - b'J') + 1),
        b'P' => Some(7),
        b'R' => Some(9),
        letter @ b'S'..=b'Z' => Some(u32::from(letter - b'S') + 2),
        _ => None,
    };
    let bytes = text.as_bytes();
    if bytes.len() != 17 || bytes.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum = bytes.iter().zip(WEIGHTS).try_fold(0, |sum, (byte, weight)| Some(sum + value(*byte)? * weight));
    let check = match bytes[8].to_ascii_uppercase() {
        b'X' => 10,
        digit => u32::from(digit.wrapping_sub(b'0')),
    };
    sum.is_some_and(|sum| sum % 11 == check)
}

/// A National Health Service number's check digit.
pub(super) fn nhs(digits: &[u8]) -> bool {
    if digits.len() != 10 {
        return false;
    }
    let sum: u32 = digits.iter().zip((2..=10).rev()).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    let check = (11 - sum % 11) % 11;
    check != 10 && check == u32::from(digits[9])
}

/// A United Kingdom national insurance number's prefix and suffix.
pub(super) fn national_insurance(text: &str) -> bool {
    let bytes: Vec<u8> =
        text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase()).collect();
    let Some(prefix) = bytes.get(..2) else { return false };
    let unused = [b"BG", b"GB", b"NK", b"KN", b"TN", b"NT", b"ZZ"];
    !unused.iter().any(|it| it[..] == *prefix)
        && !b"DFIQUV".contains(&prefix[0])
        && !b"DFIQUVO".contains(&prefix[1])
        && bytes.len() == 9
}

/// The two letters of a country that banks have codes in.
pub(super) fn bank_country(code: &str) -> bool {
    const MORE: &str = "US CA AU NZ JP CN HK SG IN ZA MX AR CL CO PE TH MY PH ID VN KR TW RU NG KE GH MA DZ UY PY BO EC PA JM BS BM KY LK BD NP MM KH MO";
    iban_length(code).is_some() || MORE.split(' ').any(|it| it == code)
}

/// Characters drawn at random rather than written: no hexadecimal hash, both cases, and digits.
pub(super) fn looks_random(text: &str) -> bool {
    let has = |test: fn(&u8) -> bool| text.as_bytes().iter().any(test);
    has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_digit)
        && text.bytes().any(|byte| !byte.is_ascii_hexdigit())
}

/// Words that stand where a secret would but are none.
pub(super) const NO_SECRET: &[&str] = &[
    "the",
    "and",
    "not",
    "for",
    "was",
    "has",
    "are",
    "required",
    "reset",
    "incorrect",
    "invalid",
    "expired",
    "wrong",
    "protected",
    "changed",
    "missing",
    "empty",
    "correct",
    "weak",
    "strong",
    "secure",
    "forgotten",
    "stored",
    "too",
    "must",
    "should",
    "can",
    "field",
    "policy",
    "manager",
    "page",
    "screen",
    "form",
    "your",
    "their",
    "our",
    "his",
    "her",
    "this",
    "that",
    "with",
    "from",
    "via",
    "sent",
    "needed",
    "never",
    "only",
    "already",
    "being",
    "been",
    "still",
    "now",
    "case",
    "optional",
    "unknown",
    "hashed",
    "encrypted",
    "stuff",
    "set",
    "different",
    "same",
    "new",
    "old",
    "very",
    "longer",
    "shared",
    "about",
    "automatically",
    "updated",
    "available",
    "unique",
    "taken",
    "displayed",
    "shown",
    "in",
    "on",
    "at",
    "a",
    "an",
    "to",
    "is",
    "it",
    "of",
    "or",
    "unchanged",
    "compromised",
    "leaked",
    "generated",
    "blank",
    "null",
    "none",
    "string",
    "hidden",
    "masked",
    "accepted",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_good_and_bad_numbers() {
        for number in [
            "4111111111111111",
            "5555555555554444",
            "378282246310005",
            "6011111111111117",
            "30569309025904",
            "3530111333300000",
        ] {
            assert!(card(&digits(number)), "{number}");
        }
        assert!(!card(&digits("4111111111111112")) && !card(&digits("1234567890123452")));
        assert!(
            iban("GB82WEST12345698765432")
                && iban("DE89370400440532013000")
                && !iban("GB82WEST12345698765433")
        );
        assert!(ssn(&digits("123-45-6789")) && !ssn(&digits("666-45-6789")) && !ssn(&digits("123-00-6789")));
        assert!(itin(&digits("912-70-1234")) && !itin(&digits("912-68-1234")));
        assert!(routing(&digits("021000021")) && !routing(&digits("021000022")));
        assert!(vin("1HGCM82633A004352") && vin("1M8GDM9AXKP042788") && !vin("1HGCM82633A004353"));
        assert!(nhs(&digits("943 476 5919")) && !nhs(&digits("943 476 5918")));
        assert!(national_insurance("AB 12 34 56 C") && !national_insurance("GB123456C"));
        assert!(luhn(&digits("046 454 286")));
    }
}
