//! What a new configuration changes in a running daemon.
//!
//! The JSON of these types is what `tunneld reload --json` prints and the control socket serves.

mod daemon;
mod forwards;
mod target;
#[cfg(test)]
mod tests;
mod touched;
mod tries;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Config, DaemonConfig, Hook, Sourced, TunnelSpec};
use crate::name::TunnelName;
use crate::sandbox::Needs;
use crate::text::clip;
use daemon::at_once;
pub use daemon::needs_restart;
pub use forwards::{ForwardAction, ForwardChange, ForwardView};
use target::{MAX_SHOWN, target_changes};
pub use touched::Drains;

/// What happens to each tunnel, and why. The same for a reload and for its dry run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// One entry a tunnel of the old and the new configuration, by name.
    pub tunnels: Vec<Change>,
    /// `[daemon]` keys that have another value now and take effect at once.
    #[serde(default)]
    pub daemon: Vec<KeyChange>,
    /// `[daemon]` keys that have another value now than at the start, and take effect at the next one
    /// only; `sandbox` also where tunnels need rights that were given up at the start.
    #[serde(default)]
    pub needs_restart: Vec<KeyChange>,
}

/// What happens to one tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The tunnel.
    pub tunnel: TunnelName,
    /// What happens to it.
    pub action: PlanAction,
    /// Why.
    pub why: Why,
    /// Its keys that have another value; those of its forwards are with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyChange>,
    /// Its forwards that come, go or change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<ForwardChange>,
    /// What the end of its sessions means for its connections; absent where they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drains: Option<Drains>,
    /// It waits or is blocked, and tries again now; not sooner after its last try than the first delay
    /// of `reconnect`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tries_now: bool,
}

/// A key that has another value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// Its name in the file.
    pub key: String,
    /// What it was, as it is shown; both values are absent where they look the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Why something happens to a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It is new in the file.
    New,
    /// It is new in the file, and not enabled.
    NewDisabled,
    /// It is gone from the file.
    Removed,
    /// `enabled` is true now.
    Enabled,
    /// `enabled` is false now.
    Disabled,
    /// It was stopped by command, which lasts until a reload.
    StoppedByCommand,
    /// Some of its keys or forwards have changed.
    Changed,
    /// Nothing has changed.
    Unchanged,
}

impl Why {
    /// For people; empty where the keys and forwards say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::New => "new in the file",
            Why::NewDisabled => "new in the file, enabled = false",
            Why::Removed => "no longer in the file",
            Why::Enabled => "enabled = true",
            Why::Disabled => "enabled = false",
            Why::StoppedByCommand => "was stopped by command",
            Why::Changed | Why::Unchanged => "",
        }
    }
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

/// What a daemon began with, and keeps until it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct AtStart {
    /// `[daemon]` of its file.
    pub daemon: DaemonConfig,
    /// The rights that it has left itself; `None` where it has given up none that a tunnel may need.
    pub given: Option<Needs>,
}

impl From<&Config> for AtStart {
    /// A start with this file that has given up nothing.
    fn from(config: &Config) -> Self {
        AtStart {
            daemon: config.daemon.clone(),
            given: None,
        }
    }
}

/// Compares two configurations in a daemon that began with `at_start`. `stopped` says which tunnels
/// were stopped by command: that lasts until a reload.
pub fn diff(
    at_start: &AtStart,
    old: &Config,
    new: &Config,
    stopped: impl Fn(&TunnelName) -> bool,
) -> Plan {
    let patience = (old.daemon.drain_timeout, new.daemon.drain_timeout);
    let mut tunnels = BTreeMap::new();
    for (name, before) in &old.tunnels {
        let change = match new.tunnels.get(name) {
            None => Change {
                drains: Some(Drains::within(patience.0)),
                ..Change::new(name, PlanAction::Stop, Why::Removed)
            },
            Some(after) if after.enabled && before.enabled && stopped(name) => {
                Change::new(name, PlanAction::Start, Why::StoppedByCommand)
            }
            Some(after) => compare(before, after, patience.1),
        };
        tunnels.insert(name, change);
    }
    for (name, after) in &new.tunnels {
        tunnels.entry(name).or_insert_with(|| match after.enabled {
            true => Change::new(name, PlanAction::Start, Why::New),
            false => Change::new(name, PlanAction::Keep, Why::NewDisabled),
        });
    }
    Plan {
        tunnels: tunnels.into_values().collect(),
        daemon: at_once(&old.daemon, &new.daemon),
        needs_restart: needs_restart(at_start, new),
    }
}

impl Change {
    fn new(tunnel: &TunnelName, action: PlanAction, why: Why) -> Self {
        Change {
            tunnel: tunnel.clone(),
            action,
            why,
            keys: Vec::new(),
            forwards: Vec::new(),
            drains: None,
            tries_now: false,
        }
    }
}

fn compare(before: &TunnelSpec, after: &TunnelSpec, patience: Duration) -> Change {
    let change = |action, why| Change::new(&before.name, action, why);
    let drains = Some(Drains::within(patience));
    match (before.enabled, after.enabled) {
        (true, false) => {
            return Change {
                drains,
                ..change(PlanAction::Stop, Why::Disabled)
            };
        }
        (false, true) => return change(PlanAction::Start, Why::Enabled),
        (false, false) => return change(PlanAction::Keep, Why::Unchanged),
        (true, true) => {}
    }
    let mut keys = target_changes(&before.target, &after.target);
    let replace = !keys.is_empty();
    keys.extend(limit_changes(before, after));
    let forwards = forwards::changes(&before.forwards, &after.forwards, patience);
    let (action, why) = match (replace, keys.is_empty() && forwards.is_empty()) {
        (true, _) => (PlanAction::Replace, Why::Changed),
        (false, false) => (PlanAction::Adjust, Why::Changed),
        (false, true) => (PlanAction::Keep, Why::Unchanged),
    };
    Change {
        keys,
        forwards,
        drains: drains.filter(|_| replace),
        ..change(action, why)
    }
}

impl KeyChange {
    /// A key of which the values are not shown.
    fn unshown(key: &str) -> Self {
        KeyChange {
            key: key.to_owned(),
            before: None,
            after: None,
        }
    }
}

/// A changed key with both values, or alone where they look the same.
fn change<T: PartialEq>(
    key: &str,
    before: &T,
    after: &T,
    show: impl Fn(&T) -> String,
) -> Option<KeyChange> {
    if before == after {
        return None;
    }
    let (old, new) = (show(before), show(after));
    let mut change = KeyChange::unshown(key);
    if old != new {
        (change.before, change.after) = (Some(old), Some(new));
    }
    Some(change)
}

fn time(value: &Duration) -> String {
    humantime::format_duration(*value).to_string()
}

fn limit_changes(old: &TunnelSpec, new: &TunnelSpec) -> Vec<KeyChange> {
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
    let reconnect = old.reconnect != new.reconnect;
    let reconnect = reconnect.then(|| KeyChange::unshown("reconnect"));
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
