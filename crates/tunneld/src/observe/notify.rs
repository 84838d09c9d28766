//! The service manager: sd_notify(3).
//!
//! Without `NOTIFY_SOCKET` nothing is sent, and nothing else changes.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tunneld_core::config::ReadyWhen;
use tunneld_core::events;
use tunneld_core::status::{Phase, TunnelStatus, summary};

use super::manager::{send, send_within};
use super::readiness;
use crate::clock::unix_ms;
use crate::supervisor::{Heartbeat, LastReload, Life, Snapshots};
use crate::wait;

/// `STATUS=` is sent at most this often.
const STATUS_GAP: Duration = Duration::from_secs(1);
/// It counts down to the next attempts, and is not further behind than this.
const REFRESH: Duration = Duration::from_secs(10);
/// During the start it is looked more often: `READY=1` is waited for.
const START_GAP: Duration = Duration::from_millis(20);
/// When what a service manager had no room for is sent again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long what cannot be said later may wait for a service manager that does not read.
const PATIENCE: Duration = Duration::from_millis(200);
/// How much more time than it needs a stop asks for.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Keeps the service manager up to date until `stop`.
pub(crate) async fn run(
    snapshots: Snapshots,
    heartbeat: Arc<Heartbeat>,
    reloads: watch::Receiver<LastReload>,
    stop: CancellationToken,
) {
    let mut notify = Notify {
        snapshots: snapshots.clone(),
        status: String::new(),
        owes_ready: false,
        started: Instant::now(),
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = watchdog(&heartbeat) => {}
        () = answer_reloads(snapshots, reloads) => {}
        () = notify.follow() => {}
    }
}

/// The stop has begun, and may take so long.
pub(crate) async fn stopping(patience: Duration) {
    let needed = patience.saturating_add(STOP_MARGIN).as_micros();
    let states = [
        NotifyState::Stopping,
        NotifyState::Status("stopping; connections have their drain_timeout"),
        NotifyState::ExtendTimeoutUsec(u32::try_from(needed).unwrap_or(u32::MAX)),
    ];
    send_within(PATIENCE, &states).await;
}

/// A reload has begun: `RELOADING=1` and `MONOTONIC_USEC=` belong into one message.
pub(crate) async fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send_within(PATIENCE, &[NotifyState::Reloading, now]).await,
        Err(e) => tracing::debug!("sd_notify: {e}"),
    }
}

/// `READY=1` ends a reload, also one that was refused. During the start it would say too much: the
/// start's own `READY=1` ends such a reload.
async fn answer_reloads(snapshots: Snapshots, mut reloads: watch::Receiver<LastReload>) {
    while reloads.changed().await.is_ok() {
        while snapshots.is_ready() && !send(&[NotifyState::Ready]) {
            tokio::time::sleep(AGAIN).await;
        }
    }
    std::future::pending().await
}

/// Feeds the watchdog while the supervisor's heart beats.
async fn watchdog(heartbeat: &Heartbeat) {
    let Some(timeout) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut tick = tokio::time::interval((timeout / 3).max(Duration::from_millis(100)));
    loop {
        tick.tick().await;
        // The supervisor beats every five seconds at rest.
        if heartbeat.age() < timeout.max(Duration::from_secs(10)) {
            send(&[NotifyState::Watchdog]);
        }
    }
}

struct Notify {
    snapshots: Snapshots,
    /// What was sent last.
    status: String,
    /// `READY=1` is not sent yet, though it is so.
    owes_ready: bool,
    started: Instant,
}

impl Notify {
    /// Says `READY=1` when that is so, and a line of `STATUS=` whenever it has changed.
    async fn follow(&mut self) {
        let mut changes = self.snapshots.changes();
        loop {
            let now = self.snapshots.directory().borrow().clone();
            let deadline = self.look(&now);
            tokio::select! {
                () = changes.next() => {}
                () = wait::until(deadline) => {}
            }
            let gap = match self.snapshots.life() {
                Life::Starting => START_GAP,
                Life::Ready | Life::Stopping => STATUS_GAP,
            };
            tokio::time::sleep(gap).await;
        }
    }

    /// Returns when to look again although nothing has changed.
    fn look(&mut self, directory: &crate::supervisor::Directory) -> Option<Instant> {
        // Before that there is nothing to look at.
        directory.daemon()?;
        let daemon = self.snapshots.at_start();
        let life = self.snapshots.life();
        if life == Life::Stopping {
            // What there is to say was said when the stop began.
            return None;
        }
        let tunnels = directory.tunnels();
        let deadline = self.started + daemon.start_timeout;
        let late = daemon.ready_when == ReadyWhen::Settled && Instant::now() >= deadline;
        let now = unix_ms(std::time::SystemTime::now());
        let status = summary(&tunnels, now);
        let holds = || late || readiness::holds(daemon.ready_when, &tunnels);
        if life == Life::Starting && holds() && self.snapshots.set_ready() {
            self.owes_ready = true;
            tracing::info!(message_id = events::READY, "ready: {status}");
        }
        let ready = self.owes_ready.then_some(NotifyState::Ready);
        if ready.is_some() || status != self.status {
            let line = [NotifyState::Status(&status)];
            let states: Vec<_> = ready.into_iter().chain(line).collect();
            if !send(&states) {
                return Some(Instant::now() + AGAIN);
            }
            self.owes_ready = false;
            self.status = status;
        }
        let starts = self.snapshots.life() == Life::Starting;
        let start = (starts && daemon.ready_when == ReadyWhen::Settled).then_some(deadline);
        let refresh = stays_true(&tunnels, now).map(|length| Instant::now() + length);
        start.into_iter().chain(refresh).min()
    }
}

/// How long the line may stand that was made at `now_unix_ms`; `None`: as long as nothing changes.
fn stays_true(tunnels: &[TunnelStatus], now_unix_ms: u64) -> Option<Duration> {
    let waits = tunnels.iter().filter(|t| t.phase == Phase::Waiting);
    let next = waits.filter_map(|t| t.retry_at_unix_ms).min()?;
    let left = Duration::from_millis(next.saturating_sub(now_unix_ms));
    Some(left.clamp(STATUS_GAP, REFRESH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::readiness::tests::tunnel;

    #[test]
    fn the_line_is_made_again_only_while_it_counts_down() {
        let waiting = |at| TunnelStatus {
            retry_at_unix_ms: Some(at),
            ..tunnel(Phase::Waiting, 1)
        };
        let up = tunnel(Phase::Up, 0);
        let blocked = tunnel(Phase::Blocked, 1);
        let stands = |tunnels: &[TunnelStatus]| stays_true(tunnels, 100_000);
        assert_eq!(stands(&[up.clone(), blocked]), None);
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(stands(&[up, waiting(400_000)]), seconds(10));
        assert_eq!(stands(&[waiting(400_000), waiting(103_000)]), seconds(3));
        // Not faster than once a second, also when the attempt is late.
        assert_eq!(stands(&[waiting(100_010)]), seconds(1));
        assert_eq!(stands(&[waiting(50_000)]), seconds(1));
    }
}
