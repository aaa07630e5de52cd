//! The patterns themselves, and what is checked of what they match.

use craton_api_bedrock::GuardrailPiiEntityType as Kind;

use super::glance::Needs;
use super::validators::*;

fn any(_: &str) -> bool {
    true
}

fn secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    text.len() >= 3 && !NO_SECRET.contains(&lower.as_str())
}

/// A value that could be a name of an account: not a plain English word that follows "username is".
fn account_name(text: &str) -> bool {
    secret(text) && !text.contains('@') && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn mixed(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) && text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn age(text: &str) -> bool {
    digits(text).iter().fold(0_u32, |sum, it| sum * 10 + u32::from(*it)) <= 122
}

fn email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return true };
    !local.is_empty() && local.len() <= 64 && !domain.contains("..") && !local.contains("..")
}

/// What spelled-out addresses end with: a list, as sentences have "at" and "dot" too.
const ENDS: &str = "com org net edu gov mil int info biz name io ai co app dev xyz online site shop tech eu uk us ca au \
                    nz ie de at ch fr be nl lu it es pt se no dk fi is pl cz sk hu ro bg gr hr si ee lv lt ua ru tr il in jp \
                    cn kr tw hk sg br mx ar cl za me tv example test";

/// "jo at example dot com", but not "at noon dot on"; brackets say enough.
fn spelled_email(text: &str) -> bool {
    let end = text.rsplit(|it: char| !it.is_ascii_alphabetic()).next().unwrap_or_default();
    text.contains(['[', '(', '{']) || ENDS.split_ascii_whitespace().any(|it| it.eq_ignore_ascii_case(end))
}

