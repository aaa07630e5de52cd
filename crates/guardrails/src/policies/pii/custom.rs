//! Regexes that users bring: compiled by an engine without backtracking, within a bound.

use regex::{Regex, RegexBuilder};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_bounded_in_size() {
        assert!(compile(r"^[A-Z]{2}-\d{4}$").is_ok());
        for bad in [r"((((\w{100}){100}){100}){100})", r"(?=a)b", r"(", &"(".repeat(50)] {
            assert!(compile(bad).is_err(), "{bad}");
        }
    }
}
