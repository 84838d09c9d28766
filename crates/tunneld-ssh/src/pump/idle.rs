//! How long nothing has moved on a connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When a byte last moved on one connection. Costs nothing where there is no limit.
pub(super) struct Activity {
    limit: Option<Duration>,
    born: Instant,
    /// Microseconds from `born` to the last byte that moved.
    last: AtomicU64,
}

impl Activity {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Activity {
            limit,
            born: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// A byte has moved.
    pub(super) fn note(&self) {
        if self.limit.is_some() {
            let now = self.born.elapsed().as_micros();
            let now = u64::try_from(now).unwrap_or(u64::MAX);
            self.last.store(now, Ordering::Relaxed);
        }
    }

    /// Returns once nothing has moved for as long as is allowed.
    pub(super) async fn idle(&self) {
        let Some(limit) = self.limit else {
            return std::future::pending().await;
        };
        loop {
            let last = self.last.load(Ordering::Relaxed);
            tokio::time::sleep_until(self.born + Duration::from_micros(last) + limit).await;
            if self.last.load(Ordering::Relaxed) == last {
                return;
            }
        }
    }
}
