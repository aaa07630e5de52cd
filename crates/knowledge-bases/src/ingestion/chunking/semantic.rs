//! Cuts where the meaning changes.

use std::ops::Range;

use craton_backend::BackendError;

use super::pack::Unit;
use crate::index::Embedder;

/// Sentences embedded together.
const WINDOWS: usize = 1_024;

/// Groups of consecutive units that belong together: each unit is embedded with `buffer` neighbours on either side, and
/// a cut is made between two whose vectors are further apart than the percentile of all such distances.
pub(crate) async fn group(
    text: &str,
    units: &[Unit],
    (buffer, percentile): (usize, usize),
    embedder: &Embedder,
) -> Result<Vec<Range<usize>>, BackendError> {
    // Blank stretches between paragraphs say nothing by themselves.
    let spoken: Vec<usize> =
        (0..units.len()).filter(|at| !text[units[*at].range.clone()].trim().is_empty()).collect();
    if spoken.len() < 2 {
        return Ok(Vec::from([Range { start: 0, end: units.len() }]));
    }
    let window = |at: usize| {
        let first = spoken[at.saturating_sub(buffer)];
        let last = spoken[(at + buffer).min(spoken.len() - 1)];
        text[units[first].range.start..units[last].range.end].trim().to_owned()
    };
    let distance = |pair: &[Vec<f32>]| 1.0 - pair[0].iter().zip(&pair[1]).map(|(a, b)| a * b).sum::<f32>();
    let mut distances: Vec<f32> = Vec::with_capacity(spoken.len());
    // A long text has more sentences than there is room for vectors, of which only neighbours are compared.
    let mut vectors: Vec<Vec<f32>> = Vec::new();
    for first in (0..spoken.len()).step_by(WINDOWS) {
        let windows: Vec<String> = (first..spoken.len().min(first + WINDOWS)).map(window).collect();
        vectors.drain(..vectors.len().saturating_sub(1));
        vectors.extend(embedder.embed(&windows).await?);
        distances.extend(vectors.windows(2).map(distance));
    }
    let threshold = percentile_of(&distances, percentile);
    let mut groups = Vec::new();
    let mut start = 0;
    for (at, distance) in distances.iter().enumerate() {
        if *distance > threshold {
            let end = spoken[at + 1];
            groups.push(start..end);
            start = end;
        }
    }
    groups.push(start..units.len());
    Ok(groups)
}

/// The value below which so many percent lie, between neighbours in proportion.
fn percentile_of(values: &[f32], percentile: usize) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = last * percentile.min(100);
    let (low, part) = (place / 100, (place % 100) as f32 / 100.0);
    let high = sorted[(low + 1).min(last)];
    sorted[low] + (high - sorted[low]) * part
}

#[cfg(test)]
mod tests {
    use super::percentile_of;

    #[test]
    fn percentiles_lie_between_neighbours() {
        assert_eq!(percentile_of(&[3.0, 1.0, 2.0], 50), 2.0);
        assert_eq!(percentile_of(&[0.0, 1.0], 25), 0.25);
        assert_eq!(percentile_of(&[5.0], 90), 5.0);
        assert_eq!(percentile_of(&[1.0, 2.0], 100), 2.0);
    }
}
