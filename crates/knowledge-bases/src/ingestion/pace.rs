//! How much is worked on at a time, so that a job shows about every second how far it is.

use std::time::Duration;

const STEP: Duration = Duration::from_secs(1);
/// Bytes of text before anything is known of the model.
const FIRST_BYTES: usize = 16 << 10;
/// The least that a model works on at full speed.
const LEAST_BYTES: usize = 4 << 10;

/// Follows how fast work goes.
#[derive(Debug)]
pub(super) struct Pace {
    bytes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { bytes: FIRST_BYTES }
    }
}

impl Pace {
    /// How many of the items, one at least, come to a step's work; a small rest goes along.
    pub(super) fn take(&self, sizes: impl Iterator<Item = usize> + Clone) -> usize {
        let first = |most: usize| {
            let mut sum = 0_usize;
            let within = sizes.clone().take_while(move |size| {
                sum = sum.saturating_add(*size);
                sum <= most
            });
            within.count()
        };
        let (some, more) = (first(self.bytes), first(self.bytes.saturating_add(self.bytes / 2)));
        if more == sizes.clone().count() { more.max(1) } else { some.max(1) }
    }

    /// Learns from a step; not too much from one.
    pub(super) fn took(&mut self, bytes: usize, time: Duration) {
        let micros = |time: Duration| time.as_micros().max(1);
        let in_a_step = (bytes as u128).saturating_mul(micros(STEP)) / micros(time);
        let in_a_step = usize::try_from(in_a_step).unwrap_or(usize::MAX);
        let bounds = (self.bytes / 2).max(LEAST_BYTES)..=self.bytes.saturating_mul(2);
        self.bytes = in_a_step.clamp(*bounds.start(), *bounds.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_comes_to_about_a_second() {
        let mut pace = Pace::default();
        let sizes = || std::iter::repeat_n(10_000, 64);
        assert_eq!(pace.take(sizes()), 1);
        // A model that reads 20,000 bytes a second.
        for _ in 0..4 {
            let bytes = pace.take(sizes()) * 10_000;
            pace.took(bytes, Duration::from_millis(bytes as u64 / 20));
        }
        assert_eq!(pace.take(sizes()), 2);
        for _ in 0..8 {
            pace.took(20_000, Duration::from_millis(1));
        }
        assert_eq!(pace.take(sizes()), 64);
        pace.took(0, Duration::ZERO);
        assert_eq!(pace.take(std::iter::once(usize::MAX)), 1, "a document is never split");
        let pace = Pace { bytes: 20_000 };
        assert_eq!((pace.take([10_000; 3].into_iter()), pace.take([10_000; 4].into_iter())), (3, 2));
    }
}
