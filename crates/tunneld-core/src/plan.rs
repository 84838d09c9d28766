//! What a new configuration changes in a running daemon.

mod forwards;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{Config, DaemonConfig, Proxy, ProxyCommand, Target, TunnelSpec, Via};
use crate::name::TunnelName;
use crate::text::clip;
use forwards::forward_changes;

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
    out.extend(way_changes(before, after));
    out
}

/// What changes on the way to the host.
fn way_changes(before: &Target, after: &Target) -> Vec<String> {
    /// The longest command that is shown, in characters.
    const MAX_COMMAND: usize = 60;
    let hops = |target: &Target| -> Vec<Target> {
        let alone = |hop: &Target| Target {
            via: Via::Direct,
            ..hop.clone()
        };
        target.hops().into_iter().map(alone).collect()
    };
    let shown_hops = |hops: &Vec<Target>| match hops.is_empty() {
        true => "none".to_owned(),
        false => hops
            .iter()
            .map(Target::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let proxy = |via: &Via| match via {
        Via::Proxy(proxy) => Some(proxy.clone()),
        Via::Direct | Via::Jump(_) | Via::Command(_) => None,
    };
    let shown_proxy = |proxy: &Option<Proxy>| {
        proxy
            .as_ref()
            .map_or_else(|| "none".to_owned(), Proxy::to_string)
    };
    let command = |via: &Via| match via {
        Via::Command(command) => Some(command.clone()),
        Via::Direct | Via::Jump(_) | Via::Proxy(_) => None,
    };
    let shown_command = |command: &Option<ProxyCommand>| match command {
        Some(command) => clip(&command.to_string().escape_debug().to_string(), MAX_COMMAND),
        None => "none".to_owned(),
    };
    let (old, new) = (before.first_via(), after.first_via());
    let changes = [
        change("proxy_jump", &hops(before), &hops(after), shown_hops),
        change("proxy", &proxy(old), &proxy(new), shown_proxy),
        change("proxy_command", &command(old), &command(new), shown_command),
    ];
    changes.into_iter().flatten().collect()
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
    let count = |v: &u32| v.to_string();
    changed!(
        out,
        old.sessions.min,
        new.sessions.min,
        "min_sessions",
        count
    );
    changed!(
        out,
        old.sessions.max,
        new.sessions.max,
        "max_sessions",
        count
    );
    if old.reconnect != new.reconnect {
        out.push("reconnect".to_owned());
    }
    out
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

    /// What a tunnel with these lines becomes with those.
    fn change_of(old: &str, new: &str) -> (PlanAction, String) {
        let (old, new) = (format!("{DB}{old}\n"), format!("{DB}{new}\n"));
        let (_, action, reasons) = actions(&old, &new).remove(0);
        (action, reasons)
    }

    #[test]
    fn another_way_to_the_host_replaces_the_session() {
        let long = "x".repeat(100);
        let long = [
            format!("proxy_command = '{long}1'"),
            format!("proxy_command = '{long}2'"),
        ];
        for (old, new, reason) in [
            (
                "",
                "proxy_jump = 'me@b:2222'",
                "proxy_jump none → me@b:2222",
            ),
            (
                "proxy_jump = 'a'",
                "proxy_jump = 'a,b'",
                "proxy_jump svc@a:22 → svc@a:22, svc@b:22",
            ),
            (
                "proxy_jump = 'a'",
                "proxy_jump = { host = 'a', identity_file = '/other' }",
                "proxy_jump",
            ),
            ("", "proxy = 'http://p:1'", "proxy none → http://p:1"),
            (
                "proxy = 'http://p:1'",
                "proxy_command = \"nc\\n%h\"",
                "proxy http://p:1 → none; proxy_command none → nc\\n%h",
            ),
            (
                "proxy_command = 'nc %h'",
                "proxy_command = ['nc', '%h']",
                "proxy_command",
            ),
            (&long[0], &long[1], "proxy_command"),
            (
                "proxy_jump = 'a'\nproxy = 'http://p:1'",
                "proxy_jump = 'a'\nproxy = 'http://p:2'",
                "proxy http://p:1 → http://p:2",
            ),
        ] {
            let expected = (PlanAction::Replace, reason.to_owned());
            assert_eq!(change_of(old, new), expected, "{old} to {new}");
        }
        let same = "proxy_jump = ['a', 'b']";
        assert_eq!(change_of("proxy_jump = 'a,b'", same).0, PlanAction::Keep);
    }

    #[test]
    fn forwards_and_numbers_of_sessions_change_on_the_session_that_is_there() {
        let remote = "remote_forward = '8080:web:80'";
        let quick = "remote_forward = { listen = 8080, connect = 'web:80', idle_timeout = 1 }";
        for (old, new, reason) in [
            (
                "",
                "min_sessions = 2",
                "min_sessions 1 → 2; max_sessions 1 → 2",
            ),
            ("", "max_sessions = 4", "max_sessions 1 → 4"),
            ("", remote, "forward added: remote localhost:8080 ─▶ web:80"),
            (
                remote,
                "",
                "forward removed: remote localhost:8080 ─▶ web:80",
            ),
            (
                remote,
                quick,
                "forward changed: remote localhost:8080 ─▶ web:80 (idle_timeout 0s → 1s)",
            ),
            (
                remote,
                "remote_forward = '8080'",
                "forward changed: remote localhost:8080 ─▶ web:80 → remote localhost:8080 ─▶ SOCKS",
            ),
            (
                "",
                "dynamic_forward = '/run/s'",
                "forward added: /run/s ─▶ SOCKS",
            ),
        ] {
            let expected = (PlanAction::Adjust, reason.to_owned());
            assert_eq!(change_of(old, new), expected, "{old} to {new}");
        }
    }

    #[test]
    fn a_forward_that_changes_names_the_keys_that_do() {
        let tcp = |keys: &str| format!("local_forward = {{ listen = 80, connect = 'w:80'{keys} }}");
        let unix =
            |keys: &str| format!("local_forward = {{ listen = '/run/s', connect = 'w:80'{keys} }}");
        let file = |line: &str| format!("[tunnels.web]\nhost = 'a'\n{line}\n");
        let place = "forward changed: localhost:80 ─▶ w:80";
        let socket = "forward changed: /run/s ─▶ w:80";
        let many: Vec<String> = (0..50).map(|n| format!("'10.0.0.{n}'")).collect();
        let many = tcp(&format!(", allow = [{}]", many.join(", ")));
        for (old, new, reason) in [
            (
                tcp(""),
                tcp(", while_down = 'refuse', wait_timeout = 5, max_connections = 9"),
                format!(
                    "{place} (while_down wait → refuse; wait_timeout 10s → 5s; \
                     max_connections 4096 → 9)"
                ),
            ),
            (
                tcp(""),
                tcp(", allow = ['10.0.0.0/8', '::1'], probe = true"),
                format!(
                    "{place} (allow everybody → 10.0.0.0/8, ::1/128; \
                     probe none → every 30s within 5s)"
                ),
            ),
            (
                tcp(", probe = { expect = 'hi' }"),
                tcp(", probe = { expect = 204, path = '/x' }"),
                format!(
                    "{place} (probe every 30s within 5s for \"hi\" → \
                     every 30s within 5s for 204 from /x)"
                ),
            ),
            (
                unix(""),
                unix(", socket_mode = '660', socket_owner = ':www'"),
                format!("{socket} (socket_mode 0600 → 0660; socket_owner none → :www)"),
            ),
            (
                tcp(", name = 'x', max_connections = 1"),
                "local_forward = { name = 'x', listen = 81, connect = 'w:80' }".to_owned(),
                "forward changed: localhost:80 ─▶ w:80 → localhost:81 ─▶ w:80 \
                 (max_connections 1 → 4096)"
                    .to_owned(),
            ),
            (
                many.clone(),
                many.replace("'10.0.0.49'", "'10.0.0.99'"),
                format!("{place} (allow)"),
            ),
        ] {
            let (_, action, reasons) = actions(&file(&old), &file(&new)).remove(0);
            assert_eq!(
                (action, reasons),
                (PlanAction::Adjust, reason),
                "{old} to {new}"
            );
        }
    }

    #[test]
    fn a_new_tunnel_that_is_not_enabled_is_told() {
        let off = format!("{DB}enabled = false\n");
        let reason = "new in the file, enabled = false".to_owned();
        let found = actions("[tunnels]\n", &off);
        assert_eq!(found, [("db".to_owned(), PlanAction::Keep, reason)]);
        let again = actions(&off, &off);
        assert_eq!(again, [("db".to_owned(), PlanAction::Keep, String::new())]);
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
