//! What the service manager is told, sd_notify(3).

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tunneld_ssh::manager::{Manager, is_gone};

/// Sends one message, and does not wait. Returns whether that is done: not so where the manager does not
/// read, and the same message is worth another try later. Without a manager there is nothing to do, and
/// one that is not there is no reason to fail.
pub(super) fn send(states: &[NotifyState<'_>]) -> bool {
    let Some(manager) = Manager::of_process() else {
        return true;
    };
    is_done(manager.send(&text(states)))
}

/// The same for what cannot be sent later; waits for at most so long.
pub(super) async fn send_within(patience: Duration, states: &[NotifyState<'_>]) {
    if let Some(manager) = Manager::of_process() {
        is_done(manager.send_within(patience, &text(states), &[]).await);
    }
}

fn is_done(sent: io::Result<()>) -> bool {
    let Err(e) = sent else {
        return true;
    };
    tracing::debug!("sd_notify: {e}");
    is_gone(&e)
}

fn text(states: &[NotifyState<'_>]) -> String {
    let mut text = String::new();
    for state in states {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{state}");
    }
    text
}
