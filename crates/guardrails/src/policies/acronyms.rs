//! Short forms and idioms that people use in place of the words, which the encoders know little of.

const SHORT: &[(&str, &str)] = &[
    ("nda", "non-disclosure agreement"),
    ("ndas", "non-disclosure agreements"),
    ("eula", "end user licence agreement"),
    ("tos", "terms of service"),
    ("ip", "intellectual property"),
    ("irs", "tax office"),
    ("vat", "value added tax"),
    ("hr", "human resources"),
    ("pto", "paid time off"),
    ("ceo", "chief executive"),
    ("cfo", "chief financial officer"),
    ("ipo", "stock market launch"),
    ("etf", "exchange traded fund"),
    ("etfs", "exchange traded funds"),
    ("btc", "bitcoin"),
    ("eth", "ethereum"),
    ("401k", "retirement savings"),
    ("ira", "retirement savings"),
    ("apr", "annual interest rate"),
    ("atm", "cash machine"),
    ("gp", "doctor"),
    ("otc", "over the counter medicine"),
    ("std", "sexually transmitted disease"),
    ("ptsd", "post-traumatic stress"),
    ("bp", "blood pressure"),
    ("dui", "drunk driving"),
    ("faq", "frequently asked questions"),
    ("sso", "single sign-on"),
    ("vpn", "private network"),
    ("mfa", "two-factor authentication"),
    ("dob", "date of birth"),
    ("ssn", "social security number"),
    ("uscis", "immigration office"),
    ("phd", "doctorate"),
];

/// Idioms of several words, of which no word is the one that is meant.
const IDIOMS: &[(&[&str], &str)] = &[
    (&["stack", "up", "against"], "compare to"),
    (&["stacks", "up", "against"], "compares to"),
    (&["stack", "up", "to"], "compare to"),
    (&["stacks", "up", "to"], "compares to"),
    (&["measure", "up", "to"], "compare to"),
    (&["measure", "up", "against"], "compare to"),
    (&["measures", "up", "to"], "compares to"),
    (&["measures", "up", "against"], "compares to"),
    (&["hold", "up", "against"], "compare to"),
    (&["holds", "up", "against"], "compares to"),
    (&["fare", "against"], "compare to"),
    (&["fares", "against"], "compares to"),
    (&["side", "by", "side", "with"], "compared to"),
    (&["vs"], "compared to"),
    (&["versus"], "compared to"),
    (&["on", "the", "hook", "for"], "liable for"),
];

/// An idiom at the start of a folded text: how long it is, and what is meant. One space stands between its words.
fn idiom(text: &str) -> Option<(usize, &'static str)> {
    let length = |words: &[&str]| {
        let mut end = 0;
        for (index, word) in words.iter().enumerate() {
            let rest = &text[end..];
            let rest = if index > 0 { rest.strip_prefix(' ')? } else { rest };
            rest.strip_prefix(word)?;
            end += word.len() + usize::from(index > 0);
        }
        let ends = !text[end..].starts_with(char::is_alphanumeric);
        ends.then_some(end)
    };
    IDIOMS.iter().find_map(|(words, meant)| Some((length(words)?, *meant)))
}

/// A folded text with its short forms and idioms written out; none when it has none.
pub(super) fn written_out(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 32);
    let mut changed = false;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((end, meant)) = idiom(rest) {
            out.push_str(meant);
            (rest, changed) = (&rest[end..], true);
            continue;
        }
        let end = match first.is_alphanumeric() {
            true => rest.find(|it: char| !it.is_alphanumeric()).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let word = &rest[..end];
        match SHORT.iter().find(|(short, _)| *short == word) {
            Some((_, long)) => {
                out.push_str(long);
                changed = true;
            }
            None => out.push_str(word),
        }
        rest = &rest[end..];
    }
    changed.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_are_written_out_as_words_only() {
        assert_eq!(written_out("is my nda valid?").as_deref(), Some("is my non-disclosure agreement valid?"));
        assert_eq!(written_out("agenda and panda"), None);
        assert_eq!(
            written_out("how do we stack up against initech?").as_deref(),
            Some("how do we compare to initech?")
        );
        assert_eq!(written_out("stack up againsts, vsync"), None);
    }
}
