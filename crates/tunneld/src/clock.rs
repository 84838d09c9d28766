//! What time it is.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use tunneld_core::ledger::Moment;
use tunneld_core::status::millis;

/// When somebody first asked; the daemon does so when it starts.
static START: LazyLock<Duration> = LazyLock::new(since_boot);

/// By how much the two clocks may differ before the one on the wall counts as set: being kept in step
/// with others moves it by less.
const STEP_MS: i64 = 1000;

/// This moment.
pub(crate) fn now() -> Moment {
    let start = *START;
    Moment {
        unix_ms: unix_ms(SystemTime::now()),
        since_start: since_boot().saturating_sub(start),
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(since)
}

/// How far the clock on the wall was set between two moments, in milliseconds.
pub(crate) fn set_between(before: Moment, after: Moment) -> i64 {
    let elapsed = millis(after.since_start.saturating_sub(before.since_start));
    let expected = before.unix_ms.saturating_add(elapsed);
    let by = i64::try_from(after.unix_ms.abs_diff(expected)).unwrap_or(i64::MAX);
    match after.unix_ms < expected {
        _ if by < STEP_MS => 0,
        true => -by,
        false => by,
    }
}

/// A moment as the clock on the wall has it `now`, in milliseconds since 1970: where that was set since,
/// the moment is as long ago as before.
pub(crate) fn told(at: Moment, now: Moment) -> u64 {
    at.unix_ms.saturating_add_signed(set_between(at, now))
}

/// The time of the machine's own clock, which nobody sets, and which goes on while it sleeps.
fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix_ms: u64, seconds: u64) -> Moment {
        let since_start = Duration::from_secs(seconds);
        Moment {
            unix_ms,
            since_start,
        }
    }

    #[test]
    fn a_clock_that_is_set_moves_what_it_told_before_along() {
        // By as much as it was set, there and back; what keeps it in step moves nothing.
        const YEAR: u64 = 365 * 24 * 3600 * 1000;
        let then = at(10 * YEAR, 100);
        assert_eq!(told(then, at(10 * YEAR + 5000, 105)), then.unix_ms);
        assert_eq!(told(then, at(10 * YEAR + 5900, 105)), then.unix_ms);
        assert_eq!(told(then, at(9 * YEAR + 5000, 105)), 9 * YEAR);
        assert_eq!(told(then, at(11 * YEAR + 5000, 105)), 11 * YEAR);
        assert_eq!(set_between(then, at(0, 105)), -(10 * YEAR as i64 + 5000));
        // The ends of what a clock can say.
        assert_eq!(told(then, at(0, 100)), 0);
        assert_eq!(told(at(0, 0), at(u64::MAX, u64::MAX)), 0);
    }

    #[test]
    fn this_moment_is_later_than_the_last_one() {
        let (first, second) = (now(), now());
        assert!(second.since_start >= first.since_start);
        assert_eq!(set_between(first, second), 0);
    }
}
