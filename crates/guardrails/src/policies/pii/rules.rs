//! Types that a pattern, a check and words near by decide.

use std::ops::Range;
use std::sync::LazyLock;

use craton_api_bedrock::GuardrailPiiEntityType as Kind;
use regex::{Regex, RegexBuilder};

use super::Finding;
use super::glance::{Glance, Needs};
use super::specs::{SPECS, Spec};

/// One way to find a type.
pub(super) struct Rule {
    pub kind: Kind,
    pattern: Regex,
    /// Whether only a part of a match is the value.
    has_groups: bool,
    /// Words of which one must be near, in lower case. Empty: none is needed.
    context: &'static [&'static str],
    check: fn(&str) -> bool,
    confidence: u8,
    needs: Needs,
}

/// How far before a candidate words are looked for, in bytes, and how far behind it.
const BEFORE: usize = 64;
const BEHIND: usize = 32;

impl Rule {
    /// Whether the text can have it; `index` is the rule's own.
    pub(super) fn may_match(&self, index: usize, glance: &Glance) -> bool {
        let has_context = self.context.is_empty() || glance.has_word_for(index);
        has_context && glance.has(index, self.needs)
    }

    pub(super) fn find(&self, text: &str, found: &mut Vec<Finding>) {
        if !self.has_groups {
            self.pattern.find_iter(text).for_each(|it| self.settle(text, it.range(), found));
            return;
        }
        for captures in self.pattern.captures_iter(text) {
            // The first group that took part is the value.
            if let Some(value) = captures.iter().skip(1).flatten().next().or_else(|| captures.get(0)) {
                self.settle(text, value.range(), found);
            }
        }
    }

    /// Adds a value that its check and the words near by confirm.
    fn settle(&self, text: &str, range: Range<usize>, found: &mut Vec<Finding>) {
        if stands_alone(text, &range)
            && (self.check)(&text[range.clone()])
            && (self.context.is_empty() || near(text, &range, self.context))
            && !(self.kind == Kind::IpAddress && counts_parts(&text[..range.start]))
        {
            found.push(Finding { kind: self.kind, range, confidence: self.confidence });
        }
    }
}

/// What is numbered as addresses are written: parts of documents, and releases.
const PARTS: &[&str] = &[
    "chapter",
    "section",
    "clause",
    "article",
    "paragraph",
    "appendix",
    "annex",
    "figure",
    "version",
    "release",
    "build",
    "firmware",
];

/// Whether what stands before a number says that it is the number of a part of something.
fn counts_parts(before: &str) -> bool {
    let Some(before) = before.strip_suffix(' ') else { return false };
    let word = before.rsplit(|it: char| !it.is_alphabetic()).next().unwrap_or_default();
    PARTS.iter().any(|part| part.eq_ignore_ascii_case(word))
}

/// Whether no letter or digit touches the value.
pub(super) fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let touches = |inner: Option<char>, outer: Option<char>| {
        inner.is_some_and(char::is_alphanumeric) && outer.is_some_and(char::is_alphanumeric)
    };
    let value = &text[range.clone()];
    !touches(value.chars().next(), text[..range.start].chars().next_back())
        && !touches(value.chars().next_back(), text[range.end..].chars().next())
}

/// Whether one of `words` (in lower case) stands near a range.
pub(super) fn near(text: &str, range: &Range<usize>, words: &[&str]) -> bool {
    let floor = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let before = text[floor(range.start.saturating_sub(BEFORE))..range.start].to_ascii_lowercase();
    let behind = text[range.end..floor((range.end + BEHIND).min(text.len()))].to_ascii_lowercase();
    words.iter().any(|word| has_word(&before, word) || has_word(&behind, word))
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let is_letter = |it: Option<char>| it.is_some_and(char::is_alphabetic);
        !is_letter(text[..at].chars().next_back())
            && !is_letter(text[at + word.len()..].chars().next().filter(|it| *it != 's'))
    })
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |spec: &Spec| {
        let Spec(kind, pattern, context, check, confidence, needs) = *spec;
        // Every pattern above compiles: a test walks them.
        let pattern = ascii(pattern)?;
        Some(Rule {
            kind,
            has_groups: pattern.captures_len() > 1,
            pattern,
            context,
            check,
            confidence,
            needs,
        })
    };
    SPECS.iter().filter_map(rule).collect()
});

/// A pattern whose classes and borders of words are those of ASCII, which the engine decides much quicker: the texts have
/// been made plain, and [`stands_alone`] looks at other letters. What has to know more than ASCII stays as it is.
pub(super) fn ascii(pattern: &str) -> Option<Regex> {
    let letters = pattern.contains(r"\w") || pattern.contains(r"\p");
    let bytes = || RegexBuilder::new(pattern).unicode(false).build().ok();
    let bytes = if letters { None } else { bytes() };
    bytes.or_else(|| Regex::new(&with_ascii_borders(pattern)).ok()).or_else(|| Regex::new(pattern).ok())
}

/// The pattern with digits and borders of words as ASCII has them.
pub(super) fn with_ascii_borders(pattern: &str) -> String {
    pattern.replace(r"\b", r"(?-u:\b)").replace(r"\d", "[0-9]")
}

pub(super) fn rules() -> &'static [Rule] {
    &RULES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(RULES.len(), SPECS.len());
    }
}
