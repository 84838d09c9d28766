//! How long log lines wait for whoever takes them.

use std::time::{Duration, Instant};

/// How long lines wait where those before them were not taken yet, all of them together in the time of
/// [`EVERY`]. The others do not wait: no tunnel stands still for its log, also where that is read
/// slowly.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
const EVERY: Duration = Duration::from_secs(10);

/// How much longer lines may wait, in the time that began at `since`.
pub(super) struct Patience {
    since: Instant,
    left: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Patience {
            since: Instant::now(),
            left: PATIENCE,
        }
    }

    /// Lets `wait` have the time that is left; `None` where there is none. One that is slow takes one
    /// line after the other, and each would wait for it.
    pub(super) fn wait<T>(&mut self, wait: impl FnOnce(Duration) -> T) -> Option<T> {
        let began = Instant::now();
        if began.duration_since(self.since) >= EVERY {
            *self = Patience::new();
        }
        // Shorter is no time for the kernel either: a zero would be for ever.
        if self.left < Duration::from_millis(1) {
            return None;
        }
        let waited = wait(self.left);
        self.left = self.left.saturating_sub(began.elapsed());
        Some(waited)
    }
}
