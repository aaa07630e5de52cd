//! Modelled regular expressions: written for Java's `matches`, run by the `regex` crate, which takes linear time.

use std::fmt;
use std::sync::OnceLock;

use regex::Regex;

// The `regex` crate looks neither ahead nor behind; these are the only patterns that do.
const NOT_BLANK: &str = r"^(?!\s*$).+";
/// The name of a function's alias, which is not a number.
const ALIAS_NAME: &str = "(?!^[0-9]+$)([a-zA-Z0-9-_]+)";
const NO_LAST_DOT: &str = r"[0-9A-Za-z\.\-_]*(?<!\.)";
/// The same set.
const NO_LAST_DOT_WITHOUT_LOOK_BEHIND: &str = r"(?:[0-9A-Za-z\.\-_]*[0-9A-Za-z\-_])?";
const INDEX_NAME: &str = r"(?![\-_+.])[a-z0-9][a-z0-9\-_\.]*";
/// The same set: what the look-ahead excludes, the first class excludes too.
const INDEX_NAME_WITHOUT_LOOK_AHEAD: &str = r"[a-z0-9][a-z0-9\-_\.]*";

/// A modelled regular expression; the whole value must match. Compiled when first needed.
pub struct Pattern {
    source: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub const fn new(source: &'static str) -> Self {
        Self { source, compiled: OnceLock::new() }
    }

    /// The expression as the model writes it and as messages quote it.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Whether the whole text matches. An expression that cannot be compiled accepts everything; a test over the
    /// tables sees to it that there is none.
    pub fn is_match(&self, text: &str) -> bool {
        match self.source {
            // Any one line that is not blank.
            NOT_BLANK => {
                !text.trim().is_empty() && !text.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
            }
            ALIAS_NAME => {
                let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                text.bytes().all(part) && !text.bytes().all(|byte| byte.is_ascii_digit())
            }
            _ => self.regex().is_none_or(|regex| regex.is_match(text)),
        }
    }

    /// Whether this server can check it.
    pub fn is_supported(&self) -> bool {
        matches!(self.source, NOT_BLANK | ALIAS_NAME) || self.regex().is_some()
    }

    fn regex(&self) -> Option<&Regex> {
        let compile = || {
            let source = match self.source {
                INDEX_NAME => INDEX_NAME_WITHOUT_LOOK_AHEAD,
                NO_LAST_DOT => NO_LAST_DOT_WITHOUT_LOOK_BEHIND,
                source => source,
            };
            Regex::new(&format!("^(?:{})$", ascii_classes(source))).ok()
        };
        self.compiled.get_or_init(compile).as_ref()
    }
}

/// Java's `\d`, `\w` and `\s` mean ASCII; the `regex` crate's mean Unicode.
fn ascii_classes(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 16);
    let mut in_class = false;
    let mut characters = source.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            match character {
                '[' => in_class = true,
                ']' => in_class = false,
                _ => {}
            }
            out.push(character);
            continue;
        }
        let class = match characters.clone().next() {
            Some('d') => "[:digit:]",
            Some('D') => "[:^digit:]",
            Some('w') => "[:word:]",
            Some('W') => "[:^word:]",
            Some('s') => "[:space:]",
            Some('S') => "[:^space:]",
            other => {
                out.push('\\');
                out.extend(other);
                characters.next();
                continue;
            }
        };
        characters.next();
        if in_class {
            out.push_str(class);
        } else {
            out.push('[');
            out.push_str(class);
            out.push(']');
        }
    }
    out
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(source: &'static str, text: &str) -> bool {
        let pattern = Pattern::new(source);
        assert!(pattern.is_supported(), "{source}");
        pattern.is_match(text)
    }

    #[test]
    fn the_whole_text_must_match() {
        assert!(matches("[a-z]+", "abc"));
        assert!(!matches("[a-z]+", "abc1"));
        assert!(matches("a|bc", "bc"));
        assert!(!matches("a|bc", "abc"));
        assert!(matches("$|^(arn:.*)", ""));
    }

    #[test]
    fn classes_are_ascii() {
        assert!(matches(r"\d{3}[\w-]\S", "123_x"));
        assert!(!matches(r"\d", "٣"));
        assert!(!matches(r"[\w]", "é"));
        assert!(matches(r"[\s\S]*", "é\n"));
        assert!(matches(r"\\d", r"\d"));
    }

    #[test]
    fn look_aheads_by_hand() {
        for (text, expected) in [("a.b", true), ("", true), ("a.", false), (".", false), ("a b", false)] {
            assert_eq!(matches(NO_LAST_DOT, text), expected, "{text:?}");
        }
        for (text, expected) in [("live", true), ("1a", true), ("12", false), ("", false), ("a.b", false)] {
            assert_eq!(matches(ALIAS_NAME, text), expected, "{text:?}");
        }
        assert!(matches(NOT_BLANK, " what is it? "));
        for text in ["", "  ", "\t\n", "two\nlines"] {
            assert!(!matches(NOT_BLANK, text), "{text:?}");
        }
        assert!(matches(INDEX_NAME, "a-b_c.d"));
        for text in ["-a", "_a", ".a", "+a", "", "A"] {
            assert!(!matches(INDEX_NAME, text), "{text:?}");
        }
    }
}
