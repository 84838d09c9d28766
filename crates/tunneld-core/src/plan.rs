//! What a new configuration changes in a running daemon.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{Config, DaemonConfig, ForwardKind, ForwardSpec, Target, TunnelSpec};
use crate::name::TunnelName;

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
    /// Why, one line each; empty for `keep`.
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
    /// Nothing about it changed.
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
                (PlanAction::Keep, Vec::new())
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
    if before.target != after.target && reasons.is_empty() {
        // Default keys that are written out now, or the other way round.
        reasons.push("identity_file".to_owned());
    }
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

/// Records a changed key with both values.
macro_rules! changed {
    ($out:ident, $before:expr, $after:expr, $key:literal, $show:expr) => {
        if $before != $after {
            let show = $show;
            $out.push(format!("{} {} → {}", $key, show(&$before), show(&$after)));
        }
    };
}

fn target_changes(before: &Target, after: &Target) -> Vec<String> {
    let mut out = Vec::new();
    changed!(out, before.host, after.host, "host", |v: &String| v.clone());
    changed!(out, before.port, after.port, "port", |v: &u16| v
        .to_string());
    changed!(out, before.user, after.user, "user", |v: &String| v.clone());
    let files = |v: &Vec<crate::config::Sourced<std::path::PathBuf>>| {
        let shown: Vec<String> = v.iter().map(|p| p.value.display().to_string()).collect();
        shown.join(", ")
    };
    changed!(
        out,
        before.identity_file,
        after.identity_file,
        "identity_file",
        files
    );
    changed!(
        out,
        before.known_hosts,
        after.known_hosts,
        "known_hosts",
        files
    );
    changed!(
        out,
        before.strict_host_key_checking,
        after.strict_host_key_checking,
        "strict_host_key_checking",
        |v: &crate::config::StrictHostKeyChecking| v.as_str()
    );
    if before.host_key_fingerprint != after.host_key_fingerprint {
        out.push("host_key_fingerprint".to_owned());
    }
    out
}

fn limit_changes(before: &TunnelSpec, after: &TunnelSpec) -> Vec<String> {
    let mut out = Vec::new();
    let time = |v: &std::time::Duration| humantime::format_duration(*v).to_string();
    let (old, new) = (before, after);
    changed!(
        out,
        old.connect_timeout,
        new.connect_timeout,
        "connect_timeout",
        time
    );
    changed!(
        out,
        old.keepalive.interval,
        new.keepalive.interval,
        "server_alive_interval",
        time
    );
    changed!(
        out,
        old.keepalive.count_max,
        new.keepalive.count_max,
        "server_alive_count_max",
        |v: &u32| v.to_string()
    );
    changed!(
        out,
        old.stall_timeout,
        new.stall_timeout,
        "stall_timeout",
        time
    );
    if old.reconnect != new.reconnect {
        out.push("reconnect".to_owned());
    }
    out
}

/// What happens to the forwards of a tunnel, in words.
fn forward_changes(before: &[ForwardSpec], after: &[ForwardSpec]) -> Vec<String> {
    let mut out = Vec::new();
    for old in before {
        match after.iter().find(|new| new.name == old.name) {
            None => out.push(format!("forward removed: {}", show(old))),
            Some(new) if new != old && show(new) == show(old) => {
                out.push(format!("forward changed: {}", show(new)));
            }
            Some(new) if new != old => {
                out.push(format!("forward changed: {} → {}", show(old), show(new)));
            }
            Some(_) => {}
        }
    }
    for new in after {
        if !before.iter().any(|old| old.name == new.name) {
            out.push(format!("forward added: {}", show(new)));
        }
    }
    out
}

fn show(forward: &ForwardSpec) -> String {
    match &forward.kind {
        ForwardKind::Local(local) => format!("{} ─▶ {}", local.listen.value, local.connect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, Surroundings, load};

    fn config(text: &str) -> Config {
        load(text, &Origin::for_tests(), &Surroundings::for_tests()).unwrap()
    }

    fn actions(old: &str, new: &str) -> Vec<(String, PlanAction, String)> {
        diff(&config(old), &config(new), |_| false)
            .tunnels
            .into_iter()
            .map(|c| (c.tunnel.to_string(), c.action, c.reasons.join("; ")))
            .collect()
    }

    const DB: &str =
        "[tunnels.db]\nhost = \"a\"\nuser = \"u\"\nlocal_forward = \"5432:localhost:5432\"\n";

    #[test]
    fn the_same_file_moved_about_changes_nothing() {
        let moved = format!("\n\n# a comment\n{DB}");
        assert_eq!(
            actions(DB, &moved),
            [("db".to_owned(), PlanAction::Keep, String::new())]
        );
    }

    #[test]
    fn each_kind_of_change_has_its_action_and_its_reason() {
        let cases = [
            (
                DB.replace("\"a\"", "\"b\""),
                PlanAction::Replace,
                "host a → b",
            ),
            (
                format!("{DB}port = 23\n"),
                PlanAction::Replace,
                "port 22 → 23",
            ),
            (
                format!("{DB}connect_timeout = \"5s\"\n"),
                PlanAction::Adjust,
                "connect_timeout 15s → 5s",
            ),
            (
                format!("{DB}enabled = false\n"),
                PlanAction::Stop,
                "enabled = false",
            ),
            (
                "[tunnels]\n".to_owned(),
                PlanAction::Stop,
                "no longer in the file",
            ),
            (
                DB.replace("localhost:5432\"", "replica:5432\""),
                PlanAction::Adjust,
                "forward changed: localhost:5432 ─▶ localhost:5432 → localhost:5432 ─▶ replica:5432",
            ),
        ];
        for (new, action, reason) in cases {
            let expected = ("db".to_owned(), action, reason.to_owned());
            assert_eq!(actions(DB, &new), [expected], "{new}");
        }
        assert_eq!(
            actions("[tunnels]\n", DB),
            [(
                "db".to_owned(),
                PlanAction::Start,
                "new in the file".to_owned()
            )]
        );
    }

    #[test]
    fn daemon_keys_that_need_a_restart_are_named() {
        let new = format!("[daemon]\nready_when = \"all\"\ndrain_timeout = \"3s\"\n{DB}");
        let plan = diff(&config(DB), &config(&new), |_| false);
        assert_eq!(plan.needs_restart, ["ready_when"]);
    }

    #[test]
    fn a_reload_starts_what_was_stopped_by_command_and_says_so() {
        let plan = diff(&config(DB), &config(DB), |name| name.as_str() == "db");
        assert_eq!(plan.tunnels[0].action, PlanAction::Start);
        assert_eq!(plan.tunnels[0].reasons, ["was stopped by command"]);
    }
}
