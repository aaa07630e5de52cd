//! The query protocol's answers: outputs as XML elements, and the envelopes around results and errors.
//!
//! A structure's members are elements of their own names, a list's items are `member`, a map's are `entry` with `key`
//! and `value`. Serde tells the three apart, so no table of outputs is needed.

use std::fmt::{self, Display, Write as _};

use serde::ser::{self, Serialize};

use crate::error::ApiError;

/// The elements inside an element that stands for `value`.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, ApiError> {
    let mut writer = Writer { out: String::new() };
    value
        .serialize(&mut writer)
        .map_err(|error| ApiError::internal(format!("The answer cannot be written as XML: {error}")))?;
    Ok(writer.out)
}

/// A whole answer; `result` is `None` for operations that answer nothing.
pub fn response(operation: &str, xmlns: &str, result: Option<&[u8]>, request_id: &str) -> Vec<u8> {
    let mut out = format!("<{operation}Response xmlns=\"{xmlns}\">").into_bytes();
    if let Some(result) = result {
        out.extend_from_slice(format!("<{operation}Result>").as_bytes());
        out.extend_from_slice(result);
        out.extend_from_slice(format!("</{operation}Result>").as_bytes());
    }
    let request_id = escaped(request_id);
    let end = format!(
        "<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    );
    out.extend_from_slice(end.as_bytes());
    out
}

/// A whole error. `sender` says whose fault it is.
pub(crate) fn error(xmlns: &str, sender: bool, (code, message): (&str, &str), request_id: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"{xmlns}\"><Error><Type>{}</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{}</RequestId></ErrorResponse>",
        if sender { "Sender" } else { "Receiver" },
        escaped(code),
        escaped(message),
        escaped(request_id)
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    escape(&mut out, text);
    out
}

fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#xD;"),
            '\t' | '\n' => out.push(character),
            // XML 1.0 has no way to write these.
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
}

struct Writer {
    out: String,
}

/// Why something cannot be XML.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unwritable(String);

impl ser::Error for Unwritable {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Writer {
    fn element<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Unwritable> {
        self.wrap(name, |writer| value.serialize(writer))
    }

    fn wrap(
        &mut self,
        name: &str,
        inside: impl FnOnce(&mut Self) -> Result<(), Unwritable>,
    ) -> Result<(), Unwritable> {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
        inside(self)?;
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
        Ok(())
    }

    fn display(&mut self, value: impl Display) -> Result<(), Unwritable> {
        write!(self.out, "{value}").map_err(|fmt::Error| Unwritable("a value cannot be shown".to_owned()))
    }
}

macro_rules! displayed {
    ($($method:ident: $kind:ty),+ $(,)?) => {$(
        fn $method(self, value: $kind) -> Result<(), Unwritable> {
            self.display(value)
        }
    )+};
}

impl<'w> ser::Serializer for &'w mut Writer {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Elements<'w>;
    type SerializeTuple = Elements<'w>;
    type SerializeTupleStruct = Elements<'w>;
    type SerializeTupleVariant = ser::Impossible<(), Unwritable>;
    type SerializeMap = Elements<'w>;
    type SerializeStruct = Elements<'w>;
    type SerializeStructVariant = ser::Impossible<(), Unwritable>;

    displayed! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64,
    }

    fn serialize_char(self, value: char) -> Result<(), Unwritable> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Unwritable> {
        escape(&mut self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unwritable> {
        Err(Unwritable("bytes have no form in XML".to_owned()))
    }

    fn serialize_none(self) -> Result<(), Unwritable> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unwritable> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unwritable> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Unwritable> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        self.element(variant, value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements<'w>, Unwritable> {
        Ok(Elements { writer: self })
    }

    fn serialize_tuple(self, _: usize) -> Result<Elements<'w>, Unwritable> {
        Ok(Elements { writer: self })
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Elements<'w>, Unwritable> {
        Ok(Elements { writer: self })
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unwritable> {
        Err(Unwritable("a tuple has no form in XML".to_owned()))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Elements<'w>, Unwritable> {
        Ok(Elements { writer: self })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Elements<'w>, Unwritable> {
        Ok(Elements { writer: self })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unwritable> {
        Err(Unwritable("a variant with fields has no form in XML".to_owned()))
    }
}

/// What stands inside a list, a map or a structure.
struct Elements<'w> {
    writer: &'w mut Writer,
}

macro_rules! lists {
    ($($trait:ident: $method:ident),+ $(,)?) => {$(
        impl ser::$trait for Elements<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
                self.writer.element("member", value)
            }

            fn end(self) -> Result<(), Unwritable> {
                Ok(())
            }
        }
    )+};
}

lists! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
}

impl ser::SerializeMap for Elements<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        self.writer.out.push_str("<entry>");
        self.writer.element("key", key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.writer.element("value", value)?;
        self.writer.out.push_str("</entry>");
        Ok(())
    }

    fn end(self) -> Result<(), Unwritable> {
        Ok(())
    }
}

impl ser::SerializeStruct for Elements<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        self.writer.element(name, value)
    }

    fn end(self) -> Result<(), Unwritable> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Map, Timestamp};

    #[derive(serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        name: String,
        tags: Vec<(String, i32)>,
        #[serde(skip_serializing_if = "Option::is_none")]
        missing: Option<String>,
        when: Timestamp,
        details: Map<bool>,
        empty: Vec<String>,
    }

    #[test]
    fn structures_lists_maps_and_text() {
        let answer = Answer {
            name: "<a&b>\u{1}".into(),
            tags: vec![("k".into(), 1)],
            missing: None,
            when: Timestamp::from_ms(0),
            details: [("x\"".to_owned(), true)].into_iter().collect(),
            empty: Vec::new(),
        };
        assert_eq!(
            to_string(&answer).unwrap(),
            "<Name>&lt;a&amp;b&gt;\u{fffd}</Name><Tags><member><member>k</member><member>1</member></member></Tags>\
             <When>1970-01-01T00:00:00Z</When><Details><entry><key>x&quot;</key><value>true</value></entry></Details>\
             <Empty></Empty>"
        );
    }

    #[test]
    fn envelopes() {
        let whole = response("GetUser", "https://x/", Some(b"<A>1</A>"), "r");
        assert_eq!(
            String::from_utf8(whole).unwrap(),
            "<GetUserResponse xmlns=\"https://x/\"><GetUserResult><A>1</A></GetUserResult><ResponseMetadata>\
             <RequestId>r</RequestId></ResponseMetadata></GetUserResponse>"
        );
        let nothing = String::from_utf8(response("DeleteUser", "n", None, "r")).unwrap();
        assert!(!nothing.contains("Result"), "{nothing}");
        assert!(error("n", true, ("NoSuchEntity", "a < b"), "r").contains("<Message>a &lt; b</Message>"));
    }
}
