//! Waiting for a moment that may never come.

use tokio::time::Instant;

/// Returns at `time`; without one, never.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
