//! Regexes that users bring: compiled by an engine without backtracking, within a bound.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

/// Most bytes that a compiled pattern may take; one that repeats a class thousands of times would need more.
const SIZE_LIMIT: usize = 1 << 20;
const NEST_LIMIT: u32 = 40;

/// Compiles a pattern; the error says in words why it can't be used.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    let compiled = RegexBuilder::new(pattern)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(SIZE_LIMIT)
        .nest_limit(NEST_LIMIT)
        .build();
    match compiled {
        Ok(regex) => Ok(regex),
        Err(regex::Error::CompiledTooBig(_)) => Err("it is too large once compiled".to_owned()),
        Err(_) if pattern.contains("(?=") || pattern.contains("(?!") || pattern.contains("(?<") => {
            Err("look-around and back-references are not supported".to_owned())
        }
        Err(_) => Err("it is not a regular expression of the supported syntax".to_owned()),
    }
}

/// The most characters that a match of a pattern can have; none where there is no such number, or none is known.
pub fn longest(pattern: &str) -> Option<usize> {
    let parsed = regex_syntax::ParserBuilder::new().nest_limit(NEST_LIMIT).build().parse(pattern);
    longest_of(&parsed.ok()?)
}

/// The same of a part of a pattern, whose depth [`NEST_LIMIT`] bounds.
fn longest_of(part: &Hir) -> Option<usize> {
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(0),
        // As many as bytes where it is not text.
        HirKind::Literal(literal) => {
            Some(std::str::from_utf8(&literal.0).map_or(literal.0.len(), |text| text.chars().count()))
        }
        HirKind::Class(_) => Some(1),
        HirKind::Repetition(repeated) => match longest_of(&repeated.sub)? {
            0 => Some(0),
            each => each.checked_mul(usize::try_from(repeated.max?).ok()?),
        },
        HirKind::Capture(capture) => longest_of(&capture.sub),
        HirKind::Concat(parts) => {
            parts.iter().try_fold(0_usize, |sum, part| sum.checked_add(longest_of(part)?))
        }
        HirKind::Alternation(parts) => {
            parts.iter().try_fold(0, |most, part| Some(longest_of(part)?.max(most)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_match_is_known() {
        for (pattern, most) in [
            ("", Some(0)),
            (r"^\bNo\.é$", Some(4)),
            (r"TCK-\d{4}|x", Some(8)),
            (r"(?i)(?:straße|[a-z]{2,9}){3} ?", Some(28)),
            (r"\w{1,64}@\w{3}", Some(68)),
            (r"(?:^)*a", Some(1)),
            (r"a+", None),
            (r"BEGIN[\s\S]*?END", None),
            (r"a{3,}|b", None),
            (r"(", None),
        ] {
            assert_eq!(longest(pattern), most, "{pattern}");
        }
    }

    #[test]
    fn patterns_are_bounded_in_size() {
        assert!(compile(r"^[A-Z]{2}-\d{4}$").is_ok());
        for bad in [r"((((\w{100}){100}){100}){100})", r"(?=a)b", r"(", &"(".repeat(50)] {
            assert!(compile(bad).is_err(), "{bad}");
        }
    }
}
