//! The scalar types that generated structures are made of, and how each reads and writes as JSON.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// A modelled map; keeps the order in which keys arrived.
pub type Map<V> = indexmap::IndexMap<String, V>;

/// Bytes; base64 in JSON.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob(pub Bytes);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

/// Standard base64 as lenient as the decoders clients are used to: padding may be left out, and the last digit may
/// carry bits that belong to no byte.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Blob, E> {
                let bytes = LENIENT.decode(text).map_err(|_| E::custom("not base64"))?;
                Ok(Blob(bytes.into()))
            }
        }
        deserializer.deserialize_str(Base64)
    }
}

/// A moment, in milliseconds since the Unix epoch; ISO 8601 in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub const fn from_ms(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch, as JSON numbers and some query strings carry them.
    /// `None` when it is not finite or the year would not fit ISO 8601's four digits.
    pub fn from_epoch_s(seconds: f64) -> Option<Self> {
        let milliseconds = (seconds * 1000.0).round();
        // -62,135,596,800 s is year 1; 253,402,300,800 s is year 10,000.
        if !(-62_135_596_800_000.0..253_402_300_800_000.0).contains(&milliseconds) {
            return None;
        }
        #[allow(clippy::cast_possible_truncation)] // bounded just above
        Some(Self(milliseconds as i64))
    }

    /// ISO 8601 (`2026-01-31T10:00:00Z`, with or without fractions and offset), an HTTP date, or epoch seconds.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
            return Some(Self::from(moment));
        }
        if let Ok(moment) = OffsetDateTime::parse(text, &Rfc2822) {
            return Some(Self::from(moment));
        }
        // Some clients leave the offset out; AWS reads that as UTC.
        if text.contains('T')
            && let Ok(moment) = OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339)
        {
            return Some(Self::from(moment));
        }
        text.parse::<f64>().ok().and_then(Self::from_epoch_s)
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(moment: OffsetDateTime) -> Self {
        // A year of four digits is far inside i64 milliseconds.
        Self(i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or_default())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (date, time) = (moment.date(), moment.time());
        write!(f, "{:04}-{:02}-{:02}T", date.year(), u8::from(date.month()), date.day())?;
        write!(f, "{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())?;
        match time.millisecond() {
            0 => f.write_str("Z"),
            milliseconds => write!(f, ".{milliseconds:03}Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Moment;
        impl Visitor<'_> for Moment {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an ISO 8601 timestamp")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).ok_or_else(|| E::custom("not a timestamp"))
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Timestamp, E> {
                Timestamp::from_epoch_s(seconds).ok_or_else(|| E::custom("not a timestamp"))
            }
            #[allow(clippy::cast_precision_loss)] // seconds of any year we accept fit 53 bits
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Timestamp, E> {
                self.visit_f64(seconds as f64)
            }
            #[allow(clippy::cast_precision_loss)]
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Timestamp, E> {
                self.visit_f64(seconds as f64)
            }
        }
        deserializer.deserialize_any(Moment)
    }
}

/// A modelled set of strings as a Rust enum: `as_str`, `ALL`, `FromStr`, and both directions of JSON.
#[macro_export]
macro_rules! string_enum {
    ($($name:ident { $($variant:ident = $value:literal,)+ })*) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($variant,)+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)+
                }
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::types::UnknownValue;
            fn from_str(value: &str) -> Result<Self, Self::Err> {
                match value {
                    $($value => Ok(Self::$variant),)+
                    _ => Err($crate::types::UnknownValue),
                }
            }
        }

        impl ::serde::Serialize for $name {
            #[inline]
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            #[inline]
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::types::deserialize_enum(deserializer)
            }
        }
    )*};
}

/// A string outside a modelled set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a value of this set")]
pub struct UnknownValue;

/// Reads a string and looks it up; what [`string_enum!`](crate::string_enum) deserializes with.
pub fn deserialize_enum<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr,
    T::Err: fmt::Display,
{
    let value = String::deserialize(deserializer)?;
    value.parse().map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub)] // string_enum! makes public types

    use super::*;

    #[test]
    fn timestamps_are_read_in_every_form_clients_send_and_written_as_iso_8601() {
        let cases = [
            ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
            ("2026-01-31T10:00:00.25Z", "2026-01-31T10:00:00.250Z"),
            ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
            ("2026-01-31T10:00:00", "2026-01-31T10:00:00Z"),
            ("Sat, 31 Jan 2026 10:00:00 GMT", "2026-01-31T10:00:00Z"),
            ("1769853600", "2026-01-31T10:00:00Z"),
            ("1769853600.5", "2026-01-31T10:00:00.500Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(Timestamp::parse(text).map(|t| t.to_string()).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "yesterday", "NaN", "inf", "1e300", "2026-13-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        assert_eq!(serde_json::from_str::<Timestamp>("1769853600").unwrap().0, 1_769_853_600_000);
    }

    #[test]
    fn blobs_are_base64_with_or_without_padding() {
        let blob: Blob = serde_json::from_str(r#""aGk""#).unwrap();
        assert_eq!(blob.0, "hi");
        assert_eq!(serde_json::to_string(&blob).unwrap(), r#""aGk=""#);
        assert_eq!(serde_json::from_str::<Blob>(r#""aGl=""#).unwrap().0, "hi", "with bits to spare");
        for text in [r#""a b""#, r#""aGk==""#, r#""a""#] {
            assert!(serde_json::from_str::<Blob>(text).is_err(), "{text}");
        }
    }

    string_enum! {
        Size { Small = "s", Large = "XL", }
    }

    #[test]
    fn enums_carry_their_wire_values() {
        assert_eq!(serde_json::to_string(Size::ALL).unwrap(), r#"["s","XL"]"#);
        assert_eq!(serde_json::from_str::<Size>(r#""XL""#).unwrap(), Size::Large);
        assert!(serde_json::from_str::<Size>(r#""xl""#).is_err());
    }
}
