//! What a new configuration changes about the process itself.

use super::{KeyChange, change, time};
use crate::config::{DaemonConfig, ReadyWhen};

/// The changed keys that take effect at once, and those that do at the next start.
pub(super) fn daemon_changes(
    old: &DaemonConfig,
    new: &DaemonConfig,
) -> (Vec<KeyChange>, Vec<KeyChange>) {
    let ready_when = |v: &ReadyWhen| v.as_str().to_owned();
    let at_once = [
        change(
            "drain_timeout",
            &old.drain_timeout,
            &new.drain_timeout,
            time,
        ),
        change("watch", &old.watch, &new.watch, bool::to_string),
    ];
    let at_a_start = [
        // The daemon goes on serving where it began to.
        change(
            "control_socket",
            &old.control_socket,
            &new.control_socket,
            |v| v.display().to_string(),
        ),
        change(
            "metrics_listen",
            &old.metrics_listen,
            &new.metrics_listen,
            |v| v.map_or_else(|| "none".to_owned(), |at| at.to_string()),
        ),
        change(
            "state_directory",
            &old.state_directory,
            &new.state_directory,
            |v| {
                let none = || "default".to_owned();
                v.as_ref()
                    .map_or_else(none, |folder| folder.display().to_string())
            },
        ),
        // Both decide about a start that is over.
        change("ready_when", &old.ready_when, &new.ready_when, ready_when),
        change(
            "start_timeout",
            &old.start_timeout,
            &new.start_timeout,
            time,
        ),
    ];
    let found = |changes: &mut dyn Iterator<Item = Option<KeyChange>>| changes.flatten().collect();
    (
        found(&mut at_once.into_iter()),
        found(&mut at_a_start.into_iter()),
    )
}
