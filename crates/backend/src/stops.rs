//! Finding stop sequences and other markers in text that comes in pieces.

/// The stop sequence that is the first to be complete in `text`, and the byte where it begins: which one that is does not
/// depend on how the text was cut into pieces. Of two that end together, the longer.
pub fn first_stop<'s>(text: &str, stops: &'s [String]) -> Option<(usize, &'s str)> {
    let found = stops.iter().filter_map(|stop| text.find(stop.as_str()).map(|at| (at, stop.as_str())));
    found.min_by_key(|(at, stop)| (at + stop.len(), *at))
}

/// Bytes at the end of `text` that may be the beginning of one of the needles.
pub fn possible_prefix(text: &str, needles: &[&str]) -> usize {
    let mut longest = 0;
    for needle in needles {
        let most = needle.len().saturating_sub(1).min(text.len());
        for length in (longest + 1..=most).rev() {
            if needle.is_char_boundary(length) && text.ends_with(&needle[..length]) {
                longest = length;
                break;
            }
        }
    }
    longest
}
