//! What a new configuration changes in a running daemon.

mod forwards;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Config, DaemonConfig, Hook, Sourced, TunnelSpec};
use crate::name::TunnelName;
use crate::text::clip;
use forwards::forward_changes;
use target::{MAX_SHOWN, target_changes};

/// What happens to each tunnel, and why. The same for a reload and for its dry run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// One entry a tunnel of the old and the new configuration, by name.
    pub tunnels: Vec<Change>,
    /// `[daemon]` keys that have another value now and take effect at the next start only.
    #[serde(default)]
    pub needs_restart: Vec<String>,
}

/// What happens to one tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The tunnel.
    pub tunnel: TunnelName,
    /// What happens to it.
    pub action: PlanAction,
    /// Why, one line each; empty for a tunnel that is kept as it was.
    pub reasons: Vec<String>,
}

/// The kinds of change, from the hardest to the softest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanAction {
    /// The tunnel is gone from the file, or disabled.
    Stop,
    /// Where it goes, or as whom, changed: a new session is made, then the old one drains.
    Replace,
    /// The session stays; forwards or limits change on it.
    Adjust,
    /// The tunnel is new, or enabled.
    Start,
    /// Nothing about it changed, or it is new and not enabled.
    Keep,
}

impl PlanAction {
    /// The word that is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            PlanAction::Stop => "stop",
            PlanAction::Replace => "replace",
            PlanAction::Adjust => "adjust",
            PlanAction::Start => "start",
            PlanAction::Keep => "keep",
        }
    }
}

impl fmt::Display for PlanAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Plan {
    /// How many tunnels `action` happens to.
    pub fn count(&self, action: PlanAction) -> usize {
        self.tunnels.iter().filter(|c| c.action == action).count()
    }
}

/// Compares two configurations. `stopped` says which tunnels were stopped by command: that lasts
/// until a reload.
pub fn diff(old: &Config, new: &Config, stopped: impl Fn(&TunnelName) -> bool) -> Plan {
    let mut tunnels = BTreeMap::new();
    for (name, before) in &old.tunnels {
        let change = match new.tunnels.get(name) {
            None => (PlanAction::Stop, vec!["no longer in the file".to_owned()]),
            Some(after) if after.enabled && before.enabled && stopped(name) => {
                (PlanAction::Start, vec!["was stopped by command".to_owned()])
            }
            Some(after) => compare(before, after),
        };
        tunnels.insert(name.clone(), change);
    }
    for (name, after) in &new.tunnels {
        if !old.tunnels.contains_key(name) {
            let change = if after.enabled {
                (PlanAction::Start, vec!["new in the file".to_owned()])
            } else {
                let why = "new in the file, enabled = false";
                (PlanAction::Keep, vec![why.to_owned()])
            };
            tunnels.insert(name.clone(), change);
        }
    }
    Plan {
        tunnels: tunnels
            .into_iter()
            .map(|(tunnel, (action, reasons))| Change {
                tunnel,
                action,
                reasons,
            })
            .collect(),
        needs_restart: daemon_changes(&old.daemon, &new.daemon),
    }
}

fn daemon_changes(old: &DaemonConfig, new: &DaemonConfig) -> Vec<String> {
    let mut changed = Vec::new();
    if old.control_socket != new.control_socket {
        changed.push("control_socket".to_owned());
    }
    if old.metrics_listen != new.metrics_listen {
        changed.push("metrics_listen".to_owned());
    }
    if old.state_directory != new.state_directory {
        changed.push("state_directory".to_owned());
    }
    // Both decide about a start that is over.
    if old.ready_when != new.ready_when {
        changed.push("ready_when".to_owned());
    }
    if old.start_timeout != new.start_timeout {
        changed.push("start_timeout".to_owned());
    }
    changed
}

fn compare(before: &TunnelSpec, after: &TunnelSpec) -> (PlanAction, Vec<String>) {
    match (before.enabled, after.enabled) {
        (true, false) => return (PlanAction::Stop, vec!["enabled = false".to_owned()]),
        (false, true) => return (PlanAction::Start, vec!["enabled = true".to_owned()]),
        (false, false) => return (PlanAction::Keep, Vec::new()),
        (true, true) => {}
    }
    let mut reasons = target_changes(&before.target, &after.target);
    let replace = !reasons.is_empty();
    reasons.extend(limit_changes(before, after));
    reasons.extend(forward_changes(&before.forwards, &after.forwards));
    let action = match (replace, reasons.is_empty()) {
        (true, _) => PlanAction::Replace,
        (false, false) => PlanAction::Adjust,
        (false, true) => PlanAction::Keep,
    };
    (action, reasons)
}

/// A changed key with both values, or alone where they look the same.
fn change<T: PartialEq>(
    key: &str,
    before: &T,
    after: &T,
    show: impl Fn(&T) -> String,
) -> Option<String> {
    let (old, new) = (show(before), show(after));
    match (before == after, old == new) {
        (true, _) => None,
        (false, true) => Some(key.to_owned()),
        (false, false) => Some(format!("{key} {old} → {new}")),
    }
}

fn limit_changes(old: &TunnelSpec, new: &TunnelSpec) -> Vec<String> {
    let time = |v: &Duration| humantime::format_duration(*v).to_string();
    let times = [
        ("connect_timeout", old.connect_timeout, new.connect_timeout),
        (
            "server_alive_interval",
            old.keepalive.interval,
            new.keepalive.interval,
        ),
        (
            "certificate_expiry_warning",
            old.certificate_expiry_warning,
            new.certificate_expiry_warning,
        ),
        ("stall_timeout", old.stall_timeout, new.stall_timeout),
    ];
    let counts = [
        (
            "server_alive_count_max",
            old.keepalive.count_max,
            new.keepalive.count_max,
        ),
        ("min_sessions", old.sessions.min, new.sessions.min),
        ("max_sessions", old.sessions.max, new.sessions.max),
    ];
    let times = times
        .iter()
        .map(|(key, old, new)| change(key, old, new, time));
    let counts = counts
        .iter()
        .map(|(key, old, new)| change(key, old, new, u32::to_string));
    let reconnect = (old.reconnect != new.reconnect).then(|| "reconnect".to_owned());
    let hooks = [
        change("on_up", &old.on_up, &new.on_up, hook),
        change("on_down", &old.on_down, &new.on_down, hook),
    ];
    let others = [reconnect].into_iter().chain(hooks);
    times.chain(counts).chain(others).flatten().collect()
}

fn hook(hook: &Option<Sourced<Hook>>) -> String {
    match hook {
        Some(hook) => clip(&hook.value.to_string(), MAX_SHOWN),
        None => "none".to_owned(),
    }
}