fn ip_v4(text: &str) -> bool {
    text.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Dots that are written so that nobody follows them: `10[.]0[.]0[.]1`, "10 dot 0 dot 0 dot 1".
fn guarded_ip_v4(text: &str) -> bool {
    let numbers: Vec<&str> =
        text.split(|it: char| !it.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    numbers.len() == 4 && ip_v4(&numbers.join("."))
}

fn ip_v6(text: &str) -> bool {
    text.matches(':').count() >= 2 && text.len() >= 4 && text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn hex_mac(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_alphabetic())
}

fn swift(text: &str) -> bool {
    bank_country(&text[4..6])
}

fn ssn_text(text: &str) -> bool {
    ssn(&digits(text))
}

fn itin_text(text: &str) -> bool {
    itin(&digits(text))
}

fn routing_text(text: &str) -> bool {
    routing(&digits(text))
}

fn sin_text(text: &str) -> bool {
    let digits = digits(text);
    digits.len() == 9 && digits[0] != 8 && luhn(&digits)
}

fn nhs_text(text: &str) -> bool {
    nhs(&digits(text))
}

fn plate(text: &str) -> bool {
    let has = |test: fn(&u8) -> bool| text.as_bytes().iter().any(test);
    has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && (4..=9).contains(&text.len())
}

fn url(text: &str) -> bool {
    text.contains('.') || text.contains("localhost") || text.contains("://[")
}

/// Type, pattern, words of which one must be near, check, confidence, and what a text must have for it to match at all.
pub(super) struct Spec(
    pub(super) Kind,
    pub(super) &'static str,
    pub(super) &'static [&'static str],
    pub(super) fn(&str) -> bool,
    pub(super) u8,
    pub(super) Needs,
);

pub(super) const SPECS: &[Spec] = &[
    Spec(
        Kind::Email,
        r"[\w.!#$%&'*+/=?^`{|}~-]+@(?:[\p{L}\d](?:[\p{L}\d-]*[\p{L}\d])?\.)+\p{L}{2,24}",
        &[],
        email,
        99,
        Needs::Byte(b'@'),
    ),
    Spec(
        Kind::Email,
        r"(?i)\b[a-z0-9._%+-]{2,64}\s?(?:\[at\]|\(at\)|\{at\}| at )\s?[a-z0-9-]{2,63}(?:\s?(?:\[dot\]|\(dot\)|\{dot\}| dot )\s?[a-z]{2,24}){1,3}\b",
        &[],
        spelled_email,
        90,
        Needs::Word(&["[dot]", "(dot)", "{dot}", " dot "]),
    ),
    Spec(
        Kind::Email,
        r"(?i)\b[a-z0-9._%+-]{2,64}\s?(?:\[at\]|\(at\)|\{at\})\s?(?:[a-z0-9-]{2,63}\.){1,4}[a-z]{2,24}\b",
        &[],
        any,
        90,
        Needs::Word(&["[at]", "(at)", "{at}"]),
    ),
    Spec(
        Kind::Url,
        r#"(?i)\b(?:https?|ftp)://[^\s<>"'`{}|\\^]{3,}[^\s<>"'`{}|\\^.,;:!?)\]]"#,
        &[],
        url,
        97,
        Needs::Byte(b':'),
    ),
    Spec(
        Kind::Url,
        r#"(?i)\bwww\.[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}(?:/[^\s<>"'`{}|\\^]*[^\s<>"'`{}|\\^.,;:!?)\]])?"#,
        &[],
        any,
        95,
        Needs::Word(&["www."]),
    ),
    Spec(
        Kind::Url,
        r#"(?i)\b(?:[a-z0-9-]{1,63}\.){1,4}(?:com|org|net|io|co|gov|edu|info|dev|app|ai|uk|de|fr|eu|ca|au|me|biz|us|shop|xyz|online|site|tech)(?:/[^\s<>"'`{}|\\^]*[^\s<>"'`{}|\\^.,;:!?)\]]|/)"#,
        &[],
        any,
        85,
        Needs::Word(&[
            ".com/", ".org/", ".net/", ".io/", ".co/", ".gov/", ".edu/", ".info/", ".dev/", ".app/", ".ai/",
            ".uk/", ".de/", ".fr/", ".eu/", ".ca/", ".au/", ".me/", ".biz/", ".us/", ".shop/", ".xyz/",
            ".online/", ".site/", ".tech/",
        ]),
    ),
    Spec(Kind::IpAddress, r"\b\d{1,3}(?:\.\d{1,3}){3}\b", &[], ip_v4, 90, Needs::Between(b'.')),
    Spec(
        Kind::IpAddress,
        r"(?i)\b\d{1,3}(?:(?:\[\.\]|\(\.\)|\{\.\}|\[dot\]|\(dot\)| dot |\.)\d{1,3}){3}\b",
        &[],
        guarded_ip_v4,
        90,
        Needs::Word(&["[.]", "(.)", "{.}", "[dot]", "(dot)", " dot "]),
    ),
    Spec(
        Kind::IpAddress,
        r"(?i)(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?:\.\d{1,3}){0,3}",
        &[],
        ip_v6,
        92,
        Needs::Byte(b':'),
    ),
    Spec(
        Kind::MacAddress,
        r"(?i)\b[0-9a-f]{2}(?:(?::[0-9a-f]{2}){5}|(?:-[0-9a-f]{2}){5}|(?: [0-9a-f]{2}){5})\b",
        &[],
        hex_mac,
        96,
        Needs::Nothing,
    ),
    Spec(
        Kind::MacAddress,
        r"(?i)\b[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}\b",
        &[],
        hex_mac,
        93,
        Needs::Byte(b'.'),
    ),
    Spec(
        Kind::AwsAccessKey,
        r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA|ASCA|ABIA|ACCA)[A-Z0-9]{16}\b",
        &[],
        any,
        99,
        Needs::Word(&["akia", "asia", "aroa", "aida", "agpa", "anpa", "anva", "asca", "abia", "acca"]),
    ),
    Spec(
        Kind::AwsSecretKey,
        r"(?:^|[^A-Za-z0-9/+=])([A-Za-z0-9/+]{40})(?:$|[^A-Za-z0-9/+=])",
        &[
            "secret",
            "secret_access_key",
            "aws_secret_access_key",
            "secretaccesskey",
            "secret key",
            "akia",
            "aws",
            "credential",
            "access key",
        ],
        looks_random,
        95,
        Needs::Nothing,
    ),
    Spec(Kind::UsSocialSecurityNumber, r"\b\d{3}-\d{2}-\d{4}\b", &[], ssn_text, 97, Needs::Between(b'-')),
    Spec(
        Kind::UsSocialSecurityNumber,
        r"\b(?:\d{3}[ .]\d{2}[ .]\d{4}|\d{9})\b",
        &[
            "ssn",
            "social security",
            "social-security",
            "ss#",
            "ss number",
            "ssns",
            "soc sec",
            "social",
            "socials",
        ],
        ssn_text,
        96,
        Needs::Digit,
    ),
    Spec(
        Kind::UsIndividualTaxIdentificationNumber,
        r"\b9\d{2}-\d{2}-\d{4}\b",
        &[],
        itin_text,
        96,
        Needs::Between(b'-'),
    ),
    Spec(
        Kind::UsIndividualTaxIdentificationNumber,
        r"\b9\d{2}[ -]?\d{2}[ -]?\d{4}\b",
        &["itin", "taxpayer", "tax id", "tax identification"],
        itin_text,
        96,
        Needs::Digit,
    ),
    Spec(Kind::UsPassportNumber, r"(?i)\b[a-z]?\d{8,9}\b", &["passport"], any, 92, Needs::Digit),
    Spec(
        Kind::DriverId,
        r"\b(?:[A-Z]{1,3}[ -]?\d{3}[ -]?\d{3,6}(?:[ -]?\d{1,5}){0,3}|[A-Z]?\d{6,12}|[A-Z]{1,2}\d{3,12}[A-Z]?|\d{1,3}[A-Z]{1,2}\d{3,8})\b",
        &[
            "driver",
            "driving licence",
            "driving license",
            "drivers license",
            "driver's license",
            "drivers licence",
            "driver's licence",
            "dl number",
            "dl#",
            "dl no",
            "dl",
            "license no",
            "license number",
            "licence number",
        ],
        any,
        88,
        Needs::Digit,
    ),
    Spec(Kind::DriverId, r"\b[A-Z9]{5}\d{6}[A-Z9]{2}[A-Z0-9]\d?[A-Z]{2}\b", &[], any, 92, Needs::Run(16)),
    Spec(
        Kind::LicensePlate,
        r"\b[A-Z0-9]{1,4}(?:[ -]?[A-Z0-9]{1,4}){1,2}\b",
        &[
            "plate",
            "license plate",
            "licence plate",
            "number plate",
            "plates",
            "registration",
            "reg",
            "tag number",
            "rego",
        ],
        plate,
        84,
        Needs::Digit,
    ),
    Spec(
        Kind::LicensePlate,
        r"\b[A-Z]{2}\d{2} ?[A-Z]{3}\b",
        &["car", "vehicle", "van", "parked", "plate", "truck", "driving"],
        any,
        85,
        Needs::Digit,
    ),
    Spec(Kind::VehicleIdentificationNumber, r"(?i)\b[A-HJ-NPR-Z0-9]{17}\b", &[], vin, 97, Needs::Run(17)),
    Spec(
        Kind::VehicleIdentificationNumber,
        r"\b[A-HJ-NPR-Z0-9]{17}\b",
        &["vin", "vehicle identification", "chassis"],
        mixed,
        94,
        Needs::Digit,
    ),
    Spec(
        Kind::UkNationalInsuranceNumber,
        r"(?i)\b[a-z]{2}[ -]?\d{2}[ -]?\d{2}[ -]?\d{2}[ -]?[a-d]\b",
        &[],
        national_insurance,
        96,
        Needs::Digit,
    ),
    Spec(
        Kind::UkNationalHealthServiceNumber,
        r"\b\d{3}[ -]?\d{3}[ -]?\d{4}\b",
        &["nhs", "national health", "patient", "health service"],
        nhs_text,
        97,
        Needs::Digit,
    ),
    Spec(
        Kind::UkUniqueTaxpayerReferenceNumber,
        r"\b\d{5} ?\d{5}\b",
        &["utr", "taxpayer reference", "tax reference", "self assessment", "self-assessment", "hmrc"],
        any,
        95,
        Needs::Digit,
    ),
    Spec(Kind::CaSocialInsuranceNumber, r"\b\d{3}[ -]\d{3}[ -]\d{3}\b", &[], sin_text, 94, Needs::Digit),
    Spec(
        Kind::CaSocialInsuranceNumber,
        r"\b\d{3}[ -]?\d{3}[ -]?\d{3}\b",
        &["sin", "social insurance", "nas"],
        sin_text,
        96,
        Needs::Digit,
    ),
    Spec(
        Kind::CaHealthNumber,
        r"\b(?:\d{4}[ -]?\d{3}[ -]?\d{3}(?:[ -]?[A-Z]{2})?|[A-Z]{4} ?\d{4} ?\d{4}|\d{10})\b",
        &[
            "health card",
            "ohip",
            "health number",
            "ramq",
            "health insurance",
            "phn",
            "carte soleil",
            "personal health",
            "healthcare number",
            "medicare",
        ],
        any,
        95,
        Needs::Digit,
    ),
    Spec(
        Kind::UsBankRoutingNumber,
        r"\b\d{9}\b",
        &["routing", "aba", "rtn", "transit", "wire", "ach"],
        routing_text,
        96,
        Needs::Digit,
    ),
    Spec(
        Kind::UsBankAccountNumber,
        r"(?i)\b(?:account|acct|a/c|checking|savings)(?:\s+(?:number|no|num|#|id))?\.?\s*(?:is|was|:|=|#|ending|-)?\s*#?\s?(\d(?:[ -]?\d){5,16})\b",
        &[],
        any,
        90,
        Needs::Word(&["account", "acct", "a/c", "checking", "savings"]),
    ),
    Spec(
        Kind::UsBankAccountNumber,
        r"\b\d{8,17}\b",
        &[
            "bank account",
            "account number",
            "account no",
            "acct",
            "direct deposit",
            "checking",
            "savings account",
            "bank acct",
            "deposit to account",
        ],
        any,
        86,
        Needs::Digit,
    ),
    Spec(
        Kind::SwiftCode,
        r"\b[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?\b",
        &["swift", "bic", "bank", "wire", "iban", "swift/bic"],
        swift,
        93,
        Needs::Nothing,
    ),
    Spec(
        Kind::CreditDebitCardCvv,
        r"(?i)\b(?:cvv2?|cvc2?|cv2|cid|security code|card verification(?: (?:code|value|number))?)\W{0,4}(?:(?:number|code|no|is|of|was|on the back)\W{0,3}){0,3}(\d{3,4})\b",
        &[],
        any,
        96,
        Needs::Word(&["cvv", "cvc", "cv2", "cid", "security code", "card verification"]),
    ),
    Spec(
        Kind::CreditDebitCardExpiry,
        r"(?i)\b(?:exp(?:iry|ir(?:es|ing|ation))?\.?(?: ?date)?|valid (?:thru|through|until|till|to)|good thru)\W{0,4}(?:(?:is|on|of|date|in)\W{1,3}){0,2}((?:0?[1-9]|1[0-2])\s?[/-]\s?(?:20\d{2}|\d{2})|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?,? ?(?:20)?\d{2})\b",
        &[
            "card",
            "visa",
            "mastercard",
            "amex",
            "exp",
            "expiry",
            "expiration",
            "valid thru",
            "cvv",
            "valid through",
            "expires",
            "credit",
            "debit",
        ],
        any,
        92,
        Needs::Digit,
    ),
    Spec(
        Kind::CreditDebitCardExpiry,
        r"\b(?:0[1-9]|1[0-2])/(?:20)?[2-4]\d\b",
        &["card", "visa", "mastercard", "amex", "cvv", "cvc"],
        any,
        86,
        Needs::Byte(b'/'),
    ),
    Spec(
        Kind::Pin,
        r"(?i)\bpin\b(?:\s?(?:code|number|no))?\W{0,4}(?:(?:is|was|of|to|number)\W{1,3}){0,2}(\d{4,8})\b",
        &[],
        any,
        94,
        Needs::Word(&["pin"]),
    ),
    Spec(
        Kind::Password,
        r#"(?i)\b(?:password|passwd|passphrase|passcode|pwd|pw)\b["']?\s?(?:(?:is|was)\s+(?:set to\s+|now\s+|still\s+)?|(?:set|changed|reset) to\s+|[:=]\s?)["'`]?([^\s"'`]{3,64}[^\s"'`.,;:!?)])"#,
        &[],
        secret,
        90,
        Needs::Word(&["password", "passwd", "passphrase", "passcode", "pwd", "pw"]),
    ),
    Spec(
        Kind::Username,
        r#"(?i)\b(?:user ?name|user ?id|user-name|login(?: name| id)?|screen ?name|account name|handle)\b["']?\s?(?:is\s+|was\s+|[:=]\s?)["'`@]?([a-z0-9._@-]{2,40}[a-z0-9_])"#,
        &[],
        account_name,
        88,
        Needs::Word(&["user", "login", "screen", "account name", "handle"]),
    ),
    // The quantity and the unit of time, as the service describes the type: "40 years" of "I am 40 years old".
    Spec(
        Kind::Age,
        r"(?i)\b((?:\d{1,3}|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)[- ]?(?:years?|yrs?\.?|months?))[- ](?:of age|old|young)\b",
        &[],
        age,
        92,
        Needs::Word(&["of age", "old", "young"]),
    ),
    Spec(
        Kind::Age,
        r"(?i)\b(?:aged?|age is|age of|turn|turns|turned|turning)(?:\s+(?:is|of|about|around|only|just|:))?\s*[:=]?\s*(\d{1,3})\b",
        &[],
        age,
        88,
        Needs::Word(&["age", "turn"]),
    ),
    Spec(
        Kind::Age,
        r"(?i)\b(?:i am|i'm|i was|(?:he|she|who)(?: is| was|'s))\s+(?:only |just |about |around )?(\d{1,3})(?:\s+(?:and|now|today|when|at the time)\b|[.,!;?)\n]|$)",
        &[],
        age,
        82,
        Needs::Digit,
    ),
    Spec(
        Kind::Age,
        r"(?i)\b(?:am|is|are|was|be|i'm|(?:he|she)'s|i'll be|(?:he|she|who) will be)\s+(?:only |just |about |around |now |over |almost )?(\d{1,3} (?:years|yrs|months))\b",
        &[],
        age,
        84,
        Needs::Word(&["years", "yrs", "months"]),
    ),
    Spec(
        Kind::Age,
        r"(?i)\b(?:will be|'ll be|turn(?:s|ed|ing)?) (\d{1,3})(?:\s+(?:next|this|on|in|today|tomorrow|soon|years)\b|[.,!;?\n]|$)",
        &[],
        age,
        82,
        Needs::Word(&["will be", "'ll be", "turn"]),
    ),
    Spec(
        Kind::Age,
        r"(?i)\bage(?:d)?(?: of)?[ :=]+(?:is )?(\d{1,3}(?: (?:years|yrs|months))?)\b",
        &[],
        age,
        90,
        Needs::Word(&["age"]),
    ),
    Spec(
        Kind::Age,
        r"(?i)\b(\d{1,3}[- ]?(?:y/o|yo|y\.o\.))",
        &[],
        age,
        90,
        Needs::Word(&["y/o", "yo", "y.o."]),
    ),
];
