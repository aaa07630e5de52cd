//! How the values of numeric, date, IP address and binary conditions are read.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Milliseconds since the Unix epoch of an ISO 8601 date as the W3C profiles it (`2012`, `2012-01`, `2012-01-31`,
/// `2012-01-31T10:20Z`, with seconds, fractions and offsets) or of epoch seconds.
pub(super) fn date_ms(text: &str) -> Option<i64> {
    let epoch = text.strip_prefix('-').unwrap_or(text);
    let digits = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit());
    // Four digits are a year.
    if digits && text.len() != 4 {
        return text.parse::<i64>().ok()?.checked_mul(1000);
    }
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut fields = date.split('-').map(|field| (field.len(), number(field)));
    let year = fields.next().filter(|(length, _)| *length == 4)?.1?;
    let mut two = |default: u32| match fields.next() {
        None => Some(default),
        Some((2, value)) => value,
        Some(_) => None,
    };
    let (month, day) = (two(1)?, two(1)?);
    if fields.next().is_some() {
        return None;
    }
    let month = time::Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date =
        time::Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    let midnight_ms = date.midnight().assume_utc().unix_timestamp() * 1000;
    match time {
        None => Some(midnight_ms),
        // A time needs a whole date.
        Some(_) if text.split('T').next()?.len() != 10 => None,
        Some(time) => Some(midnight_ms + time_ms(time)?),
    }
}

/// `hh:mm[:ss[.fraction]]` and `Z` or `±hh:mm`, in milliseconds from midnight, UTC.
fn time_ms(text: &str) -> Option<i64> {
    let zone_at = text.find(['Z', '+', '-'])?;
    let (clock, zone) = text.split_at_checked(zone_at)?;
    let offset_min = match zone.split_at_checked(1)? {
        ("Z", "") => 0,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let minutes = two_digits(hours, 23)? * 60 + two_digits(minutes, 59)?;
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let mut fields = clock.split(':');
    let (hours, minutes) = (two_digits(fields.next()?, 23)?, two_digits(fields.next()?, 59)?);
    let (seconds, millis) = match fields.next() {
        None => (0, 0),
        Some(field) => {
            let (whole, fraction) = field.split_once('.').unwrap_or((field, "0"));
            let digits: String = fraction.chars().chain("00".chars()).take(3).collect();
            if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            (two_digits(whole, 60)?, i64::from(number(&digits)?))
        }
    };
    if fields.next().is_some() {
        return None;
    }
    Some(((hours * 60 + minutes - offset_min) * 60 + seconds) * 1000 + millis)
}

fn number(digits: &str) -> Option<u32> {
    (digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty()).then(|| digits.parse().ok())?
}

fn two_digits(text: &str, most: u32) -> Option<i64> {
    number(text).filter(|value| text.len() == 2 && *value <= most).map(i64::from)
}

/// A finite number.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse::<f64>().ok().filter(|value| plain && value.is_finite())
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

pub(super) fn binary(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// A range of addresses: `203.0.113.0/24`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    mask: u128,
    v4: bool,
}

impl Network {
    /// `None` for what is neither an address nor a range in CIDR notation.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(number(length).filter(|_| length.len() <= 3)?)),
            None => (text, None),
        };
        let (bits, v4) = bits_of(address.parse().ok()?);
        let width = if v4 { 32 } else { 128 };
        let length = length.unwrap_or(width);
        if length > width {
            return None;
        }
        let mask = if length == 0 { 0 } else { u128::MAX << (width - length) };
        Some(Self { bits: bits & mask, mask, v4 })
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, v4) = bits_of(address);
        v4 == self.v4 && bits & self.mask == self.bits
    }
}

/// An address as a number; an IPv4 address that is written as an IPv6 one is an IPv4 address.
fn bits_of(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), true),
        IpAddr::V6(address) => (u128::from(address), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_every_profile() {
        for (text, expected) in [
            ("2012", Some(1_325_376_000_000)),
            ("2012-02", Some(1_328_054_400_000)),
            ("2012-02-29", Some(1_330_473_600_000)),
            ("2012-02-29T10:20Z", Some(1_330_510_800_000)),
            ("2012-02-29T10:20:30Z", Some(1_330_510_830_000)),
            ("2012-02-29T10:20:30.25Z", Some(1_330_510_830_250)),
            ("2012-02-29T10:20:30+02:00", Some(1_330_503_630_000)),
            ("1330510830", Some(1_330_510_830_000)),
            ("2012-02-30", None),
            ("2012-02T10:20Z", None),
            ("2012-02-29T10:20", None),
            ("2012-2-9", None),
            ("tomorrow", None),
            ("", None),
            ("2012-01-01T10:20é", None),
            ("9223372036854775807", None),
        ] {
            assert_eq!(date_ms(text), expected, "{text}");
        }
    }

    #[test]
    fn networks() {
        let inside = |network: &str, address: &str| {
            Network::parse(network).is_some_and(|network| network.contains(address.parse().unwrap()))
        };
        assert!(inside("10.0.0.0/8", "10.255.0.1") && !inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("10.1.2.3/8", "10.9.9.9"));
        assert!(inside("192.0.2.7", "192.0.2.7") && !inside("192.0.2.7", "192.0.2.8"));
        assert!(inside("192.0.2.7", "::ffff:192.0.2.7"));
        assert!(inside("2001:db8::/32", "2001:db8:1::1") && !inside("2001:db8::/32", "10.0.0.1"));
        assert!(inside("0.0.0.0/0", "1.2.3.4") && !inside("0.0.0.0/0", "::1"));
        for text in ["10.0.0.0/33", "10.0.0/8", "/8", "10.0.0.0/", "10.0.0.0/+8", "any"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
