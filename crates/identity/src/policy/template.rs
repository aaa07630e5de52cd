//! Patterns that may hold policy variables: `home/${aws:username}/*`.

use super::glob::{Glob, Token, push_text};
use super::keys::Keys;
use super::parse::Malformed;
use super::statement::Effect;

/// A piece of a pattern as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Token(Token),
    Variable(Variable),
}

/// `${aws:username}` or `${aws:username, 'nobody'}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    /// In lower case.
    pub(super) key: String,
    default: Option<String>,
}

/// What in a text is special.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syntax {
    /// `${…}` is a variable: version 2012-10-17.
    pub(super) variables: bool,
    /// `*` and `?` are wildcards.
    pub(super) wildcards: bool,
}

/// A pattern ready to match.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    Fixed(Glob),
    Template { parts: Box<[Part]>, fold: bool },
}

/// How a text answers a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Yes,
    No,
    /// A variable has no value.
    Unresolved,
}

impl Fit {
    pub(super) fn of(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }

    /// What several alternatives come to: one that fits is enough.
    pub(super) fn any(fits: impl Iterator<Item = Fit>) -> Fit {
        let mut result = Self::No;
        for fit in fits {
            match fit {
                Self::Yes => return Self::Yes,
                Self::Unresolved => result = Self::Unresolved,
                Self::No => {}
            }
        }
        result
    }

    /// Whether a statement that wants no match goes on. A variable without a value fails it, except that it can't
    /// make a denial fall.
    pub(super) fn is_none_for(self, effect: Effect) -> bool {
        match self {
            Self::Yes => false,
            Self::No => true,
            Self::Unresolved => effect == Effect::Deny,
        }
    }
}

/// Reads a text into its parts.
pub(super) fn parts(text: &str, syntax: Syntax) -> Result<Vec<Part>, Malformed> {
    let mut parts = Vec::new();
    let mut rest = text;
    if syntax.variables {
        while let Some((before, after)) = rest.split_once("${") {
            literal(&mut parts, before, syntax.wildcards);
            let (inside, after) = after.split_once('}').ok_or(Malformed::SYNTAX)?;
            match inside {
                "*" | "?" | "$" => literal(&mut parts, inside, false),
                _ => parts.push(Part::Variable(variable(inside)?)),
            }
            rest = after;
        }
    }
    literal(&mut parts, rest, syntax.wildcards);
    Ok(parts)
}

fn literal(parts: &mut Vec<Part>, text: &str, wildcards: bool) {
    let mut tokens = Vec::new();
    push_text(&mut tokens, text, wildcards);
    parts.extend(tokens.into_iter().map(Part::Token));
}

fn variable(inside: &str) -> Result<Variable, Malformed> {
    let (key, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((key, default)) => {
            let quoted = default.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            (key, Some(quoted.ok_or(Malformed::SYNTAX)?.to_owned()))
        }
    };
    if key.is_empty() || key.contains(|c: char| c.is_whitespace() || "${'".contains(c)) {
        return Err(Malformed::SYNTAX);
    }
    Ok(Variable { key: key.to_lowercase(), default })
}

impl Pattern {
    /// `fold` compares without regard to case.
    pub(super) fn new(parts: Vec<Part>, fold: bool) -> Self {
        if parts.iter().any(|part| matches!(part, Part::Variable(_))) {
            return Self::Template { parts: parts.into(), fold };
        }
        let tokens: Vec<Token> = parts
            .into_iter()
            .filter_map(|part| match part {
                Part::Token(Token::Literal(text)) if fold => Some(Token::Literal(text.to_lowercase())),
                Part::Token(token) => Some(token),
                Part::Variable(_) => None,
            })
            .collect();
        Self::Fixed(Glob::new(&tokens))
    }

    pub(super) fn parse(text: &str, syntax: Syntax, fold: bool) -> Result<Self, Malformed> {
        parts(text, syntax).map(|parts| Self::new(parts, fold))
    }

    /// `text` must be folded already where the pattern folds.
    pub(super) fn fit(&self, text: &str, keys: &dyn Keys) -> Fit {
        match self {
            Self::Fixed(glob) => Fit::of(glob.matches(text)),
            Self::Template { parts, fold } => match resolve(parts, *fold, keys) {
                Some(glob) => Fit::of(glob.matches(text)),
                None => Fit::Unresolved,
            },
        }
    }

    /// The keys of its variables.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let parts: &[Part] = match self {
            Self::Fixed(_) => &[],
            Self::Template { parts, .. } => parts,
        };
        parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable.key.as_str()),
            Part::Token(_) => None,
        })
    }
}

/// The pattern with its variables' values in place, as literal text. `None` when one has no single value.
fn resolve(parts: &[Part], fold: bool, keys: &dyn Keys) -> Option<Glob> {
    let mut tokens = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part::Token(Token::Literal(text)) if fold => push_text(&mut tokens, &text.to_lowercase(), false),
            Part::Token(Token::Literal(text)) => push_text(&mut tokens, text, false),
            Part::Token(token) => tokens.push(token.clone()),
            Part::Variable(variable) => {
                let values = keys.values(&variable.key);
                let value = match values.as_deref() {
                    Some([one]) => one.as_ref(),
                    // Keys with several values can't stand in for text.
                    Some([_, _, ..]) => return None,
                    Some([]) | None => variable.default.as_deref()?,
                };
                let folded = fold.then(|| value.to_lowercase());
                push_text(&mut tokens, folded.as_deref().unwrap_or(value), false);
            }
        }
    }
    Some(Glob::new(&tokens))
}
