//! S3's XML, read into a small tree. Answers are bounded before they come here, and trees in depth.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::{ObjectError, Result};

const MAX_DEPTH: usize = 16;

/// An element without its namespace and attributes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let wrong = |what: &str| ObjectError::Unreachable(format!("its answer is not S3's: {what}"));
        let mut reader = Reader::from_reader(text);
        let mut open: Vec<Element> = Vec::new();
        loop {
            match reader.read_event().map_err(|error| wrong(&error.to_string()))? {
                Event::Start(start) => {
                    if open.len() == MAX_DEPTH {
                        return Err(wrong("too deep"));
                    }
                    let name = start.local_name().as_ref().to_owned();
                    open.push(Self { name, ..Self::default() });
                }
                Event::Empty(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    let empty = Self { name, ..Self::default() };
                    match open.last_mut() {
                        Some(parent) => parent.children.push(empty),
                        None => return Ok(empty),
                    }
                }
                Event::Text(piece) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&piece);
                    }
                }
                Event::CData(piece) => {
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&piece);
                    }
                }
                Event::GeneralRef(reference) => {
                    let letter = entity(&reference).ok_or_else(|| wrong("an unknown entity"))?;
                    if let Some(element) = open.last_mut() {
                        element.text.push(letter);
                    }
                }
                Event::End(_) => {
                    let Some(closed) = open.pop() else { return Err(wrong("an end without a start")) };
                    match open.last_mut() {
                        Some(parent) => parent.children.push(closed),
                        None => return Ok(closed),
                    }
                }
                Event::Eof => return Err(wrong("it ends early")),
                _ => {}
            }
        }
    }

    /// Children of this name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    pub(super) fn children(&self) -> impl Iterator<Item = &Self> {
        self.children.iter()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn one(&self, name: &str) -> Option<&Self> {
        self.all(name).next()
    }

    /// The text of a child.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.one(name).map(|child| child.text.as_str())
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.text_of(name) == Some("true")
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        self.text_of(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// Text inside an element.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_s3_writes() {
        let text = br#"<?xml version="1.0"?><R xmlns="x"><A>a&amp;b&#65;</A><B/><C><A>1</A></C><A>2</A></R>"#;
        let root = Element::parse(text).unwrap();
        assert_eq!(root.text_of("A"), Some("a&bA"));
        assert_eq!(root.all("A").count(), 2);
        assert_eq!(root.one("C").unwrap().number("A"), 1);
        assert_eq!(root.text_of("B"), Some(""));
    }

    #[test]
    fn what_is_no_xml_is_refused() {
        let deep = "<a>".repeat(100);
        for text in ["", "hello", "<a>", "</a>", "<a>&nope;</a>", &deep] {
            assert!(Element::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn escaping_round_trips() {
        let text = "a<b>&\"c\r'";
        let root = Element::parse(format!("<r>{}</r>", escaped(text)).as_bytes()).unwrap();
        assert_eq!(root.text, text);
    }
}
