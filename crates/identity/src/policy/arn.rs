//! ARNs as patterns: compared part by part, so that a wildcard never reaches across a colon of the first five.

use super::glob::Token;
use super::keys::Keys;
use super::parse::Malformed;
use super::template::{Fit, Part, Pattern, Syntax, parts};

/// `arn`, partition, service, region, account, and the resource with its own colons.
pub(super) type ArnParts<'a> = [&'a str; 6];

/// The six parts of an ARN; `None` for other texts.
pub(super) fn split(text: &str) -> Option<ArnParts<'_>> {
    let mut found = text.splitn(6, ':');
    let mut next = || found.next();
    let parts = [next()?, next()?, next()?, next()?, next()?, next()?];
    (parts[0] == "arn").then_some(parts)
}

/// `*` or an ARN with wildcards and variables.
#[derive(Debug, Clone)]
pub(super) enum ArnPattern {
    Everything,
    /// Partition, service, region, account, resource.
    Parts(Box<[Pattern; 5]>),
}

impl ArnPattern {
    /// `complete` fills in missing parts with `*`, as IAM does in `Resource`.
    pub(super) fn parse(text: &str, variables: bool, complete: bool) -> Result<Option<Self>, Malformed> {
        let parts = parts(text, Syntax { variables, wildcards: true })?;
        if matches!(parts.as_slice(), [Part::Token(Token::Any)]) {
            return Ok(Some(Self::Everything));
        }
        let mut cut = cut(parts);
        if cut.remove(0) != [Part::Token(Token::Literal("arn".into()))] {
            return Ok(None);
        }
        if cut.len() < 5 && !complete {
            return Ok(None);
        }
        cut.resize_with(5, || vec![Part::Token(Token::Any)]);
        let mut patterns = cut.into_iter().map(|parts| Pattern::new(parts, false));
        let mut next = || patterns.next().ok_or(Malformed::SYNTAX);
        Ok(Some(Self::Parts(Box::new([next()?, next()?, next()?, next()?, next()?]))))
    }

    /// `arn` is `None` where the request is on no resource, or the value is no ARN: only `*` fits those.
    pub(super) fn fit(&self, arn: Option<&ArnParts<'_>>, keys: &dyn Keys) -> Fit {
        let (patterns, arn) = match (self, arn) {
            (Self::Everything, _) => return Fit::Yes,
            (Self::Parts(_), None) => return Fit::No,
            (Self::Parts(patterns), Some(arn)) => (patterns, arn),
        };
        let mut result = Fit::Yes;
        for (pattern, part) in patterns.iter().zip(&arn[1..]) {
            match pattern.fit(part, keys) {
                Fit::Yes => {}
                Fit::No => return Fit::No,
                Fit::Unresolved => result = Fit::Unresolved,
            }
        }
        result
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let patterns: &[Pattern] = match self {
            Self::Everything => &[],
            Self::Parts(patterns) => patterns.as_slice(),
        };
        patterns.iter().flat_map(Pattern::keys)
    }
}

/// Cuts at the first five colons that stand outside variables.
fn cut(parts: Vec<Part>) -> Vec<Vec<Part>> {
    let mut cut = vec![Vec::new()];
    let push = |cut: &mut Vec<Vec<Part>>, part| {
        if let Some(last) = cut.last_mut() {
            last.push(part);
        }
    };
    for part in parts {
        let Part::Token(Token::Literal(text)) = part else {
            push(&mut cut, part);
            continue;
        };
        let mut rest = text.as_str();
        while cut.len() < 6
            && let Some((before, after)) = rest.split_once(':')
        {
            if !before.is_empty() {
                push(&mut cut, Part::Token(Token::Literal(before.to_owned())));
            }
            cut.push(Vec::new());
            rest = after;
        }
        if !rest.is_empty() {
            push(&mut cut, Part::Token(Token::Literal(rest.to_owned())));
        }
    }
    cut
}
