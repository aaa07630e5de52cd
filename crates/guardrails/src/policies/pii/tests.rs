//! Every type in a sentence, near misses, and time on hostile text.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn found(text: &str) -> Vec<(&'static str, String)> {
    let findings = PiiDetector::all(None).find(text);
    findings.into_iter().map(|it| (it.kind.as_str(), text[it.range].to_owned())).collect()
}

#[test]
fn thanks_name_nobody() {
    assert_eq!(found("Thanks, that was helpful!"), []);
}

#[test]
fn numbers_are_what_the_word_before_them_says() {
    assert_eq!(found("Tel. 612 345 678, please"), [("PHONE", "612 345 678".to_owned())]);
    assert_eq!(found("SIN 046 454 286"), [("CA_SOCIAL_INSURANCE_NUMBER", "046 454 286".to_owned())]);
    assert_eq!(
        found("driver's license F255-921-50-094-0 is"),
        [("DRIVER_ID", "F255-921-50-094-0".to_owned())]
    );
}

#[test]
fn each_type_is_found_where_it_stands() {
    let cases = [
        (
            "ADDRESS",
            "Ship it to 742 Evergreen Terrace, Springfield, IL 62704 please",
            "742 Evergreen Terrace, Springfield, IL 62704",
        ),
        ("AGE", "The patient is 47 years old.", "47 years"),
        ("AWS_ACCESS_KEY", "key AKIAIOSFODNN7EXAMPLE is live", "AKIAIOSFODNN7EXAMPLE"),
        (
            "AWS_SECRET_KEY",
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ),
        ("CA_HEALTH_NUMBER", "OHIP health card 9876-543-217-AB", "9876-543-217-AB"),
        ("CA_SOCIAL_INSURANCE_NUMBER", "SIN 046 454 286", "046 454 286"),
        ("CREDIT_DEBIT_CARD_CVV", "the CVV is 123", "123"),
        ("CREDIT_DEBIT_CARD_EXPIRY", "card expires 09/27", "09/27"),
        ("CREDIT_DEBIT_CARD_NUMBER", "pay with 4111-1111-1111-1111 now", "4111-1111-1111-1111"),
        ("DRIVER_ID", "driver's license number D1234567", "D1234567"),
        ("EMAIL", "write to jane.doe+news@mail.example.co.uk today", "jane.doe+news@mail.example.co.uk"),
        (
            "INTERNATIONAL_BANK_ACCOUNT_NUMBER",
            "IBAN DE89 3704 0044 0532 0130 00 please",
            "DE89 3704 0044 0532 0130 00",
        ),
        ("IP_ADDRESS", "host 192.168.10.254 is down", "192.168.10.254"),
        ("IP_ADDRESS", "host 2001:db8::ff00:42:8329 is down", "2001:db8::ff00:42:8329"),
        ("LICENSE_PLATE", "license plate 7ABC123 was towed", "7ABC123"),
        ("MAC_ADDRESS", "device 00:1A:2B:3C:4D:5E joined", "00:1A:2B:3C:4D:5E"),
        ("NAME", "My name is Anna Schmidt and I need help", "Anna Schmidt"),
        ("PASSWORD", "my password is hunter2!x", "hunter2!x"),
        ("PHONE", "call (415) 555-0132 after noon", "(415) 555-0132"),
        ("PHONE", "ring +44 20 7946 0958 after noon", "+44 20 7946 0958"),
        ("PIN", "the PIN is 4821.", "4821"),
        ("SWIFT_CODE", "SWIFT code DEUTDEFF500", "DEUTDEFF500"),
        ("UK_NATIONAL_HEALTH_SERVICE_NUMBER", "NHS number 943 476 5919", "943 476 5919"),
        ("UK_NATIONAL_INSURANCE_NUMBER", "NI number AB 12 34 56 C", "AB 12 34 56 C"),
        ("UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER", "UTR 12345 67890", "12345 67890"),
        ("URL", "see https://example.com/a/b?c=d.", "https://example.com/a/b?c=d"),
        ("USERNAME", "username: jdoe_1987", "jdoe_1987"),
        ("US_BANK_ACCOUNT_NUMBER", "account number 000123456789", "000123456789"),
        ("US_BANK_ROUTING_NUMBER", "routing number 021000021", "021000021"),
        ("US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER", "ITIN 912-70-1234", "912-70-1234"),
        ("US_PASSPORT_NUMBER", "passport number 340020013", "340020013"),
        ("US_SOCIAL_SECURITY_NUMBER", "SSN 536-90-4399", "536-90-4399"),
        ("VEHICLE_IDENTIFICATION_NUMBER", "VIN 1HGCM82633A004352", "1HGCM82633A004352"),
    ];
    let wrong: Vec<_> =
        cases.iter().filter(|(kind, text, value)| found(text) != [(*kind, (*value).to_owned())]).collect();
    let seen: Vec<_> = wrong.iter().map(|(_, text, _)| found(text)).collect();
    assert!(wrong.is_empty(), "{wrong:#?} {seen:#?}");
    let kinds: std::collections::HashSet<&str> = cases.iter().map(|(kind, _, _)| *kind).collect();
    assert_eq!(kinds.len(), Kind::ALL.len());
}

