use time::format_description::well_known::Rfc2822;
use time::{Date, Month, OffsetDateTime, Time, UtcDateTime};

/// `YYYYMMDDTHHMMSSZ`, as `X-Amz-Date` is written.
pub fn amz_date(ms: i64) -> String {
    let at = UtcDateTime::from_unix_timestamp(ms.div_euclid(1000)).unwrap_or(UtcDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    let year = date.year().rem_euclid(10_000);
    // By hand: every signed request has one, and the formatter takes many times as long.
    let mut text = String::with_capacity(16);
    let mut push = |number: u8, end: &str| {
        text.extend([char::from(b'0' + number / 10), char::from(b'0' + number % 10)]);
        text.push_str(end);
    };
    for half in [year / 100, year % 100] {
        push(u8::try_from(half).unwrap_or_default(), "");
    }
    push(u8::from(date.month()), "");
    push(date.day(), "T");
    push(time.hour(), "");
    push(time.minute(), "");
    push(time.second(), "Z");
    text
}

/// Milliseconds since the Unix epoch of a `YYYYMMDDTHHMMSSZ` time.
pub fn parse_amz_date(text: &str) -> Option<i64> {
    let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
    if bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .try_fold(0_u16, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u16::from(digit - b'0')))
    };
    let small = |range| number(range).and_then(|value| u8::try_from(value).ok());
    let month = Month::try_from(small(4..6)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0..4)?), month, small(6..8)?).ok()?;
    let time = Time::from_hms(small(9..11)?, small(11..13)?, small(13..15)?).ok()?;
    Some(UtcDateTime::new(date, time).unix_timestamp() * 1000)
}

/// Milliseconds of a `Date` header, which is either form: `X-Amz-Date`'s or RFC 2822's.
pub(super) fn parse_date_header(text: &str) -> Option<i64> {
    if let Some(ms) = parse_amz_date(text) {
        return Some(ms);
    }
    // Bounded, since a date is short.
    let text = text.get(..text.len().min(64))?;
    let at = OffsetDateTime::parse(text, &Rfc2822)
        .or_else(|_| OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822));
    at.ok().map(|at| at.unix_timestamp() * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip() {
        for text in ["19700101T000000Z", "20240229T235959Z", "20991231T000001Z"] {
            assert_eq!(amz_date(parse_amz_date(text).unwrap()), text);
        }
        assert_eq!(parse_amz_date("20150830T123600Z"), Some(1_440_938_160_000));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "20230229T000000Z",
            "20240101T250000Z",
            "2024-01-01T00:00Z",
            "20240101T000000z",
            "２0240101T00000Z",
        ] {
            assert_eq!(parse_amz_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_header_may_be_in_the_http_form() {
        assert_eq!(parse_date_header("Sun, 30 Aug 2015 12:36:00 GMT"), Some(1_440_938_160_000));
        assert_eq!(parse_date_header("20150830T123600Z"), Some(1_440_938_160_000));
        assert_eq!(parse_date_header("yesterday"), None);
    }
}
