//! HTML to Markdown.

use encoding_rs::{Encoding, UTF_8};
use htmd::HtmlToMarkdown;

use crate::bounds::Budget;
use crate::{DocumentError, plain};

/// Deeper than any page that was written; browsers flatten at the same depth.
const MAX_DEPTH: usize = 512;

pub(crate) fn extract(bytes: &[u8], budget: &Budget) -> Result<String, DocumentError> {
    let html = plain::decode_as(bytes, encoding(bytes))?;
    // The converter walks the tree by recursion, so a page nested on purpose is read without one.
    let text = if depth(&html) > MAX_DEPTH { strip_tags(&html) } else { convert(&html)? };
    budget.check_output(&text)?;
    Ok(text)
}

fn convert(html: &str) -> Result<String, DocumentError> {
    let converter = HtmlToMarkdown::builder()
        .skip_tags(vec!["script", "style", "noscript", "template", "svg", "iframe", "head"])
        .build();
    converter.convert(html).map_err(DocumentError::malformed)
}

/// A byte order mark, else the page's own word, else a guess.
fn encoding(bytes: &[u8]) -> &'static Encoding {
    let guessed = plain::guess(bytes);
    if guessed == UTF_8 || Encoding::for_bom(bytes).is_some() {
        return guessed;
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).to_ascii_lowercase();
    let label = head.find("charset=").map(|at| {
        let rest = head[at + "charset=".len()..].trim_start_matches(['"', '\'']);
        rest.split(|character: char| !(character.is_ascii_alphanumeric() || "-_:".contains(character)))
            .next()
            .unwrap_or_default()
            .to_owned()
    });
    label.and_then(|label| Encoding::for_label(label.as_bytes())).unwrap_or(guessed)
}

/// An upper estimate of how deep elements nest, from their tags alone. Elements that close themselves when the next
/// of their kind opens don't count.
fn depth(html: &str) -> usize {
    const UNCOUNTED: [&str; 34] = [
        "area", "base", "body", "br", "col", "colgroup", "dd", "dt", "embed", "head", "hr", "html", "img",
        "input", "li", "link", "meta", "optgroup", "option", "p", "param", "rp", "rt", "source", "tbody",
        "td", "tfoot", "th", "thead", "tr", "track", "wbr", "script", "style",
    ];
    let (mut depth, mut deepest) = (0_usize, 0);
    for (at, _) in html.match_indices('<') {
        let rest = &html.as_bytes()[at + 1..];
        let (closes, rest) = match rest.first() {
            Some(b'/') => (true, &rest[1..]),
            _ => (false, rest),
        };
        let end =
            rest.iter().take(16).position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len().min(16));
        if end == 0 || !rest[0].is_ascii_alphabetic() {
            continue;
        }
        let name = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
        if UNCOUNTED.contains(&name.as_str()) {
            continue;
        }
        depth = if closes { depth.saturating_sub(1) } else { depth + 1 };
        deepest = deepest.max(depth);
    }
    deepest
}

/// The text between tags, in one pass.
fn strip_tags(html: &str) -> String {
    let mut text = String::new();
    for piece in html.split('<') {
        let content = piece.split_once('>').map_or("", |(_, content)| content).trim();
        if !content.is_empty() {
            text.push_str(content);
            text.push('\n');
        }
    }
    text
}