/// The kinds of what is found.
fn kinds_of(text: &str) -> Vec<&'static str> {
    found(text).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn cards_are_found_however_their_groups_are_parted() {
    for text in [
        "4111/1111/1111/1111",
        "card4111111111111111",
        "Card 4111. 1111. 1111. 1111.",
        "Card:\n4111\n1111\n1111\n1111\nThanks",
        "4111_1111_1111_1111",
        "4111 - 1111 - 1111 - 1111",
        "Amex 3782, 822463, 10005",
    ] {
        assert_eq!(kinds_of(text), ["CREDIT_DEBIT_CARD_NUMBER"], "{text}");
    }
    for text in ["4111\n1111\n1111\n1111\n1112\n", "ref4111111111111112", "4111, 1111, 1111, 1111, 2024"] {
        assert!(!kinds_of(text).contains(&"CREDIT_DEBIT_CARD_NUMBER"), "{text}");
    }
}

#[test]
fn the_firmest_type_wins() {
    assert_eq!(kinds_of("my social is 536 90 4399"), ["US_SOCIAL_SECURITY_NUMBER"]);
    assert_eq!(kinds_of("030 901820 ist meine Nummer"), ["PHONE"]);
    assert_eq!(kinds_of("tel: 0171/1234567"), ["PHONE"]);
    assert_eq!(kinds_of("IBAN DE 89 3704 0044 0532 0130 00"), ["INTERNATIONAL_BANK_ACCOUNT_NUMBER"]);
}

#[test]
fn values_are_found_in_the_forms_that_people_write() {
    for (text, kind, value) in [
        ("my pw is letmein99", "PASSWORD", "letmein99"),
        ("write to john(at)example.com", "EMAIL", "john(at)example.com"),
        ("write to john [at] example [dot] com", "EMAIL", "john [at] example [dot] com"),
        ("host 10[.]0[.]0[.]1 is down", "IP_ADDRESS", "10[.]0[.]0[.]1"),
        ("host 203.0.113[.]7 is down", "IP_ADDRESS", "203.0.113[.]7"),
        ("ping 198 dot 51 dot 100 dot 4 now", "IP_ADDRESS", "198 dot 51 dot 100 dot 4"),
        ("私は田中太郎です", "NAME", "田中太郎"),
        ("田中さんに聞いて", "NAME", "田中"),
    ] {
        assert_eq!(found(text), [(kind, value.to_owned())], "{text}");
    }
}

