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
use tunneld_core::status::{ReloadStatus, summary};

use super::readiness;
use crate::clock::unix_ms;
use crate::supervisor::{Heartbeat, Life, Snapshots};
use crate::wait;

/// `STATUS=` is sent at most this often.
const STATUS_GAP: Duration = Duration::from_secs(1);
/// During the start it is looked more often: `READY=1` is waited for.
const START_GAP: Duration = Duration::from_millis(20);
/// How much more time than it needs a stop asks for.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Sends one message; a service manager that does not listen is no reason to fail.
fn send(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::debug!("sd_notify: {e}");
    }
}

/// Keeps the service manager up to date until `stop`.
pub(crate) async fn run(
    snapshots: Snapshots,
    heartbeat: Arc<Heartbeat>,
    reloads: watch::Receiver<Option<ReloadStatus>>,
    stop: CancellationToken,
) {
    let mut notify = Notify {
        snapshots: snapshots.clone(),
        status: String::new(),
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
pub(crate) fn stopping(patience: Duration) {
    let needed = patience.saturating_add(STOP_MARGIN).as_micros();
    send(&[
        NotifyState::Stopping,
        NotifyState::Status("stopping; connections have their drain_timeout"),
        NotifyState::ExtendTimeoutUsec(u32::try_from(needed).unwrap_or(u32::MAX)),
    ]);
}

/// A reload has begun: `RELOADING=1` and `MONOTONIC_USEC=` belong into one message.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(e) => tracing::debug!("sd_notify: {e}"),
    }
}

/// `READY=1` ends a reload, also one that was refused. During the start it would say too much: the
/// start's own `READY=1` ends such a reload.
async fn answer_reloads(snapshots: Snapshots, mut reloads: watch::Receiver<Option<ReloadStatus>>) {
    while reloads.changed().await.is_ok() {
        if snapshots.is_ready() {
            send(&[NotifyState::Ready]);
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
    status: String,
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
        let daemon = directory.daemon()?;
        let life = self.snapshots.life();
        if life == Life::Stopping {
            // What there is to say was said when the stop began.
            return None;
        }
        let tunnels = directory.tunnels();
        let deadline = self.started + daemon.start_timeout;
        let late = daemon.ready_when == ReadyWhen::Settled && Instant::now() >= deadline;
        let status = summary(&tunnels, unix_ms(std::time::SystemTime::now()));
        let holds = || late || readiness::holds(daemon.ready_when, &tunnels);
        if life == Life::Starting && holds() && self.snapshots.set_ready() {
            send(&[NotifyState::Ready, NotifyState::Status(&status)]);
            tracing::info!(message_id = events::READY, "ready: {status}");
        } else if status != self.status {
            send(&[NotifyState::Status(&status)]);
        }
        self.status = status;
        (life == Life::Starting && daemon.ready_when == ReadyWhen::Settled).then_some(deadline)
    }
}
