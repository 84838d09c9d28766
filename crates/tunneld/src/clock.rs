//! What time it is.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tunneld_core::ledger::Moment;
use tunneld_core::status::millis;

/// When somebody first asked; the daemon does so when it starts.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// This moment.
pub(crate) fn now() -> Moment {
    Moment {
        unix_ms: unix_ms(SystemTime::now()),
        since_start: START.elapsed(),
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(since)
}
