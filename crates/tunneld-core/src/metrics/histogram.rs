//! How long something took, counted by length.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper ends of the buckets: as OpenMetrics writes them in seconds, and in microseconds. What
/// takes longer than the last of them is counted all the same.
pub(super) const BOUNDS: [(&str, u64); 13] = [
    ("0.001", 1_000),
    ("0.0025", 2_500),
    ("0.005", 5_000),
    ("0.01", 10_000),
    ("0.025", 25_000),
    ("0.05", 50_000),
    ("0.1", 100_000),
    ("0.25", 250_000),
    ("0.5", 500_000),
    ("1.0", 1_000_000),
    ("2.5", 2_500_000),
    ("5.0", 5_000_000),
    ("10.0", 10_000_000),
];

/// How often what it counts took how long. Whoever measures adds to it, whoever wants to know looks
/// at it, and neither waits for the other.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    /// One more.
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.partition_point(|(_, bound)| *bound < micros);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Relaxed);
            self.micros.fetch_add(micros, Relaxed);
        }
    }

    /// The counts now.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            buckets: [0; BOUNDS.len() + 1],
            sum: Duration::from_micros(self.micros.load(Relaxed)),
        };
        for (count, now) in counts.buckets.iter_mut().zip(&self.counts) {
            *count = now.load(Relaxed);
        }
        counts
    }
}

/// A [`Histogram`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many took no longer than each bound and longer than the one before; the last: longer than
    /// all bounds.
    pub(super) buckets: [u64; BOUNDS.len() + 1],
    /// How long all of them took together.
    pub sum: Duration,
}

impl Counts {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_counted_below_the_first_bound_that_it_does_not_pass() {
        let histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001, 3_600_000_000] {
            histogram.note(Duration::from_micros(micros));
        }
        let counts = histogram.counts();
        assert_eq!(counts.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(counts.count(), 6);
        assert_eq!(counts.sum, Duration::from_micros(3_620_002_002));
    }
}
