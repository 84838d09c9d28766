//! The files that a daemon has open: none may stay behind.

use tunneld_core::status::TunnelStatus;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{open_files, poll};

use crate::support::LONG;

/// For so many looks in a row the number has to be the same: what was asked of the daemon last takes
/// a moment to be closed.
const LOOKS: u32 = 40;

/// How many files the daemon has open while its tunnel carries nothing.
pub(crate) fn idle_files(daemon: &Daemon) -> usize {
    let idle = |t: &TunnelStatus| t.forwards.iter().all(|f| f.connections.open == 0);
    daemon.wait_for("t", LONG, idle);
    let (mut last, mut looks) = (0, 0);
    let settled = || {
        let now = open_files(daemon.pid());
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        (looks >= LOOKS).then_some(now)
    };
    poll(LONG, settled).unwrap()
}

/// Waits until the daemon has so many files open again as before.
pub(crate) fn files_are_back(daemon: &Daemon, before: usize) {
    let back = poll(LONG, || (open_files(daemon.pid()) == before).then_some(()));
    let now = open_files(daemon.pid());
    assert!(back.is_some(), "{now} files are open, {before} were");
}