#[test]
fn code_versions_rooms_companies_and_german_nouns_are_nobody() {
    for text in [
        "router.get('/users/:id', handler)",
        "Python 3.11.4 and Rust 1.80",
        "Room 415, 5th floor",
        "Siemens builds trains.",
        "The Amazon river is long.",
        "We watched Sesame Street.",
        "Ohm's law is simple.",
        "Guten Morgen, Herr Ober, die Rechnung bitte.",
        "Bitte schick mir die Rechnung.",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
    assert_eq!(kinds_of("Ich habe mit Thomas Müller gesprochen."), ["NAME"]);
}

#[test]
fn commands_and_lines_are_nobody() {
    for text in ["Mark the page and grant access.", "Bill our client.", "The Victoria line is closed."] {
        assert_eq!(found(text), [], "{text}");
    }
    for text in ["Mark is here.", "I wrote to Grant.", "Ask Victoria."] {
        assert_eq!(kinds_of(text), ["NAME"], "{text}");
    }
}

#[test]
fn what_only_looks_alike_is_left() {
    for text in [
        "Version 4.12.0 was released in 2023.",
        "The order total is 4111.11 for 1111 units.",
        "Invoice 4111 1111 1111 1112 is due.",
        "Section 12-34-5678 of the code",
        "The meeting is from 10:30 to 11:45 on 2024-05-06.",
        "We sold 1,234,567 units, up 12.5 %.",
        "Your password must have twelve characters.",
        "The username is required.",
        "DOCUMENT and PASSWORD are keywords.",
        "Commit 3f786850e387550fdab836ed7e6dc881de23001b fixed it.",
        "Ratio 16:9 and time 12:30:45",
        "The PIN is required at the counter.",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn sentences_and_codes_are_not_spelled_out_addresses_or_numbers() {
    for text in [
        "Look at example dot the letters are small.",
        "We met at noon dot on time.",
        "Chapter 12.3.4.5 covers taxes.",
        "Firmware 3.8.1.7 is out.",
        "The product code is 555-123-4567-X.",
        "The product code is 555-123-4567-2B.",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
    for (text, kind, value) in [
        ("Write to john at mail dot example dot com any time.", "EMAIL", "john at mail dot example dot com"),
        ("maria [at] firma [dot] DE", "EMAIL", "maria [at] firma [dot] DE"),
        ("The build host 12.3.4.5 is down.", "IP_ADDRESS", "12.3.4.5"),
        ("phone 415/555/0132", "PHONE", "415/555/0132"),
        ("Call 555-123-4567-or write.", "PHONE", "555-123-4567"),
        ("Phone (03) 5550 1234-Office", "PHONE", "(03) 5550 1234"),
        ("555-123-4567-Fax", "PHONE", "555-123-4567"),
    ] {
        assert_eq!(found(text), [(kind, value.to_owned())], "{text}");
    }
}

#[test]
fn disguised_numbers_are_found_where_they_stand() {
    let text = "card ４１１１ １１１１ １１１１ １１１１ and mail a\u{200B}nna＠example.com";
    let values: Vec<String> = found(text).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["４１１１ １１１１ １１１１ １１１１", "a\u{200B}nna＠example.com"]);
}

#[test]
fn a_megabyte_of_near_misses_takes_linear_time() {
    let detector = PiiDetector::all(None);
    let time = |text: &str| {
        let started = Instant::now();
        detector.find(text);
        started.elapsed()
    };
    for unit in [
        "4111 1111 1111 1112 ",
        "536-90-439 ",
        "a@b.",
        "GB82 WEST 1234 5698 7654 33 ",
        "1",
        "aaaa:",
        "http://",
        "(415 555-",
        "A1 ",
        "12 Oak Hill ",
        "Anna ",
        "und ",
        "1\n",
        "5 3 6 - 9 0 - 4 3 9 ",
        "a @ b . ",
    ] {
        let (small, large) = (unit.repeat(60_000 / unit.len()), unit.repeat(960_000 / unit.len()));
        let (small, large) = (time(&small).max(Duration::from_millis(4)), time(&large));
        assert!(large < small * 80, "{unit:?}: {small:?}, then {large:?} for sixteen times as much");
    }
}

proptest! {
    #[test]
    fn findings_are_ranges_of_the_text_in_order(text in "(\\PC|[0-9 @.:-]){0,120}") {
        let findings = PiiDetector::all(None).find(&text);
        let mut end = 0;
        for finding in findings {
            prop_assert!(finding.range.start >= end && text.get(finding.range.clone()).is_some());
            end = finding.range.end;
        }
    }
}
