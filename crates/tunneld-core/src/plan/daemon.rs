//! What a new configuration changes about the process itself.

use super::{AtStart, KeyChange, change, time};
use crate::config::{Config, DaemonConfig, ReadyWhen};
use crate::sandbox::Needs;

/// The keys that have another value and take effect at once.
pub(super) fn at_once(old: &DaemonConfig, new: &DaemonConfig) -> Vec<KeyChange> {
    let changes = [
        change(
            "drain_timeout",
            &old.drain_timeout,
            &new.drain_timeout,
            time,
        ),
        change("watch", &old.watch, &new.watch, bool::to_string),
    ];
    changes.into_iter().flatten().collect()
}

/// The keys that wait for a restart: a daemon that began as `start` says goes on with their values of
/// then, however often the file was read since.
pub fn needs_restart(start: &AtStart, config: &Config) -> Vec<KeyChange> {
    let (at_start, now) = (&start.daemon, &config.daemon);
    let ready_when = |v: &ReadyWhen| v.as_str().to_owned();
    let changes = [
        // The daemon goes on serving where it began to.
        change(
            "control_socket",
            &at_start.control_socket,
            &now.control_socket,
            |v| v.display().to_string(),
        ),
        change(
            "metrics_listen",
            &at_start.metrics_listen,
            &now.metrics_listen,
            |v| v.map_or_else(|| "none".to_owned(), |at| at.to_string()),
        ),
        change(
            "state_directory",
            &at_start.state_directory,
            &now.state_directory,
            |v| {
                let none = || "default".to_owned();
                v.as_ref()
                    .map_or_else(none, |folder| folder.display().to_string())
            },
        ),
        // Both decide about a start that is over.
        change(
            "ready_when",
            &at_start.ready_when,
            &now.ready_when,
            ready_when,
        ),
        change(
            "start_timeout",
            &at_start.start_timeout,
            &now.start_timeout,
            time,
        ),
        change("sandbox", &at_start.sandbox, &now.sandbox, bool::to_string)
            .or_else(|| too_tight(start, config)),
    ];
    changes.into_iter().flatten().collect()
}

/// The rights that were given up at the start are those that no tunnel needed then, and they do not
/// come back before the next one.
fn too_tight(start: &AtStart, config: &Config) -> Option<KeyChange> {
    let more = Needs::of(config).beyond(start.given.as_ref()?)?;
    Some(KeyChange {
        key: "sandbox".to_owned(),
        before: Some("as at the start".to_owned()),
        after: Some(format!("also {more}")),
    })
}
