//! What a new configuration changes about the forwards of a tunnel, in words.

use std::time::Duration;

use ipnet::IpNet;

use super::change;
use crate::config::{
    Expect, ForwardKind, ForwardSpec, Listen, LocalForward, Probe, SocketOwner, UnixListen,
    WhileDown,
};
use crate::text::clip;

/// The longest value that is shown, in characters.
const MAX_SHOWN: usize = 60;

/// What happens to the forwards of a tunnel.
pub(super) fn forward_changes(before: &[ForwardSpec], after: &[ForwardSpec]) -> Vec<String> {
    let mut out = Vec::new();
    for old in before {
        match after.iter().find(|new| new.name == old.name) {
            None => out.push(format!("forward removed: {}", show(old))),
            Some(new) if new != old => out.push(changed(old, new)),
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

/// Both places where they differ, and the other keys that do.
fn changed(old: &ForwardSpec, new: &ForwardSpec) -> String {
    let (before, after) = (show(old), show(new));
    let places = match before == after {
        true => after,
        false => format!("{before} → {after}"),
    };
    let keys = key_changes(old, new);
    match keys.is_empty() {
        true => format!("forward changed: {places}"),
        false => format!("forward changed: {places} ({})", keys.join("; ")),
    }
}

fn show(forward: &ForwardSpec) -> String {
    let (listen, goal) = (forward.listen_text(), forward.goal());
    match &forward.kind {
        // The arrow begins at the other end.
        ForwardKind::Remote(_) => format!("remote {listen} ─▶ {goal}"),
        ForwardKind::Local(_) => format!("{listen} ─▶ {goal}"),
    }
}

/// The keys beside `listen` and `connect` that have another value.
fn key_changes(old: &ForwardSpec, new: &ForwardSpec) -> Vec<String> {
    let time = |v: &Duration| humantime::format_duration(*v).to_string();
    let idle = |v: &Option<Duration>| time(&v.unwrap_or_default());
    let limits = [
        change(
            "max_connections",
            &old.max_connections,
            &new.max_connections,
            u32::to_string,
        ),
        change("idle_timeout", &old.idle_timeout, &new.idle_timeout, idle),
        change("allow", &old.allow, &new.allow, |v| networks(v)),
        change("probe", &old.probe, &new.probe, probe),
    ];
    let local = match (&old.kind, &new.kind) {
        (ForwardKind::Local(old), ForwardKind::Local(new)) => local_changes(old, new),
        _ => Vec::new(),
    };
    local
        .into_iter()
        .chain(limits.into_iter().flatten())
        .collect()
}

fn local_changes(old: &LocalForward, new: &LocalForward) -> Vec<String> {
    let time = |v: &Duration| humantime::format_duration(*v).to_string();
    let word = |v: &WhileDown| match v {
        WhileDown::Wait => "wait".to_owned(),
        WhileDown::Refuse => "refuse".to_owned(),
    };
    let waiting = [
        change("while_down", &old.while_down, &new.while_down, word),
        change("wait_timeout", &old.wait_timeout, &new.wait_timeout, time),
    ];
    let socket = match (&old.listen.value, &new.listen.value) {
        (Listen::Unix(old), Listen::Unix(new)) => socket_changes(old, new),
        _ => Vec::new(),
    };
    waiting.into_iter().flatten().chain(socket).collect()
}

fn socket_changes(old: &UnixListen, new: &UnixListen) -> Vec<String> {
    let mode = |v: &u32| format!("{v:04o}");
    let owner = |v: &Option<SocketOwner>| match v {
        Some(owner) => clip(&owner.to_string(), MAX_SHOWN),
        None => "none".to_owned(),
    };
    [
        change("socket_mode", &old.mode, &new.mode, mode),
        change("socket_owner", &old.owner, &new.owner, owner),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn networks(allow: &[IpNet]) -> String {
    match allow.is_empty() {
        true => "everybody".to_owned(),
        false => {
            let shown: Vec<String> = allow.iter().map(IpNet::to_string).collect();
            clip(&shown.join(", "), MAX_SHOWN)
        }
    }
}

fn probe(probe: &Option<Probe>) -> String {
    let Some(probe) = probe else {
        return "none".to_owned();
    };
    let expect = match &probe.expect {
        None => String::new(),
        Some(Expect::FirstLine(line)) => format!(" for {line:?}"),
        Some(Expect::Http { status, path }) => format!(" for {status} from {path}"),
    };
    let shown = format!(
        "every {} within {}{expect}",
        humantime::format_duration(probe.interval),
        humantime::format_duration(probe.timeout)
    );
    clip(&shown, MAX_SHOWN)
}
