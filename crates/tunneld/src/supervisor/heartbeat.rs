//! Whether the supervisor is alive: it says so itself, and others look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tunneld_core::status::millis;

/// A supervisor that has not come round for longer hangs.
const FRESH: Duration = Duration::from_secs(30);

/// When the supervisor last came round its loop.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    born: Instant,
    millis: AtomicU64,
}

impl Heartbeat {
    pub(crate) fn new() -> Self {
        Heartbeat {
            born: Instant::now(),
            millis: AtomicU64::new(0),
        }
    }

    /// The supervisor is here.
    pub(super) fn beat(&self) {
        self.millis
            .store(millis(self.born.elapsed()), Ordering::Release);
    }

    /// Whether that was a short while ago. At rest the supervisor comes round every five seconds; to
    /// apply a large file takes it some more.
    pub(crate) fn is_fresh(&self) -> bool {
        self.age() < FRESH
    }

    /// How long ago that was.
    pub(crate) fn age(&self) -> Duration {
        let beat = Duration::from_millis(self.millis.load(Ordering::Acquire));
        self.born.elapsed().saturating_sub(beat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_that_does_not_come_round_is_not_alive() {
        let ago = |age| Instant::now().checked_sub(age).unwrap();
        let heartbeat = Heartbeat {
            born: ago(FRESH + Duration::from_secs(1)),
            millis: AtomicU64::new(0),
        };
        assert!(!heartbeat.is_fresh());
        heartbeat.beat();
        assert!(heartbeat.is_fresh());
    }
}
