//! The delay before the next attempt.
//!
//! The only place that names the `backoff` crate, which computes one thing here: an exponential
//! delay with jitter. When it starts over is decided by [`crate::lifecycle`].

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

use crate::config::Reconnect;

/// The delays between the attempts of one tunnel.
#[derive(Debug)]
pub struct Backoff {
    inner: ExponentialBackoff,
    max: Duration,
}

impl Backoff {
    /// Delays as `reconnect` says, from the first one on.
    pub fn new(reconnect: &Reconnect) -> Self {
        let mut inner = ExponentialBackoff {
            current_interval: reconnect.initial,
            initial_interval: reconnect.initial,
            randomization_factor: reconnect.jitter,
            multiplier: reconnect.multiplier,
            max_interval: reconnect.max,
            // A tunnel never gives up.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        inner.reset();
        Backoff {
            inner,
            max: reconnect.max,
        }
    }

    /// The delay before the next attempt; the one after it will be longer. Never above `max`, so
    /// that the ceiling in the file is one.
    pub fn next_delay(&mut self) -> Duration {
        self.inner.next_backoff().unwrap_or(self.max).min(self.max)
    }

    /// The ceiling: the delay for what a person has to fix. Spread downwards by the jitter, so
    /// that many blocked tunnels do not knock together.
    pub fn ceiling(&mut self) -> Duration {
        self.inner.current_interval = self.max;
        self.next_delay()
    }

    /// Starts over with the first delay.
    pub fn reset(&mut self) {
        self.inner.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reconnect(jitter: f64) -> Reconnect {
        Reconnect {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            multiplier: 2.0,
            jitter,
            reset_after: Duration::from_secs(30),
        }
    }

    #[test]
    fn the_delay_doubles_from_initial_to_max_and_starts_over_when_told() {
        let mut backoff = Backoff::new(&reconnect(0.0));
        let delays: Vec<u64> = (0..8).map(|_| backoff.next_delay().as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.next_delay(), Duration::from_secs(1));
    }

    #[test]
    fn the_delay_stays_within_the_jitter_and_below_the_ceiling() {
        for _ in 0..200 {
            let mut backoff = Backoff::new(&reconnect(0.5));
            let first = backoff.next_delay();
            assert!(first >= Duration::from_millis(500) && first <= Duration::from_millis(1501));
            for _ in 0..20 {
                assert!(backoff.next_delay() <= Duration::from_secs(60));
            }
        }
    }

    #[test]
    fn what_a_person_must_fix_is_retried_at_the_ceiling_only() {
        let mut backoff = Backoff::new(&reconnect(0.0));
        assert_eq!(backoff.ceiling(), Duration::from_secs(60));
        let mut spread = Backoff::new(&reconnect(0.5));
        assert!(spread.ceiling() >= Duration::from_secs(30));
    }

    #[test]
    fn the_delay_grows_across_a_thousand_attempts_without_overflow() {
        let mut backoff = Backoff::new(&Reconnect {
            multiplier: 100.0,
            max: Duration::from_secs(365 * 24 * 3600),
            ..reconnect(1.0)
        });
        for _ in 0..1000 {
            backoff.next_delay();
        }
    }
}
