//! Bounds for text from outside that is logged or kept.

/// The first `most` characters of `text`.
pub fn first_chars(text: &str, most: usize) -> &str {
    // What is short in bytes, which nearly all is, is short in characters.
    if text.len() <= most {
        return text;
    }
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::first_chars;

    #[test]
    fn cuts_between_characters() {
        assert_eq!(first_chars("häuser", 2), "hä");
        assert_eq!(first_chars("häuser", 6), "häuser");
        assert_eq!(first_chars("ää", 2), "ää");
        assert_eq!(first_chars("", 0), "");
        assert_eq!(first_chars("a", 0), "");
    }
}
