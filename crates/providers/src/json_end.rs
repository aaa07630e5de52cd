//! Tells when JSON that arrives in pieces is complete.

/// Feed it the pieces of one JSON object or array. It only counts brackets outside strings: enough to know where the
/// value ends, not whether it is well formed.
#[derive(Debug, Default, Clone)]
pub(crate) struct JsonEnd {
    depth: u32,
    begun: bool,
    in_string: bool,
    escaped: bool,
}

impl JsonEnd {
    pub(crate) fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.begun = true;
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    pub(crate) fn complete(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_do_not_count() {
        let text = r#"{"a": "}]\"}", "b": [{"c": "\\"}]}"#;
        for at in 0..=text.len() {
            let mut end = JsonEnd::default();
            end.push(&text[..at]);
            assert_eq!(end.complete(), at == text.len(), "{}", &text[..at]);
            end.push(&text[at..]);
            assert!(end.complete());
        }
    }

    #[test]
    fn nothing_is_not_complete() {
        assert!(!JsonEnd::default().complete());
    }
}
